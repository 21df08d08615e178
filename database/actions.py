"""Statements on stored actions, except those that judging runs."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, func, select, union_all
from sqlalchemy.orm import Session

from database.models import User, UserAction
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


def newest_times(connection: Connection, user_ids: Sequence[int], latest: int) -> dict[int, int]:
    """By user, the time of the newest action whose time is at most `latest`; users without any are left out."""

    def newest(action_type: str) -> ColumnElement[int]:
        mine = (UserAction.user_id == User.user_id, UserAction.type == action_type, UserAction.time <= latest)
        return select(UserAction.time).where(*mine).order_by(UserAction.time.desc()).limit(1).scalar_subquery()

    time = func.greatest(newest("deposit"), newest("withdraw")).label("newest")
    rows = connection.execute(select(User.user_id, time).where(User.user_id.in_(user_ids)))
    return {user_id: found for user_id, found in rows if found is not None}


def seq_of_event(session: Session, user_id: int, event_id: str) -> int | None:
    """The place among a user's actions, in order of arrival, of the event with this id; None if there is none."""
    return session.scalar(select(UserAction.seq).where(UserAction.user_id == user_id, UserAction.event_id == event_id))
