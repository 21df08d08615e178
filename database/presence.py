"""Who serves from a database: each process that does holds a lock there, on a connection of its own.

However a process ends, the lock ends with its connection, at once unless its whole machine is gone. Where a pooler
lends connections for a transaction at a time, a transaction holds the lock. It is followed by another every few
seconds, since who counts figures waits for the oldest.
"""

import threading
import time

from sqlalchemy import Connection, NullPool, text
from sqlalchemy.exc import SQLAlchemyError

from database import connecting, pooler

# Any number will do, if no other lock has it (see the migrations and database/history.py).
_SERVING = 7_310_045
# One database can have the tables of several services, each in a schema of its own.
_SCHEMA = "SELECT hashtext(coalesce(current_schema(), ''))"
_TAKE, _KEEP = "SELECT pg_advisory_lock_shared({0}, {1})", "SELECT 1"
_TAKE_ON_LOAN = (
    "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; SELECT pg_advisory_xact_lock_shared({0}, {1})"
)
_KEEP_ON_LOAN = f"ROLLBACK; {_TAKE_ON_LOAN}"  # one message, so that nobody can look in between
_TAKEN = (
    "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = :key "
    "AND objid = hashtext(coalesce(current_schema(), ''))::oid "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1"
)
_CHECK = 5.0  # seconds between two looks at whether the connection still lives, or attempts to get another
# Seconds until a lock counts as held by a living process: PostgreSQL takes a moment to notice that one has ended.
_PATIENCE = 2.0


def announce(url: str) -> None:
    """Let others know, for as long as this process lives, that it serves from the database at `url`."""
    threading.Thread(target=_hold, args=(url,), name="presence", daemon=True).start()


def _hold(url: str) -> None:
    engine = connecting.connect(url, "presence", poolclass=NullPool, isolation_level="AUTOCOMMIT")
    while True:
        try:
            with engine.connect() as connection:
                take, keep = (_TAKE_ON_LOAN, _KEEP_ON_LOAN) if pooler.is_shared(connection) else (_TAKE, _KEEP)
                schema = connection.scalar(text(_SCHEMA))
                connection.exec_driver_sql(take.format(_SERVING, schema))
                while True:
                    time.sleep(_CHECK)
                    connection.exec_driver_sql(keep.format(_SERVING, schema))
        except SQLAlchemyError:
            time.sleep(_CHECK)


def is_anybody_serving(url: str) -> bool:
    """Whether a process has announced itself on the database at `url`, and is alive."""
    engine = connecting.connect(url, "presence", poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        until = time.monotonic() + _PATIENCE
        while not _is_free(connection):
            if time.monotonic() > until:
                return True
            time.sleep(0.1)
    return False


def _is_free(connection: Connection) -> bool:
    # Only looked at: taking it for a moment would make two that start at once see each other.
    return connection.execute(text(_TAKEN), {"key": _SERVING}).first() is None
