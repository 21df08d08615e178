"""Engines, sessions, and what the errors of a database mean for the caller."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Self, TypeVar

from psycopg2 import Error as DriverError
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from sqlalchemy import Engine, NullPool
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from database import citus, connecting, watchdog
from database.pooled_connection import PooledConnection

T = TypeVar("T")
S = TypeVar("S", Session, PooledConnection)

# Serialization failure and deadlock: PostgreSQL has undone the transaction, which can be tried again.
_TRY_AGAIN = {"40001", "40P01"}
# The database cannot serve now: connection (08), resources such as disk and connections (53), operator
# intervention and timeouts (57), system (58), a lock not taken in time, read-only as after a failover, no database yet,
# a role that may not connect.
_AWAY_CLASSES = {"08", "53", "57", "58"}
_OF_STATEMENTS = {"22", "23", "40", "55"}  # values, constraints, conflicts between transactions, locks
_OUT_OF_NUMBERS = {"22003", "2200H"}  # numeric value out of range; a sequence has reached its end
LOCK_NOT_AVAILABLE, _QUERY_CANCELED = "55P03", "57014"
_AWAY_CODES = {LOCK_NOT_AVAILABLE, "25006", "3D000", "28000", "28P01"}

ATTEMPTS = 3


class CommitUncertain(Exception):
    """The connection broke during COMMIT: the work is stored or not, and only asking again can show which."""


# For lists, which are read from an index in its order: whatever PostgreSQL knows of the tables, it must not collect all
# that a list might have, and sort that.
_IN_ORDER = {
    f"enable_{way}": "off" for way in ("seqscan", "bitmapscan", "sort", "incremental_sort", "hashjoin", "mergejoin")
}


def make_engine(
    url: str,
    *,
    timeout: float,
    connections: int,
    lock: float | None = None,
    planning: Mapping[str, str] = MappingProxyType({}),
) -> Engine:
    """An engine on the PostgreSQL at `url` whose every wait is bounded by `timeout` (seconds).

    Those for locks are bounded by `lock`, unless that is None. It holds at most this number of `connections`; a thread
    that wants one more waits for it, also up to `timeout`. `planning` has further settings of PostgreSQL.
    """
    milliseconds = int(timeout * 1000)
    engine = connecting.make(
        url,
        # A statement is its own transaction unless BEGIN is sent: that saves two round trips on all that only reads.
        isolation_level="AUTOCOMMIT",
        pool_size=connections,
        max_overflow=0,
        pool_timeout=timeout,
        driver=_bounded(timeout),
        settings={
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds if lock is None else int(lock * 1000),
            # One plan for every number of events: they come as arrays.
            "plan_cache_mode": "force_generic_plan",
            # Plans are kept, even if made while a table was small. Compiling a statement takes longer than running it.
            "enable_seqscan": "off",
            "jit": "off",
            # A client that stalls within a transaction would hold its users' locks.
            "idle_in_transaction_session_timeout": 2 * milliseconds,
            **planning,
        },
    )
    # The longest that a transaction may take: a lock, and three statements.
    watchdog.watch(engine, 4 * timeout)
    return engine


def _bounded(seconds: float) -> dict[str, object]:
    """The driver's arguments by which connecting, and waiting for a server that is out of reach, take so long."""
    return {
        "connect_timeout": max(2, int(seconds)),  # libpq takes 2 seconds at least
        "tcp_user_timeout": int(seconds * 1000),
    }


def make_read_engine(url: str, *, timeout: float, connections: int) -> Engine:
    """The same for reading lists page by page."""
    return make_engine(url, timeout=timeout, connections=connections, planning=_IN_ORDER)


def make_history_engine(url: str, seconds: float | None = None) -> Engine:
    """An engine on the PostgreSQL at `url` for reading all of history.

    A transaction sees one state of the database, and may take any time, or each of its waits `seconds`.
    """
    milliseconds = int((seconds or 0) * 1000)
    engine = connecting.make(
        url,
        "history",
        poolclass=NullPool,
        isolation_level="REPEATABLE READ",
        driver=_bounded(seconds) if seconds else {},
        settings={
            # The process that shares its state with others waits for them.
            "statement_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
            # It may take no more than one core.
            "max_parallel_workers_per_gather": 0,
            "jit": "off",
        },
    )
    if seconds:
        watchdog.watch(engine, 2 * seconds)
    return engine


def make_backtest_engine(url: str) -> Engine:
    """An engine on the PostgreSQL at `url` for the row of one backtest, which waits for 5 seconds at most.

    Each sign of life has a connection of its own: none is kept that could hang or be lost.
    """
    return connecting.make(
        url,
        "backtest",
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        driver={"connect_timeout": 5},
        settings={"statement_timeout": 5000, "lock_timeout": 5000},
    )


def make_asking_engine(url: str, purpose: str, *, timeout: float, keep: bool = False) -> Engine:
    """An engine on the PostgreSQL at `url` for asking something from time to time, whether it works or not.

    Connecting, and each statement, takes at most `timeout` seconds; what hangs is cut off after twice as long. Each
    time it is asked over a new connection, unless it is to `keep` one.
    """
    milliseconds = int(timeout * 1000)
    engine = connecting.make(
        url,
        purpose,
        **({"pool_size": 1, "max_overflow": 0, "pool_timeout": timeout} if keep else {"poolclass": NullPool}),
        isolation_level="AUTOCOMMIT",
        driver=_bounded(timeout),
        settings={
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds,
            "work_mem": "64kB",
            "jit": "off",
        },
    )
    watchdog.watch(engine, 2 * timeout)
    return engine


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    """Sessions on `engine`. Objects stay readable after a commit."""
    return sessionmaker(engine, expire_on_commit=False)


def begin(session: Session) -> None:
    """Make all that `session` does from here one transaction. It must not have done anything yet."""
    try:
        session.connection(execution_options={"isolation_level": "READ COMMITTED"})
    except DriverError as error:  # SQLAlchemy passes on what the driver raises as it sets this on a lost connection
        engine = session.get_bind()
        assert isinstance(engine, Engine)
        engine.dispose()  # those that wait in the pool are likely to be as stale
        raise OperationalError(None, None, error, connection_invalidated=True) from error


@contextmanager
def _committing(*, is_distributed: bool) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        # Citus commits on a worker first, and may fail afterwards: then only what statements alone raise is certain.
        if error.connection_invalidated or (is_distributed and (sqlstate(error) or "")[:2] not in _OF_STATEMENTS):
            raise CommitUncertain from error
        raise


def commit(session: Session) -> None:
    """Commit. Raises CommitUncertain when the connection broke while the database was committing."""
    with _committing(is_distributed=citus.is_distributed(session)):
        session.commit()


class Transaction:
    """A transaction of a session, undone at the end of its `with` block unless it was committed there.

    The session must not have done anything yet. With `by_message` the caller sends BEGIN and COMMIT along with other
    statements, on `connection`: that takes no further message. On a pooled connection it is always so.
    """

    def __init__(self, session: Session | PooledConnection, *, by_message: bool = False) -> None:
        self._session, self._by_message = session, by_message
        if isinstance(session, Session) and not by_message:
            begin(session)
        self.connection = session.connection()
        self._is_committed = False

    def __enter__(self) -> Self:
        return self

    def commit(self) -> None:
        """Commit. Raises CommitUncertain when the connection broke while the database was committing."""
        assert isinstance(self._session, Session)
        commit(self._session)
        self._is_committed = True

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Around the message that commits: a connection that breaks there raises CommitUncertain."""
        with _committing(is_distributed=citus.is_distributed(self.connection)):
            yield
        self._is_committed = True

    def __exit__(self, *_: object) -> None:
        if self._is_committed:
            return
        try:
            if self._by_message:
                self._roll_back()
            self._session.close()
        except SQLAlchemyError:  # whatever state it is in, nobody else must get this connection
            self._session.invalidate()

    def _roll_back(self) -> None:
        if self.connection.invalidated:  # asked for the driver's connection it would make another
            return
        driver = self.connection.connection.driver_connection
        # What failed before its BEGIN leaves nothing to undo; PostgreSQL would warn.
        if driver is not None and driver.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            self.connection.exec_driver_sql("ROLLBACK")


def run(sessions: Callable[[], S], work: Callable[[S], T]) -> T:
    """Run `work` in a session or connection of its own, and again from the start if nothing can have been stored.

    That is after a serialization failure, a deadlock, or a connection lost before its COMMIT was sent: a pool
    that has outlived a restart of the database recovers here. `work` itself commits.
    """
    attempt = 1
    while True:
        try:
            with sessions() as session:
                return work(session)
        except DBAPIError as error:
            again = error.connection_invalidated or sqlstate(error) in _TRY_AGAIN
            if not again or attempt == ATTEMPTS:
                raise
            attempt += 1


def is_settled(error: Exception) -> bool:
    """Whether, after `error`, the database is there and certainly has not stored the work: trying again can help."""
    if isinstance(error, DBAPIError):
        return not error.connection_invalidated and sqlstate(error) is not None
    return not isinstance(error, SQLAlchemyError | CommitUncertain)


def sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's five-character code of `error`, or None if the server did not send one."""
    return getattr(error.orig, "pgcode", None)


def is_lock_timeout(error: Exception) -> bool:
    """Whether `error` means that a lock was not to be had within the time for locks; nothing was stored then."""
    return isinstance(error, DBAPIError) and sqlstate(error) == LOCK_NOT_AVAILABLE


def is_too_slow(error: Exception) -> bool:
    """Whether `error` means that a statement was cut off, since it took longer than it may."""
    return isinstance(error, DBAPIError) and sqlstate(error) == _QUERY_CANCELED


def is_out_of_numbers(error: Exception) -> bool:
    """Whether a number in the database is as large as it can be, so that no next one can be stored."""
    return isinstance(error, DBAPIError) and sqlstate(error) in _OUT_OF_NUMBERS


def is_away(error: SQLAlchemyError) -> bool:
    """Whether `error` means that the database is away or too slow, rather than that the statement is wrong."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = sqlstate(error)
    if code is None:
        return error.connection_invalidated or isinstance(error, OperationalError)
    return code in _TRY_AGAIN or code in _AWAY_CODES or code[:2] in _AWAY_CLASSES
