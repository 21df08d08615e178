"""Whether the database can take events now: asked for real, but not more often than needed."""

import threading
from functools import cached_property
from time import monotonic

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from database import fitness
from database.migrations import MigrationState, explain, standing_of
from database.session import make_asking_engine, sqlstate

FRESH = 1.0  # seconds that an answer holds, so that any number of probes costs little
PATIENCE = 1.5  # seconds that a probe waits for the answer: who asks wants one within 2
CONNECTING = 2  # seconds for a connection, and for each statement: libpq takes no less

AWAY = "The database is unavailable or too slow."
FULL = "The database can store nothing: its disk is full."
READ_ONLY = "The database can store nothing: it is read-only."
UNFIT = "The database lacks tables or rights that the service needs; the log says which when the service starts."

_CODES = {"53100": FULL, "25006": READ_ONLY, "42P01": explain(MigrationState.BEHIND), "42501": UNFIT}

# A full disk is seen only by writing. New rows need room in data files and in the write-ahead log. A result that
# does not fit in memory (64 kB, see the engine) takes room like the former, and leaves nothing behind ...
_ASK = text("""
    SELECT current_setting('transaction_read_only') = 'on' AS is_read_only,
           (SELECT count(*) FROM generate_series(1, 10000))
""")
# ... and this is an entry in the log that means nothing, committed like an event.
_WRITE = text("SELECT pg_logical_emit_message(true, 'transaction-alerts', '')")


class Readiness:
    """Answers for one database, at `url` (a SQLAlchemy URL), and may be asked by many threads.

    The question is put by a thread of its own, one at a time, since a database that hangs can keep it for long.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._state = threading.Condition()
        self._until = self._asked = float("-inf")
        self._is_asking = False
        self._problem: str | None = None

    def problem(self) -> str | None:
        """Why the database can take no events, in a sentence; None if it can. Takes PATIENCE seconds at most."""
        with self._state:
            if monotonic() < self._until:
                return self._problem
            if not self._is_asking:
                self._is_asking, self._asked = True, monotonic()
                threading.Thread(target=self._find_out, name="readiness", daemon=True).start()
            self._state.wait_for(lambda: not self._is_asking, max(0.0, self._asked + PATIENCE - monotonic()))
            return AWAY if self._is_asking else self._problem

    def _find_out(self) -> None:
        found: str | None = AWAY
        try:
            found = self._ask()
        finally:
            with self._state:
                self._is_asking, self._problem, self._until = False, found, monotonic() + FRESH
                self._state.notify_all()

    @cached_property
    def _engine(self) -> Engine:
        return make_asking_engine(self._url, "readiness", timeout=CONNECTING)

    def _ask(self) -> str | None:
        # Only a sentence is kept: an error would keep all that its frames hold.
        try:
            with self._engine.connect() as connection:
                if problem := explain(standing_of(connection)):
                    return problem
                if connection.execute(_ASK).one().is_read_only:
                    return READ_ONLY
                if fitness.faults(connection):
                    return UNFIT
                connection.execute(_WRITE)
                return None
        except SQLAlchemyError as error:
            code = sqlstate(error) if isinstance(error, DBAPIError) else None
            return _CODES.get(code or "", AWAY)
