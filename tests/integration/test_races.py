"""Races on real commits: many threads and several processes on the same users at once."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from random import Random
from threading import Barrier
from typing import Any, TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from database import users
from database.session import make_sessions, run
from rules.judging.engine import RuleEngine
from rules.model import Event, Outcome, Refusal, Verdict
from rules.policy import Policy
from rules.registry import DEFAULT_CODES, REGISTRY
from tests.postgres import engine_on, transaction
from tests.unit.rules.timeline import events
from tests.waiting import PATIENCE

pytestmark = pytest.mark.forms

Sessions = sessionmaker[Session]
T = TypeVar("T")

THREADS = 16
RULES = tuple(REGISTRY[code] for code in DEFAULT_CODES)


@pytest.fixture
def many_sessions(database_url: str) -> Iterator[Sessions]:
    """Sessions on the test's database with a connection for each thread."""
    with engine_on(database_url, connections=THREADS) as engine:
        yield make_sessions(engine)


def at_once(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """The results of the jobs, each run in a thread of its own, all started at the same moment."""
    barrier = Barrier(len(jobs))

    def wait_and(job: Callable[[], T]) -> T:
        barrier.wait(PATIENCE)
        return job()

    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(wait_and, jobs))


def poster(sessions: Sessions, batches: Sequence[Sequence[Event]], **policy: bool) -> Callable[[], list[Outcome]]:
    """A job that posts the batches one after the other and returns all outcomes."""
    engine = RuleEngine(Policy(RULES, **policy))

    def post() -> list[Outcome]:
        outcomes = []
        for batch in batches:
            outcomes += run(sessions, partial(engine.process, events=batch))
        return outcomes

    return post


def race(sessions: Sessions, jobs: int, notation: str, times: int = 1, **policy: bool) -> list[Outcome]:
    """All outcomes of `jobs` threads that each post the noted events of user 1 `times` times."""
    job = poster(sessions, [events(1, notation)] * times, **policy)
    return [outcome for outcomes in at_once([job] * jobs) for outcome in outcomes]


def user(sessions: Sessions, user_id: int = 1) -> tuple[int, Decimal]:
    """The user's `last_seq` and balance."""
    with sessions() as session:
        found = users.get_user(session, user_id)
        assert found is not None
        return found.last_seq, found.balance


def seqs(sessions: Sessions, user_id: int = 1) -> list[int]:
    statement = text("SELECT seq FROM user_actions WHERE user_id = :user_id ORDER BY seq")
    with sessions() as session:
        return list(session.scalars(statement, {"user_id": user_id}))


def count(sessions: Sessions, table: str) -> Any:
    with sessions() as session:
        return session.execute(text(f"SELECT count(*) FROM {table}")).scalar()


def one_to(last: int) -> list[int]:
    return list(range(1, last + 1))


def test_threads_see_each_others_deposits(many_sessions: Sessions) -> None:
    """Of 608 deposits of 10.00 at one time, posted by 16 threads, just the first 20 stay at 200.00 or below."""
    outcomes = race(many_sessions, THREADS, "d 10.00 @5", times=38)
    silent = [o for o in outcomes if isinstance(o, Verdict) and o.codes == ()]
    assert (len(outcomes), len(silent)) == (608, 20)
    assert {o.codes for o in outcomes if isinstance(o, Verdict)} == {(), (123,)}
    assert seqs(many_sessions) == one_to(608)
    assert user(many_sessions) == (608, Decimal("6080.00"))
    assert count(many_sessions, "alerts") == 588


_start: Any = None


def _meet_at(barrier: Any) -> None:
    global _start
    _start = barrier


def _post_in_process(url: str, times: int) -> list[tuple[int, ...]]:
    with engine_on(url) as engine:
        job = poster(make_sessions(engine), [events(1, "d 10.00 @5")] * times)
        _start.wait(PATIENCE)
        outcomes = job()
    return [outcome.codes for outcome in outcomes if isinstance(outcome, Verdict)]


def test_processes_see_each_others_deposits(database_url: str, sessions: Sessions) -> None:
    """Of 400 deposits of 10.00 at one time, posted by two processes, just the first 20 stay at 200.00 or below."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, spawn, _meet_at, (spawn.Barrier(2),)) as processes:
        found = list(processes.map(_post_in_process, [database_url] * 2, [200] * 2))
    answers = found[0] + found[1]
    assert (len(answers), answers.count(()), answers.count((123,))) == (400, 20, 380)
    assert seqs(sessions) == one_to(400)
    assert user(sessions) == (400, Decimal("4000.00"))


def test_overdraft(many_sessions: Sessions) -> None:
    """Of 48 withdrawals of 10.00 at once from a balance of 100.00, ten are accepted."""
    with transaction(many_sessions) as session:
        assert users.create_user(session, 1, name=None, total=Decimal("100.00"), risk="normal")
    outcomes = race(many_sessions, THREADS, "w 10.00 @5", times=3, allow_overdraft=False)
    refusals = [o.reason for o in outcomes if isinstance(o, Refusal)]
    assert refusals == ["overdraft"] * 38
    assert user(many_sessions) == (10, Decimal("0.00"))
    assert seqs(many_sessions) == one_to(10)


def test_consecutive_withdrawals(many_sessions: Sessions) -> None:
    """Of 16 withdrawals at once just the first two are not the third in a row."""
    outcomes = race(many_sessions, THREADS, "w 1.00 @5")
    codes = sorted(o.codes for o in outcomes if isinstance(o, Verdict))
    assert codes == [(), (), *[(30,)] * 14]


def test_one_event_id(many_sessions: Sessions) -> None:
    """50 posts of one event_id at once make one action; the others are replays of its answer."""
    outcomes = race(many_sessions, 50, "d 300 @5 #key")
    replays = [o for o in outcomes if o == Verdict(1, (123,), replayed=True)]
    first = [o for o in outcomes if o == Verdict(1, (123,))]
    assert (len(replays), len(first)) == (49, 1)
    assert (user(many_sessions), seqs(many_sessions)) == ((1, Decimal("300.00")), [1])
    assert count(many_sessions, "alerts") == 1


def test_one_event_id_with_different_payloads(many_sessions: Sessions) -> None:
    """Of different payloads under one event_id at once one is stored and the others are conflicts."""
    jobs = [poster(many_sessions, [events(1, f"d {cents}.00 @5 #key")]) for cents in one_to(THREADS)]
    outcomes = [outcome for (outcome,) in at_once(jobs)]
    refusals = [o.reason for o in outcomes if isinstance(o, Refusal)]
    stored = [cents for cents, o in zip(one_to(THREADS), outcomes, strict=True) if isinstance(o, Verdict)]
    assert refusals == ["event_id_conflict"] * (THREADS - 1)
    assert user(many_sessions) == (1, Decimal(stored[0]))


@pytest.mark.parametrize("user_id", range(1, 6))
def test_first_events_of_an_unknown_user(user_id: int, many_sessions: Sessions) -> None:
    """The first events ever of one user, posted at once, make one user with one gap-free order of arrival."""
    job = poster(many_sessions, [events(user_id, "d 1.00 @5")])
    at_once([job] * THREADS)
    assert count(many_sessions, "users") == 1
    assert user(many_sessions, user_id) == (THREADS, Decimal(THREADS))
    assert seqs(many_sessions, user_id) == one_to(THREADS)


def test_refused_and_stored_first_events(many_sessions: Sessions) -> None:
    """While some threads create and remove a user with refused events, the deposits of others are all stored."""
    overdraw = poster(many_sessions, [events(1, "w 999 @5") + events(2, "d 1 @5")] * 5, allow_overdraft=False)
    deposit = poster(many_sessions, [events(1, "d 1.00 @5")], allow_overdraft=False)
    found = at_once([overdraw, deposit] * (THREADS // 2))
    refusals = [o.reason for outcomes in found for o in outcomes if isinstance(o, Refusal)]
    assert refusals == ["overdraft"] * 40
    assert [user(many_sessions, user_id) for user_id in (1, 2)] == [(8, Decimal(8)), (40, Decimal(40))]
    assert [seqs(many_sessions, user_id) for user_id in (1, 2)] == [one_to(8), one_to(40)]


def test_overlapping_batches_in_opposite_orders(many_sessions: Sessions) -> None:
    """Batches that name the same users in different orders never deadlock: none is even tried again."""
    tries = []
    engine = RuleEngine(Policy(RULES))

    def post(seed: int) -> int:
        random, stored = Random(seed), 0
        for _ in range(6):
            batch = [event for user_id in one_to(40) for event in events(user_id, "d 1.00 @5, w 1.00 @5")]
            batch = batch[::-1] if seed % 2 else random.sample(batch, len(batch))

            def work(session: Session, batch: list[Event] = batch) -> list[Outcome]:
                tries.append(seed)
                return engine.process(session, batch)

            stored += len(run(many_sessions, work))
        return stored

    stored = at_once([partial(post, seed) for seed in range(8)])
    assert stored == [6 * 80] * 8
    assert sorted(tries) == sorted([*range(8)] * 6)
    for user_id in one_to(40):
        assert user(many_sessions, user_id) == (96, Decimal("0.00"))
        assert seqs(many_sessions, user_id) == one_to(96)
