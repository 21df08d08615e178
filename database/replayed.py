"""Statements on what a replay has stored: the places of its events, and the alerts on them."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import ARRAY, BigInteger, Text, bindparam, cast, func, select, true
from sqlalchemy.orm import Session

from database.models import Alert, UserAction

_pairs = (
    func.unnest(cast(bindparam("user_ids"), ARRAY(BigInteger)), cast(bindparam("event_ids"), ARRAY(Text)))
    .table_valued("user_id", "event_id")
    .render_derived("wanted")
)
_action = (
    select(UserAction.user_id, UserAction.seq)
    .where(UserAction.user_id == _pairs.c.user_id, UserAction.event_id == _pairs.c.event_id)
    .limit(1)  # with it, each is looked up in the index, whatever PostgreSQL knows of the table
    .correlate(_pairs)
    .lateral("action")
)
_PLACES = select(_action.c.user_id, _action.c.seq).join_from(_pairs, _action, true())


def places(session: Session, events: Collection[tuple[int, str]]) -> list[tuple[int, int]]:
    """The user_id and seq of each stored action that has one of these user_ids with its event_id."""
    values = {"user_ids": [user_id for user_id, _ in events], "event_ids": [event_id for _, event_id in events]}
    return [(user_id, seq) for user_id, seq in session.execute(_PLACES, values)]


class AlertsOfCode(NamedTuple):
    """How many alerts with one code there are: those that stand, the late ones of them, and others kept apart."""

    code: int
    standing: int
    late: int
    superseded: int
    shadow: int


_stretches = (
    func.unnest(*(cast(bindparam(name), ARRAY(BigInteger)) for name in ("user_ids", "firsts", "lasts")))
    .table_valued("user_id", "first", "last")
    .render_derived("stretches")
)
_KINDS = {
    "standing": ~Alert.shadow & ~Alert.superseded,
    "late": ~Alert.shadow & ~Alert.superseded & Alert.late,
    "superseded": ~Alert.shadow & Alert.superseded,
    "shadow": Alert.shadow,
}
_of_stretch = (
    select(Alert.code, *(func.count().filter(condition).label(kind) for kind, condition in _KINDS.items()))
    .where(Alert.user_id == _stretches.c.user_id, Alert.seq.between(_stretches.c.first, _stretches.c.last))
    .group_by(Alert.code)
    .correlate(_stretches)
    .lateral("of_stretch")
)
_COUNTS = (
    select(_of_stretch.c.code, *(func.sum(_of_stretch.c[kind]) for kind in _KINDS))
    .join_from(_stretches, _of_stretch, true())
    .group_by(_of_stretch.c.code)
)


def count_alerts(session: Session, stretches: Iterable[tuple[int, int, int]]) -> list[AlertsOfCode]:
    """The alerts on the actions in `stretches`: a user's id, and the first and last `seq`, both included."""
    user_ids, firsts, lasts = zip(*stretches, strict=True)
    values = {"user_ids": list(user_ids), "firsts": list(firsts), "lasts": list(lasts)}
    return [AlertsOfCode(*map(int, row)) for row in session.execute(_COUNTS, values)]
