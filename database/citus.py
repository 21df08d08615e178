"""Citus: whether the users of a database are spread over several servers, and what its connections need then.

`flask --app app distribute` spreads them. Each new connection asks, so that whoever has one knows: a few statements
have a second form for such databases (citus_statements.py), and time limits have to be passed on to the workers, the
servers that hold the users. See docs/scaling.md.
"""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session

# Asked of any PostgreSQL, in a question that is put anyway; only where the answer is yes can the other be asked.
HAS_EXTENSION = "EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
_ASK = "SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass('users'))"

_DISTRIBUTED, _LOCK_TIMEOUT = "is_distributed", "lock_timeout"

# What Citus says, as an internal error, where PostgreSQL would only end the connection.
SERVER_IS_GONE = "postmaster was shut down"

# Of each connection to such a database.
SETTINGS: Mapping[str, str] = {
    # It cannot plan without knowing the parameters, since they say which servers are asked.
    "plan_cache_mode": "auto",
    # One shard after the other, always in the same order: two batches that share users meet at the first of them. All
    # at once, they would deadlock, and take a connection for each shard.
    "citus.multi_shard_modify_mode": "sequential",
    # Rows are locked, which is enough. With this on, each write to several shards would lock these as a whole.
    "citus.enable_deadlock_prevention": "off",
    # Connections to workers that are kept: to make one anew for each transaction takes far longer than the rest of it.
    "citus.max_cached_conns_per_worker": "4",
    # One connection to each worker, so that a transaction that sees one state of the database sees one state of each.
    "citus.max_adaptive_executor_pool_size": "1",
}


def is_distributed(connection: Connection | Session) -> bool:
    """Whether the users of the database of `connection` are spread over several servers."""
    if isinstance(connection, Session):
        connection = connection.connection()
    return bool(connection.info.get(_DISTRIBUTED))


def set_up(connection: Any, info: dict[Any, Any], settings: Mapping[str, object], *, is_own: bool) -> bool:
    """Whether the driver's `connection`, of a server with the extension, leads to such a database.

    Then `info` says so from now on, and if the connection `is_own`, no pooler's, it has SETTINGS. `settings` are those
    with which it was made.
    """
    kept, connection.autocommit = connection.autocommit, True
    with closing(connection.cursor()) as cursor:
        cursor.execute(_ASK)
        (found,) = cursor.fetchone()
        if found:
            info[_DISTRIBUTED], info[_LOCK_TIMEOUT] = True, settings.get("lock_timeout")
            if is_own:
                cursor.execute("; ".join(f"SET {name} = {value}" for name, value in SETTINGS.items()))
    connection.autocommit = kept
    return bool(found)


def set_local(connection: Connection | Session, settings: Mapping[str, object]) -> str:
    """A statement that makes `settings` those of the present transaction, on all servers that take part in it."""
    local = "".join(f"SET LOCAL {name} = {value};\n" for name, value in settings.items())
    return passed_on(local) if is_distributed(connection) else local


def passed_on(local: str) -> str:
    """The same for a database whose users are spread: `local` has the statements for this server alone."""
    # Citus would send a worker the whole message in which it finds SET LOCAL; within DO it finds the statement alone.
    switch = "SET LOCAL citus.propagate_set_commands = {};\n"
    return f"DO $local$ BEGIN {switch.format('local')}{local}{switch.format('none')}END $local$;\n"


def lock_timeout(connection: Connection) -> object:
    """The time limit for locks, in milliseconds, with which a connection to such a database was made, if any."""
    return connection.info.get(_LOCK_TIMEOUT)
