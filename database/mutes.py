"""Statements on mutes: which users' alerts of which rules stay out of lists for a while."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from database.models import Mute

_IN_FORCE = Mute.until > func.clock_timestamp()


def mutes_of(session: Session, user_id: int) -> Sequence[Mute]:
    """A user's mutes in force, by code."""
    return session.scalars(select(Mute).where(Mute.user_id == user_id, _IN_FORCE).order_by(Mute.code)).all()


def muted_among(session: Session, wanted: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Which of these users and codes are muted now."""
    if not wanted:
        return set()
    found = select(Mute.user_id, Mute.code).where(tuple_(Mute.user_id, Mute.code).in_(wanted), _IN_FORCE)
    return {(user_id, code) for user_id, code in session.execute(found)}


def find_mute(session: Session, user_id: int, code: int) -> Mute | None:
    """The mute in force of a user and code, or None."""
    one = select(Mute).where(Mute.user_id == user_id, Mute.code == code, _IN_FORCE)
    return session.scalars(one.execution_options(populate_existing=True)).one_or_none()


def set_mute(session: Session, user_id: int, code: int, *, until: datetime, note: str | None, who: str) -> None:
    """Mute a user and code until this moment, whatever was set before."""
    values = {"until": until, "note": note, "who": who}
    new = insert(Mute).values(user_id=user_id, code=code, created_at=func.clock_timestamp(), **values)
    now = {**values, "created_at": new.excluded.created_at}
    session.execute(new.on_conflict_do_update(index_elements=[Mute.user_id, Mute.code], set_=now))


def end_mute(session: Session, user_id: int, code: int) -> None:
    """End a mute, if there is one."""
    session.execute(delete(Mute).where(Mute.user_id == user_id, Mute.code == code))
