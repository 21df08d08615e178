"""Reading all of history, for minutes at a time: one snapshot that several processes share, and COPY instead of rows.

Nothing here writes, and nothing here holds a lock that a writer would wait for.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, NullPool, create_engine, text

from database.session import APPLICATION_NAME


@contextmanager
def snapshot(url: str, shared: str | None = None) -> Iterator[Connection]:
    """A connection in a READ ONLY transaction that sees one state of the database however long it lasts.

    `shared` is the name of another one's state, from `name_of`, to be seen here too.
    """
    engine = create_engine(
        url,
        poolclass=NullPool,
        isolation_level="REPEATABLE READ",
        # It takes as long as it takes, and the process that gives the state to others waits for them.
        connect_args={
            "application_name": f"{APPLICATION_NAME} history",
            # And it is to take no more than one core.
            "options": "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
            " -c max_parallel_workers_per_gather=0 -c jit=off",
        },
    )
    with engine.connect().execution_options(postgresql_readonly=True) as connection:
        if shared is not None:
            connection.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{shared}'")
        yield connection
    engine.dispose()


# Any number will do as long as everybody takes the same, and no other lock has it.
_TURN = 7_310_043


def take_turn(connection: Connection) -> bool:
    """Whether nobody else reads all of history; then nobody else can until the transaction ends."""
    return bool(connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _TURN}).scalar_one())


def name_of(connection: Connection) -> str:
    """The name by which other connections can see the state that this one sees, as long as it lasts."""
    return str(connection.execute(text("SELECT pg_export_snapshot()")).scalar_one())


def count_actions(connection: Connection) -> int:
    """How many actions all users have."""
    return int(connection.execute(text("SELECT coalesce(sum(last_seq), 0) FROM users")).scalar_one())


class Users(NamedTuple):
    """A stretch of user ids, both ends included, and how many actions they say they have."""

    first: int
    last: int
    actions: int


def stretches(connection: Connection, actions: int) -> Iterator[Users]:
    """All users in the order of their ids, cut where so many actions or users are reached; one user is never cut."""
    rows = connection.execute(
        text("SELECT user_id, last_seq FROM users ORDER BY user_id"),
        execution_options={"yield_per": 10_000},
    )
    first, count = None, 0
    last = users = 0
    for user_id, own in rows:
        first = user_id if first is None else first
        last, count = user_id, count + own
        users += 1
        if count >= actions or users >= actions:
            yield Users(first, last, count)
            first, count, users = None, 0, 0
    if first is not None:
        yield Users(first, last, count)


_ACTIONS = """
COPY (
    SELECT {columns} FROM user_actions
    WHERE user_id BETWEEN {users.first} AND {users.last} AND time <= {until} ORDER BY user_id, time, seq
) TO STDOUT
"""


def actions(connection: Connection, users: Users, until: int, columns: Sequence[str]) -> str:
    """`columns` of all actions of `users` with `time` up to `until`, by user in order: a line each, cut by tabs."""
    target = io.BytesIO()
    cursor: Any = connection.connection.cursor()
    cursor.copy_expert(_ACTIONS.format(columns=", ".join(columns), users=users, until=until), target)
    cursor.close()
    return target.getvalue().decode()


_STANDING = text("""
SELECT user_id, seq, code, time FROM alerts
WHERE user_id BETWEEN :first AND :last AND NOT superseded AND code = ANY (CAST(:codes AS integer[]))
    AND time BETWEEN :start AND :end
""")


def standing_alerts(connection: Connection, users: Users, codes: Sequence[int], start: int, end: int) -> Sequence[Any]:
    """user_id, seq, code and time of the alerts of `users` with one of `codes` that hold, shadow alerts too.

    `start` and `end` bound the time of the action in seconds, both included.
    """
    values = {"first": users.first, "last": users.last, "codes": list(codes), "start": start, "end": end}
    return connection.execute(_STANDING, values).all()


_ALERTS = text("""
SELECT user_id, seq, code, time, late, superseded, shadow, evidence FROM alerts
WHERE user_id BETWEEN :first AND :last
""")


def alerts(connection: Connection, users: Users) -> Sequence[Any]:
    """All alerts of `users`."""
    return connection.execute(_ALERTS, {"first": users.first, "last": users.last}).all()


_EVIDENCE = text("SELECT evidence FROM alerts WHERE user_id = :user_id AND seq = :seq AND code = :code")


def evidence(connection: Connection, user_id: int, seq: int, code: int) -> dict[str, Any]:
    """The evidence of a stored alert."""
    found: dict[str, Any] = connection.execute(_EVIDENCE, {"user_id": user_id, "seq": seq, "code": code}).scalar_one()
    return found


_ACCOUNTS = text("SELECT user_id, last_seq, net FROM users WHERE user_id BETWEEN :first AND :last")


def accounts(connection: Connection, users: Users) -> Sequence[Any]:
    """user_id, last_seq and net of `users`."""
    return connection.execute(_ACCOUNTS, {"first": users.first, "last": users.last}).all()


_SETTINGS = text("""
SELECT user_id, version, risk, CAST(overrides AS text) FROM user_settings WHERE user_id BETWEEN :first AND :last
""")


def settings(connection: Connection, users: Users) -> Sequence[Any]:
    """All ratings and overrides that `users` ever had: user_id, version, risk, overrides as JSON text."""
    return connection.execute(_SETTINGS, {"first": users.first, "last": users.last}).all()
