"""Where events wait for their transaction: lanes that events of many users share, and lanes of one user each."""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from time import perf_counter
from types import TracebackType

from rules.model import Event, Outcome

Process = Callable[[Sequence[Event]], list[Outcome]]

SHARED, PATIENT, ALONE, LARGE = range(4)


class Broken(Exception):
    """A batch was ended by something that ends threads, such as SystemExit: `__cause__`."""


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How the events of a batch are processed in each lane. Those that are None are as `shared`."""

    shared: Process
    patient: Process | None = None
    alone: Process | None = None
    large: Process | None = None

    def of(self, rank: int) -> Process:
        """How it is done in the lane of that rank."""
        return (self.shared, self.patient, self.alone, self.large)[rank] or self.shared


class Ticket:
    """A place in a lane: of a thread, which `wake` wakes, or of a coroutine, which waits for `turn`.

    `rank` is that of the lane it waits in, 0 for the first.
    """

    __slots__ = (
        *(
            "error",
            "event",
            "is_done",
            "loop",
            "mark",
            "outcome",
            "queued",
            "raised_at",
            "rank",
            "since",
            "turn",
            "wake",
        ),
    )

    def __init__(self, event: Event) -> None:
        self.event = event
        self.since = perf_counter()
        self.rank = 0
        self.queued: float | None = self.since  # when it began to wait in its lane; None: it is under way
        self.is_done = False
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.raised_at: TracebackType | None = None
        self.mark: object = None  # what the observer knows it by
        self.wake: Callable[[], None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.turn: asyncio.Future[None] | None = None

    def result(self) -> Outcome:
        """The outcome. Raises the error, which is not to be asked for again."""
        error, self.error = self.error, None
        if error is not None:
            try:
                # All tickets of a batch raise the same one: its traceback must not grow by every caller.
                raise error.with_traceback(self.raised_at)
            finally:
                del error  # its traceback holds this frame
                self.raised_at = None
        assert self.outcome is not None
        return self.outcome


def hand_out(tickets: Sequence[Ticket], outcomes: Sequence[Outcome]) -> None:
    """Give each ticket its outcome."""
    for ticket, outcome in zip(tickets, outcomes, strict=True):
        ticket.outcome = outcome


def wake(tickets: Sequence[Ticket]) -> None:
    """Wake all that wait for `tickets`."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for ticket in tickets:
        if ticket.wake is not None:
            ticket.wake()
        elif ticket.loop is not None and ticket.turn is not None:
            loops.setdefault(ticket.loop, []).append(ticket.turn)
    for loop, turns in loops.items():
        # Once for all of them: waking the loop costs more than what it then does.
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_end_waits, turns)


def _end_waits(turns: list[asyncio.Future[None]]) -> None:
    for turn in turns:
        if not turn.done():  # it may have been cancelled, since its caller hung up
            turn.set_result(None)


GiveUp = Callable[[Sequence[Ticket], Exception], None]


class SharedLane:
    """What waits is run as one batch after the other, of `maximum` tickets at most, by a thread of the lane's own.

    `run` is called with each batch. If no thread can be started, `give_up` is called with all that waits.
    """

    def __init__(self, name: str, maximum: int, run: Callable[[list[Ticket]], None], give_up: GiveUp) -> None:
        self._maximum, self._run, self._give_up = maximum, run, give_up
        self._lock = threading.Lock()
        self.queue: deque[Ticket] = deque()
        self._led = False  # whether the leader's thread is at work, or on its way
        self.leader = _Parked(name)

    def add(self, tickets: Sequence[Ticket]) -> None:
        """Let them wait for their batch."""
        with self._lock:
            self.queue.extend(tickets)
            lead, self._led = not self._led, True
        if lead:
            try:
                self.leader.run(self._lead)
            except RuntimeError as error:  # no thread can be started: the process is at its limits, or ending
                with self._lock:
                    waiting, self._led = list(self.queue), False
                    self.queue.clear()
                self._give_up(waiting, error.with_traceback(None))  # it would lead to them

    def _lead(self) -> None:
        while batch := self._next_batch():
            self._run(batch)

    def _next_batch(self) -> list[Ticket]:
        with self._lock:
            batch = [self.queue.popleft() for _ in range(min(len(self.queue), self._maximum))]
            self._led = bool(batch)
        return batch


class _Parked:
    """A thread that waits for something to do; it is started when first needed, and again if it has died.

    Waking it takes 20 microseconds less than the `submit` of a ThreadPoolExecutor.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.thread: threading.Thread | None = None
        weakref.finalize(self, self.orders.put, None)  # it ends with its owner

    def run(self, order: Callable[[], None]) -> None:
        """Have the thread call `order`. Raises RuntimeError if no thread can be started."""
        if self.thread is None or not self.thread.is_alive():
            thread = threading.Thread(target=_obey, args=(self.orders,), name=self._name, daemon=True)
            thread.start()
            self.thread = thread
        self.orders.put(order)


def _obey(orders: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (order := orders.get()) is not None:
        order()
        del order  # or it would keep alive what it belongs to


class UserLanes:
    """Each user's tickets are run in batches one after the other, different users' side by side in `threads` threads.

    `run` is called with each batch: up to `maximum` tickets of one user. A user of whom some still wait goes to the end
    of the line. If no thread can be started, `give_up` is called with the user's tickets.
    """

    def __init__(
        self, name: str, run: Callable[[list[Ticket]], None], give_up: GiveUp, *, threads: int, maximum: int
    ) -> None:
        self._run, self._give_up, self._maximum = run, give_up, maximum
        self._threads = ThreadPoolExecutor(threads, name)
        self._lock = threading.Lock()
        self._waiting: dict[int, deque[Ticket]] = {}  # of each user who is in line or served

    def add(self, tickets: Sequence[Ticket]) -> None:
        """Let them wait for their turn."""
        new = []
        with self._lock:
            for ticket in tickets:
                user_id = ticket.event.user_id
                if user_id not in self._waiting:
                    self._waiting[user_id] = deque()
                    new.append(user_id)
                self._waiting[user_id].append(ticket)
            lines = [(user_id, self._waiting[user_id]) for user_id in new]
        for user_id, waiting in lines:
            self._line_up(user_id, waiting)

    def take_all(self, user_id: int) -> list[Ticket]:
        """Take out all that wait for this user."""
        with self._lock:
            waiting = self._waiting.get(user_id)
            taken = list(waiting or ())
            if waiting:
                waiting.clear()
        return taken

    def _line_up(self, user_id: int, waiting: deque[Ticket]) -> None:
        try:
            self._threads.submit(self._serve, user_id, waiting)
        except RuntimeError as error:
            with self._lock:
                del self._waiting[user_id]
            self._give_up(list(waiting), error.with_traceback(None))

    def _serve(self, user_id: int, waiting: deque[Ticket]) -> None:
        with self._lock:
            if self._waiting.get(user_id) is not waiting:
                return  # these were given up: a pool that cannot start another thread keeps the work all the same
            batch = [waiting.popleft() for _ in range(min(len(waiting), self._maximum))]
        try:
            if batch:
                self._run(batch)
        finally:
            with self._lock:
                again = bool(waiting)
                if not again:
                    del self._waiting[user_id]
            if again:
                self._line_up(user_id, waiting)
