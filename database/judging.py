"""The statements that judge a batch of events.

They take arrays and keep one text for every number of events, users and rules, so that the server sees the same few
statements for ever.
"""

from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError

from database.records import (
    Account,
    Between,
    Deltas,
    EventKey,
    HistoryRow,
    LastN,
    LateAction,
    NewAction,
    NewAlert,
    NextN,
    Standing,
)

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
