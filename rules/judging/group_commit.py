"""Group commit: requests that arrive while a batch is being committed form the next batch.

A transaction costs much the same for one event as for a hundred, and most of it is waiting for the disk. So callers
with an event to store join a queue, threads and coroutines alike. If nothing is being committed, the queue's own thread
takes all that wait (up to a maximum), runs them as one transaction, and hands each its outcome; it continues with those
that joined meanwhile, until the queue is empty. A lone event is a batch of one and never waits for company: there is no
timer. The queue is bounded: callers that find it full are turned away at once.
"""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from time import perf_counter
from types import TracebackType

from rules.judging.observer import Observer
from rules.model import Event, Outcome

Process = Callable[[Sequence[Event]], list[Outcome]]


class Broken(Exception):
    """A batch was ended by something that ends threads, such as SystemExit: `__cause__`."""


class QueueFull(Exception):
    """As many events wait as may; this one was not stored."""


class EachAlone:
    """Runs `process` for each event by itself.

    At most `threads` events of coroutines are under way at once, and at most `queue` more wait for a thread. A thread's
    own event never waits.
    """

    def __init__(self, process: Process, *, threads: int, queue: int) -> None:
        self._process = process
        self._threads = ThreadPoolExecutor(threads, "alone")
        self._most = threads + queue
        self._lock = threading.Lock()
        self.in_hand = 0  # events of coroutines, under way or waiting

    def submit(self, event: Event) -> Outcome:
        """The outcome of `event`. Raises what `process` raises."""
        (outcome,) = self._process([event])
        return outcome

    async def submit_soon(self, event: Event) -> Outcome:
        """The same for a coroutine: its event loop keeps running meanwhile. Raises QueueFull too."""
        if self.in_hand >= self._most:
            raise QueueFull
        return await self.submit_again(event)

    async def submit_again(self, event: Event) -> Outcome:
        """The same for an event that has waited already: it is never turned away."""
        self._add(1)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self.submit, event)
        finally:
            self._add(-1)

    def _add(self, count: int) -> None:
        with self._lock:
            self.in_hand += count


class GroupCommit:
    """Runs `process` for the events of many callers together, at most `maximum` events in one call.

    At most `queue` events wait, including those that coroutines try once more; further ones raise QueueFull.

    If a batch fails, `may_try_alone` says for the error and an event whether that event can safely be tried once more
    by itself, so that one event's trouble (a user whose row somebody else holds, a defect) is not its neighbours'.
    `observer` is called as the queue changes. At most `threads` second tries of coroutines are under way at once.
    """

    def __init__(
        self,
        process: Process,
        maximum: int,
        may_try_alone: Callable[[Exception, Event], bool],
        observer: Observer | None = None,
        *,
        threads: int = 1,
        queue: int,
    ) -> None:
        self._process = process
        self._maximum = maximum
        self._most_waiting = queue
        self._may_try_alone = may_try_alone
        self._observer = observer or Observer()
        self._lock = threading.Lock()
        self._queue: deque[_Ticket] = deque()
        self._led = False  # whether the leader's thread is at work, or on its way
        self._leader = _Parked("batches")
        self._alone = EachAlone(process, threads=threads, queue=queue)

    def submit(self, event: Event) -> Outcome:
        """The outcome of `event`, once its batch is committed.

        Raises what `process` raises for it, Broken, or at once QueueFull.
        """
        ticket = _Ticket(event)
        turn = threading.Lock()  # the cheapest way to wake one thread
        turn.acquire()
        ticket.wake = turn.release
        self._enqueue(ticket)
        turn.acquire()
        return self._alone.submit(event) if ticket.try_alone else ticket.result()

    async def submit_soon(self, event: Event) -> Outcome:
        """The same for a coroutine: its event loop keeps running meanwhile."""
        loop = asyncio.get_running_loop()
        ticket = _Ticket(event)
        ticket.loop, ticket.turn = loop, loop.create_future()
        self._enqueue(ticket)
        await ticket.turn
        if ticket.try_alone:
            return await self._alone.submit_again(event)
        return ticket.result()

    def _enqueue(self, ticket: "_Ticket") -> None:
        with self._lock:
            if len(self._queue) + self._alone.in_hand >= self._most_waiting:
                raise QueueFull
            self._observer.queued()  # before anybody can take it, so that the count is never below zero
            self._queue.append(ticket)
            lead, self._led = not self._led, True
        if lead:
            try:
                self._leader.run(self._lead)
            except RuntimeError as error:  # no thread can be started: the process is at its limits, or ending
                self._give_up(error.with_traceback(None))  # the traceback would lead to this ticket

    def _lead(self) -> None:
        while batch := self._next_batch():
            self._run(batch)
            _wake(batch)

    def _next_batch(self) -> "list[_Ticket]":
        with self._lock:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._maximum))]
            self._led = bool(batch)
        return batch

    def _run(self, batch: "list[_Ticket]") -> None:
        now = perf_counter()
        try:
            self._observer.taken([now - ticket.since for ticket in batch])
            outcomes = self._process([ticket.event for ticket in batch])
            _hand_out(batch, outcomes)
        except Exception as error:
            self._failed(batch, error)
        except BaseException as error:
            # The queue must not be left without a leader, and no caller in it may be ended by what ended this batch.
            broken = Broken("The batch was broken off.")
            broken.__cause__ = error
            for ticket in batch:
                ticket.error = broken
            del broken, ticket
        finally:
            # The error's traceback holds this frame. Its tickets hold the error: without this line only the collector
            # could free them, and it runs rarely.
            del batch

    def _failed(self, batch: "list[_Ticket]", error: Exception) -> None:
        for ticket in batch:
            # By the caller that waits for it, so that none waits for another's second try.
            ticket.try_alone = len(batch) > 1 and self._may_try_alone(error, ticket.event)
            if not ticket.try_alone:
                ticket.error, ticket.raised_at = error, error.__traceback__

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            batch, self._led = list(self._queue), False
            self._queue.clear()
        self._observer.taken([0.0] * len(batch))
        for ticket in batch:
            ticket.error = error
        _wake(batch)


class _Parked:
    """A thread that waits for something to do; it is started when first needed, and again if it has died.

    Waking it takes 20 microseconds less than the `submit` of a ThreadPoolExecutor.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        weakref.finalize(self, self._orders.put, None)  # it ends with its owner

    def run(self, order: Callable[[], None]) -> None:
        """Have the thread call `order`. Raises RuntimeError if no thread can be started."""
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=_obey, args=(self._orders,), name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        self._orders.put(order)


def _obey(orders: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (order := orders.get()) is not None:
        order()
        del order  # or it would keep alive what it belongs to


class _Ticket:
    """A place in the queue: of a thread, which `wake` wakes, or of a coroutine, which waits for `turn`."""

    __slots__ = ("error", "event", "loop", "outcome", "raised_at", "since", "try_alone", "turn", "wake")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.since = perf_counter()
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.raised_at: TracebackType | None = None
        self.try_alone = False
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


def _hand_out(batch: "Sequence[_Ticket]", outcomes: Sequence[Outcome]) -> None:
    for ticket, outcome in zip(batch, outcomes, strict=True):
        ticket.outcome = outcome


def _wake(batch: "Sequence[_Ticket]") -> None:
    """Wake all that wait for `batch`."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for ticket in batch:
        if ticket.wake is not None:
            ticket.wake()
        elif ticket.loop is not None and ticket.turn is not None:
            loops.setdefault(ticket.loop, []).append(ticket.turn)
    for loop, turns in loops.items():
        # Once for all of them: waking the loop costs more than what it then does.
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_end_waits, turns)


def _end_waits(turns: "list[asyncio.Future[None]]") -> None:
    for turn in turns:
        if not turn.done():  # it may have been cancelled, since its caller hung up
            turn.set_result(None)
