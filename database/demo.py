"""Statements for demo data: whether a database is empty, and giving what was just stored the moments of a story.

The database stamps what it stores with the moment at which that happens. Demo data has weeks of it stored within
seconds, so each stamp is replaced once, right after; nothing else of a row is touched.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    DateTime,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from database.models import (
    Alert,
    AlertChange,
    Backtest,
    LogEntry,
    Mute,
    RuleVersion,
    SavedView,
    User,
    UserAction,
    UserSettings,
)

_MOMENT = DateTime(timezone=True)
_OTHERS: Mapping[str, ColumnElement[bool]] = {
    "users": exists(select(User.user_id)),
    "rules that somebody has set": exists(select(RuleVersion.number).where(RuleVersion.author.is_not(None))),
    "backtests": exists(select(Backtest.backtest_id)),
    "saved views": exists(select(SavedView.view_id)),
}


def other_data(session: Session) -> list[str]:
    """What the database holds besides keys and what is declared of rules: nothing, or words for people."""
    found = session.execute(select(*(is_there.label(what) for what, is_there in _OTHERS.items()))).one()
    return [what for what, is_there in zip(_OTHERS, found, strict=True) if is_there]


# Moments of single rows

Stamped = Literal["user", "settings", "rule", "history", "touched", "entry", "view", "mute", "claim"]
_Columns = tuple[InstrumentedAttribute[Any], ...]
_OF_ALERT: _Columns = (Alert.user_id, Alert.seq, Alert.code)
_STAMPS: Mapping[Stamped, tuple[InstrumentedAttribute[Any], _Columns]] = {
    "user": (User.created_at, (User.user_id,)),
    "settings": (UserSettings.created_at, (UserSettings.user_id, UserSettings.version)),
    "rule": (RuleVersion.created_at, (RuleVersion.number,)),
    "history": (AlertChange.at, (AlertChange.user_id, AlertChange.seq, AlertChange.code, AlertChange.n)),
    "touched": (Alert.touched_at, _OF_ALERT),
    "entry": (LogEntry.at, (LogEntry.entry_id,)),
    "view": (SavedView.created_at, (SavedView.view_id,)),
    "claim": (Alert.claim_lapses_at, _OF_ALERT),
    "mute": (Mute.created_at, (Mute.user_id, Mute.code)),
}


def stamp(session: Session, what: Stamped, moments: Mapping[tuple[int, ...], datetime]) -> None:
    """Give rows of this kind, by primary key, these moments in place of their own."""
    column, keys = _STAMPS[what]
    names = [f"key_{n}" for n in range(len(keys))]
    wanted = (
        func.unnest(
            *(cast(bindparam(name), ARRAY(BigInteger)) for name in names), cast(bindparam("moments"), ARRAY(_MOMENT))
        )
        .table_valued(*names, "moment")
        .render_derived("wanted")
    )
    same = and_(*(key == wanted.c[name] for key, name in zip(keys, names, strict=True)))
    values = dict(zip(names, (list(one) for one in zip(*moments, strict=True)), strict=True)) if moments else {}
    if values:
        changed = update(column.class_).where(same).values({column: wanted.c.moment})
        _execute(session, changed, {**values, "moments": list(moments.values())})


def newest_entry(session: Session) -> int:
    """The id of the newest entry of the log; 0 if it has none."""
    return session.execute(select(func.coalesce(func.max(LogEntry.entry_id), 0))).scalar_one()


def numbers_of_rules(session: Session) -> Sequence[int]:
    """The numbers of all changes of rules, in order."""
    return session.scalars(select(RuleVersion.number).order_by(RuleVersion.number)).all()


def stamp_backtest(session: Session, backtest_id: int, moment: datetime) -> None:
    """Let a backtest that has ended have begun at this moment; it takes as long as it took."""
    later = cast(bindparam("began", type_=_MOMENT), _MOMENT) - Backtest.created_at
    columns = (Backtest.created_at, Backtest.heartbeat_at, Backtest.finished_at)
    changed = update(Backtest).where(Backtest.backtest_id == backtest_id)
    _execute(session, changed.values({column: column + later for column in columns}), {"began": moment})


# Moments of events


class Arrived(NamedTuple):
    """An action, and the moment at which it came."""

    user_id: int
    seq: int
    at: datetime


_arrived = (
    func.unnest(
        cast(bindparam("user_ids"), ARRAY(BigInteger)),
        cast(bindparam("seqs"), ARRAY(BigInteger)),
        cast(bindparam("moments"), ARRAY(_MOMENT)),
    )
    .table_valued("user_id", "seq", "moment")
    .render_derived("arrived")
)
_SINCE = bindparam("since", type_=_MOMENT)
_is_new = Alert.created_at >= _SINCE
_own = and_(UserAction.user_id == _arrived.c.user_id, UserAction.seq == _arrived.c.seq)
# A transaction in which an event came late has no other of its user: what it raised or superseded shows which it was.
_cause = (
    select(func.max(UserAction.seq))
    .where(
        UserAction.user_id == Alert.user_id, UserAction.created_at >= _SINCE, UserAction.created_at <= Alert.touched_at
    )
    .correlate(Alert)
    .scalar_subquery()
)
_TOUCH = (
    update(Alert)
    .where(
        Alert.user_id == _arrived.c.user_id,
        Alert.touched_at >= _SINCE,
        or_(Alert.superseded, ~_is_new),
        _arrived.c.seq == _cause,
    )
    .values({Alert.touched_at: _arrived.c.moment})
)
_RAISED = {
    Alert.created_at: _arrived.c.moment,
    Alert.touched_at: case((Alert.superseded, Alert.touched_at), else_=_arrived.c.moment),
}
_RAISE_LATE = (
    update(Alert)
    .where(
        Alert.user_id == _arrived.c.user_id,
        _is_new,
        Alert.late,
        UserAction.created_at == Alert.created_at,
        UserAction.user_id == Alert.user_id,
        _own,
    )
    .values(_RAISED)
)
_RAISE = (
    update(Alert)
    .where(Alert.user_id == _arrived.c.user_id, Alert.seq == _arrived.c.seq, _is_new, ~Alert.late)
    .values(_RAISED)
)
_ARRIVE = update(UserAction).where(_own).values({UserAction.created_at: _arrived.c.moment})


def stamp_arrivals(session: Session, arrived: Sequence[Arrived], since: datetime) -> None:
    """Let events that were stored since a moment have come at moments of their own, and their alerts with them.

    `arrived` are all that were stored since then of some users. A late alert was raised, and an alert superseded, when
    the event came that did it; a transaction must not have stored another one of that user with it.
    """
    values = {
        "user_ids": [one.user_id for one in arrived],
        "seqs": [one.seq for one in arrived],
        "moments": [one.at for one in arrived],
        "since": since,
    }
    for statement in (_TOUCH, _RAISE_LATE, _RAISE, _ARRIVE):
        _execute(session, statement, values)


# What there is to work on


class SeenAlert(NamedTuple):
    """An alert as somebody sees it who is about to work on it; `measured` is the value in its evidence, as text."""

    user_id: int
    seq: int
    code: int
    late: bool
    superseded: bool
    shadow: bool
    measured: str
    created_at: datetime
    touched_at: datetime


_SEEN = select(
    *_OF_ALERT,
    Alert.late,
    Alert.superseded,
    Alert.shadow,
    Alert.evidence["measured"].astext,
    Alert.created_at,
    Alert.touched_at,
).order_by(*_OF_ALERT)


def seen_alerts(session: Session) -> list[SeenAlert]:
    """All alerts, shadow alerts too, in the order of their keys; demo data has some thousands."""
    return [SeenAlert._make(row) for row in session.execute(_SEEN)]


def _execute(session: Session, statement: Any, values: dict[str, Any]) -> None:
    # A session would bring objects up to date that it does not have.
    session.connection().execute(statement, values)
