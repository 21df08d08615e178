"""Reading all of history, for minutes at a time: one snapshot that several processes share, and COPY instead of rows.

Nothing here writes, and nothing here holds a lock that a writer would wait for.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    bindparam,
    cast,
    func,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import InstrumentedAttribute

from database.checkpoint_rows import StoredCheckpoint
from database.checkpoints import checkpoints_of
from database.models import Alert, Checkpoint, LateOffset, User, UserAction, UserSettings
from database.records import OUTCOMES, StoredAlert, StoredSettings, StoredTotals, Users
from database.session import make_history_engine


@contextmanager
def snapshot(url: str, shared: str | None = None, *, seconds: float | None = None) -> Iterator[Connection]:
    """A connection in a READ ONLY transaction that sees one state of the database however long it lasts.

    `shared` is the name, from `name_of`, of another connection's state to see here too. `seconds` bounds how long it
    waits for the database at once.
    """
    engine = make_history_engine(url, seconds)
    with engine.connect().execution_options(postgresql_readonly=True) as connection:
        if shared is not None:
            connection.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{shared}'")
        yield connection
    engine.dispose()


# Any number will do, as long as it is always the same one and no other lock has it.
_TURN = 7_310_043


def take_turn(connection: Connection) -> bool:
    """Whether nobody else reads all of history; if so, nobody else can until the transaction ends."""
    return bool(connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _TURN}).scalar_one())


def name_of(connection: Connection) -> str:
    """The name by which other connections can see the state that this one sees, as long as it lasts."""
    return str(connection.execute(text("SELECT pg_export_snapshot()")).scalar_one())


_COUNT_ACTIONS = select(func.coalesce(func.sum(User.last_seq), 0))


def count_actions(connection: Connection) -> int:
    """How many actions all users have."""
    return int(connection.execute(_COUNT_ACTIONS).scalar_one())


_USERS = select(User.user_id, User.last_seq).order_by(User.user_id)


def stretches(connection: Connection, actions: int) -> Iterator[Users]:
    """All users in order of id, cut after `actions` actions or as many users; a user is never split."""
    first, count = None, 0
    last = users = 0
    for user_id, own in connection.execute(_USERS, execution_options={"yield_per": 10_000}):
        first = user_id if first is None else first
        last, count = user_id, count + own
        users += 1
        if count >= actions or users >= actions:
            yield Users(first=first, last=last, actions=count)
            first, count, users = None, 0, 0
    if first is not None:
        yield Users(first=first, last=last, actions=count)


_REMOVED = select(func.coalesce(func.sum(Checkpoint.actions), 0)).where(Checkpoint.user_id == User.user_id)
_ACTIONS_OF_ALERT = (
    select(User.last_seq - _REMOVED.correlate(User).scalar_subquery())
    .join(Alert, Alert.user_id == User.user_id)
    .where(
        Alert.user_id == bindparam("user", type_=BigInteger),
        Alert.seq == bindparam("seq", type_=BigInteger),
        Alert.code == bindparam("code", type_=Integer),
    )
)


def actions_of_alert(connection: Connection, user_id: int, seq: int, code: int) -> int | None:
    """How many actions of the user with this alert are there; None if there is no such alert."""
    found = connection.execute(_ACTIONS_OF_ALERT, {"user": user_id, "seq": seq, "code": code}).scalar()
    return None if found is None else int(found)


# What is read of each action, in this order: `rules.hindsight` finds the fields of a row by position.
_TO_BACKTEST = (
    UserAction.user_id,
    UserAction.seq,
    UserAction.type == "deposit",
    cast(UserAction.amount * 100, BigInteger),
    UserAction.time,
    cast(UserAction.settings_version, BigInteger),
)

# What late events have added to the numbers stored with an action.
_offset = (
    select(LateOffset.added_count, LateOffset.added_total)
    .where(
        LateOffset.user_id == UserAction.user_id,
        LateOffset.type == UserAction.type,
        tuple_(LateOffset.time, LateOffset.seq) <= tuple_(UserAction.time, UserAction.seq),
    )
    .order_by(LateOffset.time.desc(), LateOffset.seq.desc())
    .limit(1)
    .correlate(UserAction)
    .lateral("late_offset")
)
_TO_VERIFY = (
    UserAction.user_id,
    UserAction.seq,
    UserAction.type,
    UserAction.amount,
    UserAction.time,
    UserAction.settings_version,
    UserAction.rules_number,
    (UserAction.ordinal + func.coalesce(_offset.c.added_count, 0)).label("ordinal"),
    (UserAction.running_total + func.coalesce(_offset.c.added_total, 0)).label("running_total"),
    UserAction.alert_codes,
    # What tells its transaction, in which it was judged, from others.
    func.concat_ws(" ", func.date_part("epoch", UserAction.created_at), UserAction.transaction_id),
)


def actions_to_backtest(connection: Connection, users: Users, until: int) -> bytes:
    """All actions of `users` with `time` up to `until`, in any order, as COPY writes them in its binary form.

    A row has user_id, seq, whether it is a deposit, amount in cents, time and settings_version: whole numbers of 8
    bytes, but for the one that is a boolean.
    """
    return _copied(
        connection, select(*_TO_BACKTEST).where(_between(UserAction.user_id, users), UserAction.time <= until)
    )


def actions_to_verify(
    connection: Connection, users: Users, *, as_they_came: bool = False, at_once: int | None = None
) -> Iterator[str]:
    """All actions of `users`, by user in order of (time, seq), or of seq alone: a line each, tab-separated.

    A line has user_id, seq, type, amount, time, settings_version, rules_number, ordinal, running_total, alert_codes (as
    in `{30,123}`) and a text that tells the transaction from others. The lines are read as they are taken, `at_once`
    lines (None: many) at a time.
    """
    order = [UserAction.seq] if as_they_came else [UserAction.time, UserAction.seq]
    lines = (
        select(func.concat_ws("\t", *_TO_VERIFY))
        .join_from(UserAction, _offset, true(), isouter=True)
        .where(_of_users(UserAction.user_id))
        .order_by(UserAction.user_id, *order)
    )
    values = {"first": users.first, "last": users.last}
    return iter(connection.execute(lines, values, execution_options={"yield_per": at_once or _AT_ONCE}).scalars())


def _copied(connection: Connection, rows: Select[*tuple[Any, ...]]) -> bytes:
    # COPY takes no parameters.
    statement = rows.compile(connection, compile_kwargs={"literal_binds": True})
    target = io.BytesIO()
    cursor: Any = connection.connection.cursor()
    try:
        cursor.copy_expert(f"COPY ({statement}) TO STDOUT (FORMAT binary)", target)
    except psycopg2.Error as error:  # SQLAlchemy has no COPY, so it does not see what goes wrong there
        raise DBAPIError.instance(str(statement), None, error, psycopg2.Error) from error
    finally:
        cursor.close()
    return target.getvalue()


def _between(user_id: InstrumentedAttribute[int], users: Users) -> ColumnElement[bool]:
    return user_id.between(users.first, users.last)


# Rows that are read at a time where all of them could be too many.
_AT_ONCE = 2_000


def _of_users(user_id: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    return user_id.between(bindparam("first", type_=BigInteger), bindparam("last", type_=BigInteger))


# A number for each outcome, and 0 for none, since a null has no place in a column of numbers.
_OUTCOME = func.coalesce(func.array_position(array(OUTCOMES), Alert.outcome), 0)


def standing_alerts(connection: Connection, users: Users, codes: Sequence[int], *, start: int, end: int) -> bytes:
    """The alerts of `users` with one of `codes` that hold, shadow alerts too, as COPY writes them in its binary form.

    `start` and `end` bound the time of the action in seconds, both included. A row has user_id, seq, code (4 bytes),
    time and outcome (4 bytes: its place among OUTCOMES from 1, or 0 for none).
    """
    standing = select(Alert.user_id, Alert.seq, Alert.code, Alert.time, _OUTCOME).where(
        _between(Alert.user_id, users), ~Alert.superseded, Alert.code.in_(codes), Alert.time.between(start, end)
    )
    return _copied(connection, standing)


_ALERTS = (
    select(Alert.user_id, Alert.seq, Alert.code, Alert.time, Alert.late, Alert.superseded, Alert.shadow, Alert.evidence)
    .where(_of_users(Alert.user_id))
    .order_by(Alert.user_id, Alert.seq, Alert.code)
)


def alerts(connection: Connection, users: Users, *, at_once: int | None = None) -> Iterator[StoredAlert]:
    """All alerts of `users`, by user and seq; they are read as they are taken, `at_once` (None: many) at a time."""
    values = {"first": users.first, "last": users.last}
    rows = connection.execute(_ALERTS, values, execution_options={"yield_per": at_once or _AT_ONCE})
    for user_id, seq, code, time, late, superseded, shadow, evidence in rows:
        yield StoredAlert(
            user_id=user_id,
            seq=seq,
            code=code,
            time=time,
            late=late,
            superseded=superseded,
            shadow=shadow,
            evidence=evidence,
        )


def evidence(connection: Connection, user_id: int, seq: int, code: int) -> dict[str, Any]:
    """The evidence of a stored alert."""
    one = select(Alert.evidence).where(Alert.user_id == user_id, Alert.seq == seq, Alert.code == code)
    found: dict[str, Any] = connection.execute(one).scalar_one()
    return found


_TOTALS = select(User.user_id, User.last_seq, User.net).where(_of_users(User.user_id))


def totals(connection: Connection, users: Users) -> list[StoredTotals]:
    """What the rows of `users` say about their actions."""
    rows = connection.execute(_TOTALS, {"first": users.first, "last": users.last})
    return [StoredTotals(user_id=user_id, last_seq=last_seq, net=net) for user_id, last_seq, net in rows]


_CHECKPOINTS = checkpoints_of(_of_users(Checkpoint.user_id))


def checkpoints(connection: Connection, users: Users) -> list[StoredCheckpoint]:
    """What is left of removed actions of `users`, by user and type."""
    rows = connection.execute(_CHECKPOINTS, {"first": users.first, "last": users.last})
    return [StoredCheckpoint._make(row) for row in rows]


_SETTINGS = select(
    UserSettings.user_id, UserSettings.version, UserSettings.risk, cast(UserSettings.overrides, Text)
).where(_of_users(UserSettings.user_id))


def settings(connection: Connection, users: Users) -> list[StoredSettings]:
    """All ratings and overrides that `users` ever had."""
    rows = connection.execute(_SETTINGS, {"first": users.first, "last": users.last})
    return [
        StoredSettings(user_id=user_id, version=version, risk=risk, overrides=overrides)
        for user_id, version, risk, overrides in rows
    ]
