"""Statements on saved views: filters of the list of alerts under a name."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, or_, select
from sqlalchemy.orm import Session

from database.models import SavedView

# So that two who save at once cannot both be the last one that there is room for; lists and alerts do not wait for it.
_ONE_AT_A_TIME = f"LOCK TABLE {SavedView.__tablename__} IN SHARE ROW EXCLUSIVE MODE"


def hold_views(session: Session) -> None:
    """Keep others from saving views until the transaction ends."""
    session.connection().exec_driver_sql(_ONE_AT_A_TIME)


def count_views(session: Session, owner: str) -> int:
    """How many views this person has."""
    return session.scalars(select(func.count()).select_from(SavedView).where(SavedView.owner == owner)).one()


def find_view(session: Session, owner: str, name: str) -> SavedView | None:
    """The view of this person with this name, or None."""
    return session.scalars(select(SavedView).where(SavedView.owner == owner, SavedView.name == name)).one_or_none()


def add_view(session: Session, *, owner: str, name: str, query: dict[str, Any], shared: bool) -> SavedView:
    """Store a view, and return it; its owner must have none with this name."""
    values = {"owner": owner, "name": name, "query": query, "shared": shared}
    return session.scalars(insert(SavedView).values(values).returning(SavedView)).one()


def get_view(session: Session, view_id: int, reader: str) -> SavedView | None:
    """The view, if it is the reader's own or shared; else None."""
    return session.scalars(select(SavedView).where(SavedView.view_id == view_id, _seen_by(reader))).one_or_none()


def page_of_views(session: Session, reader: str, limit: int, before: int | None) -> Sequence[SavedView]:
    """Up to `limit` views that are the reader's own or shared, newest first, those older than `before` if given."""
    page = select(SavedView).where(_seen_by(reader))
    if before is not None:
        page = page.where(SavedView.view_id < before)
    return session.scalars(page.order_by(SavedView.view_id.desc()).limit(limit)).all()


def delete_view(session: Session, view_id: int) -> bool:
    """Remove a view. Returns whether it was there."""
    gone = delete(SavedView).where(SavedView.view_id == view_id).returning(SavedView.view_id)
    return session.execute(gone).scalar() is not None


def _seen_by(reader: str) -> ColumnElement[bool]:
    return or_(SavedView.owner == reader, SavedView.shared)
