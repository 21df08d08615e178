"""Group commit: requests that arrive while a batch is being committed form the next batch.

A transaction costs much the same for one event as for a hundred, and most of it is waiting for the disk. So the
threads of a process that have an event to store line up; the first one becomes the leader, takes all that wait (up
to a maximum), runs them as one transaction, and hands each thread its own outcome. Whoever lined up meanwhile is
the next batch, led by the first of them. A lone request is a batch of one and never waits for company: there is no
timer, and no thread of its own that could be lost.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter

from rules.engine import Outcome
from rules.model import Event
from rules.observer import Observer

Process = Callable[[Sequence[Event]], list[Outcome]]


class GroupCommit:
    """Runs `process` for the events of many threads together, at most `maximum` events in one call.

    Where a batch fails, `may_try_alone` says of the error and an event whether that event can safely be tried once
    more by itself, so that one event's trouble (a user whose row somebody else holds, a defect) is not its
    neighbours'. `observer` is told of the line.
    """

    def __init__(
        self,
        process: Process,
        maximum: int,
        may_try_alone: Callable[[Exception, Event], bool],
        observer: Observer | None = None,
    ) -> None:
        self._process = process
        self._maximum = maximum
        self._may_try_alone = may_try_alone
        self._observer = observer or Observer()
        self._lock = threading.Lock()
        self._line: deque[_Ticket] = deque()
        self._led = False  # whether some thread is running a batch now

    def submit(self, event: Event) -> Outcome:
        """The outcome of `event`, once its batch is committed. Raises what `process` raises for it."""
        ticket = _Ticket(event)
        self._observer.lined_up()
        with self._lock:
            self._line.append(ticket)
            lead, self._led = not self._led, True
        if not lead:
            ticket.turn.acquire()  # released with an outcome, with an error, or to lead
            lead = not ticket.done
        if lead:
            self._lead()
        if isinstance(ticket.error, Exception) and ticket.try_alone:
            (outcome,) = self._process([event])
            return outcome
        if ticket.error is not None:
            raise ticket.error
        assert ticket.outcome is not None
        return ticket.outcome

    def _lead(self) -> None:
        with self._lock:
            batch = [self._line.popleft() for _ in range(min(len(self._line), self._maximum))]
        try:
            self._run(batch)
        finally:
            # Whatever became of this batch, the line must not be left without a leader.
            with self._lock:
                if self._line:
                    self._line[0].turn.release()
                else:
                    self._led = False

    def _run(self, batch: Sequence["_Ticket"]) -> None:
        now = perf_counter()
        try:
            self._observer.taken([now - ticket.since for ticket in batch])
            outcomes = self._process([ticket.event for ticket in batch])
            for ticket, outcome in zip(batch, outcomes, strict=True):
                ticket.outcome = outcome
        except BaseException as error:
            for ticket in batch:
                ticket.error = error
                # In a thread of its own, so that nobody waits for another's second try.
                ticket.try_alone = (
                    len(batch) > 1 and isinstance(error, Exception) and self._may_try_alone(error, ticket.event)
                )
            if not isinstance(error, Exception):
                raise
        finally:
            for ticket in batch:
                ticket.done = True
                ticket.turn.release()


class _Ticket:
    """A thread's place in the line."""

    __slots__ = ("done", "error", "event", "outcome", "since", "try_alone", "turn")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.since = perf_counter()
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.try_alone = False
        self.done = False
        # Taken until it is this thread's turn to go on: a lock is the cheapest way to wake one thread.
        self.turn = threading.Lock()
        self.turn.acquire()
