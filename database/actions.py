"""Statements on stored actions, except those that judging runs."""

from collections.abc import Sequence

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from database.models import UserAction
from database.pages import stretch


def page_of_actions(
    session: Session,
    user_id: int,
    *,
    limit: int,
    start: int | None,
    end: int | None,
    before: tuple[int, ...] | None,
) -> Sequence[UserAction]:
    """Up to `limit` actions of a user, newest (time, seq) first.

    `start` and `end` bound `time` in seconds, both included; `before` is the (time, seq) at which the last page ended.
    """
    place = (UserAction.time, UserAction.seq)
    pages = []
    # One stretch of the index per type, each as long as the page, instead of a second index without the type.
    for action_type in ("deposit", "withdraw"):
        page = select(UserAction.seq).where(UserAction.user_id == user_id, UserAction.type == action_type)
        page = page.where(*stretch(place, start, end, before))
        pages.append(page.order_by(*(column.desc() for column in place)).limit(limit))
    seqs = union_all(*pages).subquery()
    rows = select(UserAction).where(UserAction.user_id == user_id, UserAction.seq.in_(select(seqs.c.seq)))
    return session.scalars(rows.order_by(*(column.desc() for column in place)).limit(limit)).all()
