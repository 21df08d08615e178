"""What an upgrade locked, for how long, and how long it waited for that: measured while it runs.

Within a transaction PostgreSQL is asked after each statement which locks it holds now; a lock counts from the beginning
of the statement that took it, or from the end of its wait, until the transaction has ended. Statements outside of any
transaction (CREATE INDEX CONCURRENTLY) give their locks back themselves, so a second connection looks on, and their
locks count for the whole statement. So the figures are never less than what others noticed.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NamedTuple

from sqlalchemy import Connection, NullPool, event, text
from sqlalchemy.exc import SQLAlchemyError

from database import connecting

LOOK = 0.02  # seconds between two looks of the second connection

# Others wait for these locks: who reads for the last one, who writes for all.
BLOCK_READS = ("ACCESS EXCLUSIVE",)
BLOCK_WRITES = ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", *BLOCK_READS)
# Nearly nobody waits for these: who reads has them.
HARMLESS = ("ACCESS SHARE", "ROW SHARE")


class TableLock(NamedTuple):
    """A lock on a table, by the name that PostgreSQL's documentation has for it."""

    table: str
    mode: str


@dataclass(kw_only=True)
class MigrationTimes:
    """What one migration took: seconds in all, and of each lock the longest time that it was held, and waited for."""

    revision: str
    message: str
    seconds: float
    held: dict[TableLock, float]
    waited: dict[TableLock, float]


# Only tables that were there before the migration: nobody can wait for those it makes.
_TABLES = """
    SELECT c.oid, c.relname FROM pg_class AS c
    WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND c.relname <> 'alembic_version'
"""
_LOCKS = """
    SELECT relation, mode, granted FROM pg_locks
    WHERE locktype = 'relation' AND pid = {}
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass
class _Times:
    """Since when each lock is held or waited for, and the longest of each that has ended."""

    since: dict[TableLock, float] = field(default_factory=dict)
    longest: dict[TableLock, float] = field(default_factory=dict)

    def start(self, lock: TableLock, at: float) -> None:
        self.since.setdefault(lock, at)

    def end(self, lock: TableLock, at: float) -> None:
        begun = self.since.pop(lock, None)
        if begun is not None:
            self.longest[lock] = max(self.longest.get(lock, 0.0), at - begun)

    def end_all(self, at: float) -> None:
        for lock in list(self.since):
            self.end(lock, at)


class LockWatch:
    """Follows the migrations that one connection runs on the database at `url`, and passes each to `tell` when done."""

    def __init__(self, url: str, tell: Callable[[MigrationTimes], None]) -> None:
        self._url, self._tell = url, tell
        self._mutex = threading.Lock()
        self._stop = threading.Event()
        self._turn = 0  # counts beginnings and ends of statements
        self._ending: tuple[str, str] | None = None  # the migration that is done except for its COMMIT
        self._begin_migration(monotonic())

    def applied(self, revision: str, message: str) -> None:
        """The migration is done except for its COMMIT."""
        with self._mutex:
            self._ending = (revision, message)

    @contextmanager
    def following(self, connection: Connection) -> Iterator[None]:
        """Within the block, what `connection` does is measured. It must run migrations, each in transactions."""
        pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
        listeners: list[tuple[str, Any]] = [
            ("begin", self._transaction_begins),
            ("before_cursor_execute", self._statement_begins),
            ("after_cursor_execute", self._statement_ended),
            ("rollback", self._rolled_back),  # comes before it is done, as that of a commit
        ]
        for name, listener in listeners:
            event.listen(connection, name, listener)
        self._begin_migration(monotonic())
        onlooker = threading.Thread(target=self._look_on, args=(pid,), name="lock-watch", daemon=True)
        onlooker.start()
        try:
            yield
        finally:
            self._all_ends(connection)
            self._stop.set()
            onlooker.join()
            for name, listener in listeners:
                event.remove(connection, name, listener)

    def _begin_migration(self, now: float) -> None:
        self._begun = self._statement = now
        self._held, self._waited = _Times(), _Times()
        self._last_waiting: dict[TableLock, float] = {}
        self._tables: dict[int, str] = {}

    def _transaction_begins(self, connection: Connection) -> None:
        # The transaction before, if any, has committed: the event of a commit comes before it.
        self._all_ends(connection)
        if not self._tables:  # not those that the migration has made since it began
            tables = _ask(connection, _TABLES)
            with self._mutex:
                self._tables = dict(tables)

    def _rolled_back(self, connection: Connection) -> None:
        with self._mutex:
            self._ending = None
        self._all_ends(connection)

    def _all_ends(self, _: Connection) -> None:
        now, done = monotonic(), None
        with self._mutex:
            self._turn += 1
            self._held.end_all(now)
            self._waited.end_all(now)
            self._last_waiting.clear()
            if self._ending is not None:
                revision, message = self._ending
                done = MigrationTimes(
                    revision=revision,
                    message=message,
                    seconds=now - self._begun,
                    held=self._held.longest,
                    waited=self._waited.longest,
                )
                self._ending = None
                self._begin_migration(now)
        if done is not None:
            self._tell(done)

    def _statement_begins(self, *_: object) -> None:
        with self._mutex:
            self._turn += 1
            self._statement = monotonic()

    def _statement_ended(self, connection: Connection, *_: object) -> None:
        rows = _ask(connection, _LOCKS.format("pg_backend_pid()"))
        with self._mutex:
            self._turn += 1
            self._see(rows, is_all=True)

    def _look_on(self, pid: int) -> None:
        engine = connecting.connect(self._url, "lock watch", poolclass=NullPool, isolation_level="AUTOCOMMIT")
        query = text(_LOCKS.format(":pid"))
        try:
            with engine.connect() as connection:
                while not self._stop.wait(LOOK):
                    turn = self._turn
                    rows = [tuple(row) for row in connection.execute(query, {"pid": pid})]
                    with self._mutex:
                        if turn == self._turn:  # else it may be of a statement that has ended
                            self._see(rows, is_all=False)
        except SQLAlchemyError:  # the upgrade itself will say that the database is away
            return

    def _see(self, rows: list[tuple[Any, ...]], *, is_all: bool) -> None:
        """Take in what is locked or waited for now; `is_all`: between two statements, when all others have ended."""
        now = monotonic()
        found: dict[bool, set[TableLock]] = {True: set(), False: set()}
        for oid, mode, is_granted in rows:
            if (table := self._tables.get(oid)) and (name := named(mode)) not in HARMLESS:
                found[is_granted].add(TableLock(table, name))
        for lock in found[False]:
            self._waited.start(lock, self._statement)
            self._last_waiting[lock] = now
        for lock in found[True]:
            since = self._last_waiting.pop(lock, self._statement)
            self._waited.end(lock, since)
            self._held.start(lock, since)
        if is_all:
            for lock in self._held.since.keys() - found[True]:
                self._held.end(lock, now)


def _ask(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    """The rows of `query`, past SQLAlchemy, whose events this is called from."""
    cursor = connection.connection.cursor()
    cursor.execute(query)
    rows = list(cursor.fetchall())
    cursor.close()
    return rows


def named(mode: str) -> str:
    """A mode of pg_locks as statements and documentation have it: ACCESS EXCLUSIVE for AccessExclusiveLock."""
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in mode.removesuffix("Lock"))
    return words.strip().upper()
