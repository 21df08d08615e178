"""Work that reads the history of all users: in parts, on all cores, out of the way of live events."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.context import BaseContext
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from database import history
from database.records import Users

# Of Unix: about a quarter of a core that others keep busy. At the lowest, it would hardly get on beside them, and keep
# its snapshot, and with it dead rows, for hours.
PRIORITY = 5

ResultT = TypeVar("ResultT", bound="Result")


class Result(Protocol):
    """What was found for some of the users."""

    def add(self, other: Any, /) -> None:
        """Add what was found for others."""


class Work(Protocol[ResultT]):
    """What is done with users; it is sent to other processes, once to each."""

    @property
    def modules(self) -> Sequence[str]:
        """What these processes have to load for it."""

    @property
    def size(self) -> int:
        """How many actions a part has."""

    def prepared(self, connection: Connection) -> "Work[ResultT]":
        """The same, with what it needs besides the users from the state that `connection` sees."""

    def part(self, connection: Connection, users: Users) -> ResultT:
        """The result for `users`, read by `connection`."""

    def complete(self, connection: Connection, result: ResultT) -> None:
        """Add to the result for all users what is looked up at the end."""


class Cancelled(Exception):
    """Somebody has asked to stop."""


class Busy(Exception):
    """All of history is being read already: two readers at once would leave too little for live events."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over_all_users(
    url: str, work: Work[ResultT], result: ResultT, processes: int, progress: Callable[[int, int], None]
) -> ResultT:
    """Do `work` for all users of the database at `url`, all in one state of it, in up to `processes` other processes.

    Returns `result`, to which the results of all parts are added. `progress` is called with the actions done so far and
    the total, at the beginning and after each part; it may raise Cancelled, or anything else, and no process is left
    running. Raises Busy.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(history.snapshot(url))
        if not history.take_turn(connection):
            raise Busy("Another backtest, verification or export is running on this database.")
        total, done = history.count_actions(connection), 0
        progress(done, total)
        submit = stack.enter_context(_processes(processes, url, history.name_of(connection), work.prepared(connection)))
        running: dict[Future[ResultT], Users] = {}
        parts = history.stretches(connection, work.size)
        while True:
            # A few ahead, so that no process waits; all of them at once would be a list as long as the table of users.
            while len(running) < 2 * processes and (users := next(parts, None)) is not None:
                running[submit(users)] = users
            if not running:
                work.complete(connection, result)
                return result
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result.add(future.result())
                done += running.pop(future).actions
            progress(done, total)


def end_processes(seconds: float) -> None:
    """Kill the processes that this one has started by `over_all_users`, and wait up to `seconds` until they are gone.

    For a process that ends itself: nothing can go on after that.
    """
    processes = multiprocessing.active_children()
    for process in processes:
        process.kill()
    left, end = {process.sentinel for process in processes}, time.monotonic() + seconds
    while left and (seconds := end - time.monotonic()) > 0:
        left -= set(wait_for_any(left, seconds))


def _context(work: Work[Any]) -> BaseContext:
    """Where processes come from: on Linux they are forked from one that has loaded what `work` needs.

    That one is begun with the first of them, does nothing else, and ends with this process.
    """
    if sys.platform != "linux":  # elsewhere, libraries of the system may not bear it
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *work.modules])
    return context


@contextmanager
def _processes(
    count: int, url: str, snapshot: str, work: Work[ResultT]
) -> Iterator[Callable[[Users], "Future[ResultT]"]]:
    """Run `count` processes; yields what hands users to them. On an exception they end in the middle of their work."""
    context = _context(work)
    ours, theirs = context.Pipe()
    pool = ProcessPoolExecutor(count, context, _begin, (url, snapshot, work, theirs))

    def submit(users: Users) -> Future[ResultT]:
        # This may start a process. Ctrl+C reaches all processes of a terminal, and is for the first one alone.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return pool.submit(_part, users)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        yield submit
        pool.shutdown()
    finally:
        ours.close()
        theirs.close()
        pool.shutdown(cancel_futures=True)


# In the other processes


_open = ExitStack()  # for as long as the process lives
_here: "_Place"


@dataclass(frozen=True)
class _Place:
    """What a process works on."""

    url: str
    snapshot: str
    work: Work[Any]

    @cached_property
    def connection(self) -> Connection:
        """Opened with the first part, so that an error is that part's."""
        return _open.enter_context(history.snapshot(self.url, self.snapshot))


def _begin(url: str, snapshot: str, work: Work[Any], parent: Pipe) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _step_back()
    gc.freeze()
    gc.set_threshold(1_000_000)  # what is made here has no cycles
    global _here
    _here = _Place(url, snapshot, work)


def _step_back() -> None:
    # Judging live events comes first.
    os.nice(PRIORITY)
    if hasattr(os, "SCHED_BATCH"):  # of Linux: it never takes the place of one that runs
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _end_with(parent: Pipe) -> None:
    # Nothing is ever sent: the other end is closed when the work is no longer wanted, or when the parent dies.
    with suppress(EOFError, OSError):
        parent.recv()
    os._exit(1)


def _part(users: Users) -> Any:
    return _here.work.part(_here.connection, users)
