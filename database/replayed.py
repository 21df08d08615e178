"""Statements on what a replay has stored: the places of its events, and the alerts on them."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from sqlalchemy import Select, func, literal_column, select, true
from sqlalchemy.orm import Session

from database.models import Alert, UserAction
from database.prepared import Records
from database.records import EventKey
from database.user_records import Forms

_EVENTS = Records(EventKey, "wanted", UserAction)


def _places(wanted: Records) -> Select[Any]:
    action = (
        select(UserAction.user_id, UserAction.seq)
        .where(wanted.own(UserAction.user_id), UserAction.event_id == wanted.c.event_id)
        .limit(literal_column("1"))  # with it, each is looked up in the index, whatever PostgreSQL knows of the table
        .correlate(wanted.table)
        .lateral("action")
    )
    return select(action.c.user_id, action.c.seq).join_from(wanted.table, action, true())


_PLACES = Forms(_places, _EVENTS)


def places(session: Session, events: Collection[tuple[int, str]]) -> list[tuple[int, int]]:
    """The user_id and seq of each stored action that has one of these user_ids with its event_id."""
    keys = [EventKey(user_id=user_id, event_id=event_id) for user_id, event_id in events]
    return [(user_id, seq) for user_id, seq in _PLACES.run(session.connection(), keys)]


class AlertsOfCode(NamedTuple):
    """How many alerts with one code there are: those that stand, the late ones of them, and others kept apart."""

    code: int
    standing: int
    late: int
    superseded: int
    shadow: int


class _Arrivals(NamedTuple):
    user_id: int
    first: int
    last: int


_ARRIVALS = Records(_Arrivals, "arrivals", UserAction, first=UserAction.seq, last=UserAction.seq)
_KINDS = {
    "standing": ~Alert.shadow & ~Alert.superseded,
    "late": ~Alert.shadow & ~Alert.superseded & Alert.late,
    "superseded": ~Alert.shadow & Alert.superseded,
    "shadow": Alert.shadow,
}


def _counts(arrivals: Records) -> Select[Any]:
    counted = [func.count().filter(condition).label(kind) for kind, condition in _KINDS.items()]
    of_user = (
        select(Alert.code, *counted)
        .where(arrivals.own(Alert.user_id), Alert.seq.between(arrivals.c.first, arrivals.c.last))
        .group_by(Alert.code)
        .correlate(arrivals.table)
        .lateral("of_user")
    )
    sums = [func.sum(of_user.c[kind]) for kind in _KINDS]
    return select(of_user.c.code, *sums).join_from(arrivals.table, of_user, true()).group_by(of_user.c.code)


_COUNTS = Forms(_counts, _ARRIVALS)


def count_alerts(session: Session, stretches: Iterable[tuple[int, int, int]]) -> list[AlertsOfCode]:
    """The alerts on the actions in `stretches`: a user's id, and the first and last `seq`, both included."""
    arrivals = [_Arrivals(user_id=user_id, first=first, last=last) for user_id, first, last in stretches]
    return [AlertsOfCode(*map(int, row)) for row in _COUNTS.run(session.connection(), arrivals)]
