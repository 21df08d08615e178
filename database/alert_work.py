"""Statements for working alerts: what people make of them, and the history of that."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    Row,
    Text,
    and_,
    bindparam,
    cast,
    column,
    func,
    insert,
    literal,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from database import citus
from database.models import Alert, AlertChange, OutboxEvent, User
from database.outbox import somebody_wants
from database.records import AlertKey
from database.recordsets import recordset, written

WorkRow = Row[*tuple[Any, ...]]  # the key of an alert, and what people have made of it


class WorkedAlert(NamedTuple):
    """An alert as it is to be stored; it stays as it is if its version is not `seen_version` any more."""

    user_id: int
    seq: int
    code: int
    seen_version: int
    status: str
    outcome: str | None
    assignee: str | None
    snoozed_until: datetime | None
    claim_lapses_at: datetime | None
    work_version: int


class WorkedEvent(NamedTuple):
    """That an alert was worked: `change` says what became of it, in which fields, and who did it."""

    user_id: int
    seq: int
    code: int
    work_version: int
    change: dict[str, Any]


class _Happened(NamedTuple):
    user_id: int
    at_seq: int
    n: int
    seq: int
    code: int
    event: str
    risk: str
    change: dict[str, Any]


class NewAlertChange(NamedTuple):
    """A row for `alert_history`, but for the moment."""

    user_id: int
    seq: int
    code: int
    n: int
    who: str
    what: str
    before: str | None
    after: str | None
    note: str | None


KEY = (Alert.user_id, Alert.seq, Alert.code)
WORK = select(
    *KEY,
    Alert.status,
    Alert.outcome,
    Alert.assignee,
    Alert.snoozed_until,
    Alert.claim_lapses_at,
    Alert.work_version,
    Alert.touched_at,
)
_MOMENT = DateTime(timezone=True)
_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("user_id", "seq", "at_seq", "n", "seen_version", "work_version"), BigInteger()),
    "code": Integer(),
    **dict.fromkeys(
        ("status", "outcome", "assignee", "who", "what", "before", "after", "note", "event", "risk"), Text()
    ),
    **dict.fromkeys(("snoozed_until", "claim_lapses_at"), _MOMENT),
    "change": JSONB(),
}
_NOW = select(func.clock_timestamp(type_=_MOMENT))
_AT = bindparam("at", type_=_MOMENT)


def _table_of(record: type[Any]) -> Any:
    # They travel as one JSON text, so that one statement does for any number of them.
    columns = [column(name, _TYPES[name]) for name in record._fields]
    rows = func.jsonb_to_recordset(cast(bindparam("rows", type_=Text), JSONB))
    return rows.table_valued(*columns, name="r").render_derived(with_types=True)


def _same(rows: Any) -> ColumnElement[bool]:
    return and_(*(one == rows.c[one.key] for one in KEY))


def _written(records: Sequence[tuple[Any, ...]]) -> str:
    rows = [one._asdict() for one in records]  # type: ignore[attr-defined]
    return json.dumps(rows, default=datetime.isoformat)


_asked, _worked, _lines = _table_of(AlertKey), _table_of(WorkedAlert), _table_of(NewAlertChange)
_changed = _table_of(WorkedEvent)

_READ = WORK.join(_asked, _same(_asked))
_STORED = ("status", "outcome", "assignee", "snoozed_until", "claim_lapses_at", "work_version")
# A late event may have touched an alert since the moment was read.
_TOUCHED = {Alert.touched_at: func.greatest(Alert.touched_at, _AT)}
_STORE = (
    update(Alert)
    .where(_same(_worked), Alert.work_version == _worked.c.seen_version)
    .values({Alert.__mapper__.c[name]: _worked.c[name] for name in _STORED} | _TOUCHED)
    .returning(*KEY)
    .execution_options(synchronize_session=False)
)
_ADD_LINES = insert(AlertChange).from_select(
    [getattr(AlertChange, name) for name in (*NewAlertChange._fields, "at")],
    select(*(_lines.c[name] for name in NewAlertChange._fields), _AT),
)
# What happened to the user until now is committed: whoever stored it held the alerts that it changed.
_happened = (
    select(
        _changed.c.user_id,
        User.last_seq.label("at_seq"),
        (_changed.c.work_version + literal_column("1")).label("n"),
        _changed.c.seq,
        _changed.c.code,
        literal("alert.changed", literal_execute=True).label("event"),
        User.risk.label("risk"),
        _changed.c.change,
    )
    .join(User, User.user_id == _changed.c.user_id)
    .join(Alert, _same(_changed))
    .where(~Alert.shadow)
    .subquery()
)
_TELL = insert(OutboxEvent).from_select(
    [getattr(OutboxEvent, column.name) for column in _happened.c],
    select(_happened).where(somebody_wants(_happened.c)),
)
_HAPPENED = select(_happened)
_noted = recordset(_Happened, "happened", _TYPES)
_TELL_OF = insert(OutboxEvent).from_select(
    [getattr(OutboxEvent, name) for name in _Happened._fields], select(*_noted.c).where(somebody_wants(_noted.c))
)


def limit_lock_waits(session: Session, seconds: float) -> None:
    """Until the transaction ends, wait for no lock for longer than this."""
    session.execute(text(citus.set_local(session, {"lock_timeout": max(1, int(seconds * 1000))})))


def now(session: Session) -> datetime:
    """The present moment by the database's clock, which all processes share."""
    found: datetime = session.execute(_NOW).scalar_one()
    return found


def lock_work(session: Session, key: AlertKey) -> WorkRow | None:
    """What people have made of an alert, or None; nobody else changes the alert until the transaction ends."""
    one = WORK.where(*(column == value for column, value in zip(KEY, key, strict=True)))
    return session.execute(one.with_for_update(key_share=True)).one_or_none()


def read_work(session: Session, keys: Sequence[AlertKey]) -> dict[AlertKey, WorkRow]:
    """What people have made of these alerts, those that exist."""
    rows = session.execute(_READ, {"rows": _written(keys)})
    return {AlertKey(user_id=row.user_id, seq=row.seq, code=row.code): row for row in rows}


def store_work(
    session: Session,
    worked: Sequence[WorkedAlert],
    lines: Sequence[NewAlertChange],
    events: Sequence[WorkedEvent],
    at: datetime,
) -> bool:
    """Store what became of alerts at this moment, the lines of their histories, and what webhooks want to be told.

    Returns False if one of the alerts was changed since it was read: then the transaction must not be committed.
    """
    # In the order of keys, so that two who store the same alerts meet at the first of them.
    stored = session.execute(_STORE, {"rows": _written(sorted(worked)), "at": at}).all()
    if len(stored) < len(worked):
        return False
    # A session would take an INSERT's parameters for rows.
    session.connection().execute(_ADD_LINES, {"rows": _written(lines), "at": at})
    if not citus.is_distributed(session):
        session.connection().execute(_TELL, {"rows": _written(events)})
    elif happened := session.execute(_HAPPENED, {"rows": _written(events)}).all():
        # Alerts and webhooks are not on the same servers.
        session.connection().execute(_TELL_OF, {"happened": written(happened)})
    return True


def page_of_history(session: Session, key: AlertKey, limit: int, before: int | None = None) -> Sequence[AlertChange]:
    """Up to `limit` lines of an alert's history, newest first, those before line `before` unless that is None."""
    same = (AlertChange.user_id == key.user_id, AlertChange.seq == key.seq, AlertChange.code == key.code)
    found = select(AlertChange).where(*same).order_by(AlertChange.n.desc()).limit(limit)
    if before is not None:
        found = found.where(AlertChange.n < before)
    return session.scalars(found).all()
