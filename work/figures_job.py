"""The thread that counts the figures: in every process that serves, but only one counts at a time.

It stays out of the way of events. A run takes a second or so at most; then nobody counts for INTERVAL, or, while there
is more to count, for RESTS times as long as the run took.
"""

import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from database.errors import cause
from database.figures_progress import STATEMENT, begin_figures, end_turn, take_turn, turn
from database.figures_step import Counted, count_stretch, count_superseded, shorten_stretch
from database.session import Transaction, make_asking_engine, make_sessions, sqlstate

INTERVAL = 60  # seconds from one run to the next
RUN = 0.5  # seconds after which a run begins no further stretch
RESTS = 20  # a rest is at least so many times as long as the run before it
LEASE = 60  # seconds after which a run that has not said that it is over is taken for dead
# Seconds after which nothing is left of a transaction that has begun but does not show yet.
SETTLED = timedelta(seconds=5)
_TOO_LONG = "57014"  # a statement that was ended

log = structlog.get_logger()

T = TypeVar("T")

WhenKnown = Callable[[datetime], None]


def watch(url: str, when_known: WhenKnown | None = None) -> None:
    """Start the thread, which counts in the database at `url` for as long as this process lives.

    `when_known` is called with the moment up to which everything is counted, whoever has counted it.
    """
    threading.Thread(target=_watch, args=(url, when_known), name="figures", daemon=True).start()


def _watch(url: str, when_known: WhenKnown | None) -> None:
    engine = make_figures_engine(url)
    trouble = None
    while True:
        wait, failed = float(INTERVAL), None
        try:
            wait = run_if_due(engine, when_known)
        except SQLAlchemyError as error:
            failed = cause(error)
        except Exception as error:
            failed = type(error).__name__
        if failed != trouble:
            trouble = failed
            log.warning("figures_not_counted", cause=failed) if failed else log.info("figures_not_counted_no_more")
        # Or those who wait for the same turn would all come at once.
        time.sleep(wait + random.uniform(0.1, 1))  # noqa: S311 (no secret)


def run_if_due(engine: Engine, when_known: WhenKnown | None = None) -> float:
    """Count for a while if nobody else does and it is time to. Returns in how many seconds to ask again.

    Raises what the database raises.
    """
    if _ask(engine, turn) is None:
        _do(engine, begin_figures)
    if _ask(engine, lambda connection: take_turn(connection, LEASE)):
        rest = _run(engine)
        _ask(engine, lambda connection: end_turn(connection, rest))
    known = _ask(engine, turn)
    assert known is not None
    if when_known is not None:
        when_known(known.as_of)
    return min(max(known.seconds, 1.0), float(INTERVAL))


def _run(engine: Engine) -> int:
    """Count stretches until there are none or it is time to rest: for how many seconds."""
    began = time.monotonic()
    is_last = False
    try:
        while True:
            is_last = count_next(engine, SETTLED).is_last
            if is_last or time.monotonic() > began + RUN:
                break
        if is_last:
            _do(engine, count_superseded)
    except DBAPIError as error:
        # Its connection may have been cut off for taking too long as a whole.
        _do(engine, shorten_stretch)
        if sqlstate(error) != _TOO_LONG:
            raise
    rest = int(RESTS * (time.monotonic() - began)) + 1
    return max(rest, INTERVAL) if is_last else rest


def count_next(engine: Engine, settled: timedelta) -> Counted:
    """Count the next stretch of time, which ends `settled` ago at most. Raises what the database raises."""
    return _do(engine, lambda connection: count_stretch(connection, settled))


def fill_figures(url: str, *, anew: bool = False) -> datetime:
    """Count all that is stored in the database at `url`. Returns the moment up to which everything is counted then.

    With `anew`, forget what was counted before: for a database into which events of the past were written. Nobody
    should store anything meanwhile, or it may be missed.
    """
    engine = make_figures_engine(url)
    try:
        if anew:
            _do(engine, lambda connection: begin_figures(connection, anew=True))
        while not (counted := count_next(engine, timedelta(0))).is_last:
            pass
        _do(engine, count_superseded)
        return counted.as_of
    finally:
        engine.dispose()


def make_figures_engine(url: str) -> Engine:
    """An engine on the PostgreSQL at `url` for counting."""
    return make_asking_engine(url, "figures", timeout=STATEMENT)


def _ask(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Do it over a connection of its own, which takes but a moment."""
    with engine.connect() as connection:
        return work(connection)


def _do(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Do it in a transaction, and commit."""
    with make_sessions(engine)() as session, Transaction(session) as transaction:
        done = work(transaction.connection)
        transaction.commit()
        return done
