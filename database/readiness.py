"""Whether the database can take events now: asked for real, but not more often than needed."""

import threading
from functools import cached_property
from time import monotonic

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from database.session import make_readiness_engine, sqlstate

FRESH = 1.0  # seconds that an answer holds, so that any number of probes costs little
PATIENCE = 2  # seconds that one waits for another's question, for a connection, and for each statement

AWAY = "The database is unavailable or too slow."
FULL = "The database can store nothing: its disk is full."
READ_ONLY = "The database can store nothing: it is read-only."
NOT_CURRENT = "The migrations of the database are not current: run alembic upgrade head."

# A full disk is seen only by writing. New rows need room in data files and in the write-ahead log. A result that
# does not fit in memory (64 kB, see the engine) takes room like the former, and leaves nothing behind ...
_ASK = text("""
    SELECT version_num, current_setting('transaction_read_only') = 'on' AS is_read_only,
           (SELECT count(*) FROM generate_series(1, 10000))
    FROM alembic_version
""")
# ... and this is an entry in the log that means nothing, committed like an event.
_WRITE = text("SELECT pg_logical_emit_message(true, 'transaction-alerts', '')")


class Readiness:
    """Answers for one database, at `url` (a SQLAlchemy URL), and may be asked by many threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._turn = threading.Lock()
        self._until = float("-inf")
        self._problem: str | None = None

    def problem(self, head: str) -> str | None:
        """Why the database can take no events, in a sentence; None if it can. `head` is the migration it needs.

        Takes a few seconds at most.
        """
        if not self._turn.acquire(timeout=PATIENCE):
            return AWAY
        try:
            if monotonic() >= self._until:
                self._problem = self._ask(head)
                self._until = monotonic() + FRESH
            return self._problem
        finally:
            self._turn.release()

    @cached_property
    def _engine(self) -> Engine:
        return make_readiness_engine(self._url, timeout=PATIENCE)

    def _ask(self, head: str) -> str | None:
        # Only a sentence is kept: an error would keep all that its frames hold.
        try:
            with self._engine.connect() as connection:
                found = connection.execute(_ASK).first()
                if found is None or found.version_num != head:
                    return NOT_CURRENT
                if found.is_read_only:
                    return READ_ONLY
                connection.execute(_WRITE)
                return None
        except SQLAlchemyError as error:
            code = sqlstate(error) if isinstance(error, DBAPIError) else None
            return {"53100": FULL, "25006": READ_ONLY, "42P01": NOT_CURRENT}.get(code or "", AWAY)
