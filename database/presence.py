"""Who serves from a database: each process that does holds a lock there, on a connection of its own.

However a process ends, the lock ends with its connection, at once unless its whole machine is gone.
"""

import threading
import time

from sqlalchemy import Connection, NullPool, text
from sqlalchemy.exc import SQLAlchemyError

from database import connecting

# Any number will do, if no other lock has it (see the migrations and database/history.py).
_SERVING = 7_310_045
# One database can have the tables of several services, each in a schema of its own.
_TAKE = "SELECT pg_advisory_lock_shared(:key, hashtext(coalesce(current_schema(), '')))"
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
                connection.execute(text(_TAKE), {"key": _SERVING})
                while True:
                    time.sleep(_CHECK)
                    connection.execute(text("SELECT 1"))
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
