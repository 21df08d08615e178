"""Whether the database can take events now: asked for real, but not more often than needed."""

import threading
from collections.abc import Callable
from functools import cached_property
from time import monotonic

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from database import fitness, indexes
from database.migrations import MigrationState, explain, standing_of
from database.session import make_asking_engine, sqlstate

FRESH = 1.0  # seconds that an answer holds, so that any number of probes costs little
PATIENCE = 1.5  # seconds that a probe waits for the answer: who asks wants one within 2
CONNECTING = 2  # seconds for a connection, and for each statement: libpq takes no less

AWAY = "The database is unavailable or too slow."
FULL = "The database can store nothing: its disk is full."
READ_ONLY = "The database can store nothing: it is read-only."
UNFIT = "The database lacks tables or rights that the service needs; the log says which when the service starts."
NOT_UNIQUE = (
    "The database lacks an index that keeps rows unique, or it is invalid: flask --app app upgrade --plan says which."
)

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
        self._listeners: list[Callable[[tuple[str, ...]], None]] = []
        self.warnings: tuple[str, ...] = ()  # what to look after although events can be taken, as of the last answer

    def when_warned(self, tell: Callable[[tuple[str, ...]], None]) -> None:
        """Have `tell` called with the warnings whenever they are others than before."""
        self._listeners.append(tell)

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
                standing = standing_of(connection)
                if problem := explain(standing):
                    return problem
                if connection.execute(_ASK).one().is_read_only:
                    return READ_ONLY
                if fitness.faults(connection):
                    return UNFIT
                connection.execute(_WRITE)
                # A newer release may have replaced indexes that this one declares.
                found = indexes.unusable(connection) if standing is MigrationState.CURRENT else []
                self._warn(found)
                return NOT_UNIQUE if any(one.keeps_unique for one in found) else None
        except SQLAlchemyError as error:
            code = sqlstate(error) if isinstance(error, DBAPIError) else None
            return _CODES.get(code or "", AWAY)

    def _warn(self, found: list[indexes.Unusable]) -> None:
        warnings = tuple(f"{one}. {one.remedy}" for one in found)
        if warnings != self.warnings:
            self.warnings = warnings
            for tell in self._listeners:
                tell(warnings)
