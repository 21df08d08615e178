"""A replica for reading: whether it follows the primary, and whether it has what somebody has written there.

A moment on the primary is known by its place in the write-ahead log. Once the replica has come to that place, it has
all that was committed until then; so nobody has to ask for a place when something is written.
"""

import threading
from collections.abc import MutableMapping
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import NullPool, text
from sqlalchemy.exc import SQLAlchemyError

from database import connecting
from database.errors import cause
from database.session import make_asking_engine

_KEY = "transaction-alerts-replica"

LOOK = 0.2  # seconds between two looks
PATIENCE = 2.0  # seconds that each waits for a database
# Seconds. What is read may be this old at most; a replica that falls back further is not read from.
MOST_BEHIND = 10.0

_NOW = text("SELECT CAST(pg_current_wal_lsn() AS text)")
# Null if it is no replica, or no more.
_HAS = text("SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= CAST(:place AS pg_lsn)")
_WHICH = text("SELECT (SELECT system_identifier FROM pg_control_system()) AS server, pg_is_in_recovery() AS follows")

log = structlog.get_logger()


class NotAReplica(Exception):
    """What is configured as a replica is none of this primary; the message says why."""


class Replica:
    """The replica at `url` of the primary at `primary` (SQLAlchemy URLs). Until `watch` it counts as far behind."""

    def __init__(self, primary: str, url: str) -> None:
        self.primary, self.url = primary, url
        # Of time.monotonic: all that was committed before then is there.
        self._until = float("-inf")
        self._pending: tuple[float, str] | None = None  # a moment, and its place in the log
        self._is_used: bool | None = None
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self) -> None:
        """Start the thread that looks how far it has come. Returns when it has looked, or failed to."""
        self._primary = make_asking_engine(self.primary, "replica", timeout=PATIENCE, keep=True)
        self._replica = make_asking_engine(self.url, "replica", timeout=PATIENCE, keep=True)
        looked = threading.Event()
        self._is_closed.clear()
        self._thread = threading.Thread(target=self._watch, args=(looked,), name="replica", daemon=True)
        self._thread.start()
        looked.wait(2 * PATIENCE)

    def close(self) -> None:
        """End that thread."""
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join(2 * PATIENCE)

    def has(self, moment: float) -> bool:
        """Whether it can be read from by who has written at `moment` (of time.monotonic) for the last time."""
        until = self._until
        return moment < until and monotonic() - until < MOST_BEHIND

    def doubt(self) -> None:
        """Do not read from it before it has answered another look: something went wrong there."""
        self._until = float("-inf")
        self._pending = None

    def look(self) -> None:
        """Find out how far it has come. Raises SQLAlchemyError."""
        if self._pending is None:
            moment = monotonic()
            with self._primary.connect() as connection:
                self._pending = moment, str(connection.scalar(_NOW))
        moment, place = pending = self._pending
        with self._replica.connect() as connection:
            has = connection.scalar(_HAS, {"place": place})
        if has and self._pending is pending:
            self._until, self._pending = moment, None

    def _watch(self, looked: threading.Event) -> None:
        while not self._is_closed.is_set():
            error: SQLAlchemyError | None = None
            try:
                self.look()
            except SQLAlchemyError as caught:
                error = caught
            self._say(error)
            looked.set()
            self._is_closed.wait(LOOK)

    def _say(self, error: SQLAlchemyError | None) -> None:
        """Log whether it is read from, whenever that changes."""
        is_used = self.has(float("-inf"))
        if is_used != self._is_used:
            self._is_used = is_used
            if is_used:
                log.info("replica_used")
            else:
                log.warning("replica_not_used", error=None if error is None else cause(error), most_behind=MOST_BEHIND)

    def store_in(self, extensions: MutableMapping[str, Any]) -> None:
        """Put it where `of` finds it among the extensions of an application."""
        extensions[_KEY] = self

    @classmethod
    def of(cls, extensions: MutableMapping[str, Any]) -> "Replica | None":
        """The replica of the application with these extensions, if it has one."""
        found = extensions.get(_KEY)
        assert found is None or isinstance(found, cls)
        return found


def check(primary: str, url: str) -> str | None:
    """Raise NotAReplica if what answers at `url` does not follow the primary.

    Returns why nobody can tell, if nothing answers there: that may pass, so it is no reason not to serve.
    """
    try:
        ours = _which(primary)
    except SQLAlchemyError as error:
        return f"the primary does not answer: {cause(error)}"
    try:
        found = _which(url)
    except SQLAlchemyError as error:
        return f"it does not answer: {cause(error)}"
    if not found.follows:
        raise NotAReplica(f"DATABASE_READ_URL: {connecting.place_of(url)} is no replica: it takes writes of its own")
    if found.server != ours.server:
        other = connecting.place_of(primary)
        raise NotAReplica(f"DATABASE_READ_URL: {connecting.place_of(url)} is a replica of another server than {other}")
    return None


def _which(url: str) -> Any:
    with connecting.connect(url, "start", poolclass=NullPool).connect() as connection:
        return connection.execute(_WHICH).one()
