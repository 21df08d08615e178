"""Every SQL statement of the service, each a named function.

The statements that judge events take arrays and keep one text for every number of events, users and rules,
so that the server and SQLAlchemy see the same few statements for ever.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, select, text, tuple_, union_all
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import InstrumentedAttribute, Session

from database.models import Alert, RuleVersion, User, UserAction


class Deltas(NamedTuple):
    """What a batch adds to one user: the number of its actions, and its deposits minus its withdrawals."""

    user_id: int
    actions: int
    net: Decimal


class Account(NamedTuple):
    """A locked user as it is after the addition; `is_new` if this transaction made it.

    `overrides` is JSON text; `settings_version` counts the changes of rating and overrides, `rules_number` those of
    the rules.
    """

    user_id: int
    last_seq: int
    balance: Decimal
    risk: str
    overrides: str
    settings_version: int
    rules_number: int
    is_new: bool


# A stored action as it is read: False, user_id, seq, type, amount, time, event_id, alert_codes, ordinal, running_total.
# `event_id` and `alert_codes` (what it was answered with) come only where it was asked for by its id.
HistoryRow = tuple[bool, int, int, str, Decimal, int, str | None, list[int] | None, int, Decimal]


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
    """A row for `user_actions`; `alert_codes` is an array literal (see `array`)."""

    user_id: int
    seq: int
    type: str
    amount: Decimal
    time: int
    event_id: str | None
    alert_codes: str
    rules_number: int
    settings_version: int
    ordinal: int
    running_total: Decimal


class NewAlert(NamedTuple):
    """A row for `alerts`; `evidence` is JSON text, `time` that of the action."""

    user_id: int
    seq: int
    code: int
    time: int
    evidence: str
    late: bool
    superseded: bool
    shadow: bool


class LateAction(NamedTuple):
    """A new action that stands before others of its type."""

    user_id: int
    type: str
    time: int
    seq: int
    amount: Decimal


class Standing(NamedTuple):
    """A stored alert, and whether it is superseded from now on."""

    user_id: int
    seq: int
    code: int
    superseded: bool


# The columns of HistoryRow. `read_recent` is what most events need; to start the other parts of `read_history` takes
# PostgreSQL a third as long again, also where nothing is asked of them.
_ACTION = "false, a.user_id, a.seq, a.type, a.amount, a.time, NULL, NULL, a.ordinal, a.running_total"
_RECENT = f"""
SELECT true, user_id, last_seq, risk, balance, CAST(xmax = 0 AS integer), CAST(overrides AS text),
    CAST(NULL AS integer[]), settings_version, (SELECT CAST(max(number) AS numeric) FROM rule_versions)
FROM users WHERE user_id = ANY ($1)
UNION ALL
SELECT {_ACTION}
FROM unnest($2, $3, $4, $5, $6) AS l (user_id, type, after, time, "limit")
CROSS JOIN LATERAL (
    SELECT * FROM user_actions AS x
    WHERE x.user_id = l.user_id AND x.type = l.type AND x.time > l.after AND x.time <= l.time
    ORDER BY x.time DESC, x.seq DESC LIMIT l."limit"
) AS a
UNION ALL
SELECT {_ACTION}
FROM unnest($7, $8, $9, $10) AS w (user_id, type, "start", "end")
CROSS JOIN LATERAL (
    SELECT * FROM user_actions AS x
    WHERE x.user_id = w.user_id AND x.type = w.type AND x.time BETWEEN w."start" AND w."end"
    ORDER BY x.time, x.seq
) AS a
"""  # noqa: S608

# The statements that judge events are prepared once a connection: planning them costs more than running them. A plan
# holds for every number of events, because they come as arrays. What belongs together goes to the server in one
# message, since a round trip costs about as much as a statement; under READ COMMITTED each statement in it still sees
# what was committed when it began.
_PREPARE = text(f"""
DEALLOCATE ALL; -- where this broke off in the middle before, what was prepared is still there

PREPARE count_and_lock (bigint[], bigint[], numeric[], boolean) AS
INSERT INTO users AS u (user_id, last_seq, net)
SELECT d.user_id, d.actions, d.net FROM unnest($1, $2, $3) AS d (user_id, actions, net)
WHERE $4 OR (SELECT true FROM users AS k WHERE k.user_id = d.user_id)
ORDER BY d.user_id
ON CONFLICT (user_id) DO UPDATE SET last_seq = u.last_seq + excluded.last_seq, net = u.net + excluded.net;

PREPARE read_recent (bigint[], bigint[], text[], bigint[], bigint[], bigint[], bigint[], text[], bigint[], bigint[]) AS
{_RECENT};

PREPARE read_history (bigint[], bigint[], text[], bigint[], bigint[], bigint[], bigint[], text[], bigint[], bigint[],
                      bigint[], text[], bigint[], bigint[], bigint[], text[]) AS
{_RECENT}
UNION ALL
SELECT {_ACTION}
FROM unnest($11, $12, $13, $14) AS f (user_id, type, time, "limit")
CROSS JOIN LATERAL (
    SELECT * FROM user_actions AS x
    WHERE x.user_id = f.user_id AND x.type = f.type AND x.time > f.time
    ORDER BY x.time, x.seq LIMIT f."limit"
) AS a
UNION ALL
SELECT false, a.user_id, a.seq, a.type, a.amount, a.time, a.event_id, a.alert_codes, a.ordinal, a.running_total
FROM unnest($15, $16) AS e (user_id, event_id)
CROSS JOIN LATERAL (
    SELECT * FROM user_actions AS x WHERE x.user_id = e.user_id AND x.event_id = e.event_id LIMIT 1
) AS a;

PREPARE insert_actions (bigint[], bigint[], text[], numeric[], bigint[], text[], text[], bigint[], bigint[], bigint[],
                        numeric[]) AS
INSERT INTO user_actions (user_id, seq, type, amount, time, event_id, alert_codes, rules_number, settings_version,
    ordinal, running_total)
SELECT n.user_id, n.seq, n.type, n.amount, n.time, n.event_id, CAST(n.alert_codes AS integer[]), n.rules_number,
    n.settings_version, n.ordinal, n.running_total
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS n (user_id, seq, type, amount, time, event_id, alert_codes,
    rules_number, settings_version, ordinal, running_total);

PREPARE insert_alerts (bigint[], bigint[], integer[], bigint[], text[], boolean[], boolean[], boolean[]) AS
INSERT INTO alerts (user_id, seq, code, time, evidence, late, superseded, shadow)
SELECT n.user_id, n.seq, n.code, n.time, CAST(n.evidence AS jsonb), n.late, n.superseded, n.shadow
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) AS n (user_id, seq, code, time, evidence, late, superseded, shadow);
""")  # noqa: S608

_READ_RECENT = """
EXECUTE read_recent (%(user_id)s, %(last_user_id)s, %(last_type)s, %(last_after)s, %(last_time)s, %(last_limit)s,
    %(between_user_id)s, %(between_type)s, %(between_start)s, %(between_end)s)
"""
_READ_HISTORY = """
EXECUTE read_history (%(user_id)s, %(last_user_id)s, %(last_type)s, %(last_after)s, %(last_time)s, %(last_limit)s,
    %(between_user_id)s, %(between_type)s, %(between_start)s, %(between_end)s,
    %(next_user_id)s, %(next_type)s, %(next_time)s, %(next_limit)s, %(event_user_id)s, %(event_event_id)s)
"""
# Whoever changes a rule locks the table in EXCLUSIVE mode: he waits for the transactions that judge by the old book,
# and those that begin meanwhile wait for him. Reading alone would not do: see docs/decisions/rules-as-data.md.
_BEGIN_AND_LOCK = """
BEGIN;
LOCK TABLE rule_versions IN ROW SHARE MODE;
EXECUTE count_and_lock (%(user_id)s, %(actions)s, %(net)s, %(create)s);
"""
_BEGIN_LOCK_AND_READ_RECENT = _BEGIN_AND_LOCK + _READ_RECENT
_BEGIN_LOCK_AND_READ = _BEGIN_AND_LOCK + _READ_HISTORY


def begin_lock_and_read(
    connection: Connection,
    deltas: Sequence[Deltas],
    create: bool,
    last: Sequence[LastN],
    following: Sequence[NextN],
    between: Sequence[Between],
    keys: Sequence[EventKey],
) -> tuple[list[Account], list[HistoryRow]]:
    """Begin a transaction, add `deltas` (sorted by user) to their users, lock them, and read their history.

    With `create` unknown users are made; without it they are left out of the answer. The history is every stored
    action that any of the requests asks for; some may come more than once. The rules stay as they are until the
    transaction ends.
    """
    if not connection.info.get("prepared"):
        connection.execute(_PREPARE)
        connection.info["prepared"] = True
    values: dict[str, Any] = _columns(Deltas, deltas) | {"create": create}
    values |= _columns(LastN, last, "last_") | _columns(Between, between, "between_")
    statement = _BEGIN_LOCK_AND_READ_RECENT
    if following or keys:
        statement = _BEGIN_LOCK_AND_READ
        values |= _columns(NextN, following, "next_") | _columns(EventKey, keys, "event_")
    accounts: list[Account] = []
    history: list[HistoryRow] = []
    for row in run_directly(connection, statement, values):
        if row[0]:
            _, user_id, last_seq, risk, balance, is_new, overrides, _, settings, rules = row
            accounts.append(
                Account(user_id, last_seq, balance, risk, overrides, settings, int(rules or 0), bool(is_new))
            )
        else:
            history.append(row)
    return accounts, history


def read_history(
    connection: Connection, last: Sequence[LastN], following: Sequence[NextN], between: Sequence[Between]
) -> list[HistoryRow]:
    """Read more history within the transaction that `begin_lock_and_read` began."""
    values = (
        _columns(LastN, last, "last_") | _columns(NextN, following, "next_") | _columns(Between, between, "between_")
    )
    values |= {"user_id": "{}", "event_user_id": "{}", "event_event_id": "{}"}
    return run_directly(connection, _READ_HISTORY, values)


_READ_AHEAD = text("""
WITH ahead AS (
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
    UNION
    SELECT a.* FROM unnest(CAST(:until_user_id AS bigint[]), CAST(:until_type AS text[]), CAST(:until_time AS bigint[]),
                           CAST(:until_limit AS bigint[])) AS u (user_id, type, time, nth)
    CROSS JOIN LATERAL (
        SELECT coalesce(max(time), 9223372036854775807) AS time FROM (
            SELECT x.time FROM user_actions AS x
            WHERE x.user_id = u.user_id AND x.type = u.type AND x.time > u.time
            ORDER BY x.time, x.seq OFFSET u.nth - 1 LIMIT 1
        ) AS n
    ) AS e
    CROSS JOIN unnest(CAST('{deposit,withdraw}' AS text[])) AS k (type)
    JOIN user_actions AS a ON a.user_id = u.user_id AND a.type = k.type AND a.time > u.time AND a.time <= e.time
)
SELECT a.user_id, a.seq, a.type, a.amount, a.time, a.ordinal, a.running_total, a.rules_number, a.settings_version,
    ARRAY(SELECT l.code FROM alerts AS l WHERE (l.user_id, l.seq) = (a.user_id, a.seq) AND NOT superseded) AS standing,
    ARRAY(SELECT l.code FROM alerts AS l WHERE (l.user_id, l.seq) = (a.user_id, a.seq) AND l.superseded) AS superseded
FROM ahead AS a
""")


def read_ahead(
    connection: Connection, following: Sequence[NextN], between: Sequence[Between], until: Sequence[NextN]
) -> Sequence[Row[Any]]:
    """All stored actions that any of the requests asks for, with what judged them and the codes of their alerts.

    `until` asks for all actions, of either type, up to the `limit`-th of its type after its time.
    """
    values = _columns(NextN, following, "next_") | _columns(Between, between, "between_")
    return connection.execute(_READ_AHEAD, values | _columns(NextN, until, "until_")).all()


_USER_SETTINGS = text("""
SELECT user_id, version, risk, CAST(overrides AS text) AS overrides FROM user_settings
WHERE user_id = ANY (CAST(:user_id AS bigint[]))
""")


def user_settings(connection: Connection, user_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """All ratings and overrides that these users ever had; before the first, they were rated normal and had none."""
    return connection.execute(_USER_SETTINGS, {"user_id": array(user_ids)}).all()


_INSERT_ACTIONS = """
EXECUTE insert_actions (%(user_id)s, %(seq)s, %(type)s, %(amount)s, %(time)s, %(event_id)s, %(alert_codes)s,
    %(rules_number)s, %(settings_version)s, %(ordinal)s, %(running_total)s);
"""
_INSERT_ALERTS = """
EXECUTE insert_alerts (%(alert_user_id)s, %(alert_seq)s, %(alert_code)s, %(alert_time)s, %(alert_evidence)s,
    %(alert_late)s, %(alert_superseded)s, %(alert_shadow)s);
"""
_STORE = f"{_INSERT_ACTIONS} COMMIT"
_STORE_WITH_ALERTS = f"{_INSERT_ACTIONS} {_INSERT_ALERTS} COMMIT"


def store_and_commit(connection: Connection, actions: Sequence[NewAction], alerts: Sequence[NewAlert]) -> None:
    """Store `actions` and `alerts` and commit the transaction."""
    values = _columns(NewAction, actions)
    if alerts:
        run_directly(connection, _STORE_WITH_ALERTS, values | _columns(NewAlert, alerts, "alert_"))
    else:
        run_directly(connection, _STORE, values)


def roll_back(connection: Connection) -> None:
    """Undo the transaction that `begin_lock_and_read` began."""
    connection.execute(text("ROLLBACK"))


_SUPERSEDE = text("""
UPDATE alerts AS l SET superseded = s.superseded
FROM unnest(CAST(:user_id AS bigint[]), CAST(:seq AS bigint[]), CAST(:code AS integer[]),
            CAST(:superseded AS boolean[])) AS s (user_id, seq, code, superseded)
WHERE l.user_id = s.user_id AND l.seq = s.seq AND l.code = s.code
""")


def supersede(connection: Connection, alerts: Sequence[Standing]) -> None:
    """Mark stored alerts as superseded, or as standing again."""
    connection.execute(_SUPERSEDE, _columns(Standing, alerts))


# One pass over what stands behind the earliest late action of each user and type, however many came late.
_COUNT_IN = text("""
WITH late AS (
    SELECT * FROM unnest(CAST(:user_id AS bigint[]), CAST(:type AS text[]), CAST(:time AS bigint[]),
                         CAST(:seq AS bigint[]), CAST(:amount AS numeric[])) AS l (user_id, type, time, seq, amount)
), behind AS (
    SELECT user_id, type, time, seq, 1 AS added, amount, true AS is_late FROM late
    UNION ALL
    SELECT x.user_id, x.type, x.time, x.seq, 0, 0, false
    FROM (SELECT user_id, type, min(time) AS time FROM late GROUP BY user_id, type) AS e
    JOIN user_actions AS x ON x.user_id = e.user_id AND x.type = e.type AND x.time > e.time
), summed AS (
    SELECT user_id, seq, is_late, sum(added) OVER stretch AS added, sum(amount) OVER stretch AS amount FROM behind
    WINDOW stretch AS (PARTITION BY user_id, type ORDER BY time, seq)
)
UPDATE user_actions AS a SET ordinal = a.ordinal + s.added, running_total = a.running_total + s.amount
FROM summed AS s WHERE NOT s.is_late AND a.user_id = s.user_id AND a.seq = s.seq
""")


def count_in(connection: Connection, late: Sequence[LateAction]) -> None:
    """Add late actions, not stored yet, to the running counts and sums of the stored ones that stand behind them."""
    connection.execute(_COUNT_IN, _columns(LateAction, late))


_TAKE_BACK = text("""
UPDATE users AS u SET last_seq = u.last_seq - d.actions, net = u.net - d.net
FROM unnest(CAST(:user_id AS bigint[]), CAST(:actions AS bigint[]), CAST(:net AS numeric[]))
    AS d (user_id, actions, net)
WHERE u.user_id = d.user_id
""")
_FORGET_USERS = text("DELETE FROM users WHERE user_id = ANY (CAST(:user_id AS bigint[]))")


def take_back(connection: Connection, deltas: Sequence[Deltas]) -> None:
    """Undo what was added to users for events that are not stored after all."""
    connection.execute(_TAKE_BACK, _columns(Deltas, deltas))


def forget_users(connection: Connection, user_ids: Sequence[int]) -> None:
    """Remove users that this transaction made and then stored nothing for."""
    connection.execute(_FORGET_USERS, {"user_id": array(user_ids)})


def run_directly(connection: Connection, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement on psycopg2's own cursor and return all rows of its last part.

    What SQLAlchemy does around a statement takes as long as a statement here itself. Raises what SQLAlchemy would.
    """
    dialect, own = connection.dialect, connection.connection
    base: type[Exception] = dialect.loaded_dbapi.Error
    with closing(own.cursor()) as cursor:
        try:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description is not None else []
        except base as error:
            lost = dialect.is_disconnect(cast(Any, error), own.dbapi_connection, cursor)
            if lost:
                connection.invalidate(error)
            raise DBAPIError.instance(
                statement, None, error, base, connection_invalidated=lost, dialect=dialect
            ) from error


def _columns(row: Any, rows: Sequence[tuple[Any, ...]], prefix: str = "") -> dict[str, str]:
    # Row tuples turned into one array a column, named as the row type names them.
    columns = zip(*rows, strict=True) if rows else ((),) * len(row._fields)
    return {prefix + name: array(column) for name, column in zip(row._fields, columns, strict=True)}


def array(values: Sequence[Any]) -> str:
    """A PostgreSQL array literal of values of one type, or None.

    As a list, psycopg2 would make an expression of it: writing and reading that takes longer than the statement itself.
    """
    if values and not isinstance(values[0], int | Decimal):
        return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"
    return "{" + ",".join(map(str, values)) + "}"


def _quoted(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


# Users


def get_user(session: Session, user_id: int) -> User | None:
    """The user, or None."""
    return session.get(User, user_id)


_CREATE_USER = text("""
WITH made AS (
    INSERT INTO users (user_id, name, total, risk, settings_version)
    VALUES (:user_id, :name, :total, :risk, CAST(:risk <> 'normal' AS integer))
    ON CONFLICT (user_id) DO NOTHING RETURNING *
), noted AS (
    INSERT INTO user_settings (user_id, version, risk, overrides)
    SELECT user_id, settings_version, risk, overrides FROM made WHERE settings_version > 0
)
SELECT user_id FROM made
""")


def create_user(session: Session, user_id: int, name: str | None, total: Decimal, risk: str) -> bool:
    """Store a new user. Returns False, storing nothing, where the id is taken."""
    values = {"user_id": user_id, "name": name, "total": total, "risk": risk}
    return session.execute(_CREATE_USER, values).scalar() is not None


_CHANGE_USER = text("""
WITH changed AS (
    UPDATE users SET risk = coalesce(:risk, risk), overrides = coalesce(CAST(:overrides AS jsonb), overrides),
        settings_version = settings_version + 1
    WHERE user_id = :user_id RETURNING user_id, settings_version, risk, overrides
)
INSERT INTO user_settings (user_id, version, risk, overrides, author, note)
SELECT user_id, settings_version, risk, overrides, :author, :note FROM changed
""")


def lock_user(session: Session, user_id: int) -> User | None:
    """The user, or None; nobody judges or changes that user until the transaction ends."""
    return session.get(User, user_id, with_for_update={"key_share": True})


def change_user(
    session: Session, user: User, risk: str | None, overrides: str | None, author: str | None, note: str | None
) -> None:
    """Give a locked user another rating, or other overrides (JSON text), and keep what was there before.

    None leaves what there is.
    """
    values = {"risk": risk, "overrides": overrides, "author": author, "note": note}
    session.execute(_CHANGE_USER, values | {"user_id": user.user_id})
    session.refresh(user)


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
    """Ask for the alerts that fit all that is given; `risk` is their user's rating of this moment.

    Those of rules that are tried out come only with `shadow`, and then alone.
    """

    user_id: int | None = None
    code: int | None = None
    status: str | None = None
    risk: str | None = None
    late: bool | None = None
    superseded: bool | None = None
    start: int | None = None
    end: int | None = None
    shadow: bool = False


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
    for column in (Alert.user_id, Alert.code, Alert.status, Alert.late, Alert.superseded, Alert.shadow):
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


# Rules

_RULE_VERSIONS = text("""
SELECT number, code, version, status, parameters, by_risk, author FROM rule_versions ORDER BY number
""")


def rule_versions(session: Session | Connection) -> Sequence[Row[Any]]:
    """All changes of all rules, oldest first."""
    return session.execute(_RULE_VERSIONS).all()


def add_rule_versions(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Store changes of rules; each row has the columns of `rule_versions` by name."""
    session.execute(insert(RuleVersion), list(rows))


def lock_rules(session: Session, milliseconds: int | None = None) -> None:
    """Wait for all that judge by the rules as they are, and keep others from judging until the transaction ends.

    Who begins to judge meanwhile waits too; with `milliseconds` no longer than that, and then the database raises.
    """
    if milliseconds is not None:
        session.execute(text("SELECT set_config('lock_timeout', :timeout, true)"), {"timeout": f"{milliseconds}ms"})
    session.execute(text("LOCK TABLE rule_versions IN EXCLUSIVE MODE"))


_NEWEST_RULE_VERSIONS = text("""
SELECT DISTINCT ON (code) number, code, version, status, parameters, by_risk, author, note, created_at
FROM rule_versions ORDER BY code, version DESC
""")


def newest_rule_versions(session: Session) -> Sequence[Row[Any]]:
    """What every rule is set to, with who set it so, when and why."""
    return session.execute(_NEWEST_RULE_VERSIONS).all()


# The moment of the change is that of getting the lock, not that of beginning to wait for it.
_CHANGE_RULE = text("""
INSERT INTO rule_versions (number, code, version, status, parameters, by_risk, author, note, created_at)
SELECT max(number) + 1, :code, max(version) FILTER (WHERE code = :code) + 1, :status, CAST(:parameters AS jsonb),
    CAST(:by_risk AS jsonb), :author, :note, clock_timestamp()
FROM rule_versions
""")


def change_rule(
    session: Session, code: int, status: str, parameters: str, by_risk: str, author: str, note: str | None
) -> None:
    """Set a rule, which has been set before, to something else; `parameters` and `by_risk` are JSON text.

    Only within `lock_rules`.
    """
    values = {"code": code, "status": status, "parameters": parameters, "by_risk": by_risk}
    session.execute(_CHANGE_RULE, values | {"author": author, "note": note})


def page_of_rule_versions(session: Session, code: int, limit: int, before: int | None) -> Sequence[RuleVersion]:
    """Up to `limit` versions of a rule, newest first, those older than version `before` if it is given."""
    page = select(RuleVersion).where(RuleVersion.code == code)
    if before is not None:
        page = page.where(RuleVersion.version < before)
    return session.scalars(page.order_by(RuleVersion.version.desc()).limit(limit)).all()


# However many alerts there are: counting them all would take the longer the older the service is, and a count kept
# with each alert would have all users wait for one another.
_COUNT_ALERTS = text("""
SELECT code, count(*) FILTER (WHERE NOT shadow) AS alerts, count(*) FILTER (WHERE shadow) AS shadow_alerts
FROM (
    (SELECT code, shadow, superseded FROM alerts WHERE NOT shadow
     ORDER BY time DESC, user_id DESC, seq DESC, code DESC LIMIT :newest)
    UNION ALL
    (SELECT code, shadow, superseded FROM alerts WHERE shadow
     ORDER BY time DESC, user_id DESC, seq DESC, code DESC LIMIT :newest)
) AS l
WHERE NOT superseded GROUP BY code
""")


def count_alerts(session: Session, newest: int) -> Sequence[Row[Any]]:
    """How many of the `newest` alerts, by the time of their action, each rule has that stand."""
    return session.execute(_COUNT_ALERTS, {"newest": newest}).all()


# State of the database


def migration_at(session: Session) -> str | None:
    """The revision of the database's tables; raises where there are none."""
    return session.execute(text("SELECT version_num FROM alembic_version")).scalar()
