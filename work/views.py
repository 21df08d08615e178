"""Saved views: each person has some of their own, and sees those that others share."""

from typing import Any

from sqlalchemy.orm import Session

from database import views
from database.log_entries import add_log_entry
from database.models import SavedView
from database.session import Transaction

MOST = 100  # views of one person


class ViewExists(Exception):
    """The person has a view of this name."""


class TooManyViews(Exception):
    """The person has MOST views."""


class NotTheirs(Exception):
    """The view is somebody else's."""


def save_view(session: Session, *, who: str, name: str, query: dict[str, Any], shared: bool) -> SavedView:
    """Save a view for `who`. Raises ViewExists or TooManyViews."""
    with Transaction(session) as transaction:
        views.hold_views(session)
        if views.find_view(session, who, name) is not None:
            raise ViewExists
        if views.count_views(session, who) >= MOST:
            raise TooManyViews
        view = views.add_view(session, owner=who, name=name, query=query, shared=shared)
        add_log_entry(session, who=who, kind="view", subject=str(view.view_id), what="made", after=_shown(view))
        transaction.commit()
        return view


def delete_view(session: Session, view_id: int, *, who: str, may_others: bool) -> SavedView | None:
    """Delete a view that `who` can see, and return it; None if there is none.

    Raises NotTheirs if it is somebody else's, unless `may_others`.
    """
    with Transaction(session) as transaction:
        view = views.get_view(session, view_id, who)
        if view is None:
            return None
        if view.owner != who and not may_others:
            raise NotTheirs
        before = _shown(view)
        if not views.delete_view(session, view_id):  # somebody else was quicker
            return None
        add_log_entry(session, who=who, kind="view", subject=str(view_id), what="deleted", before=before)
        transaction.commit()
        return view


def _shown(view: SavedView) -> dict[str, Any]:
    return {"owner": view.owner, "name": view.name, "query": view.query, "shared": view.shared}
