"""One caller's trouble is not another's: held rows, batches of the same users, large repairs, and changes of rules."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event as Signal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from database.engines import make_engines
from database.locks import TURN_OF_BATCHES, Waits, busy_users
from database.session import begin, is_lock_timeout
from rules.judging import batches
from rules.judging.batches import Batches, RulesChanged
from rules.judging.late import LargeRepair
from rules.judging.observer import Observer, Stage
from rules.model import Event, Outcome, Refusal, Verdict
from rules.overload import Overloaded
from rules.policy import Policy
from rules.registry import DEFAULT_CODES, REGISTRY
from rules.service import Service
from rules.versions import WantedSetting
from tests.unit.rules.timeline import events
from tests.waiting import PATIENCE, wait_until

Sessions = sessionmaker[Session]

USERS = range(1, 301)


class Pause(Observer):
    """Holds a batch after it was judged, if `armed`, until `go` is set; `there` says that it has come so far."""

    def __init__(self) -> None:
        self.armed, self.there, self.go = False, Signal(), Signal()

    def done(self, stage: Stage, seconds: float) -> None:
        if self.armed and stage == "judge":
            self.armed = False
            self.there.set()
            assert self.go.wait(PATIENCE)


@pytest.fixture
def pause() -> Pause:
    """What the service reports to."""
    return Pause()


def service_on(url: str, timeout: float, observer: Observer, group_commit_max: int | None = 256) -> Service:
    """A service as app.py makes it; its requests wait for `timeout` seconds at most."""
    return Service(
        engines=make_engines(url, timeout=timeout, connections=16, read_timeout=timeout, read_connections=1),
        policy=Policy(tuple(REGISTRY[code] for code in DEFAULT_CODES)),
        group_commit_max=group_commit_max,
        group_commit_queue=10_000,
        threads=16,
        observer=observer,
    )


@pytest.fixture
def service(database_url: str, pause: Pause) -> Iterator[Service]:
    """A service that waits for as long as a slow machine may take."""
    made = service_on(database_url, PATIENCE, pause)
    made.run(made.rules)
    yield made
    made.dispose()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for callers."""
    with ThreadPoolExecutor(32) as pool:
        yield pool


def one(user_id: int, notation: str = "d 1.00 @5") -> Event:
    (found,) = events(user_id, notation)
    return found


def big(users: Sequence[int] = USERS, notation: str = "d 1.00 @5") -> list[Event]:
    """A batch of more events than need no turn."""
    return [event for user_id in users for event in events(user_id, notation)]


@contextmanager
def held(sessions: Sessions, statement: str) -> Iterator[None]:
    """A transaction that has run `statement` and does not end within the block."""
    with sessions() as session:
        begin(session)
        session.execute(text(statement))
        yield
        session.rollback()


HOLD_7 = "SELECT 1 FROM users WHERE user_id = 7 FOR UPDATE"


def ask(sessions: Sessions, query: str) -> Any:
    with sessions() as session:
        return session.execute(text(query)).scalar_one()


def waiting_for(sessions: Sessions, kind: str) -> Any:
    """How many wait for a lock of that kind in the test's database."""
    return ask(
        sessions,
        f"SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        f" WHERE datname = current_database() AND locktype = '{kind}' AND NOT granted",
    )


class Failing(Observer):
    """Fails at the end of every transaction, when it is committed."""

    def done(self, stage: Stage, seconds: float) -> None:
        if stage == "write_and_commit":
            raise OSError(28, "No space left on device")


def test_who_measures_does_not_decide(database_url: str, sessions: Sessions) -> None:
    """What is committed is answered, and stored once, even if it could not be counted."""
    service = service_on(database_url, PATIENCE, Failing())
    assert service.judge(one(1)) == Verdict(1, ())
    assert service.judge_many([one(1), one(2)]) == [Verdict(1, ()), Verdict(2, ())]
    assert ask(sessions, "SELECT count(*) FROM user_actions") == 3
    service.dispose()


# A row that somebody holds


@pytest.mark.parametrize("group_commit_max", [256, None], ids=["group commit", "each alone"])
def test_a_held_row_holds_up_its_own_user_alone(
    database_url: str, sessions: Sessions, threads: ThreadPoolExecutor, group_commit_max: Any
) -> None:
    """While an operator's transaction holds a user, events of others are stored; that user's wait, and are stored."""
    service = service_on(database_url, PATIENCE, Observer(), group_commit_max)
    service.judge_many([one(user_id) for user_id in range(1, 21)])
    with held(sessions, HOLD_7):
        stuck = [threads.submit(service.judge, one(7)) for _ in range(3)]
        for _ in range(3):
            others = [threads.submit(service.judge, one(user_id)) for user_id in range(1, 21) if user_id != 7]
            assert [other.result(PATIENCE) for other in others] == [
                Verdict(user_id, ()) for user_id in range(1, 21) if user_id != 7
            ]
        assert not any(event.done() for event in stuck)
    assert [event.result(PATIENCE) for event in stuck] == [Verdict(7, ())] * 3
    assert ask(sessions, "SELECT last_seq FROM users WHERE user_id = 7") == 4
    service.dispose()


def test_a_row_that_is_held_for_too_long(service: Service, database_url: str, sessions: Sessions) -> None:
    """The event of a user whose row is not to be had in time is an error that says so, of which nothing is stored."""
    service.judge_many([one(7)])
    impatient = service_on(database_url, 1.0, Observer())
    with held(sessions, HOLD_7), pytest.raises(OperationalError) as failed:
        impatient.judge(one(7))
    assert is_lock_timeout(failed.value)
    impatient.dispose()
    assert service.judge(one(7)) == Verdict(7, ())
    assert ask(sessions, "SELECT last_seq FROM users WHERE user_id = 7") == 2


def test_a_user_whom_somebody_is_making(service: Service, sessions: Sessions, threads: ThreadPoolExecutor) -> None:
    """A row that another transaction has not committed yet cannot be seen, and holds up nobody else either."""
    with held(sessions, "INSERT INTO users (user_id) VALUES (7)"):
        stuck = threads.submit(service.judge, one(7))
        for user_id in (1, 2, 3):
            assert service.judge(one(user_id)) == Verdict(user_id, ())
        assert not stuck.done()
    assert stuck.result(PATIENCE) == Verdict(7, ())


def test_busy_users(service: Service, sessions: Sessions) -> None:
    """Those whom somebody has locked and those who are unknown are busy; to ask locks nobody."""
    service.judge_many([one(user_id) for user_id in (6, 7, 8)])
    with held(sessions, HOLD_7), sessions() as session:
        for _ in range(2):
            assert busy_users(session.connection(), [6, 7, 8, 9]) == {7, 9}
    with sessions() as session:
        assert busy_users(session.connection(), [6, 7, 8]) == frozenset()


def test_a_batch_does_not_hold_others_while_it_waits(
    service: Service, sessions: Sessions, threads: ThreadPoolExecutor
) -> None:
    """A batch that names a held user lets go of all others again and again, and is stored when it can be."""
    service.judge_many(big())
    with held(sessions, HOLD_7):
        for batch in (big(), [one(6), one(7)]):
            posted = threads.submit(service.judge_many, batch)
            for _ in range(2):
                assert service.judge(one(6)) == Verdict(6, ())
            assert not posted.done()
    wait_until(posted.done)
    assert posted.result() == [Verdict(6, ()), Verdict(7, ())]
    wait_until(lambda: ask(sessions, "SELECT last_seq FROM users WHERE user_id = 7") == 3)


# Big batches


def test_big_batches_of_the_same_users(
    service: Service, database_url: str, sessions: Sessions, threads: ThreadPoolExecutor
) -> None:
    """Of two services, big batches that name the same users in opposite orders are all stored, late ones too."""
    other = service_on(database_url, PATIENCE, Observer())
    posted: list[Future[list[Outcome]]] = []
    for at in range(8):
        users = USERS if at % 2 else USERS[::-1]
        posted.append(threads.submit((service, other)[at // 2 % 2].judge_many, big(users, f"d 1.00 @{100 - 10 * at}")))
    assert [len(batch.result(PATIENCE)) for batch in posted] == [len(USERS)] * 8
    assert ask(sessions, "SELECT count(*) FROM users WHERE last_seq = 8 AND net = 8") == len(USERS)
    other.dispose()


def test_a_big_batch_waits_for_its_turn_without_locks(
    service: Service, sessions: Sessions, threads: ThreadPoolExecutor
) -> None:
    """A big batch that finds others in its way waits until those before it are done, and holds no user meanwhile."""
    service.judge_many(big())
    with held(sessions, f"SELECT pg_advisory_xact_lock({TURN_OF_BATCHES})"):
        with held(sessions, HOLD_7):
            waiting = threads.submit(service.judge_many, big())
            wait_until(lambda: waiting_for(sessions, "advisory") == 1)
        with sessions() as session:
            wait_until(lambda: busy_users(session.connection(), list(USERS)) == frozenset())
        assert service.judge_many(big(range(1001, 1301))) == [Verdict(user_id, ()) for user_id in range(1001, 1301)]
        assert not waiting.done()
    assert len(waiting.result(PATIENCE)) == len(USERS)


def test_too_many_big_batches(
    service: Service, sessions: Sessions, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A big batch that finds as many under way as may be is turned away at once; a small one is not."""
    service.judge_many(big())
    with held(sessions, HOLD_7):
        waiting = [threads.submit(service.judge_many, big()) for _ in range(batches.BIG_AT_ONCE)]
        wait_until(lambda: service._batches._big._value == 0)
        with pytest.raises(Overloaded):
            service.judge_many(big(range(1001, 1301)))
        assert service.judge_many([one(8), one(9)]) == [Verdict(8, ()), Verdict(9, ())]
    assert [len(batch.result(PATIENCE)) for batch in waiting] == [len(USERS)] * batches.BIG_AT_ONCE
    assert ask(sessions, "SELECT count(*) FROM users WHERE user_id > 1000") == 0


# Changes of rules


def change(service: Service, **wanted: Any) -> Any:
    return service.set_rule(1100, WantedSetting(**wanted), lambda version: None)


@pytest.mark.parametrize("is_big", [True, False])
def test_a_change_while_a_batch_is_judged(
    service: Service, pause: Pause, sessions: Sessions, threads: ThreadPoolExecutor, is_big: bool
) -> None:
    """A change does not wait for a big batch, which is judged again by the new rules; for a small one it waits."""
    batch = big(notation="w 150 @5") if is_big else [one(1, "w 150 @5")]
    pause.armed = True
    posted = threads.submit(service.judge_many, batch)
    assert pause.there.wait(PATIENCE)
    changing = threads.submit(change, service, status="off")
    if is_big:
        number = changing.result(PATIENCE).number
        assert not posted.done()
        pause.go.set()
        assert posted.result(PATIENCE) == [Verdict(event.user_id, ()) for event in batch]
        assert ask(sessions, "SELECT min(rules_number) FROM user_actions") == number
    else:
        wait_until(lambda: waiting_for(sessions, "relation") == 1)
        pause.go.set()
        assert posted.result(PATIENCE) == [Verdict(1, (1100,))]
        assert changing.result(PATIENCE).number > ask(sessions, "SELECT max(rules_number) FROM user_actions")


def test_a_change_does_not_wait_for_who_waits_for_a_user(
    service: Service, sessions: Sessions, threads: ThreadPoolExecutor
) -> None:
    """Events that wait for a user's row do not hold the rules meanwhile."""
    service.judge_many([one(7)])
    with held(sessions, HOLD_7):
        stuck = threads.submit(service.judge, one(7, "w 150 @9"))
        wait_until(lambda: waiting_for(sessions, "transactionid"))
        change(service, status="off")
        assert not stuck.done()
    assert stuck.result(PATIENCE) == Verdict(7, ())


def test_the_rule_that_makes_the_load_can_be_switched_off(
    service: Service, database_url: str, sessions: Sessions, threads: ThreadPoolExecutor
) -> None:
    """While two services are full of big batches, late events and single ones, changes are made, and hold at once."""
    other, enough = service_on(database_url, PATIENCE, Observer()), Signal()
    newest = [change(service, status="active").number]

    def load(at: int) -> list[tuple[int, int]]:
        """Post until it is enough; the newest change that was answered before each post, and how many came of it."""
        mine, posted = (service, other)[at % 2], list[tuple[int, int]]()
        users = list(USERS if at % 4 < 2 else USERS[::-1])
        while not (posted and enough.is_set()):
            least, time = newest[0], 100 - len(posted)
            batch = big(users, f"w 150 @{time}") if at < 4 else [one(1000 + at, f"w 150 @{time}")]
            outcomes = mine.judge_many(batch) if at < 4 else [mine.judge(batch[0])]
            posted.append((least, len(outcomes)))
        return posted

    loads = [threads.submit(load, at) for at in range(8)]
    for at in range(4):
        newest[0] = change((service, other)[at % 2], note=f"{at}").number
    last = change(service, status="off").number
    assert service.judge(one(2000, "w 150 @5")) == Verdict(2000, ())
    assert other.judge(one(2001, "w 150 @5")) == Verdict(2001, ())
    enough.set()
    found = [one.result(PATIENCE) for one in loads]
    assert all(found)
    wrong = f"SELECT count(*) FROM user_actions WHERE (rules_number < {last}) <> (alert_codes && '{{1100}}')"
    assert ask(sessions, wrong) == 0
    for at in range(4, 8):
        least = [number for number, _ in found[at]]
        with sessions() as session:
            used = session.scalars(
                text(f"SELECT rules_number FROM user_actions WHERE user_id = {1000 + at} ORDER BY seq")
            ).all()
        assert len(used) == len(least)
        assert all(by >= answered for by, answered in zip(used, least, strict=True))
    other.dispose()


def test_changes_that_wait_are_made_together(
    service: Service, pause: Pause, sessions: Sessions, threads: ThreadPoolExecutor
) -> None:
    """Changes that come while one waits share the next transaction, each with its own version and error."""

    def refuse(version: int) -> None:
        raise KeyError(version)

    pause.armed = True
    posted = threads.submit(service.judge, one(1))
    assert pause.there.wait(PATIENCE)
    first = threads.submit(change, service, note="first")
    wait_until(lambda: waiting_for(sessions, "relation") == 1)
    others = [threads.submit(change, service, note=str(at)) for at in range(5)]
    refused = threads.submit(service.set_rule, 1100, WantedSetting(status="off"), refuse)
    wait_until(lambda: len(service._changes._waiting) == 6)
    pause.go.set()
    assert posted.result(PATIENCE) == Verdict(1, ())
    assert first.result(PATIENCE).setting.version == 2
    assert sorted(other.result(PATIENCE).setting.version for other in others) == [3, 4, 5, 6, 7]
    with pytest.raises(KeyError):
        refused.result(PATIENCE)
    together = "SELECT count(DISTINCT xmin::text) FROM rule_versions WHERE version > 1"
    assert ask(sessions, together) == 2
    assert ask(sessions, "SELECT count(*) FROM rule_versions WHERE status = 'off' AND code = 1100") == 0


def test_without_holding_the_rules(
    service: Service, pause: Pause, sessions: Sessions, threads: ThreadPoolExecutor
) -> None:
    """A batch that does not hold the rules stores nothing if one was changed; else it is stored as any other."""
    engine = service._engine

    def process() -> list[Outcome]:
        return service.run(lambda session: engine.process(session, [one(1)], waits=Waits(hold_rules=False)))

    pause.armed = True
    posted = threads.submit(process)
    assert pause.there.wait(PATIENCE)
    change(service, note="in between")
    pause.go.set()
    with pytest.raises(RulesChanged):
        posted.result(PATIENCE)
    assert ask(sessions, "SELECT count(*) FROM user_actions") == 0
    assert process() == [Verdict(1, ())]
    assert ask(sessions, "SELECT count(*) FROM user_actions") == 1


# Large repairs


class Repairs:
    """RuleEngine.process, in which late events of some users are large repairs, which may fail."""

    def __init__(self, service: Service, users: set[int]) -> None:
        self._engine, self._users = service._engine, frozenset(users)
        self.calls: list[tuple[list[int], bool, bool]] = []  # users, atomic, and whether a repair was limited
        self.fail: Exception | None = None

    def __call__(
        self,
        session: Session,
        posted: Sequence[Event],
        atomic: bool = False,
        *,
        repair_limit: int | None = None,
        waits: Waits,
    ) -> list[Outcome]:
        users = [event.user_id for event in posted]
        self.calls.append((users, atomic, repair_limit is not None))
        if repair_limit is not None and (found := self._users.intersection(users)):
            raise LargeRepair(frozenset([min(found)]))  # one is seen first
        if repair_limit is None and self.fail is not None:
            raise self.fail
        return self._engine.process(session, posted, atomic, waits=waits)


def test_users_with_large_repairs_leave_their_batch(service: Service, sessions: Sessions) -> None:
    """The others of a batch are committed first; the outcomes come in the order of the events."""
    process = Repairs(service, {2, 3})
    found = Batches(process, service.engines).judge([one(user_id) for user_id in (1, 3, 2, 4, 3)], atomic=False)
    assert found == [Verdict(user_id, ()) for user_id in (1, 3, 2, 4, 3)]
    assert process.calls == [
        ([1, 3, 2, 4, 3], False, True),
        ([1, 3, 4, 3], False, True),
        ([1, 4], False, True),
        ([2], False, False),
        ([3, 3], False, False),
    ]
    assert ask(sessions, "SELECT count(*) FROM user_actions") == 5


@pytest.mark.parametrize("error", [Overloaded("full"), "timeout", ZeroDivisionError("a defect")])
def test_a_large_repair_of_a_batch_that_fails(service: Service, sessions: Sessions, error: Any) -> None:
    """Its events are refused as unavailable; what others of the batch were answered is stored."""
    process = Repairs(service, {2})
    if error == "timeout":
        with pytest.raises(OperationalError) as slow:
            service.run(lambda s: s.execute(text("SET LOCAL statement_timeout = 1; SELECT pg_sleep(9)")))
        error = slow.value
    process.fail = error
    found = Batches(process, service.engines).judge([one(user_id) for user_id in (2, 1, 2)], atomic=False)
    assert [one.reason if isinstance(one, Refusal) else one for one in found] == [
        "unavailable",
        Verdict(1, ()),
        "unavailable",
    ]
    assert ask(sessions, "SELECT array_agg(user_id) FROM users") == [1]


def test_an_atomic_batch_with_a_large_repair_stays_one(service: Service, sessions: Sessions) -> None:
    """With `atomic` everything is one transaction, by the means of large repairs; if it fails, nothing is stored."""
    process = Repairs(service, {2})
    judge = Batches(process, service.engines).judge
    assert judge([one(1), one(2)], atomic=True) == [Verdict(1, ()), Verdict(2, ())]
    assert process.calls == [([1, 2], True, True), ([1, 2], True, False)]
    process.fail = Overloaded("full")
    with pytest.raises(Overloaded):
        judge([one(1), one(2)], atomic=True)
    assert ask(sessions, "SELECT count(*) FROM user_actions") == 2


def test_a_large_repair_while_rules_change(service: Service, sessions: Sessions) -> None:
    """A repair begins anew when rules were changed meanwhile, but not for ever."""
    process = Repairs(service, {2})
    process.fail = RulesChanged()
    with pytest.raises(Overloaded):
        Batches(process, service.engines).repair([one(2)])
    assert process.calls == [([2], False, False)] * batches.TRIES
    assert ask(sessions, "SELECT count(*) FROM users") == 0


def test_too_many_batches_with_large_repairs(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many at once a batch's large repairs are refused at once, and an atomic batch as a whole."""
    monkeypatch.setattr(batches, "REPAIRED_AT_ONCE", 1)
    judge = Batches(Repairs(service, {2}), service.engines)
    judge._repaired.acquire()
    (refused, stored) = judge.judge([one(2), one(1)], atomic=False)
    assert isinstance(refused, Refusal)
    assert (refused.reason, stored) == ("unavailable", Verdict(1, ()))
    with pytest.raises(Overloaded):
        judge.judge([one(2), one(1)], atomic=True)
