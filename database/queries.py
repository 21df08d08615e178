"""Every SQL statement of the service, each a named function.

The statements that judge events take arrays and keep one text for every number of events, users and rules,
so that the server and SQLAlchemy see the same few statements for ever.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, and_, select, text, tuple_, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from database.models import Alert, User, UserAction


class Deltas(NamedTuple):
    """What a batch adds to one user: the number of its actions, and its deposits minus its withdrawals."""

    user_id: int
    actions: int
    net: Decimal


class Account(NamedTuple):
    """A locked user as it is after the addition; `is_new` if this transaction made it."""

    user_id: int
    last_seq: int
    balance: Decimal
    risk: str
    is_new: bool


class LastN(NamedTuple):
    """Ask for the `limit` actions of one type that stand last in the times after `after`, up to `time`."""

    user_id: int
    type: str
    after: int
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


class NextN(NamedTuple):
    """Ask for the `limit` actions of one type that stand first after `time`."""

    user_id: int
    type: str
    time: int
    limit: int


class NewAction(NamedTuple):
    """A row for `user_actions`; `alert_codes` and `rules` are PostgreSQL array literals such as {30,123}."""

    user_id: int
    seq: int
    type: str
    amount: Decimal
    time: int
    event_id: str | None
    alert_codes: str
    risk: str
    rules: str


class NewAlert(NamedTuple):
    """A row for `alerts`; `evidence` is JSON text, `time` that of the action."""

    user_id: int
    seq: int
    code: int
    time: int
    evidence: str
    late: bool
    superseded: bool


class Standing(NamedTuple):
    """A stored alert, and whether it is superseded from now on."""

    user_id: int
    seq: int
    code: int
    superseded: bool


# The statements that judge events are prepared once a connection: planning them costs more than running them. A plan
# holds for every number of events, because they come as arrays. What belongs together goes to the server in one
# message, since a round trip costs about as much as a statement; under READ COMMITTED each statement in it still sees
# what was committed when it began.
_PREPARE = text("""
PREPARE count_and_lock (bigint[], bigint[], numeric[], boolean) AS
INSERT INTO users AS u (user_id, last_seq, net)
SELECT d.user_id, d.actions, d.net FROM unnest($1, $2, $3) AS d (user_id, actions, net)
WHERE $4 OR (SELECT true FROM users AS k WHERE k.user_id = d.user_id)
ORDER BY d.user_id
ON CONFLICT (user_id) DO UPDATE SET last_seq = u.last_seq + excluded.last_seq, net = u.net + excluded.net;

PREPARE read_history (bigint[], bigint[], text[], bigint[], bigint[], bigint[], bigint[], text[], bigint[], bigint[],
                      bigint[], text[]) AS
SELECT user_id, last_seq AS seq, risk AS type, balance AS amount, CAST(xmax = 0 AS integer) AS time,
    NULL AS event_id, NULL AS alert_codes, true AS is_user
FROM users WHERE user_id = ANY ($1)
UNION ALL
SELECT a.user_id, a.seq, a.type, a.amount, a.time, a.event_id, a.alert_codes, false
FROM unnest($2, $3, $4, $5, $6) AS l (user_id, type, after, time, "limit")
CROSS JOIN LATERAL (
    SELECT * FROM user_actions AS x
    WHERE x.user_id = l.user_id AND x.type = l.type AND x.time > l.after AND x.time <= l.time
    ORDER BY x.time DESC, x.seq DESC LIMIT l."limit"
) AS a
UNION ALL
SELECT a.user_id, a.seq, a.type, a.amount, a.time, a.event_id, a.alert_codes, false
FROM unnest($7, $8, $9, $10) AS w (user_id, type, "start", "end")
CROSS JOIN LATERAL (
    SELECT * FROM user_actions AS x
    WHERE x.user_id = w.user_id AND x.type = w.type AND x.time BETWEEN w."start" AND w."end"
    ORDER BY x.time, x.seq
) AS a
UNION ALL
SELECT a.user_id, a.seq, a.type, a.amount, a.time, a.event_id, a.alert_codes, false
FROM unnest($11, $12) AS e (user_id, event_id)
CROSS JOIN LATERAL (
    SELECT * FROM user_actions AS x WHERE x.user_id = e.user_id AND x.event_id = e.event_id LIMIT 1
) AS a;

PREPARE insert_actions (bigint[], bigint[], text[], numeric[], bigint[], text[], text[], text[], text[]) AS
INSERT INTO user_actions (user_id, seq, type, amount, time, event_id, alert_codes, risk, rules)
SELECT n.user_id, n.seq, n.type, n.amount, n.time, n.event_id, CAST(n.alert_codes AS integer[]), n.risk,
    CAST(n.rules AS integer[])
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
    AS n (user_id, seq, type, amount, time, event_id, alert_codes, risk, rules);

PREPARE insert_alerts (bigint[], bigint[], integer[], bigint[], text[], boolean[], boolean[]) AS
INSERT INTO alerts (user_id, seq, code, time, evidence, late, superseded)
SELECT n.user_id, n.seq, n.code, n.time, CAST(n.evidence AS jsonb), n.late, n.superseded
FROM unnest($1, $2, $3, $4, $5, $6, $7) AS n (user_id, seq, code, time, evidence, late, superseded);
""")

_BEGIN_LOCK_AND_READ = """
BEGIN;
EXECUTE count_and_lock (%(user_id)s, %(actions)s, %(net)s, %(create)s);
EXECUTE read_history (%(user_id)s, %(last_user_id)s, %(last_type)s, %(last_after)s, %(last_time)s, %(last_limit)s,
    %(between_user_id)s, %(between_type)s, %(between_start)s, %(between_end)s, %(event_user_id)s, %(event_event_id)s)
"""


def begin_lock_and_read(
    session: Session,
    deltas: Sequence[Deltas],
    create: bool,
    last: Sequence[LastN],
    between: Sequence[Between],
    keys: Sequence[EventKey],
) -> tuple[list[Account], Sequence[Row[Any]]]:
    """Begin a transaction, add `deltas` (sorted by user) to their users, lock them, and read their history.

    With `create` unknown users are made; without it they are left out of the answer. The history is every stored
    action that any of the requests asks for; some may come more than once.
    """
    connection = session.connection()
    if not connection.info.get("prepared"):
        connection.execute(_PREPARE)
        connection.info["prepared"] = True
    values = _columns(Deltas, deltas) | {"create": create}
    values |= _columns(LastN, last, "last_") | _columns(Between, between, "between_")
    rows = connection.exec_driver_sql(_BEGIN_LOCK_AND_READ, values | _columns(EventKey, keys, "event_")).all()
    accounts = [Account(row.user_id, row.seq, row.amount, row.type, bool(row.time)) for row in rows if row.is_user]
    return accounts, [row for row in rows if not row.is_user]


_READ_AROUND = text("""
WITH around AS (
    SELECT a.* FROM unnest(CAST(:last_user_id AS bigint[]), CAST(:last_type AS text[]), CAST(:last_time AS bigint[]),
                           CAST(:last_limit AS bigint[])) AS l (user_id, type, time, "limit")
    CROSS JOIN LATERAL (
        SELECT * FROM user_actions AS x
        WHERE x.user_id = l.user_id AND x.type = l.type AND x.time <= l.time
        ORDER BY x.time DESC, x.seq DESC LIMIT l."limit"
    ) AS a
    UNION
    SELECT a.* FROM unnest(CAST(:next_user_id AS bigint[]), CAST(:next_type AS text[]), CAST(:next_time AS bigint[]),
                           CAST(:next_limit AS bigint[])) AS f (user_id, type, time, "limit")
    CROSS JOIN LATERAL (
        SELECT * FROM user_actions AS x
        WHERE x.user_id = f.user_id AND x.type = f.type AND x.time > f.time
        ORDER BY x.time, x.seq LIMIT f."limit"
    ) AS a
    UNION
    SELECT a.* FROM unnest(CAST(:between_user_id AS bigint[]), CAST(:between_type AS text[]),
                           CAST(:between_start AS bigint[]), CAST(:between_end AS bigint[]))
        AS w (user_id, type, "start", "end")
    CROSS JOIN LATERAL (
        SELECT * FROM user_actions AS x
        WHERE x.user_id = w.user_id AND x.type = w.type AND x.time BETWEEN w."start" AND w."end"
        ORDER BY x.time, x.seq
    ) AS a
)
SELECT a.user_id, a.seq, a.type, a.amount, a.time, a.risk, a.rules,
    ARRAY(SELECT l.code FROM alerts AS l WHERE (l.user_id, l.seq) = (a.user_id, a.seq) AND NOT superseded) AS standing,
    ARRAY(SELECT l.code FROM alerts AS l WHERE (l.user_id, l.seq) = (a.user_id, a.seq) AND l.superseded) AS superseded
FROM around AS a
""")


def read_around(
    session: Session, last: Sequence[LastN], following: Sequence[NextN], between: Sequence[Between]
) -> Sequence[Row[Any]]:
    """All stored actions that any of the requests asks for, with what judged them and the codes of their alerts."""
    values = _columns(LastN, last, "last_") | _columns(NextN, following, "next_")
    return session.execute(_READ_AROUND, values | _columns(Between, between, "between_")).all()


_INSERT_ACTIONS = """
EXECUTE insert_actions (%(user_id)s, %(seq)s, %(type)s, %(amount)s, %(time)s, %(event_id)s,
    %(alert_codes)s, %(risk)s, %(rules)s);
"""
_INSERT_ALERTS = """
EXECUTE insert_alerts (%(alert_user_id)s, %(alert_seq)s, %(alert_code)s, %(alert_time)s, %(alert_evidence)s,
    %(alert_late)s, %(alert_superseded)s);
"""
_STORE = f"{_INSERT_ACTIONS} COMMIT"
_STORE_WITH_ALERTS = f"{_INSERT_ACTIONS} {_INSERT_ALERTS} COMMIT"


def store_and_commit(session: Session, actions: Sequence[NewAction], alerts: Sequence[NewAlert]) -> None:
    """Store `actions` and `alerts` and commit the transaction."""
    values = _columns(NewAction, actions)
    if alerts:
        session.connection().exec_driver_sql(_STORE_WITH_ALERTS, values | _columns(NewAlert, alerts, "alert_"))
    else:
        session.connection().exec_driver_sql(_STORE, values)


def roll_back(session: Session) -> None:
    """Undo the transaction that `begin_lock_and_read` began."""
    session.execute(text("ROLLBACK"))


_SUPERSEDE = text("""
UPDATE alerts AS l SET superseded = s.superseded
FROM unnest(CAST(:user_id AS bigint[]), CAST(:seq AS bigint[]), CAST(:code AS integer[]),
            CAST(:superseded AS boolean[])) AS s (user_id, seq, code, superseded)
WHERE l.user_id = s.user_id AND l.seq = s.seq AND l.code = s.code
""")


def supersede(session: Session, alerts: Sequence[Standing]) -> None:
    """Mark stored alerts as superseded, or as standing again."""
    session.execute(_SUPERSEDE, _columns(Standing, alerts))


_TAKE_BACK = text("""
UPDATE users AS u SET last_seq = u.last_seq - d.actions, net = u.net - d.net
FROM unnest(CAST(:user_id AS bigint[]), CAST(:actions AS bigint[]), CAST(:net AS numeric[]))
    AS d (user_id, actions, net)
WHERE u.user_id = d.user_id
""")
_FORGET_USERS = text("DELETE FROM users WHERE user_id = ANY (CAST(:user_id AS bigint[]))")


def take_back(session: Session, deltas: Sequence[Deltas]) -> None:
    """Undo what was added to users for events that are not stored after all."""
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
    before: tuple[int, ...] | None,
) -> Sequence[UserAction]:
    """Up to `limit` actions of a user, newest (time, seq) first.

    `start` and `end` bound `time` in seconds, both included; `before` is the (time, seq) to go on behind.
    """
    place = (UserAction.time, UserAction.seq)
    pages = []
    # One stretch of the index a type, each as long as the page, instead of a second index without the type.
    for action_type in ("deposit", "withdraw"):
        page = select(UserAction.seq).where(UserAction.user_id == user_id, UserAction.type == action_type)
        page = page.where(*_stretch(place, start, end, before))
        pages.append(page.order_by(*(column.desc() for column in place)).limit(limit))
    seqs = union_all(*pages).subquery()
    rows = select(UserAction).where(UserAction.user_id == user_id, UserAction.seq.in_(select(seqs.c.seq)))
    return session.scalars(rows.order_by(*(column.desc() for column in place)).limit(limit)).all()


# Alerts

AlertRow = Row[Alert, str, Decimal]  # with the type and the amount of its action

_ALERTS = select(Alert, UserAction.type, UserAction.amount).join(
    UserAction, and_(UserAction.user_id == Alert.user_id, UserAction.seq == Alert.seq)
)


class AlertFilter(NamedTuple):
    """Ask for the alerts that fit all that is given; `risk` is their user's rating of this moment."""

    user_id: int | None = None
    code: int | None = None
    status: str | None = None
    risk: str | None = None
    late: bool | None = None
    superseded: bool | None = None
    start: int | None = None
    end: int | None = None


def page_of_alerts(
    session: Session, wanted: AlertFilter, limit: int, before: tuple[int, ...] | None
) -> Sequence[AlertRow]:
    """Up to `limit` of the `wanted` alerts, newest (time, user_id, seq, code) first, each with its action.

    The filter's `start` and `end` bound the time of the action in seconds, both included; `before` is the
    (time, user_id, seq, code) to go on behind.
    """
    place: tuple[InstrumentedAttribute[int], ...] = (Alert.time, Alert.user_id, Alert.seq, Alert.code)
    if wanted.user_id is not None:
        # Within one user the index goes by (time, seq, code): the user's id would only hide that.
        place = (Alert.time, Alert.seq, Alert.code)
        before = before and (before[0], *before[2:])
    page = _ALERTS.where(*_stretch(place, wanted.start, wanted.end, before))
    page = page.order_by(*(column.desc() for column in place)).limit(limit)
    for column in (Alert.user_id, Alert.code, Alert.status, Alert.late, Alert.superseded):
        if (value := getattr(wanted, column.key)) is not None:
            page = page.where(column == value)
    if wanted.risk is not None:
        page = page.join(User, User.user_id == Alert.user_id).where(User.risk == wanted.risk)
    return session.execute(page).all()


def get_alert(session: Session, user_id: int, seq: int, code: int) -> AlertRow | None:
    """The alert with its action, or None."""
    one = _ALERTS.where(Alert.user_id == user_id, Alert.seq == seq, Alert.code == code)
    return session.execute(one).one_or_none()


# Pages


def _stretch(
    place: tuple[InstrumentedAttribute[int], ...], start: int | None, end: int | None, before: tuple[int, ...] | None
) -> Iterator[ColumnElement[bool]]:
    """What rows with a time (the first of `place`) in [start, end] that stand behind `before` fulfil."""
    time = place[0]
    if start is not None:
        yield time >= start
    # One upper bound, the tighter: given both, PostgreSQL may begin at the wider one and walk down to the other.
    if before is not None and (end is None or before[0] <= end):
        yield tuple_(*place) < tuple_(*before)
    elif end is not None:
        yield time <= end


# State of the database


def migration_at(session: Session) -> str | None:
    """The revision of the database's tables; raises where there are none."""
    return session.execute(text("SELECT version_num FROM alembic_version")).scalar()
