"""Late events with much behind them: how it is counted in, refused, and judged again."""

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from database import late_counts, late_events, late_offsets
from rules.judging import ahead, parts
from rules.judging.engine import RuleEngine
from rules.judging.late import LargeRepair
from rules.model import ACTION_TYPES, Event, Outcome, Refusal, Verdict
from rules.policy import Policy
from rules.registry import REGISTRY
from rules.rule_settings import RequestedChange, set_rules
from rules.values import LAST_TIME
from rules.versions import WantedSetting
from tests.numbers import NUMBERED_ACTIONS

pytestmark = pytest.mark.forms

Sessions = sessionmaker[Session]
ALL = tuple(REGISTRY.values())


def engine_of(sessions: Sessions, rules: Sequence[Any] = ALL, **policy: Any) -> RuleEngine:
    engine = RuleEngine(Policy(tuple(rules), **policy))
    with sessions() as session:
        engine.rules.enter_declared(session)
    return engine


def process(sessions: Sessions, engine: RuleEngine, events: Sequence[Event], **more: Any) -> list[Outcome]:
    with sessions() as session:
        return engine.process(session, events, **more)


def rows(sessions: Sessions, statement: str) -> list[Any]:
    with sessions() as session:
        return list(session.execute(text(statement)))


def deposit(time: int, user_id: int = 1) -> Event:
    return Event(user_id, "deposit", Decimal(1), time)


def moved(sessions: Sessions, before: Sequence[Any]) -> list[int]:
    """The `seq` of the actions whose rows were written since `before`."""
    places = {row.seq: row.ctid for row in before}
    return [row.seq for row in stored(sessions) if places.get(row.seq, row.ctid) != row.ctid]


def stored(sessions: Sessions) -> list[Any]:
    return rows(sessions, "SELECT seq, ctid::text FROM user_actions ORDER BY seq")


def offsets(sessions: Sessions) -> list[tuple[Any, ...]]:
    found = rows(sessions, "SELECT type, time, added_count, added_total FROM late_offsets ORDER BY type, time")
    return [tuple(row) for row in found]


def numbers(sessions: Sessions) -> list[tuple[int, int]]:
    """The true running counts and sums, in order of time."""
    found = rows(sessions, f"{NUMBERED_ACTIONS} ORDER BY a.user_id, a.type, a.time, a.seq")
    return [(row.true_ordinal, int(row.true_total)) for row in found]


# Running counts and sums


def test_a_late_event_rewrites_one_stretch(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows the stretch is not written: the place where it begins says what is to be added from there on."""
    monkeypatch.setattr(late_counts, "STRETCH", 3)
    engine = engine_of(sessions, rules=())
    process(sessions, engine, [deposit(time) for time in range(10, 30)])
    before = stored(sessions)
    process(sessions, engine, [deposit(0)])
    assert moved(sessions, before) == [1, 2, 3]
    assert offsets(sessions) == [("deposit", 13, 1, Decimal(1))]
    before = stored(sessions)
    process(sessions, engine, [deposit(11)])
    assert moved(sessions, before) == [3]
    assert offsets(sessions) == [("deposit", 13, 2, Decimal(2))]
    before = stored(sessions)
    process(sessions, engine, [deposit(20), deposit(20), deposit(28), deposit(28)])
    assert moved(sessions, before) == [12, 13, 14, 20]
    assert offsets(sessions) == [("deposit", 13, 2, Decimal(2)), ("deposit", 24, 4, Decimal(4))]
    assert numbers(sessions) == [(n, n) for n in range(1, 27)]


def test_what_is_near_the_end_is_rewritten(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stretch of up to twice the length is not divided."""
    monkeypatch.setattr(late_counts, "STRETCH", 3)
    engine = engine_of(sessions, rules=())
    process(sessions, engine, [deposit(time) for time in range(10, 16)])
    process(sessions, engine, [deposit(0)])
    assert offsets(sessions) == []
    process(sessions, engine, [deposit(16)])
    process(sessions, engine, [deposit(1)])
    assert offsets(sessions) == [("deposit", 13, 1, Decimal(1))]
    assert numbers(sessions) == [(n, n) for n in range(1, 10)]


@pytest.mark.parametrize("few", [0, 64], ids=["read at once", "looked up"])
@pytest.mark.parametrize("stretch", [1, 2, 5])
def test_random_batches_number_every_action(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, stretch: int, few: int
) -> None:
    """Whatever comes late, in whichever batches, the running counts and sums are those of the order of time."""
    monkeypatch.setattr(late_counts, "STRETCH", stretch)
    monkeypatch.setattr(late_offsets, "FEW", few)
    engine, random = engine_of(sessions), Random(stretch)
    for _ in range(12):
        batch = [
            Event(
                random.choice((1, 2)), random.choice(ACTION_TYPES), Decimal(random.randint(1, 9)), random.randint(0, 99)
            )
            for _ in range(random.choice((1, 2, 20)))
        ]
        process(sessions, engine, batch)
    wrong = rows(
        sessions,
        f"""
        SELECT * FROM (
            SELECT true_ordinal, true_total, row_number() OVER stretch AS in_order,
                sum(amount) OVER stretch AS sum_in_order
            FROM ({NUMBERED_ACTIONS}) AS a WINDOW stretch AS (PARTITION BY user_id, type ORDER BY time, seq)
        ) AS each WHERE (true_ordinal, true_total) <> (in_order, sum_in_order)
        """,
    )
    assert wrong == []
    assert len(offsets(sessions)) >= 2


# What is too late


def test_too_many_behind(sessions: Sessions) -> None:
    """An event with more than `late_limit` actions behind it, of either type, is refused, and nothing is stored."""
    engine = engine_of(sessions, late_limit=2)
    withdrawal = Event(1, "withdraw", Decimal(1), 30)
    process(sessions, engine, [deposit(10), deposit(20), withdrawal, withdrawal])
    (refused,) = process(sessions, engine, [deposit(29)._replace(user_id=1), deposit(5)])[1:]
    assert refused == Refusal("too_late", "At most 2 of the user's actions may be later than an event.")
    (refused,) = process(sessions, engine, [withdrawal._replace(time=28)])
    assert refused == Refusal("too_late", "At most 2 of the user's actions may be later than an event.")
    assert rows(sessions, "SELECT last_seq FROM users") == [(5,)]
    assert process(sessions, engine, [deposit(29)]) == [Verdict(1, ())]


@pytest.mark.parametrize("limit", [0, 1, 4])
def test_what_is_too_late_in_random_batches(sessions: Sessions, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """In any batches, exactly those are refused that have more than the limit behind them when it is their turn."""
    monkeypatch.setattr(late_counts, "STRETCH", 2)
    engine, random = engine_of(sessions, late_limit=limit), Random(limit)
    times: dict[int, list[int]] = {1: [], 2: []}
    for _ in range(25):
        batch = [
            Event(random.choice((1, 2)), random.choice(ACTION_TYPES), Decimal(5), random.randint(0, 40))
            for _ in range(random.choice((1, 1, 6)))
        ]
        expected = []
        for event in batch:
            own = times[event.user_id]
            expected.append(sum(time > event.time for time in own) > limit)
            if not expected[-1]:
                own.append(event.time)
        outcomes = process(sessions, engine, batch)
        assert [isinstance(outcome, Refusal) for outcome in outcomes] == expected


def test_repeated_and_refused_events_are_not_too_late(sessions: Sessions) -> None:
    """What was stored is answered again, and another reason comes first."""
    engine = engine_of(sessions, late_limit=0, allow_overdraft=False, accept_out_of_order=True)
    first = deposit(10)._replace(event_id="a")
    process(sessions, engine, [first, deposit(20)])
    too_much = Event(1, "withdraw", Decimal(9), 5)
    found = process(sessions, engine, [first, first._replace(amount=Decimal(2)), too_much, deposit(5)])
    assert found[0] == Verdict(1, (), replayed=True)
    reasons = [outcome.reason for outcome in found[1:] if isinstance(outcome, Refusal)]
    assert reasons == ["event_id_conflict", "overdraft", "too_late"]


# What is judged again


def read_ahead(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """The `seq` of the later actions that are read from now on, with each reading."""
    found: list[set[int]] = []
    for name in ("read_ahead", "read_part"):
        monkeypatch.setattr(late_events, name, _noting(getattr(late_events, name), found))
    return found


def _noting(read: Any, found: list[set[int]]) -> Any:
    def call(*asked: Any, **more: Any) -> Any:
        actions = read(*asked, **more)
        found.append({one.seq for one in actions})
        return actions

    return call


def use(sessions: Sessions, code: int, status: Any) -> RuleEngine:
    """Set a rule; returns an engine that has read it."""
    engine = RuleEngine(Policy(()))
    with sessions() as session:
        engine.rules.versions(session)
        session.close()
        set_rules(session, [RequestedChange(code=code, wanted=WantedSetting(status=status), must_match=lambda _: None)])
    return engine


def test_a_rule_that_judged_nothing_behind_is_not_looked_for(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule of endless reach that was on for a while makes only the actions of that while be read."""
    engine = engine_of(sessions, rules=())
    process(sessions, engine, [deposit(1000 * n) for n in range(1, 20)])
    engine = use(sessions, 630, "shadow")
    process(sessions, engine, [deposit(1000 * n) for n in range(20, 25)])
    engine = use(sessions, 630, "off")
    process(sessions, engine, [deposit(1000 * n) for n in range(25, 100)])
    read = read_ahead(monkeypatch)
    process(sessions, engine, [deposit(40_500)])
    assert read == [{41, 42}]
    process(sessions, engine, [deposit(500)])
    assert read[1:] == [{1, 2, 20, 21, 22, 23, 24}]


def test_what_judges_is_found_among_many_changes(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the rules changed more often than is looked for, each action in reach is judged again by its own."""
    monkeypatch.setattr(ahead, "MOST_CHANGES", 2)
    engine = engine_of(sessions, rules=())
    process(sessions, engine, [Event(1, "deposit", Decimal(10), 1000 * n) for n in range(1, 12)])
    for status in ("shadow", "off", "shadow", "active"):
        engine = use(sessions, 630, status)
        time = 1000 * (20 + rows(sessions, "SELECT count(*) FROM rule_versions")[0][0])
        process(sessions, engine, [Event(1, "deposit", Decimal(50), time)])
    assert rows(sessions, "SELECT seq FROM alerts") == []
    process(sessions, engine, [Event(1, "deposit", Decimal("0.01"), 0)])
    assert [row.seq for row in rows(sessions, "SELECT seq FROM alerts WHERE late ORDER BY seq")] == [12]


def a_history(sessions: Sessions, rules: Sequence[Any], size: int) -> RuleEngine:
    """Deposits of 10.00 every ten seconds, judged by `rules`."""
    engine = engine_of(sessions, rules=rules)
    process(sessions, engine, [Event(1, "deposit", Decimal(10), 100 + 10 * n) for n in range(size)])
    return engine


@pytest.mark.parametrize(
    ("code", "limit", "is_large"),
    [(630, 24, True), (630, 100, False), (30, 24, False), (30, 6, True)],
    ids=["judged again", "fewer than that", "numbers of one stretch", "numbers"],
)
def test_a_repair_beyond_its_limit_is_refused(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, code: int, limit: int, is_large: bool
) -> None:
    """What changes more actions of a user than that is told by its user, before they are read; nothing is stored."""
    monkeypatch.setattr(late_counts, "STRETCH", 4)
    engine = a_history(sessions, [REGISTRY[code]], 40)
    process(sessions, engine, [deposit(1, 2), deposit(2, 3)])
    before = rows(sessions, "SELECT user_id, last_seq, net FROM users ORDER BY 1")
    read = read_ahead(monkeypatch)
    batch = [deposit(1, 2), deposit(0), deposit(0, 3), deposit(2000)]
    if not is_large:
        assert len(process(sessions, engine, batch, repair_limit=limit)) == 4
        return
    with pytest.raises(LargeRepair) as raised:
        process(sessions, engine, batch, repair_limit=limit)
    assert raised.value.user_ids == {1}
    assert read == []
    assert rows(sessions, "SELECT user_id, last_seq, net FROM users ORDER BY 1") == before
    assert len(process(sessions, engine, batch)) == 4


def test_a_repair_in_parts_equals_one_at_once(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few later actions are read at once, crowded moments included, the same alerts are left."""
    found = []
    for part in (1, 3, 1000):
        monkeypatch.setattr(ahead, "PART", part)
        monkeypatch.setattr(parts, "PART", part)
        random, engine = Random(7), engine_of(sessions)
        user = 10 + part
        times = [random.choice((0, 10, 10, 10, 20, 60, 61, 200, 5000, LAST_TIME)) for _ in range(60)]
        batch = [Event(user, random.choice(ACTION_TYPES), Decimal(random.choice((1, 60, 900))), time) for time in times]
        process(sessions, engine, sorted(batch, key=lambda event: event.time)[20:])
        process(sessions, engine, sorted(batch, key=lambda event: event.time)[:20:-1])
        left = f"SELECT seq, code, late, superseded, evidence FROM alerts WHERE user_id = {user} ORDER BY 1, 2"
        found.append(rows(sessions, left))
    assert found[0] == found[1] == found[2]
    assert any(row.late for row in found[0])


def test_many_repairs_that_are_large_together(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is read at once than may be, of however many users: those with the most leave, or are read in parts."""
    sizes = {1: 4, 2: 9, 3: 2, 4: 7}
    engine = engine_of(sessions, rules=[REGISTRY[630]])
    for user_id, size in sizes.items():
        process(sessions, engine, [deposit(100 + 10 * n, user_id) for n in range(size)])
    batch = [deposit(0, user_id) for user_id in sizes]
    monkeypatch.setattr(ahead, "AT_ONCE", 8)
    with pytest.raises(LargeRepair) as raised:
        process(sessions, engine, batch, repair_limit=1000)
    assert raised.value.user_ids == {2, 4}
    assert rows(sessions, "SELECT sum(last_seq) FROM users") == [(sum(sizes.values()),)]
    read = read_ahead(monkeypatch)
    assert len(process(sessions, engine, batch)) == 4
    assert [len(one) for one in read] == [4, 9, 7]  # the `seq` of users 1 and 3 together, and each of the others
    assert numbers(sessions) == [(n, n) for size in sizes.values() for n in range(1, size + 2)]
