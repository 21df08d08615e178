"""Group commit: which leads, what a batch holds, and what becomes of the others when one fails."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal

import pytest

from rules.judging.group_commit import GroupCommit
from rules.judging.lanes import Broken, Ways
from rules.judging.observer import Observer
from rules.model import Event, Outcome, Refusal, Verdict
from rules.overload import QueueFull
from tests.waiting import PATIENCE, wait_until


def event(user_id: int) -> Event:
    return Event(user_id, "deposit", Decimal("1.00"), 0)


class Store:
    """A stand-in for the engine: it records each batch, and can be held in the middle of one."""

    def __init__(self, fail: Callable[[list[int]], BaseException | None] = lambda _: None) -> None:
        self.batches: list[list[int]] = []
        self.fail = fail
        self.open = threading.Event()
        self.open.set()
        self.busy = threading.Event()

    def process(self, events: Sequence[Event]) -> list[Outcome]:
        users = [event.user_id for event in events]
        self.batches.append(users)
        self.busy.set()
        assert self.open.wait(PATIENCE)
        if (error := self.fail(users)) is not None:
            raise error
        return [Refusal("overdraft", str(user)) if user == 13 else Verdict(user, (user,)) for user in users]


class Line:
    """Threads that submit one event each, so that the line forms behind a held first batch."""

    def __init__(self, store: Store, maximum: int = 256, alone: bool = True) -> None:
        self.store = store
        self.group = GroupCommit(Ways(shared=store.process), maximum, lambda error, event: alone, queue=10_000)
        self.pool = ThreadPoolExecutor(64)

    def run(self, users: Sequence[int]) -> list[Future[Outcome]]:
        """Submit the first user's event, the others' while that one's batch is under way, and wait for all."""
        self.store.open.clear()
        first = self.pool.submit(self.group.submit, event(users[0]))
        assert self.store.busy.wait(PATIENCE)
        others = []
        for count, user in enumerate(users[1:], start=1):
            others.append(self.pool.submit(self.group.submit, event(user)))
            while len(self.group._shared.queue) < count and not others[-1].done():
                pass  # the line keeps the order of arrival, so let each arrive
        self.store.open.set()
        found = [first, *others]
        for future in found:
            future.exception(PATIENCE)
        self.pool.shutdown()
        return found


def test_a_lone_event_is_a_batch_of_one() -> None:
    """An event that meets no other is processed at once."""
    store = Store()
    assert GroupCommit(Ways(shared=store.process), 256, lambda *_: True, queue=10_000).submit(event(7)) == Verdict(
        7, (7,)
    )
    assert store.batches == [[7]]


def test_what_waits_forms_the_next_batch_in_order() -> None:
    """All that arrive during a batch are the next one, in their order; each gets its own outcome."""
    store = Store()
    found = Line(store).run([1, 2, 3, 4, 5])
    assert store.batches == [[1], [2, 3, 4, 5]]
    assert [future.result() for future in found] == [Verdict(user, (user,)) for user in (1, 2, 3, 4, 5)]


def test_a_line_longer_than_the_maximum_is_several_batches() -> None:
    """No batch is larger than the maximum, and nothing is left in the line."""
    store = Store()
    found = Line(store, maximum=3).run(range(1, 9))
    assert store.batches == [[1], [2, 3, 4], [5, 6, 7], [8]]
    assert [future.result() for future in found] == [Verdict(user, (user,)) for user in range(1, 9)]


def test_a_refused_event_is_refused_alone() -> None:
    """A refusal is one event's outcome: its neighbours are stored, in the same batch."""
    store = Store()
    found = Line(store).run([1, 12, 13, 14])
    assert store.batches == [[1], [12, 13, 14]]
    assert [future.result() for future in found[1:]] == [
        Verdict(12, (12,)),
        Refusal("overdraft", "13"),
        Verdict(14, (14,)),
    ]


def test_after_an_error_each_is_tried_alone() -> None:
    """One event that breaks its batch breaks only itself: the others are tried once more, each by itself."""
    store = Store(lambda users: ValueError("three") if 3 in users else None)
    found = Line(store).run([1, 2, 3, 4])
    assert store.batches[:2] == [[1], [2, 3, 4]]
    assert sorted(store.batches[2:]) == [[2], [3], [4]]
    assert [type(future.exception()) for future in found] == [type(None), type(None), ValueError, type(None)]


def test_where_that_is_not_safe_each_gets_the_error() -> None:
    """If a second try could store twice, or cannot help, everyone in the batch gets the error."""
    store = Store(lambda users: ValueError("away") if len(users) > 1 else None)
    found = Line(store, alone=False).run([1, 2, 3])
    assert store.batches == [[1], [2, 3]]
    assert [str(future.exception()) for future in found] == ["None", "away", "away"]


def test_an_event_alone_is_not_tried_twice() -> None:
    """A batch of one that fails was alone already."""
    store = Store(lambda users: ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        GroupCommit(Ways(shared=store.process), 256, lambda *_: True, queue=10_000).submit(event(1))
    assert store.batches == [[1]]


def test_a_batch_that_would_end_its_thread_leaves_the_line_led() -> None:
    """What ends threads fails the batch in which it happens, and nothing else; the line carries on."""
    store = Store(lambda users: SystemExit(1) if users == [1] else None)
    found = Line(store).run([1, 2, 3])
    assert isinstance(found[0].exception(), Broken)
    failed = found[0].exception()
    assert failed is not None
    assert isinstance(failed.__cause__, SystemExit)
    assert [future.result() for future in found[1:]] == [Verdict(2, (2,)), Verdict(3, (3,))]


def test_too_few_outcomes_are_an_error_for_all() -> None:
    """A defect that loses an outcome is an error for those who wait, and leaves none waiting forever."""
    group = GroupCommit(Ways(shared=lambda events: []), 256, lambda *_: False, queue=10_000)
    with pytest.raises(ValueError, match="zip"):
        group.submit(event(1))


def test_many_threads_and_none_is_lost() -> None:
    """Under a storm of threads every event is processed once, and every thread gets its own outcome."""
    store = Store()
    group = GroupCommit(Ways(shared=store.process), 16, lambda *_: True, queue=10_000)
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda user: group.submit(event(user)), range(100, 3100)))
    assert found == [Verdict(user, (user,)) for user in range(100, 3100)]
    assert sorted(user for batch in store.batches for user in batch) == list(range(100, 3100))
    assert max(map(len, store.batches)) <= 16


# Coroutines


class Soon:
    """Coroutines that submit one event each, so that the line forms behind a held first batch."""

    def __init__(
        self,
        store: Store,
        maximum: int = 256,
        alone: bool = True,
        queue: int = 10_000,
        observer: Observer | None = None,
    ) -> None:
        self.store = store
        self.group = GroupCommit(
            Ways(shared=store.process), maximum, lambda error, event: alone, observer, threads=8, queue=queue
        )

    async def begin(self, users: Sequence[int]) -> list[asyncio.Task[Outcome]]:
        """Submit the first user's event, and the others' while that one's batch is under way, which is held."""
        self.store.open.clear()
        first = asyncio.create_task(self.group.submit_soon(event(users[0])))
        await reached(self.store.busy.is_set)
        others = [asyncio.create_task(self.group.submit_soon(event(user))) for user in users[1:]]
        await reached(lambda: len(self.group._shared.queue) == len(others))
        return [first, *others]

    def run(self, users: Sequence[int]) -> list[Outcome | BaseException]:
        """The same, then let go, and what became of each."""

        async def all_of() -> list[Outcome | BaseException]:
            tasks = await self.begin(users)
            self.store.open.set()
            return await settled(tasks)

        return asyncio.run(all_of())


async def reached(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


async def settled(waiting: Sequence[Awaitable[Outcome]]) -> list[Outcome | BaseException]:
    """What became of each: its outcome or its error."""
    return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), PATIENCE)


def test_a_lone_coroutine_is_a_batch_of_one() -> None:
    """A coroutine that meets no other is served at once, again and again."""
    store = Store()
    group = GroupCommit(Ways(shared=store.process), 256, lambda *_: True, queue=10_000)

    async def two() -> list[Outcome]:
        return [await group.submit_soon(event(user)) for user in (7, 8)]

    assert asyncio.run(two()) == [Verdict(7, (7,)), Verdict(8, (8,))]
    assert store.batches == [[7], [8]]


def test_coroutines_queue_in_order_in_batches_of_the_maximum() -> None:
    """What arrives during a batch makes the next ones, in order, none larger than the maximum; each gets its own."""
    store = Store()
    found = Soon(store, maximum=3).run([1, 2, 13, 4, 5, 6])
    assert store.batches == [[1], [2, 13, 4], [5, 6]]
    assert found[2] == Refusal("overdraft", "13")
    assert [found[at] for at in (0, 1, 3, 4, 5)] == [Verdict(user, (user,)) for user in (1, 2, 4, 5, 6)]


def test_the_loop_goes_on_while_events_are_tried_alone() -> None:
    """Second tries are made side by side, and hold up neither each other nor the event loop."""

    def fail(users: list[int]) -> BaseException | None:
        if users == [2, 3]:
            store.open.clear()  # from here on each is held
        return ValueError("three") if 3 in users else None

    store = Store(fail)
    line = Soon(store)

    async def all_of() -> list[Outcome | BaseException]:
        tasks = await line.begin([1, 2, 3])
        store.open.set()
        await reached(lambda: len(store.batches) == 4)
        assert not any(task.done() for task in tasks[1:])
        store.open.set()
        return await settled(tasks)

    found = asyncio.run(all_of())
    assert store.batches[:2] == [[1], [2, 3]]
    assert sorted(store.batches[2:]) == [[2], [3]]
    assert [type(one) for one in found] == [Verdict, Verdict, ValueError]


def test_coroutines_get_the_error_where_a_second_try_is_not_safe() -> None:
    """If a second try could store twice, or cannot help, everyone in the batch gets the error."""
    store = Store(lambda users: ValueError("away") if len(users) > 1 else None)
    found = Soon(store, alone=False).run([1, 2, 3])
    assert store.batches == [[1], [2, 3]]
    assert [str(one) for one in found[1:]] == ["away", "away"]


def test_a_coroutine_is_never_ended_by_what_ends_threads() -> None:
    """SystemExit in a batch would end the event loop if it were raised there: it comes as an error of that batch."""
    store = Store(lambda users: SystemExit(1) if users == [1] else None)
    found = Soon(store).run([1, 2, 3])
    assert isinstance(found[0], Broken)
    assert found[1:] == [Verdict(2, (2,)), Verdict(3, (3,))]


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_caller_who_has_gone_leaves_the_others_alone(gone: int) -> None:
    """A cancelled coroutine, in the batch under way or in the line, changes nothing for the others."""
    store = Store()
    line = Soon(store)

    async def all_of() -> list[Outcome | BaseException]:
        tasks = await line.begin([1, 2, 3])
        tasks[gone].cancel()
        await asyncio.sleep(0)
        store.open.set()
        return await settled(tasks)

    found = asyncio.run(all_of())
    assert isinstance(found.pop(gone), asyncio.CancelledError)
    assert found == [Verdict(user, (user,)) for user in (1, 2, 3) if user != gone + 1]
    assert store.batches == [[1], [2, 3]]


def test_a_loop_that_ends_while_its_events_wait() -> None:
    """When an event loop is closed with events in line, they are stored, and the line carries on for others."""
    store = Store()
    line = Soon(store)
    asyncio.run(line.begin([1, 2]))  # cancels both, and closes the loop
    store.open.set()
    assert line.group.submit(event(3)) == Verdict(3, (3,))
    assert store.batches[0] == [1]
    assert [user for batch in store.batches for user in batch] == [1, 2, 3]


def test_threads_and_coroutines_share_one_queue() -> None:
    """All that wait, in either way, are in the same batch."""
    store = Store()
    line = Soon(store)

    async def all_of() -> list[Outcome | BaseException]:
        tasks = await line.begin([1, 2])
        thread = asyncio.create_task(asyncio.to_thread(line.group.submit, event(3)))
        await reached(lambda: len(line.group._shared.queue) == 2)
        store.open.set()
        return await settled([*tasks, thread])

    assert asyncio.run(all_of()) == [Verdict(user, (user,)) for user in (1, 2, 3)]
    assert store.batches == [[1], [2, 3]]


def test_where_no_thread_can_be_started_everyone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of threads, or while the process ends, an event is an error and not an endless wait."""
    store = Store()
    group = GroupCommit(Ways(shared=store.process), 256, lambda *_: True, queue=10_000)

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="new thread"):
            group.submit(event(1))
        with pytest.raises(RuntimeError, match="new thread"):
            asyncio.run(group.submit_soon(event(2)))
    assert group.submit(event(3)) == Verdict(3, (3,))
    assert store.batches == [[3]]


def test_a_leader_that_has_died_is_replaced() -> None:
    """A thread that is gone, as none should be, is started anew for the next event."""
    store = Store()
    group = GroupCommit(Ways(shared=store.process), 256, lambda *_: True, queue=10_000)
    assert group.submit(event(1)) == Verdict(1, (1,))
    group._shared.leader.orders.put(None)
    thread = group._shared.leader.thread
    assert thread is not None
    thread.join(PATIENCE)
    assert group.submit(event(2)) == Verdict(2, (2,))


def test_the_thread_ends_with_the_queue() -> None:
    """A queue that is no longer needed is freed, and its thread ends."""
    group = GroupCommit(Ways(shared=Store().process), 256, lambda *_: True, queue=10_000)
    group.submit(event(1))
    thread, gone = group._shared.leader.thread, weakref.ref(group)
    assert thread is not None
    del group
    wait_until(lambda: gc.collect() >= 0 and gone() is None)  # the thread may hold it for a moment longer
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_each_alone() -> None:
    """Without group commit each event is a batch of one, for threads and coroutines; the loop keeps running."""
    store = Store()
    each = GroupCommit(Ways(shared=store.process), None, lambda *_: False, threads=2, queue=1)

    async def all_of() -> list[Outcome | BaseException]:
        store.open.clear()
        tasks = [asyncio.create_task(each.submit_soon(event(user))) for user in (1, 2, 3)]
        await reached(lambda: len(store.batches) == 2)
        await asyncio.sleep(0.05)
        assert len(store.batches) == 2  # no more threads than that
        store.open.set()
        return await settled(tasks)

    assert asyncio.run(all_of()) == [Verdict(user, (user,)) for user in (1, 2, 3)]
    assert each.submit(event(4)) == Verdict(4, (4,))
    assert sorted(store.batches) == [[1], [2], [3], [4]]


def test_many_coroutines_and_none_is_lost() -> None:
    """Under a storm of coroutines every event is processed once, and every one gets its own outcome."""
    store = Store()
    group = GroupCommit(Ways(shared=store.process), 16, lambda *_: True, queue=10_000)

    async def storm() -> list[Outcome | BaseException]:
        return await settled([group.submit_soon(event(user)) for user in range(100, 3100)])

    assert asyncio.run(storm()) == [Verdict(user, (user,)) for user in range(100, 3100)]
    assert sorted(user for batch in store.batches for user in batch) == list(range(100, 3100))
    assert max(map(len, store.batches)) <= 16


# The bound of the line


class Gauge(Observer):
    """Keeps how many are in line, as the metrics do."""

    def __init__(self) -> None:
        self.value = 0
        self.seen: list[int] = []

    def queued(self) -> None:
        self.value += 1
        self.seen.append(self.value)

    def taken(self, waits: Sequence[float]) -> None:
        self.value -= len(waits)
        self.seen.append(self.value)


def test_a_full_line_refuses_at_once_and_takes_again_when_there_is_room() -> None:
    """A thread or a coroutine that finds the line full is turned away while the batch is still under way."""
    store, gauge = Store(), Gauge()
    line = Soon(store, queue=2, observer=gauge)

    async def all_of() -> list[Outcome | BaseException]:
        tasks = await line.begin([1, 2, 3])
        for turned_away in (line.group.submit_soon(event(4)), asyncio.to_thread(line.group.submit, event(5))):
            with pytest.raises(QueueFull):
                await asyncio.wait_for(turned_away, PATIENCE)
        assert (gauge.value, len(line.group._shared.queue)) == (2, 2)
        store.open.set()
        return await settled([*tasks])

    assert asyncio.run(all_of()) == [Verdict(user, (user,)) for user in (1, 2, 3)]
    assert line.group.submit(event(6)) == Verdict(6, (6,))
    assert store.batches == [[1], [2, 3], [6]]
    assert (gauge.value, min(gauge.seen)) == (0, 0)


def test_second_tries_fill_the_line_once_and_are_not_turned_away() -> None:
    """An event that is tried once more takes one place until that is done, and a full line does not refuse it."""

    def fail(users: list[int]) -> BaseException | None:
        if users == [2, 3]:
            store.open.clear()  # from here on each is held
            return ValueError("together")
        return None

    store, gauge = Store(fail), Gauge()
    line = Soon(store, queue=2, observer=gauge)

    async def all_of() -> list[Outcome | BaseException]:
        tasks = await line.begin([1, 2, 3])
        store.open.set()
        await reached(lambda: len(store.batches) == 4)
        assert gauge.value == 0
        with pytest.raises(QueueFull):
            await line.group.submit_soon(event(4))
        store.open.set()
        found = await settled(tasks)
        return [*found, await line.group.submit_soon(event(5))]

    assert asyncio.run(all_of()) == [Verdict(user, (user,)) for user in (1, 2, 3, 5)]
    assert sorted(store.batches) == [[1], [2], [2, 3], [3], [5]]


def test_each_alone_has_the_same_bound() -> None:
    """Without group commit a coroutine is turned away while too many wait for a thread, and only then."""
    store = Store()
    each = GroupCommit(Ways(shared=store.process), None, lambda *_: False, threads=1, queue=1)

    async def all_of() -> list[Outcome | BaseException]:
        store.open.clear()
        tasks = [asyncio.create_task(each.submit_soon(event(user))) for user in (1, 2, 3)]
        await reached(tasks[2].done)
        assert [task.done() for task in tasks[:2]] == [False, False]
        store.open.set()
        found = await settled(tasks)
        return [*found, await each.submit_soon(event(4))]

    one, two, three, four = asyncio.run(all_of())
    assert [one, two, four] == [Verdict(user, (user,)) for user in (1, 2, 4)]
    assert isinstance(three, QueueFull)
    assert store.batches == [[1], [2], [4]]


def test_a_caller_who_has_gone_leaves_the_place() -> None:
    """What was cancelled while it waited for a thread, or in one, is no longer counted."""

    async def cancelled(each: GroupCommit, store: Store) -> None:
        store.open.clear()
        tasks = [asyncio.create_task(each.submit_soon(event(user))) for user in (1, 2)]
        await reached(store.busy.is_set)
        for task in tasks:
            task.cancel()
        await settled(tasks)
        store.open.set()

    store = Store()
    each = GroupCommit(Ways(shared=store.process), None, lambda *_: False, threads=1, queue=1)
    asyncio.run(cancelled(each, store))
    asyncio.run(reached(lambda: each.in_hand == 0))
