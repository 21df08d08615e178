"""Lanes: what would hold up a batch leaves it, and its neighbours do not wait for it."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from time import sleep
from typing import Any

import pytest

from rules.judging import stays
from rules.judging.group_commit import RUNS, GroupCommit
from rules.judging.lanes import Broken, Ways
from rules.judging.late import LargeRepair
from rules.judging.observer import Observer
from rules.model import Event, Outcome, Verdict
from rules.overload import Overloaded, QueueFull
from rules.together import Together
from tests.unit.test_group_commit import event
from tests.waiting import PATIENCE, wait_until


class Held(Exception):
    """Somebody else holds the rows of these users."""

    def __init__(self, users: frozenset[int]) -> None:
        super().__init__(users)
        self.users = users


def held(error: Exception, events: Sequence[Event]) -> frozenset[int] | None:
    """What the service finds out about a batch that failed."""
    if not isinstance(error, Held):
        return None
    return error.users & {event.user_id for event in events}


class World:
    """Lanes over a stand-in for the engine, which notes each batch with its lane.

    `fails` says for a lane and the users of a batch what the batch raises, if anything. What the lanes in `gates` run
    waits until the gate is open.
    """

    def __init__(
        self,
        fails: Callable[[str, frozenset[int]], Exception | None],
        *,
        maximum: int | None = 256,
        queue: int = 10_000,
        patience: float = PATIENCE,
        observer: Observer | None = None,
    ) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.fails = fails
        self.gates = {lane: threading.Event() for lane in ("shared", "patient", "alone", "large")}
        for gate in self.gates.values():
            gate.set()
        self.group = GroupCommit(
            Ways(**{lane: self._way(lane) for lane in self.gates}),
            maximum,
            lambda *_: True,
            observer,
            held=held,
            threads=4,
            queue=queue,
            patience=patience,
        )
        self.threads = ThreadPoolExecutor(32)

    def _way(self, lane: str) -> Callable[[Sequence[Event]], list[Outcome]]:
        def process(events: Sequence[Event]) -> list[Outcome]:
            users = [event.user_id for event in events]
            self.batches.append((lane, users))
            assert self.gates[lane].wait(PATIENCE)
            if (error := self.fails(lane, frozenset(users))) is not None:
                raise error
            return [Verdict(user, ()) for user in users]

        return process

    def post(self, user: int) -> "Future[Outcome]":
        """The outcome of an event of that user, some day."""
        return self.threads.submit(self.group.submit, event(user))

    @contextmanager
    def closed(self, lane: str) -> Iterator[None]:
        """What this lane runs waits until the block ends."""
        self.gates[lane].clear()
        try:
            yield
        finally:
            self.gates[lane].set()

    def in_one_batch(self, users: Sequence[int]) -> "list[Future[Outcome]]":
        """Post an event of each user, all but the first of them in one shared batch."""
        with self.closed("shared"):
            posted = [self.post(users[0])]
            wait_until(lambda: bool(self.batches))
            for count, user in enumerate(users[1:], start=1):
                posted.append(self.post(user))
                wait_until(lambda count=count: len(self.group._shared.queue) == count)  # type: ignore[misc]
        return posted


def holds(lanes: dict[str, set[int]]) -> Callable[[str, frozenset[int]], Exception | None]:
    """Users whose rows are held for longer than these lanes wait."""

    def fails(lane: str, users: frozenset[int]) -> Exception | None:
        found = frozenset(lanes.get(lane, set()) & users)
        return Held(found) if found else None

    return fails


def large(lanes: dict[str, set[int]]) -> Callable[[str, frozenset[int]], Exception | None]:
    """Users whose events are too large a repair for these lanes."""

    def fails(lane: str, users: frozenset[int]) -> Exception | None:
        found = frozenset(lanes.get(lane, set()) & users)
        return LargeRepair(found) if found else None

    return fails


def test_a_held_user_waits_in_a_lane_of_its_own() -> None:
    """The neighbours of a user whose row is held are stored at once, without it; it goes on to the lane of its own."""
    world = World(holds({"shared": {3}, "patient": {3}}))
    with world.closed("alone"):
        posted = world.in_one_batch([1, 2, 3, 4])
        assert [posted[at].result(PATIENCE) for at in (0, 1, 3)] == [Verdict(user, ()) for user in (1, 2, 4)]
        wait_until(lambda: ("alone", [3]) in world.batches)
        assert not posted[2].done()
        assert world.post(5).result(PATIENCE) == Verdict(5, ())
    assert posted[2].result(PATIENCE) == Verdict(3, ())
    assert world.batches[:2] == [("shared", [1]), ("shared", [2, 3, 4])]
    assert sorted(world.batches[2:]) == [("alone", [3]), ("patient", [3]), ("shared", [2, 4]), ("shared", [5])]


def test_the_next_events_of_a_held_user_follow_it() -> None:
    """What comes for a user whose row is held does not hold up another shared batch, and goes in order."""
    world = World(holds({"shared": {3}, "patient": {3}}))
    with world.closed("alone"):
        first = world.post(3)
        wait_until(lambda: ("alone", [3]) in world.batches)
        later = [world.post(3) for _ in range(3)]
        wait_until(lambda: world.group.in_hand == 4)
    assert [one.result(PATIENCE) for one in (first, *later)] == [Verdict(3, ())] * 4
    assert world.post(3).result(PATIENCE) == Verdict(3, ())  # it has only just been held
    assert [lane for lane, _ in world.batches] == ["shared", "patient", "alone", "alone", "alone"]
    assert world.group.in_hand == 0


def test_a_user_comes_back_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who was held stays in the other lane for some seconds, and then shares batches again."""
    now = 1000.0
    monkeypatch.setattr(stays, "monotonic", lambda: now)
    world = World(holds({"shared": {3}}))
    assert [world.post(3).result(PATIENCE) for _ in range(2)] == [Verdict(3, ())] * 2
    now += 60
    world.fails = holds({})
    world.post(3).result(PATIENCE)
    assert [lane for lane, _ in world.batches] == ["shared", "patient", "patient", "shared"]


def test_all_that_wait_for_a_held_user_are_turned_away_together() -> None:
    """When a user's row cannot be had, the events that wait behind get the same error, and none waits anew."""
    world = World(holds({"shared": {3}, "patient": {3}, "alone": {3}}))
    with world.closed("alone"):
        first = world.post(3)
        wait_until(lambda: ("alone", [3]) in world.batches)
        later = [world.post(3) for _ in range(3)]
        wait_until(lambda: world.group.in_hand == 4)
    assert [type(one.exception(PATIENCE)) for one in (first, *later)] == [Held] * 4
    assert [lane for lane, _ in world.batches] == ["shared", "patient", "alone"]
    assert world.group.in_hand == 0


def test_a_large_repair_leaves_its_batch() -> None:
    """A late event that changes much is repaired elsewhere, with its user's next ones behind it; others go on."""
    world = World(large({"shared": {3}, "alone": {3}}))
    with world.closed("large"):
        posted = world.in_one_batch([1, 2, 3])
        wait_until(lambda: ("large", [3]) in world.batches)
        next_one = world.post(3)
        wait_until(lambda: world.group.in_hand == 2)
        assert [one.result(PATIENCE) for one in posted[:2]] == [Verdict(1, ()), Verdict(2, ())]
        assert world.post(4).result(PATIENCE) == Verdict(4, ())
    assert [one.result(PATIENCE) for one in (posted[2], next_one)] == [Verdict(3, ())] * 2
    assert [users for lane, users in world.batches if lane == "large"] == [[3], [3]]
    assert [users for lane, users in world.batches if lane == "alone"] == [[3]]
    world.fails = large({})
    assert world.post(3).result(PATIENCE) == Verdict(3, ())
    assert world.batches[-1] == ("shared", [3])  # it is done, so the user is one of all again


def test_repairs_of_some_size_are_made_side_by_side() -> None:
    """What is too large for a shared batch, and not too large by itself, does not wait for the large repairs."""
    world = World(large({"shared": {3, 4}}))
    with world.closed("large"), world.closed("alone"):
        posted = [world.post(3), world.post(4)]
        wait_until(lambda: all(("alone", [user]) in world.batches for user in (3, 4)))
        world.gates["alone"].set()
        assert [one.result(PATIENCE) for one in posted] == [Verdict(3, ()), Verdict(4, ())]
    world.fails = large({})
    assert world.post(3).result(PATIENCE) == Verdict(3, ())
    assert world.batches[-1] == ("shared", [3])


def test_what_waits_behind_a_large_repair_follows_it() -> None:
    """When an event in the lane of its user turns out to be a large repair, those behind it go along, in order."""
    world = World(large({"alone": {3}}), maximum=None)
    with world.closed("alone"):
        first = world.post(3)
        wait_until(lambda: ("alone", [3]) in world.batches)
        later = [world.post(3) for _ in range(3)]
        wait_until(lambda: world.group.in_hand == 4)
    assert [one.result(PATIENCE) for one in (first, *later)] == [Verdict(3, ())] * 4
    assert [lane for lane, _ in world.batches] == ["alone", "large", "large", "large", "large"]
    assert world.group.in_hand == 0


def test_each_alone_moves_on_too() -> None:
    """Without group commit a large repair and a held user are other users' no more than with it."""
    world = World(large({"alone": {3}}), maximum=None)
    with world.closed("large"):
        repairing = world.post(3)
        wait_until(lambda: ("large", [3]) in world.batches)
        assert world.post(4).result(PATIENCE) == Verdict(4, ())
    assert repairing.result(PATIENCE) == Verdict(3, ())


def test_a_batch_is_not_run_for_ever() -> None:
    """If a batch fails over and over and nobody is found who holds it up, each user goes on alone."""
    world = World(lambda lane, users: Held(frozenset()) if lane == "shared" else None)
    assert world.post(1).result(PATIENCE) == Verdict(1, ())
    assert world.batches == [("shared", [1])] * RUNS + [("alone", [1])]


def test_one_user_cannot_fill_the_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one user so many events wait and no more; others still find a place."""
    monkeypatch.setattr(stays, "OF_USER", 2)
    world = World(holds({"shared": {3}, "patient": {3}}))
    with world.closed("alone"):
        first = world.post(3)
        wait_until(lambda: ("alone", [3]) in world.batches)
        second = world.post(3)
        wait_until(lambda: world.group.in_hand == 2)
        with pytest.raises(QueueFull):
            world.post(3).result(PATIENCE)
        assert world.post(4).result(PATIENCE) == Verdict(4, ())
    assert [one.result(PATIENCE) for one in (first, second)] == [Verdict(3, ())] * 2


def test_held_users_leave_half_of_the_queue_to_others() -> None:
    """Events that begin in later lanes are turned away when half as many wait there as may wait in all."""
    world = World(holds({"shared": {3, 4}, "patient": {3, 4}}), queue=4)
    with world.closed("alone"):
        waiting = [world.post(3)]
        wait_until(lambda: ("alone", [3]) in world.batches)
        waiting.append(world.post(3))
        wait_until(lambda: world.group.in_hand == 2)
        with pytest.raises(QueueFull):
            world.post(3).result(PATIENCE)
        assert world.post(5).result(PATIENCE) == Verdict(5, ())
    assert [one.result(PATIENCE) for one in waiting] == [Verdict(3, ())] * 2


def test_users_beyond_those_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many users are remembered as held, those of whom nothing waits share batches again."""
    monkeypatch.setattr(stays, "REMEMBERED", 2)
    world = World(holds({"shared": {3, 4, 5}}))
    for user in (3, 4, 5, 3):
        assert world.post(user).result(PATIENCE) == Verdict(user, ())
    assert [lane for lane, users in world.batches if users == [3]] == ["shared", "patient", "shared", "patient"]


def test_what_waits_for_too_long_is_turned_away() -> None:
    """An event whose turn comes too late is an error that says so, and is not run."""
    world = World(holds({"shared": {3}, "patient": {3}}), patience=0.0)
    assert isinstance(world.post(3).exception(PATIENCE), Overloaded)
    assert [lane for lane, _ in world.batches] == ["shared", "patient"]


# Nobody waits for ever


@pytest.mark.parametrize("maximum", [256, None], ids=["shared", "each alone"])
def test_an_error_in_a_lane_itself_is_an_error_for_those_in_it(maximum: int | None) -> None:
    """If a lane cannot even find out why a batch failed, its events get that error, and the next ones are served."""
    world = World(holds({"shared": {3}, "alone": {3}}), maximum=maximum)

    def broken(error: Exception, events: Sequence[Event]) -> frozenset[int] | None:
        raise MemoryError

    world.group._held = broken
    assert isinstance(world.post(3).exception(PATIENCE), MemoryError)
    assert world.post(4).result(PATIENCE) == Verdict(4, ())
    assert world.group.in_hand == 0


@pytest.mark.parametrize("lane", ["shared", "alone"])
def test_what_ends_a_thread_ends_no_lane(lane: str) -> None:
    """Something that would end the lane's thread between two batches is an error for one batch alone."""
    world = World(holds({lane: {3}}), maximum=256 if lane == "shared" else None)

    def broken(error: Exception, events: Sequence[Event]) -> frozenset[int] | None:
        raise SystemExit

    world.group._held = broken
    failed = world.post(3).exception(PATIENCE)
    assert isinstance(failed, Broken)
    assert isinstance(failed.__cause__, SystemExit)
    assert world.post(4).result(PATIENCE) == Verdict(4, ())


class Faulty(Observer):
    """An observer that fails at everything."""

    def __getattribute__(self, name: str) -> Any:
        raise OSError(28, "No space left on device")


def test_an_observer_that_fails_changes_nothing() -> None:
    """Errors of whoever measures reach no caller, and no place in the line is lost."""
    world = World(holds({"shared": {3}, "patient": {3}}), queue=2, observer=Faulty())
    for user in (1, 3, 1, 3, 1, 3):
        assert world.post(user).result(PATIENCE) == Verdict(user, ())
    assert (world.group.in_hand, world.group._in_first) == (0, 0)


def test_a_user_who_was_given_up_is_served_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of threads a pool refuses work and keeps it: that is not done twice when there is a thread again."""
    world = World(holds({}), maximum=None)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        with pytest.raises(RuntimeError, match="new thread"):
            world.group.submit(event(3))
    under_way: list[int] = []
    most_at_once = 0

    def fails(lane: str, users: frozenset[int]) -> None:
        nonlocal most_at_once
        under_way.extend(users)
        most_at_once = max(most_at_once, len(under_way))
        sleep(0.01)
        del under_way[0]

    world.fails = fails
    with world.closed("alone"):
        posted = [world.post(3)]
        wait_until(lambda: ("alone", [3]) in world.batches)
        posted += [world.post(3) for _ in range(5)]
        wait_until(lambda: world.group.in_hand == 6)
        assert len(world.batches) == 1  # its own order has one transaction at a time
    assert [one.result(PATIENCE) for one in posted] == [Verdict(3, ())] * 6
    assert most_at_once == 1
    assert world.group.in_hand == 0


def _no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


# Together


class Turns:
    """Work that notes what was done in one go, and can be held."""

    def __init__(self, most: int = 8, patience: float = PATIENCE) -> None:
        self.done: list[list[int]] = []
        self.gate = threading.Event()
        self.together: Together[int, int] = Together(self.work, most=most, patience=patience)
        self.threads = ThreadPoolExecutor(16)

    def work(self, jobs: Sequence[int]) -> list[int | Exception]:
        self.done.append(list(jobs))
        assert self.gate.wait(PATIENCE)
        return [ValueError(str(job)) if job == 13 else -job for job in jobs]

    def begin(self, jobs: Sequence[int]) -> "list[Future[int]]":
        """Submit the first job, and the others while it is held."""
        first = self.threads.submit(self.together.submit, jobs[0])
        wait_until(lambda: bool(self.done))
        others = []
        for count, job in enumerate(jobs[1:], start=1):
            others.append(self.threads.submit(self.together.submit, job))
            wait_until(lambda count=count: len(self.together._waiting) == count)  # type: ignore[misc]
        return [first, *others]


def test_what_waits_is_done_in_one_go() -> None:
    """Jobs that come while another is under way are done together; each gets its own result or error."""
    turns = Turns()
    found = turns.begin([1, 2, 13, 4])
    turns.gate.set()
    assert [found[at].result(PATIENCE) for at in (0, 1, 3)] == [-1, -2, -4]
    with pytest.raises(ValueError, match="13"):
        found[2].result(PATIENCE)
    assert turns.done == [[1], [2, 13, 4]]


def test_an_error_is_for_all_that_were_done_together() -> None:
    """If the work itself fails, everyone in it gets the error, and the next ones do not."""
    turns = Turns()
    turns.gate.set()
    failing, works = turns.together._work, [True]

    def work(jobs: Sequence[int]) -> Sequence[int | Exception]:
        if works.pop():
            raise KeyError(jobs[0])
        return failing(jobs)

    works.insert(0, False)
    turns.together._work = work
    with pytest.raises(KeyError):
        turns.together.submit(1)
    assert turns.together.submit(2) == -2


def test_too_many_and_too_long() -> None:
    """A job that finds too many waiting is turned away at once, and one that has waited for too long as well."""
    turns = Turns(most=1)
    found = turns.begin([1, 2])
    with pytest.raises(Overloaded):
        turns.together.submit(3)
    turns.gate.set()
    assert [one.result(PATIENCE) for one in found] == [-1, -2]
    impatient = Turns(patience=0.01)
    first = impatient.begin([1])[0]
    with pytest.raises(Overloaded):
        impatient.together.submit(2)
    impatient.gate.set()
    assert first.result(PATIENCE) == -1
    impatient.threads.shutdown()  # it has given back its turn
    assert impatient.together.submit(3) == -3
