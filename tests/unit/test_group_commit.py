"""Group commit: who leads, what a batch holds, and what becomes of the others when one fails."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal

import pytest

from rules.engine import Outcome, Refusal, Verdict
from rules.group_commit import GroupCommit
from rules.model import Event

PATIENCE = 30  # seconds


def event(user_id: int) -> Event:
    return Event(user_id, "deposit", Decimal("1.00"), 0)


class Store:
    """A stand-in for the engine: it notes each batch, and can be held in the middle of one."""

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
    """Threads that submit one event each, so that the line forms behind a first batch that is held."""

    def __init__(self, store: Store, maximum: int = 256, alone: bool = True) -> None:
        self.store = store
        self.group = GroupCommit(store.process, maximum, lambda error, event: alone)
        self.pool = ThreadPoolExecutor(64)

    def run(self, users: Sequence[int]) -> list[Future[Outcome]]:
        """Submit the first user's event, the others' while that one's batch is under way, and wait for all."""
        self.store.open.clear()
        first = self.pool.submit(self.group.submit, event(users[0]))
        assert self.store.busy.wait(PATIENCE)
        others = []
        for count, user in enumerate(users[1:], start=1):
            others.append(self.pool.submit(self.group.submit, event(user)))
            while len(self.group._line) < count and not others[-1].done():
                pass  # the line keeps the order of arrival, so let each arrive
        self.store.open.set()
        found = [first, *others]
        for future in found:
            future.exception(PATIENCE)
        self.pool.shutdown()
        return found


def test_a_lone_event_is_a_batch_of_one() -> None:
    """A request that meets no other is processed at once, by its own thread."""
    store = Store()
    assert GroupCommit(store.process, 256, lambda *_: True).submit(event(7)) == Verdict(7, (7,))
    assert store.batches == [[7]]


def test_what_waits_forms_the_next_batch_in_order() -> None:
    """All that arrive during a batch are the next one, in their order; each gets its own outcome."""
    store = Store()
    found = Line(store).run([1, 2, 3, 4, 5])
    assert store.batches == [[1], [2, 3, 4, 5]]
    assert [future.result() for future in found] == [Verdict(user, (user,)) for user in (1, 2, 3, 4, 5)]


def test_a_line_longer_than_the_maximum_is_several_batches() -> None:
    """No batch is larger than the maximum, and nobody is left in the line."""
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
    """Where a second try could store twice, or cannot help, everyone of the batch gets the error."""
    store = Store(lambda users: ValueError("away") if len(users) > 1 else None)
    found = Line(store, alone=False).run([1, 2, 3])
    assert store.batches == [[1], [2, 3]]
    assert [str(future.exception()) for future in found] == ["None", "away", "away"]


def test_an_event_alone_is_not_tried_twice() -> None:
    """A batch of one that fails has been alone already."""
    store = Store(lambda users: ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        GroupCommit(store.process, 256, lambda *_: True).submit(event(1))
    assert store.batches == [[1]]


def test_a_leader_that_dies_leaves_the_line_led() -> None:
    """When a leader's thread ends in the middle of a batch, that batch fails, and the line goes on."""
    store = Store(lambda users: SystemExit(1) if users == [1] else None)
    found = Line(store).run([1, 2, 3])
    assert isinstance(found[0].exception(), SystemExit)
    assert [future.result() for future in found[1:]] == [Verdict(2, (2,)), Verdict(3, (3,))]


def test_too_few_outcomes_are_an_error_for_all() -> None:
    """A defect that loses an outcome is told to those who wait, instead of leaving one waiting for ever."""
    group = GroupCommit(lambda events: [], 256, lambda *_: False)
    with pytest.raises(ValueError, match="zip"):
        group.submit(event(1))


def test_many_threads_and_none_is_lost() -> None:
    """Under a storm of threads every event is processed once, and every thread gets its own outcome."""
    store = Store()
    group = GroupCommit(store.process, 16, lambda *_: True)
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda user: group.submit(event(user)), range(100, 3100)))
    assert found == [Verdict(user, (user,)) for user in range(100, 3100)]
    assert sorted(user for batch in store.batches for user in batch) == list(range(100, 3100))
    assert max(map(len, store.batches)) <= 16
