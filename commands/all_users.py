"""Work that reads the history of all users: in parts, on all cores, out of the way of what is being posted."""

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from sqlalchemy import Connection

from database import long_reads
from database.long_reads import Users
from rules.backtest import COLUMNS as BACKTEST_COLUMNS
from rules.backtest import Backtest, Outcome, Trial
from rules.book import Entry, RuleBooks
from rules.hindsight import Settings
from rules.model import LAST_TIME, Risk
from rules.verify import COLUMNS as VERIFY_COLUMNS
from rules.verify import Report, Verifier

# Actions of one part: some tens of megabytes of memory, and well under a second of work, so that progress is told and a
# cancel is heeded soon. A user is never cut, so one with more of them is a part of his own.
PART = 20_000
LOWEST_PRIORITY = 19  # of Unix: judging live events goes first

ResultT = TypeVar("ResultT", bound="Result")
ResultT_co = TypeVar("ResultT_co", bound="Result", covariant=True)


class Result(Protocol):
    """What comes of some users, and can be added up."""

    actions: int

    def add(self, other: Any, /) -> None:
        """Count another part of the users in."""


class Work(Protocol[ResultT_co]):
    """What is done with some users; it is sent to other processes."""

    def part(self, connection: Connection, users: Users) -> ResultT_co:
        """The result for `users`, read by `connection`."""


class BacktestWork(NamedTuple):
    """A backtest of `trial`."""

    trial: Trial

    def part(self, connection: Connection, users: Users) -> Outcome:
        """What the trial finds for `users`."""
        start, end = self.trial.start, self.trial.end
        return Backtest(self.trial).judge(
            long_reads.actions(connection, users, end, BACKTEST_COLUMNS),
            _settings(connection, users),
            long_reads.standing_alerts(connection, users, self.trial.codes, start, end),
        )


class VerifyWork(NamedTuple):
    """A verification by all changes of the rules so far."""

    entries: tuple[Entry, ...]

    def part(self, connection: Connection, users: Users) -> Report:
        """What does not follow for `users`."""
        return Verifier(RuleBooks(self.entries)).verify(
            long_reads.actions(connection, users, LAST_TIME, VERIFY_COLUMNS),
            _settings(connection, users),
            long_reads.alerts(connection, users),
            long_reads.accounts(connection, users),
        )


class Cancelled(Exception):
    """Somebody has asked to stop."""


def over_all_users(
    url: str, work: Work[ResultT], result: ResultT, processes: int, progress: Callable[[int, int], None]
) -> ResultT:
    """Do `work` for all users of the database at `url`, all of them in one state of it, and add it up in `result`.

    `progress` is told of the actions done so far and of all there are, after each part; it may raise Cancelled.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(long_reads.snapshot(url))
        total, done = long_reads.count_actions(connection), 0
        pool = ProcessPoolExecutor(
            processes, multiprocessing.get_context("spawn"), _begin, (url, long_reads.name_of(connection), os.getpid())
        )
        stack.callback(pool.shutdown, cancel_futures=True)
        running: set[Future[ResultT]] = set()
        parts = long_reads.stretches(connection, PART)
        progress(done, total)
        while True:
            # A few ahead, so that no process waits; all of them at once would be a list as long as the table of users.
            while len(running) < 2 * processes and (users := next(parts, None)) is not None:
                running.add(pool.submit(_part, work, users))
            if not running:
                return result
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                found = future.result()
                result.add(found)
                done += found.actions
            progress(done, total)


# In the other processes


_open = ExitStack()  # for as long as the process lives
_connection: Connection


def _begin(url: str, snapshot: str, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches all of them: the first process ends the others
    os.nice(LOWEST_PRIORITY)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    gc.set_threshold(100_000)  # what is made here has no cycles
    global _connection
    _connection = _open.enter_context(long_reads.snapshot(url, snapshot))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _part(work: Work[ResultT], users: Users) -> ResultT:
    return work.part(_connection, users)


def _settings(connection: Connection, users: Users) -> Settings:
    found: dict[int, dict[int, tuple[Risk, str]]] = defaultdict(dict)
    for user_id, version, risk, overrides in long_reads.settings(connection, users):
        found[user_id][version] = (cast(Risk, risk), overrides)
    return found
