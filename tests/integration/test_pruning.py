"""Pruning: what is left is right, new events are judged on what is left, and nobody is held up."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from database import late_counts, pruning
from database.pruning import Removal
from database.session import Transaction
from rules.base import First, SumsSoFar
from rules.judging import ahead, parts
from rules.model import Event, Outcome, Refusal
from rules.registry import REGISTRY
from tests.integration.test_hindsight import (
    AMOUNTS,
    ORIGINS,
    Live,
    RuleSet,
    Sessions,
    all_rules,
    forget_rules,
    one_rule,
    posted,
    user_set,
)

check = settings(max_examples=30)


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even short histories are cut into stretches, and judged again in parts."""
    monkeypatch.setattr(late_counts, "STRETCH", 2)
    monkeypatch.setattr(ahead, "PART", 4)
    monkeypatch.setattr(parts, "PART", 4)


def prune(sessions: Sessions, user_id: int, before: int, most: int = 1_000) -> list[Removal]:
    """All that is removed of a user, transaction by transaction."""
    found: list[Removal] = []
    while not found or not found[-1].is_done:
        with sessions() as session, Transaction(session) as transaction:
            found.append(pruning.prune_user(transaction.connection, user_id, before, most))
            transaction.commit()
    return found


class PruneStep(NamedTuple):
    """A user's actions before a time are removed, so many at a time."""

    user: int
    before: int
    most: int


prunes = st.builds(PruneStep, st.integers(1, 3), st.integers(0, 210), st.integers(1, 4))


def do(live: Live, steps: Iterable[Any], origin: int) -> None:
    for step in steps:
        if isinstance(step, PruneStep):
            prune(live.sessions, live.first + step.user, origin + step.before, step.most)
        else:
            live.do([step], origin)


@check
@given(
    rules=all_rules(),
    steps=st.lists(posted() | posted() | posted() | prunes | user_set | one_rule, min_size=2, max_size=16),
    origin=ORIGINS,
    overdraft=st.booleans(),
)
def test_whatever_is_pruned_verify_finds_nothing(
    sessions: Sessions, rules: list[RuleSet], steps: list[Any], origin: int, overdraft: bool
) -> None:
    """Late events, changes of rules and ratings, pruned in between, again and again: what is left follows."""
    forget_rules(sessions)
    live = Live(sessions, allow_overdraft=overdraft)
    live.set_rules(rules)
    do(live, steps, origin)
    report = live.report()
    assert report.differences == []
    assert report.actions == len(live.events())


def outcomes(live: Live, some: Iterable[Event]) -> list[Outcome]:
    with live.sessions() as session:
        return live.engine.process(session, list(some))


FROM_CHECKPOINT = {
    code for code, rule in REGISTRY.items() if any(isinstance(look, SumsSoFar | First) for look in rule.look_back)
}
NEW_ACCOUNT = 680


def test_which_rules_go_by_checkpoints() -> None:
    """The next test has each of them in mind."""
    assert sorted(FROM_CHECKPOINT) == [630, NEW_ACCOUNT]
    assert {type(look) for look in REGISTRY[630].look_back} == {SumsSoFar}


event = st.builds(
    Event,
    st.just(1),
    st.sampled_from(["deposit", "withdraw"]),
    st.sampled_from(AMOUNTS),
    st.integers(0, 120),
    st.none(),
)
batches = st.lists(st.lists(event, min_size=1, max_size=6), min_size=1, max_size=6)


@check
@given(rules=all_rules(("active",)), before=batches, after=batches, cut=st.integers(1, 121), most=st.integers(1, 5))
def test_new_events_are_judged_on_what_is_left(
    sessions: Sessions,
    rules: list[RuleSet],
    before: list[list[Event]],
    after: list[list[Event]],
    cut: int,
    most: int,
) -> None:
    """Counts and sums so far and the first action are those of all history, all else is that of what was kept.

    One user has everything, one is pruned, and one never had more than what was kept. Each event is answered with the
    codes of the first or the last of these, late events raise and supersede the same, and balances agree.
    """
    forget_rules(sessions)
    live = Live(sessions)
    live.set_rules(rules)
    whole, pruned, kept = (live.first + number for number in range(3))
    for batch in before:
        live.post(one._replace(user_id=user) for one in batch for user in (whole, pruned))
    removed = prune(sessions, pruned, cut, most)
    assert sum(one.actions for one in removed) == sum(one.time < cut for batch in before for one in batch)
    left = live.rows("SELECT seq FROM user_actions WHERE user_id = :first + 1 AND :last > 0 ORDER BY seq")
    for batch in before:
        live.post(one._replace(user_id=kept) for one in batch if one.time >= cut)
    assert len(live.rows("SELECT seq FROM user_actions WHERE user_id = :first + 2 AND :last > 0")) == len(left)
    is_pruned = len(left) < sum(map(len, before))

    for batch in after:
        found = outcomes(live, (one._replace(user_id=pruned) for one in batch))
        refused = [isinstance(one, Refusal) and one.reason == "pruned" for one in found]
        assert refused == [is_pruned and one.time < cut for one in batch]
        fresh = [one for one in batch if not is_pruned or one.time >= cut]
        for user in (whole, kept):
            outcomes(live, (one._replace(user_id=user) for one in fresh))

    assert new_codes(live, pruned, len(left)) == expected_codes(live, whole, kept, len(left), rules)
    balances = "SELECT user_id, balance, last_seq FROM users WHERE user_id BETWEEN :first AND :last ORDER BY 1"
    (_, *full), (_, *own), *_ = live.rows(balances)
    assert own == full
    assert live.report().differences == []


def new_codes(live: Live, user: int, old: int) -> list[tuple[int, set[int], set[int]]]:
    """Of each action but the first `old` of a user, in order of arrival: its time, answer and standing codes."""
    stored = live.rows(f"""
        SELECT a.time, a.alert_codes, ARRAY(
            SELECT code FROM alerts AS l WHERE l.user_id = a.user_id AND l.seq = a.seq AND NOT superseded
        ) FROM user_actions AS a WHERE a.user_id = {user} AND :first > 0 AND :last > 0 ORDER BY a.seq
    """)
    return [(time, set(answered), set(standing)) for time, answered, standing in stored[old:]]


def expected_codes(
    live: Live, whole: int, kept: int, left: int, rules: list[RuleSet]
) -> list[tuple[int, set[int], set[int]]]:
    first = live.rows(f"SELECT min(time) FROM user_actions WHERE user_id = {whole} AND :first > 0 AND :last > 0")[0][0]
    (age,) = [one.parameters["age"] for one in rules if one.code == NEW_ACCOUNT]
    of_kept = new_codes(live, kept, left)
    of_whole = new_codes(live, whole, 0)[-len(of_kept) :] if of_kept else []
    found = []
    for (time, *all_codes), (_, *kept_codes) in zip(of_whole, of_kept, strict=True):
        both = []
        for everything, some in zip(all_codes, kept_codes, strict=True):
            codes = (some - {630}) | (everything & {630})
            # Its sum is that of a window, whose start may be gone, but the account is as old as it is.
            both.append(codes - {NEW_ACCOUNT} if time - first > int(str(age)) else codes)
        found.append((time, both[0], both[1]))
    return found
