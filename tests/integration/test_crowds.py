"""Many actions at one time or in one window: what is read for an event, and that nothing comes out differently."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session, sessionmaker

from database import judging, late_counts, late_offsets, prepared, storing
from rules import timeline
from rules.hindsight import verify
from rules.judging import ahead, lookups, parts
from rules.model import ACTION_TYPES, LISTED_ACTIONS, Event
from rules.policy import Policy
from rules.registry import REGISTRY
from tests.integration.oracle import ANSWER_ORDER, Oracle, Posted
from tests.integration.test_engine import rows
from tests.integration.test_hindsight import Live, RuleSet, all_rules, forget_rules, happening
from tests.integration.test_hindsight import check as verify_check
from tests.integration.test_oracle import (
    ACTIVE,
    CENTS,
    NEW_USER,
    active_now,
    assert_stored,
    batches,
    check,
    prepare,
    process,
    result_of,
    rules,
)

pytestmark = pytest.mark.forms

Sessions = sessionmaker[Session]


@contextmanager
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Notes how many rows each message to the database brings."""
    counts: list[int] = []
    directly = prepared.run_directly

    def run(connection: Any, statement: str, values: Any) -> Any:
        found = directly(connection, statement, values)
        counts.append(len(found))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(judging, "run_directly", run)
        patch.setattr(storing, "run_directly", run)
        yield counts


def crowd(user_id: int, size: int, time: int) -> list[Event]:
    """Actions of one user at one time: deposits and withdrawals in turn."""
    return [Event(user_id, ACTION_TYPES[number % 2], Decimal("1.00"), time) for number in range(size)]


@pytest.mark.parametrize("status", ["active", "shadow"])
def test_what_is_read_does_not_grow_with_a_crowd(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """For one event, and for many at one time, as much is read after 600 actions at that time as after 3,000.

    That holds with all rules, and with those that look at short windows alone.
    """
    for codes in (set(REGISTRY), {123}, {500}):
        live = Live(sessions)
        live.set_rules(
            RuleSet(code, status if code in codes else "off", rule.defaults(), {}) for code, rule in REGISTRY.items()
        )
        found = []
        for user, size in ((1, 600), (2, 3000)):
            live.post(crowd(live.first + user, size, 1000))
            for events in (crowd(live.first + user, 1, 1000), crowd(live.first + user, 50, 1010)):
                with read(monkeypatch) as counts:
                    live.post(events)
                found.append(counts)
        assert found[:2] == found[2:]
        for counts in found:
            assert len(counts) <= 3  # locking and reading, the oldest in the windows, storing
            assert sum(counts) <= len(ACTION_TYPES) * (2 * LISTED_ACTIONS + 10)


def test_a_late_event_reads_a_crowds_windows_once(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a crowd after a late event is judged again, but its windows, which are one, are read once, and cut."""
    live = Live(sessions, (123, 500))
    for time in range(1000, 1300, 60):
        live.post(crowd(live.first + 1, 500, time))
    with read(monkeypatch) as counts:
        live.post([Event(live.first + 1, "deposit", Decimal("5.00"), 1239)])
    assert sum(counts) <= 2 * len(ACTION_TYPES) * (2 * LISTED_ACTIONS + 10)  # for the late event, and for the crowd
    assert live.report().differences == []


EVIDENCE = """
    SELECT user_id - :first, seq, code, evidence FROM alerts WHERE user_id BETWEEN :first AND :last AND NOT late
    AND NOT superseded ORDER BY 1, 2, 3
"""


def test_the_evidence_of_a_crowd(sessions: Sessions) -> None:
    """In one batch or in many, the evidence is the same: count and sum of all, the newest 100, their stretch."""
    events = [*crowd(1, 150, 1000), *crowd(1, 150, 1010), *crowd(1, 2, 1030), *crowd(1, 2, 1031)]
    found = []
    for size in (13, len(events)):
        live = Live(sessions, (500, 123))
        own = [event._replace(user_id=live.first + event.user_id) for event in events]
        for start in range(0, len(own), size):
            live.post(own[start : start + size])
        found.append(live.rows(EVIDENCE))
        assert live.report().differences == []
    assert found[0] == found[1]
    evidence = {(seq, code): evidence for _, seq, code, evidence in found[0]}
    assert evidence[304, 500]["measured"] == 304
    assert evidence[304, 500]["actions"] == list(range(205, 305))
    assert evidence[304, 500]["actions_unlisted"] == 204
    assert evidence[304, 500]["sentence"] == "304 actions between 1000 and 1031 are more than 5 in 60 s."
    assert (303, 123) not in evidence  # 77 deposits of 1.00 in 30 s


# Against the oracle and verify. Three are a crowd, if no more than two actions are listed.


@pytest.fixture
def few_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An alert lists no more than two actions, no more of a window are read, and late events are repaired in parts."""
    for module in (timeline, lookups):
        monkeypatch.setattr(module, "LISTED_ACTIONS", 2)
    monkeypatch.setattr(late_counts, "STRETCH", 2)
    monkeypatch.setattr(late_offsets, "FEW", 1)
    for module in (ahead, parts):
        monkeypatch.setattr(module, "PART", 4)
    monkeypatch.setattr(ahead, "AT_ONCE", 6)
    monkeypatch.setattr(verify, "_TO_FORGET", 2)  # and verify holds no more than it must


@settings(check, max_examples=50)
@given(stream=batches(st.none()), active=ACTIVE)
def test_codes_equal_the_oracle_however_little_is_listed(
    sessions: Sessions, few_listed: None, stream: list[list[Posted]], active: frozenset[int]
) -> None:
    """Every answer and alert is the oracle's if nearly every window is cut."""
    oracle, engine = Oracle(active), active_now(sessions, Policy(rules(active)))
    offset = prepare(sessions, oracle)
    for batch in stream:
        outcomes = process(sessions, engine, batch, offset)
        assert [result_of(outcome) for outcome in outcomes] == [oracle.post(event) for event in batch]
    assert_stored(sessions, oracle, offset)


@settings(verify_check, max_examples=30)
@given(rules=all_rules(), steps=happening)
def test_verify_finds_nothing_however_little_is_listed(
    sessions: Sessions, few_listed: None, rules: list[Any], steps: list[Any]
) -> None:
    """All evidence is what judging with the whole history at hand gives, if nearly every window is cut."""
    forget_rules(sessions)
    live = Live(sessions)
    live.set_rules(rules)
    live.do(steps)
    assert live.report().differences == []


@pytest.mark.parametrize("seed", range(3))
def test_crowds_equal_the_oracle(sessions: Sessions, seed: int) -> None:
    """Hundreds of actions at a few times, in order and late, in batches of any size: answers and alerts are right."""
    random = Random(seed)
    oracle = Oracle()
    engine = active_now(sessions, Policy(rules(frozenset(ANSWER_ORDER))))
    offset = prepare(sessions, oracle)
    for time in sorted(random.choices([0, 1, 30, 31, 60, 61, 90, 91, 150], k=5)):
        size = random.choice([1, 60, 99, 100, 101, 140])
        kinds = random.choice((ACTION_TYPES, ACTION_TYPES[:1], ACTION_TYPES[1:]))
        for number in (size, 1, 2):
            batch = [
                Posted(
                    NEW_USER, random.choice(kinds), random.choice(CENTS), max(0, time - random.choice([0, 0, 0, 45]))
                )
                for _ in range(number)
            ]
            if number == size:
                batch = [replace(one, time=time) for one in batch]
            outcomes = process(sessions, engine, batch, offset)
            assert [result_of(outcome) for outcome in outcomes] == [oracle.post(event) for event in batch]
    assert_stored(sessions, oracle, offset)
    assert rows(sessions, "SELECT count(*) FROM user_actions")[0][0] > 2 * LISTED_ACTIONS
