"""The engine against a brute-force oracle: random streams of events, cut into random batches."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import count, cycle, pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from database import late_counts, users
from rules.base import Rule
from rules.judging import ahead, parts, pipeline
from rules.judging.engine import RuleEngine
from rules.model import ACTION_TYPES, Event, Outcome, Refusal
from rules.policy import Policy
from rules.registry import REGISTRY
from rules.values import LAST_TIME
from tests.integration.oracle import ANSWER_ORDER, Account, Oracle, Posted
from tests.numbers import NUMBERED_ACTIONS
from tests.postgres import transaction

# Three users of different risk and one that the first event makes; user ids are theirs times a fresh offset.
pytestmark = pytest.mark.forms

USERS = {1: Account("low", 500_00), 2: Account("normal", 100_00), 3: Account("high")}
NEW_USER = 4
offsets = count(1)

CENTS = [1, 33_34, 50_00, 50_01, 99_99, 100_00, 100_01, 200_00, 200_01, 400_01]
TIMES = st.sampled_from([0, 1, 29, 30, 31, 59, 60, 61, 90, 91, 120]) | st.integers(0, 120)
TYPES = st.sampled_from(ACTION_TYPES)


def batches(keys: st.SearchStrategy[str | None]) -> st.SearchStrategy[list[list[Posted]]]:
    """Up to 60 events in batches of 1 to 12: spread over users and times, or crowded on one user and a few moments; or
    in order of time, all but a few.
    """
    amounts = st.sampled_from(CENTS)
    spread = st.builds(Posted, st.sampled_from([*USERS, NEW_USER]), TYPES, amounts, TIMES, keys)
    crowded = st.builds(Posted, st.just(NEW_USER), TYPES, amounts, st.sampled_from([0, 30, 60]), keys)
    return st.one_of(stream_of(spread), stream_of(crowded), st.builds(in_time, stream_of(spread), st.integers(2, 60)))


def in_time(stream: list[list[Posted]], late: int) -> list[list[Posted]]:
    """The same in order of time, except for one of so many events."""
    times = iter(sorted(event.time for batch in stream for event in batch))
    numbered = count()
    return [
        [event if next(numbered) % late == late - 1 else replace(event, time=next(times)) for event in batch]
        for batch in stream
    ]


def stream_of(event: st.SearchStrategy[Posted]) -> st.SearchStrategy[list[list[Posted]]]:
    streams = st.lists(st.lists(event, min_size=1, max_size=12), min_size=1, max_size=10)
    return streams.filter(lambda found: sum(map(len, found)) <= 60)


# Fewer rules read less history, so that one rule's look-back cannot hide what another's misses.
ACTIVE = st.just(frozenset(ANSWER_ORDER)) | st.frozensets(st.sampled_from(ANSWER_ORDER))
KEYS = st.sampled_from([None, "a", "b", "c"])

check = settings(max_examples=120)


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even short histories are cut into stretches, and judged again in parts; larger batches are stored in pieces."""
    monkeypatch.setattr(pipeline, "LEAST", 5)
    monkeypatch.setattr(pipeline, "PIECE", 2)
    monkeypatch.setattr(late_counts, "STRETCH", 2)
    monkeypatch.setattr(ahead, "PART", 4)
    monkeypatch.setattr(parts, "PART", 4)
    monkeypatch.setattr(ahead, "AT_ONCE", 6)


def rules(active: frozenset[int]) -> tuple[Rule, ...]:
    return tuple(rule for code, rule in REGISTRY.items() if code in active)


def prepare(sessions: sessionmaker[Session], oracle: Oracle) -> int:
    """Make new users, in the database and in the oracle; returns the offset of their ids in the database."""
    offset = next(offsets) * 10
    with transaction(sessions) as session:
        for user, account in USERS.items():
            users.create_user(
                session, offset + user, name=None, total=Decimal(account.opening) / 100, risk=account.risk
            )
            oracle.accounts[user] = Account(account.risk, account.opening)
    return offset


# How many workers judge in turn, and whether they keep history.
WORKERS = st.sampled_from([(1, True), (2, True), (1, False)])


def active_now(
    sessions: sessionmaker[Session], policy: Policy, workers: tuple[int, bool] = (2, True)
) -> Iterator[RuleEngine]:
    """Workers in turn, without end; their policy's rules are active in the database from now on."""
    number, keep = workers
    engines = [RuleEngine(policy, keep=keep) for _ in range(number)]
    with sessions() as session:
        engines[0].rules.enter_declared(session)
    return cycle(engines)


def process(
    sessions: sessionmaker[Session], workers: Iterator[RuleEngine], batch: Sequence[Posted], offset: int
) -> list[Outcome]:
    events = [Event(offset + p.user, p.type, Decimal(p.cents) / 100, p.time, p.key) for p in batch]
    with sessions() as session:
        return next(workers).process(session, events)


def result_of(outcome: Outcome) -> list[int] | str:
    """An outcome in the form of the oracle's answers."""
    return outcome.reason if isinstance(outcome, Refusal) else list(outcome.codes)


def numbers(stored: list[Posted], seq: int) -> tuple[int, int]:
    """Count and sum (cents) of the user's actions of its type up to and including the one with `seq`, by time."""
    own = stored[seq - 1]
    upto = [e for s, e in enumerate(stored, start=1) if e.type == own.type and (e.time, s) <= (own.time, seq)]
    return len(upto), sum(e.cents for e in upto)


def assert_stored(sessions: sessionmaker[Session], oracle: Oracle, offset: int) -> None:
    """The tables hold what the oracle has stored, and nothing else."""
    mine = "WHERE user_id BETWEEN :first AND :last ORDER BY user_id"
    ids = {"first": offset, "last": offset + 9}
    with sessions() as session:
        users = session.execute(text(f"SELECT user_id, last_seq, balance FROM users {mine}"), ids).all()
        rows = session.execute(text(f"{NUMBERED_ACTIONS} {mine}, seq"), ids).all()
        marked = session.execute(
            text(f"SELECT user_id FROM users {mine.replace('WHERE', 'WHERE has_late_offsets AND')}"), ids
        ).all()
        cut = session.execute(text(f"SELECT DISTINCT user_id FROM late_offsets {mine}"), ids).all()
        alerts = session.execute(text(f"SELECT * FROM alerts {mine}, seq"), ids).all()

    expected = sorted(oracle.accounts.items())
    assert [(u.user_id - offset, u.last_seq, int(u.balance * 100)) for u in users] == [
        (user, len(account.stored), account.balance) for user, account in expected
    ]
    assert marked == cut
    actions = [(user, seq, e) for user, account in expected for seq, e in enumerate(account.stored, start=1)]
    assert [
        (r.user_id - offset, r.seq, Posted(r.user_id - offset, r.type, int(r.amount * 100), r.time, r.event_id))
        for r in rows
    ] == actions
    assert [(r.true_ordinal, int(r.true_total * 100)) for r in rows] == [
        numbers(account.stored, seq) for _, account in expected for seq in range(1, len(account.stored) + 1)
    ]
    answers = [(user, seq, answer) for user, a in expected for seq, answer in enumerate(a.answers, start=1)]
    assert [(r.user_id - offset, r.seq, r.alert_codes) for r in rows] == answers
    answered = {(user, seq, code) for user, seq, answer in answers for code in answer}
    assert {(a.user_id - offset, a.seq, a.code) for a in alerts if not a.late} == answered
    truth = {(user, *alert) for user, account in expected for alert in account.standing(oracle.active)}
    assert {(a.user_id - offset, a.seq, a.code) for a in alerts if not a.superseded} == truth


@check
@given(stream=batches(st.none()), active=ACTIVE, workers=WORKERS)
def test_codes_and_alerts_equal_the_oracle(
    sessions: sessionmaker[Session], stream: list[list[Posted]], active: frozenset[int], workers: tuple[int, bool]
) -> None:
    """Every answer and every stored alert is the oracle's, whatever the order of times and the cut into batches."""
    oracle, engine = Oracle(active), active_now(sessions, Policy(rules(active)), workers)
    offset = prepare(sessions, oracle)
    for batch in stream:
        outcomes = process(sessions, engine, batch, offset)
        assert [result_of(outcome) for outcome in outcomes] == [oracle.post(event) for event in batch]
    assert_stored(sessions, oracle, offset)


@check
@given(
    stream=batches(KEYS), overdraft=st.booleans(), out_of_order=st.booleans(), unknown=st.booleans(), workers=WORKERS
)
def test_refusals_and_replays_equal_the_oracle(
    sessions: sessionmaker[Session],
    stream: list[list[Posted]],
    overdraft: bool,
    out_of_order: bool,
    unknown: bool,
    workers: tuple[int, bool],
) -> None:
    """Under every policy, with repeated event ids, answers, refusals, balances and rows are the oracle's."""
    oracle = Oracle(reject_overdraft=overdraft, reject_out_of_order=out_of_order, reject_unknown=unknown)
    policy = Policy(rules(frozenset(ANSWER_ORDER)), not unknown, not overdraft, not out_of_order)
    engine = active_now(sessions, policy, workers)
    offset = prepare(sessions, oracle)
    refusals = {"overdraft", "out_of_order"}  # the contract leaves open which of the two is answered if both apply
    for batch in stream:
        found = [result_of(outcome) for outcome in process(sessions, engine, batch, offset)]
        expected = [oracle.post(event) for event in batch]
        assert ["refused" if f in refusals else f for f in map(str, found)] == [
            "refused" if e in refusals else e for e in map(str, expected)
        ]
    assert_stored(sessions, oracle, offset)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Posted], list[Posted]]:
    """Events of one user in the order of time, and in another order in which equal times keep theirs."""
    amounts = st.sampled_from(CENTS)
    times = draw(st.lists(TIMES | st.sampled_from([LAST_TIME, LAST_TIME - 1, LAST_TIME - 30]), min_size=2, max_size=25))
    events = [
        Posted(NEW_USER, draw(TYPES), draw(amounts), time, f"event {number}")
        for number, time in enumerate(sorted(times))
    ]
    shuffled = draw(st.permutations(events))
    turns = {time: iter([event for event in events if event.time == time]) for time in times}
    return events, [next(turns[event.time]) for event in shuffled]


@settings(check, max_examples=60)
@given(orders=arrivals(), cut=st.integers(1, 25), workers=WORKERS)
def test_standing_alerts_do_not_depend_on_the_order_of_arrival(
    sessions: sessionmaker[Session], orders: tuple[list[Posted], list[Posted]], cut: int, workers: tuple[int, bool]
) -> None:
    """The same events in any order, one by one or in batches, end with the same valid alerts."""
    engine = active_now(sessions, Policy(rules(frozenset(REGISTRY))), workers)
    standing = text("""
        SELECT a.event_id, l.code FROM alerts AS l JOIN user_actions AS a USING (user_id, seq)
        WHERE user_id = :user AND NOT superseded ORDER BY 1, 2
    """)
    found = []
    for order, size in ((orders[0], 1), (orders[1], 1), (orders[1], cut)):
        offset = next(offsets) * 10
        for start in range(0, len(order), size):
            process(sessions, engine, order[start : start + size], offset)
        with sessions() as session:
            found.append([tuple(row) for row in session.execute(standing, {"user": offset + NEW_USER})])
    in_time, one_by_one, in_batches = found
    assert one_by_one == in_time
    assert in_batches == in_time


def stream(random: Random) -> list[Posted]:
    """A user's events in the order of time, some of them at equal times."""
    times = sorted(random.choice((0, 5, 10, 29, 30, 31, 60, 61, 90, LAST_TIME - 30, LAST_TIME)) for _ in range(10))
    return [Posted(NEW_USER, random.choice(("deposit", "withdraw")), random.choice(CENTS), time) for time in times]


def another_order(random: Random, events: list[Posted]) -> list[Posted]:
    """The same events in some order in which equal times keep theirs."""
    turns: dict[int, list[Posted]] = {}
    for event in events:
        turns.setdefault(event.time, []).append(event)
    times = [event.time for event in events]
    random.shuffle(times)
    return [turns[time].pop(0) for time in times]


def test_thousands_of_streams_in_any_order(sessions: sessionmaker[Session]) -> None:
    """2,000 users' events, out of order and in batches across all users, end with the alerts of the order of time."""
    random = Random(20261122)
    streams = {user_id: stream(random) for user_id in range(1, 2001)}
    orders = {user_id: another_order(random, events) for user_id, events in streams.items()}
    engine = RuleEngine(Policy(rules(frozenset(ANSWER_ORDER))))
    batches = [0, *sorted(random.sample(range(1, 10), 4)), 10]
    for start, end in pairwise(batches):
        events = [
            Event(user_id, p.type, Decimal(p.cents) / 100, p.time)
            for user_id, order in orders.items()
            for p in order[start:end]
        ]
        with sessions() as session:
            engine.process(session, events)
    expected = {
        (user_id, seq, code)
        for user_id, order in orders.items()
        for seq, code in Account(stored=order).standing(frozenset(ANSWER_ORDER))
    }
    with sessions() as session:
        standing = session.execute(text("SELECT user_id, seq, code FROM alerts WHERE NOT superseded")).all()
        late = session.scalar(
            text("SELECT count(*) FILTER (WHERE late) * count(*) FILTER (WHERE superseded) FROM alerts")
        )
    assert {tuple(row) for row in standing} == expected
    assert len(expected) > 2000
    assert late > 0
