"""Group commit: requests that arrive while a batch is being committed form the next batch.

A transaction costs much the same for one event as for a hundred, and most of it is waiting for the disk. So callers
with an event to store join a queue, threads and coroutines alike. If nothing is being committed, the queue's own thread
takes all that wait (up to a maximum), runs them as one transaction, and hands each its outcome; it continues with those
that joined meanwhile, until the queue is empty. A lone event is a batch of one and never waits for company: there is no
timer. The queue is bounded: callers that find it full are turned away at once.

One user's trouble is not another's: events that would hold up their batch leave it for another lane.

| lane | its batches | who is there |
|---|---|---|
| SHARED | of all users | everybody, as a rule |
| PATIENT | of all users | whose row somebody else held for longer than the shared lane waits |
| ALONE | of one user | whose row was held for longer, or whose late event changes much; other second tries |
| LARGE | of one user | whose late event changes too much even for that lane |

A user's events follow each other: as long as one is in a later lane, or has just been, the next ones go there too.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from time import perf_counter

from rules.judging.lanes import (
    ALONE,
    LARGE,
    PATIENT,
    SHARED,
    Broken,
    SharedLane,
    Ticket,
    UserLanes,
    Ways,
    hand_out,
    wake,
)
from rules.judging.late import LargeRepair
from rules.judging.observer import HarmlessObserver, Observer
from rules.judging.stays import Stays
from rules.model import Event, Outcome
from rules.overload import Overloaded, QueueFull

Held = Callable[[Exception, Sequence[Event]], frozenset[int] | None]

# How many seconds a user stays in a later lane although nothing of the user waits there: a row that was held for longer
# than a lane waits is likely to be held again, and to find that out costs everybody in a batch that wait.
STAY = {PATIENT: 2.5, ALONE: 10.0, LARGE: 0.0}
# A batch is run this often, less those who leave it; then each user goes on alone.
RUNS = 8
REPAIRS = 1  # large repairs at once


class GroupCommit:
    """Runs the events of many callers together, at most `maximum` in one batch; None: each event by itself.

    `ways` are how a batch is processed. If that fails, `may_try_alone` says for the error and an event whether that
    event can safely be tried once more by itself, so that one event's trouble (a defect) is not its neighbours'. `held`
    says for the error and events which users' rows somebody else holds, or None if the error has another reason.
    `observer` is called as the queue changes.

    At most `queue` events wait, and of those that begin in later lanes half as many; further ones raise QueueFull.
    `threads` batches of one user are under way at once, besides REPAIRS large repairs. An event that could not be run
    within `patience` seconds (for a large repair: `repair_patience`) raises Overloaded.
    """

    def __init__(
        self,
        ways: Ways,
        maximum: int | None,
        may_try_alone: Callable[[Exception, Event], bool],
        observer: Observer | None = None,
        *,
        held: Held = lambda *_: None,
        threads: int = 1,
        queue: int,
        patience: float = 60.0,
        repair_patience: float = 60.0,
    ) -> None:
        self._ways, self._may_try_alone, self._held = ways, may_try_alone, held
        self._observer = HarmlessObserver(observer or Observer())
        self._first, most = (SHARED, maximum) if maximum is not None else (ALONE, 1)
        self._most = queue if maximum is not None else threads + queue
        self._patience = {ALONE: patience, LARGE: repair_patience}
        self._lock = threading.Lock()
        self._in_first = 0  # tickets that wait in the shared lane
        self._stays = Stays(self._most if self._first else max(1, queue // 2))
        self._shared = SharedLane("batches", most, self._of_lane(self._run, SHARED), self._give_up)
        self._patient = SharedLane("patient", most, self._of_lane(self._run, PATIENT), self._give_up)
        self._of_user = {
            rank: UserLanes(name, self._of_lane(self._run_of_user, rank), self._give_up, threads=width, maximum=most)
            for rank, name, width in ((ALONE, "alone", threads), (LARGE, "repairs", REPAIRS))
        }

    @property
    def in_hand(self) -> int:
        """How many events are in later lanes, waiting or under way."""
        return self._stays.count

    def submit(self, event: Event) -> Outcome:
        """The outcome of `event`, once its batch is committed.

        Raises what `process` raises for it, Broken, Overloaded, or at once QueueFull.
        """
        ticket = Ticket(event)
        turn = threading.Lock()  # the cheapest way to wake one thread
        turn.acquire()
        ticket.wake = turn.release
        self._enqueue(ticket)
        turn.acquire()
        return ticket.result()

    async def submit_soon(self, event: Event) -> Outcome:
        """The same for a coroutine: its event loop keeps running meanwhile."""
        loop = asyncio.get_running_loop()
        ticket = Ticket(event)
        ticket.loop, ticket.turn = loop, loop.create_future()
        self._enqueue(ticket)
        await ticket.turn
        return ticket.result()

    def _enqueue(self, ticket: Ticket) -> None:
        with self._lock:
            if self._in_first + self._stays.count >= self._most:
                raise QueueFull
            rank = max(self._first, self._stays.rank_of(ticket.event.user_id))
            if rank:
                self._stays.enter_new(ticket, rank)
            else:
                self._in_first += 1
            ticket.mark = self._observer.queued()  # before anybody can take it, so that the count is never below zero
        self._add([ticket], rank)

    def _add(self, tickets: Sequence[Ticket], rank: int) -> None:
        lane = self._of_user[rank] if rank >= ALONE else (self._shared, self._patient)[rank]
        lane.add(tickets)

    def _move(self, tickets: Sequence[Ticket], rank: int, seconds: float = 0.0) -> None:
        """To the lane of that rank, where their users stay for so many seconds."""
        if tickets:
            with self._lock:
                for ticket in tickets:
                    self._stays.enter(ticket, rank, seconds)
                    if ticket.queued is None:
                        ticket.queued = perf_counter()
                        self._observer.queued()
            self._add(tickets, rank)

    def _taken(self, tickets: Sequence[Ticket]) -> None:
        """They were taken from their lane to be run."""
        now = perf_counter()
        waits = [now - ticket.queued for ticket in tickets if ticket.queued is not None]
        with self._lock:
            self._in_first -= sum(ticket.queued is not None and not ticket.rank for ticket in tickets)
        for ticket in tickets:
            ticket.queued = None
        self._observer.taken(waits)

    def _finish(self, tickets: Sequence[Ticket], error: Exception | None = None, seconds: float = 0.0) -> None:
        """They have their outcome, or this error; users in later lanes stay there for so many seconds."""
        if error is not None:
            for ticket in tickets:
                ticket.error, ticket.raised_at = error, error.__traceback__
        for ticket in tickets:
            ticket.is_done = True
        try:
            if later := [ticket for ticket in tickets if ticket.rank]:
                with self._lock:
                    self._stays.leave(later, seconds)
        finally:
            wake(tickets)

    def _give_up(self, tickets: Sequence[Ticket], error: Exception) -> None:
        self._taken(tickets)
        self._finish(tickets, error)

    def _of_lane(self, run: Callable[[list[Ticket], int], None], rank: int) -> Callable[[list[Ticket]], None]:
        """`run` for the lane of that rank: whatever it raises, nobody waits for ever and the lane goes on."""

        def run_to_the_end(batch: list[Ticket]) -> None:
            try:
                run(batch, rank)
            except BaseException as error:
                # Those in later lanes have been moved there.
                left = [ticket for ticket in batch if not ticket.is_done and ticket.rank <= rank]
                self._finish([ticket for ticket in left if ticket.outcome is not None])
                self._finish([ticket for ticket in left if ticket.outcome is None], _as_error(error))

        return run_to_the_end

    # Batches of many users

    def _run(self, batch: list[Ticket], rank: int) -> None:
        self._taken(batch)
        if self._stays.count:
            batch = self._without_those_ahead(batch, rank)
        error: Exception | None = None
        try:
            for _ in range(RUNS):
                if not batch:
                    return
                error = self._process(batch, rank)
                if error is None:
                    self._finish(batch)
                    return
                batch = self._without_those_in_the_way(batch, rank, error)
            self._move(batch, ALONE)
        finally:
            del error  # its traceback leads to this frame: only the collector could free them, and it runs rarely

    def _without_those_ahead(self, batch: list[Ticket], rank: int) -> list[Ticket]:
        """The batch without the events of users whose others have moved on meanwhile: they follow."""
        with self._lock:
            ranks = [self._stays.rank_of(ticket.event.user_id) for ticket in batch]
        for later in range(rank + 1, LARGE + 1):
            self._move([ticket for ticket, own in zip(batch, ranks, strict=True) if own == later], later)
        return [ticket for ticket, own in zip(batch, ranks, strict=True) if own <= rank]

    def _without_those_in_the_way(self, batch: list[Ticket], rank: int, error: Exception) -> list[Ticket]:
        """What is left to be run again after `error`: the others have moved to another lane, or have the error."""
        if isinstance(error, LargeRepair):
            users, to, seconds = error.user_ids, ALONE, 0.0  # by itself it may do more
        elif (held := self._held_users(error, batch)) is not None:
            users, to, seconds = held, rank + 1, STAY[rank + 1]
        else:
            again = [len(batch) > 1 and self._may_be_run_again(error, ticket) for ticket in batch]
            self._finish([ticket for ticket, may in zip(batch, again, strict=True) if not may], error)
            self._move([ticket for ticket, may in zip(batch, again, strict=True) if may], ALONE)
            return []
        self._move([ticket for ticket in batch if ticket.event.user_id in users], to, seconds)
        return [ticket for ticket in batch if ticket.event.user_id not in users]

    def _may_be_run_again(self, error: Exception, ticket: Ticket) -> bool:
        return not isinstance(error, Broken) and self._may_try_alone(error, ticket.event)

    def _held_users(self, error: Exception, batch: Sequence[Ticket]) -> frozenset[int] | None:
        return self._held(error, [ticket.event for ticket in batch])

    # Batches of one user

    def _run_of_user(self, batch: list[Ticket], rank: int) -> None:
        self._taken(batch)
        batch = self._without_those_ahead(batch, rank)
        oldest = perf_counter() - self._patience[rank]
        self._finish([ticket for ticket in batch if ticket.since < oldest], Overloaded("it waited for too long"))
        batch = [ticket for ticket in batch if ticket.since >= oldest]
        if not batch:
            return
        error = self._process(batch, rank)
        try:
            self._after_run_of_user(batch, rank, error)
        finally:
            del error  # as in `_run`

    def _after_run_of_user(self, batch: list[Ticket], rank: int, error: Exception | None) -> None:
        if error is None:
            self._finish(batch)
        elif isinstance(error, LargeRepair) and rank != LARGE:
            self._move(batch, LARGE)
        elif self._held_users(error, batch) is not None:
            # The others have not waited as long, but this is all that can be said about their user.
            waiting = self._of_user[rank].take_all(batch[0].event.user_id)
            self._taken(waiting)
            self._finish([*batch, *waiting], error, STAY[rank])
        elif len(batch) > 1:
            for ticket in batch:
                if self._may_be_run_again(error, ticket):
                    self._run_of_user([ticket], rank)
                else:
                    self._finish([ticket], error)
        else:
            self._finish(batch, error)

    def _process(self, tickets: Sequence[Ticket], rank: int) -> Exception | None:
        """Give them their outcomes. Returns the error if that failed."""
        self._observer.together([ticket.mark for ticket in tickets])
        try:
            hand_out(tickets, self._ways.of(rank)([ticket.event for ticket in tickets]))
        except BaseException as error:
            return _as_error(error)
        finally:
            del tickets  # they are given the error, whose traceback leads to this frame
        return None


def _as_error(error: BaseException) -> Exception:
    """The error itself, or Broken: no caller of a batch may be ended by what would have ended the lane's thread."""
    if isinstance(error, Exception):
        return error
    broken = Broken("The batch was broken off.")
    broken.__cause__ = error
    return broken
