"""Every SQL statement of the service, each a named function.

The statements that judge events take arrays and keep one text for every number of events, users and rules,
so that the server and SQLAlchemy see the same few statements for ever.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Row, select, text, tuple_, union_all
from sqlalchemy.orm import Session

from database.models import User, UserAction


class Deltas(NamedTuple):
    """What a batch adds to one user: the number of its actions, and its deposits minus its withdrawals."""

    user_id: int
    actions: int
    net: Decimal


class LastN(NamedTuple):
    """Ask for the `limit` actions of one type that stand last at or before `time`."""

    user_id: int
    type: str
    time: int
    limit: int


class Between(NamedTuple):
    """Ask for the actions of one type with `time` in [start, end]."""

    user_id: int
    type: str
    start: int
    end: int


class EventKey(NamedTuple):
    """Ask for the action that a user's `event_id` made."""

    user_id: int
    event_id: str


class NewAction(NamedTuple):
    """A row for `user_actions`; `alert_codes` is a PostgreSQL array literal such as {30,123}."""

    user_id: int
    seq: int
    type: str
    amount: Decimal
    time: int
    event_id: str | None
    alert_codes: str


class NewAlert(NamedTuple):
    """A row for `alerts`; `evidence` is JSON text."""

    user_id: int
    seq: int
    code: int
    evidence: str


_COUNT_AND_LOCK = """
INSERT INTO users AS u (user_id, last_seq, net)
SELECT d.user_id, d.actions, d.net
FROM unnest(CAST(:user_id AS bigint[]), CAST(:actions AS bigint[]), CAST(:net AS numeric[]))
    AS d (user_id, actions, net)
{only_known}
ORDER BY d.user_id
ON CONFLICT (user_id) DO UPDATE SET last_seq = u.last_seq + excluded.last_seq, net = u.net + excluded.net
RETURNING u.user_id, u.last_seq, u.balance, u.risk, (xmax = 0) AS is_new
"""
_COUNT_AND_LOCK_ALL = text(_COUNT_AND_LOCK.format(only_known=""))
_COUNT_AND_LOCK_KNOWN = text(
    _COUNT_AND_LOCK.format(only_known="WHERE EXISTS (SELECT FROM users AS k WHERE k.user_id = d.user_id)")
)


def count_and_lock(session: Session, deltas: Sequence[Deltas], create: bool) -> Sequence[Row[Any]]:
    """Add `deltas` (sorted by user) to their users and lock them until the transaction ends.

    With `create` unknown users are made; without it they are left out of the answer. Returns for each user
    `user_id, last_seq, balance, risk, is_new`, as they are after the addition.
    """
    statement = _COUNT_AND_LOCK_ALL if create else _COUNT_AND_LOCK_KNOWN
    return session.execute(statement, _columns(Deltas, deltas)).all()


_READ_HISTORY = text("""
SELECT a.user_id, a.seq, a.type, a.amount, a.time, a.event_id, a.alert_codes
FROM unnest(CAST(:last_user_id AS bigint[]), CAST(:last_type AS text[]), CAST(:last_time AS bigint[]),
            CAST(:last_limit AS bigint[])) AS l (user_id, type, time, "limit")
CROSS JOIN LATERAL (
    SELECT * FROM user_actions AS x
    WHERE x.user_id = l.user_id AND x.type = l.type AND x.time <= l.time
    ORDER BY x.time DESC, x.seq DESC LIMIT l."limit"
) AS a
UNION ALL
SELECT a.user_id, a.seq, a.type, a.amount, a.time, a.event_id, a.alert_codes
FROM unnest(CAST(:between_user_id AS bigint[]), CAST(:between_type AS text[]), CAST(:between_start AS bigint[]),
            CAST(:between_end AS bigint[])) AS w (user_id, type, "start", "end")
CROSS JOIN LATERAL (
    SELECT * FROM user_actions AS x
    WHERE x.user_id = w.user_id AND x.type = w.type AND x.time BETWEEN w."start" AND w."end"
    ORDER BY x.time, x.seq
) AS a
UNION ALL
SELECT a.user_id, a.seq, a.type, a.amount, a.time, a.event_id, a.alert_codes
FROM unnest(CAST(:event_user_id AS bigint[]), CAST(:event_event_id AS text[])) AS e (user_id, event_id)
CROSS JOIN LATERAL (
    SELECT * FROM user_actions AS x WHERE x.user_id = e.user_id AND x.event_id = e.event_id LIMIT 1
) AS a
""")


def read_history(
    session: Session, last: Sequence[LastN], between: Sequence[Between], keys: Sequence[EventKey]
) -> Sequence[Row[Any]]:
    """All stored actions that any of the requests asks for, in one statement; some may come more than once.

    It must run after `count_and_lock`, as a statement of its own: only then does it see what other
    transactions committed while this one waited for the lock.
    """
    values = _columns(LastN, last, "last_") | _columns(Between, between, "between_")
    return session.execute(_READ_HISTORY, values | _columns(EventKey, keys, "event_")).all()


_INSERT_ACTIONS = text("""
INSERT INTO user_actions (user_id, seq, type, amount, time, event_id, alert_codes)
SELECT n.user_id, n.seq, n.type, n.amount, n.time, n.event_id, CAST(n.alert_codes AS integer[])
FROM unnest(CAST(:user_id AS bigint[]), CAST(:seq AS bigint[]), CAST(:type AS text[]), CAST(:amount AS numeric[]),
            CAST(:time AS bigint[]), CAST(:event_id AS text[]), CAST(:alert_codes AS text[]))
    AS n (user_id, seq, type, amount, time, event_id, alert_codes)
""")


def insert_actions(session: Session, actions: Sequence[NewAction]) -> None:
    """Store `actions`."""
    session.execute(_INSERT_ACTIONS, _columns(NewAction, actions))


_INSERT_ALERTS = text("""
INSERT INTO alerts (user_id, seq, code, evidence)
SELECT n.user_id, n.seq, n.code, CAST(n.evidence AS jsonb)
FROM unnest(CAST(:user_id AS bigint[]), CAST(:seq AS bigint[]), CAST(:code AS integer[]), CAST(:evidence AS text[]))
    AS n (user_id, seq, code, evidence)
""")


def insert_alerts(session: Session, alerts: Sequence[NewAlert]) -> None:
    """Store `alerts`."""
    session.execute(_INSERT_ALERTS, _columns(NewAlert, alerts))


_TAKE_BACK = text("""
UPDATE users AS u SET last_seq = u.last_seq - d.actions, net = u.net - d.net
FROM unnest(CAST(:user_id AS bigint[]), CAST(:actions AS bigint[]), CAST(:net AS numeric[]))
    AS d (user_id, actions, net)
WHERE u.user_id = d.user_id
""")
_FORGET_USERS = text("DELETE FROM users WHERE user_id = ANY (CAST(:user_id AS bigint[]))")


def take_back(session: Session, deltas: Sequence[Deltas]) -> None:
    """Undo what `count_and_lock` added for events that were not stored after all."""
    session.execute(_TAKE_BACK, _columns(Deltas, deltas))


def forget_users(session: Session, user_ids: Sequence[int]) -> None:
    """Remove users that this transaction made and then stored nothing for."""
    session.execute(_FORGET_USERS, {"user_id": list(user_ids)})


def _columns(row: Any, rows: Sequence[tuple[Any, ...]], prefix: str = "") -> dict[str, list[Any]]:
    # Row tuples turned into one array a column, named as the row type names them.
    columns = zip(*rows, strict=True) if rows else ((),) * len(row._fields)
    return {prefix + name: list(column) for name, column in zip(row._fields, columns, strict=True)}


# Users


def get_user(session: Session, user_id: int) -> User | None:
    """The user, or None."""
    return session.get(User, user_id)


_CREATE_USER = text("""
INSERT INTO users (user_id, name, total, risk) VALUES (:user_id, :name, :total, :risk)
ON CONFLICT (user_id) DO NOTHING RETURNING user_id
""")


def create_user(session: Session, user_id: int, name: str | None, total: Decimal, risk: str) -> bool:
    """Store a new user. Returns False, storing nothing, where the id is taken."""
    values = {"user_id": user_id, "name": name, "total": total, "risk": risk}
    return session.execute(_CREATE_USER, values).scalar() is not None


_NEXT_USER_ID = text("SELECT nextval('users_user_id_seq')")
# Callers may bring ids of their own, so the sequence can point into a run of taken ids: step over all of it. The
# largest id counts as its own successor: one more would be out of range.
_SKIP_TAKEN_IDS = text("""
SELECT setval('users_user_id_seq', min(u.user_id)) FROM users AS u
WHERE u.user_id >= :taken AND NOT EXISTS (
    SELECT FROM users AS n WHERE n.user_id = u.user_id + CAST(u.user_id < 9223372036854775807 AS integer)
)
""")


def next_user_id(session: Session) -> int:
    """An id that the service gives out itself; a caller's own user may hold it already."""
    return int(session.execute(_NEXT_USER_ID).scalar_one())


def skip_taken_ids(session: Session, taken: int) -> None:
    """Make `next_user_id` go on behind the run of taken ids that starts at `taken`."""
    session.execute(_SKIP_TAKEN_IDS, {"taken": taken})


def page_of_actions(
    session: Session,
    user_id: int,
    limit: int,
    start: int | None,
    end: int | None,
    before: tuple[int, int] | None,
) -> Sequence[UserAction]:
    """Up to `limit` actions of a user, newest (time, seq) first.

    `start` and `end` bound `time` in seconds, both included; `before` is the (time, seq) to go on behind.
    """
    place = (UserAction.time, UserAction.seq)
    pages = []
    # One stretch of the index a type, each as long as the page, instead of a second index without the type.
    for action_type in ("deposit", "withdraw"):
        page = select(UserAction.seq).where(UserAction.user_id == user_id, UserAction.type == action_type)
        if start is not None:
            page = page.where(UserAction.time >= start)
        if end is not None:
            page = page.where(UserAction.time <= end)
        if before is not None:
            page = page.where(tuple_(*place) < tuple_(*before))
        pages.append(page.order_by(*(column.desc() for column in place)).limit(limit))
    seqs = union_all(*pages).subquery()
    rows = select(UserAction).where(UserAction.user_id == user_id, UserAction.seq.in_(select(seqs.c.seq)))
    return session.scalars(rows.order_by(*(column.desc() for column in place)).limit(limit)).all()


# State of the database


def migration_at(session: Session) -> str | None:
    """The revision of the database's tables; raises where there are none."""
    return session.execute(text("SELECT version_num FROM alembic_version")).scalar()
