"""Twins: that each fires on the very actions that its rule's check fires on."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.base import Rule, RuleInForce, RuleSetting
from rules.columns import MOST_CENTS, MOST_PRODUCT, Histories, first_at_least
from rules.hindsight.stored_columns import StoredActions, StoredUsers
from rules.model import ACTION_TYPES, Action, ActionType, Value
from rules.parameters import Parameter
from rules.pruned import Pruned
from rules.registry import REGISTRY
from rules.timeline import Timeline
from rules.values import LAST_TIME, MOST_MONEY, in_cents
from tests.unit.test_registry import SHIPPED

Users = Mapping[int, list[Action]]
randoms = st.integers(0, 2**32).map(Random)
ORIGINS = (0, 1_700_000_000, LAST_TIME - 400)
each_twin = pytest.mark.parametrize(
    "rule", [rule for rule in REGISTRY.values() if rule.twin], ids=[str(code) for code, r in REGISTRY.items() if r.twin]
)


def stored(users: Users, versions: Mapping[int, Iterable[int]] | None = None) -> StoredActions:
    """The actions of users as they are read, in any order; all are judged by version 0 of their user's settings."""
    rows = [
        (user_id, one.seq, one.type == "deposit", in_cents(one.amount), one.time, version)
        for user_id, own in users.items()
        for one, version in zip(own, versions[user_id] if versions else [0] * len(own), strict=True)
    ]
    user_id, seq, is_deposit, amount, time, version = np.array(rows, np.int64).reshape(-1, 6).T
    return StoredActions(user_id, seq, is_deposit.astype(bool), amount, time, version)


def some_actions(random: Random, most: int, largest: Decimal) -> list[Action]:
    """Up to `most` actions of a user in order of arrival, with times and amounts that are often the same."""
    origin, span = random.choice(ORIGINS), random.choice([0, 10, 400])
    amounts = [Decimal("0.01"), Decimal("0.02"), Decimal("50.00"), Decimal("100.00"), Decimal("100.01"), largest]
    some = random.sample(amounts, random.randint(1, len(amounts)))
    kinds = random.choice([ACTION_TYPES, ACTION_TYPES, ACTION_TYPES[:1], ACTION_TYPES[1:]])
    return [
        Action(seq, random.choice(kinds), random.choice(some), origin + random.randint(0, span))
        for seq in range(1, random.randint(1, most) + 1)
    ]


def some_value(parameter: Parameter, random: Random) -> Value:
    """A value that the actions are near to, or one of the bounds."""
    near: dict[str, list[Value]] = {
        "money": [Decimal(amount) for amount in ("0.01", "0.02", "50.00", "99.99", "100.00", "150.00", "200.00")],
        "factor": [Decimal("0.50"), Decimal("1.00"), Decimal("1.01"), Decimal("2.00")],
        "actions": [1, 2, 3, 4],
        "seconds": [0, 1, 5, 10, 100],
    }
    value = random.choice([*near[parameter.unit] * 2, parameter.least, parameter.most])
    return min(max(value, parameter.least), parameter.most)


def in_force(rule: Rule, random: Random) -> RuleInForce:
    """The rule with some parameters, scaled by some rating."""
    parameters = {one.name: some_value(one, random) for one in rule.declared}
    setting = RuleSetting(rule=rule, version=1, status="active", parameters=parameters, by_risk={})
    return RuleInForce(setting, risk=random.choice(["low", "normal", "high"]), overrides={})


def some_pruned(random: Random, own: list[Action]) -> Pruned:
    """What could be left of actions before these."""
    before = min(one.time for one in own)
    numbers: dict[ActionType, tuple[int, Decimal]] = {
        kind: (random.randint(1, 5), Decimal(random.randint(5, 100_000)).scaleb(-2))
        for kind in random.choice([ACTION_TYPES, ACTION_TYPES[:1], ACTION_TYPES[1:]])
    }
    first = Action(1, next(iter(numbers)), Decimal("0.01"), max(0, before - random.choice([1, 5, 200])))
    until = random.choice([0, own[-1].seq, own[len(own) // 2].seq])
    return Pruned(before=before, until_seq=until, newest_seq=random.randint(0, until), first=first, numbers=numbers)


def by_check(rule: RuleInForce, users: Users, pruned: Mapping[int, Pruned]) -> list[tuple[int, int]]:
    """The user and `seq` of the actions that the check fires on, by user in order of time."""
    found = []
    for user_id in sorted(users):
        line = Timeline()
        if user_id in pruned:
            line.go_on_from(pruned[user_id].first, pruned[user_id].numbers)
        for action in sorted(users[user_id], key=lambda one: one.place):
            line.add(action)
            if rule.rule.judges(action.type) and rule.check(line.at(action), rule.parameters):
                found.append((user_id, action.seq))
    return found


def by_twin(rule: RuleInForce, users: Users, pruned: Mapping[int, Pruned]) -> list[tuple[int, int]]:
    """The same by the twin."""
    of_all = StoredUsers(stored(users), pruned)
    assert list(of_all.too_large) == []
    columns, places = of_all.columns()
    if rule.rule.fires_on is not None:
        places = places[of_all.actions.is_deposit == (rule.rule.fires_on == "deposit")]
    assert rule.rule.twin is not None
    fired = places[rule.rule.twin(Histories(columns, places), rule.parameters)]
    user_ids, seqs = of_all.actions.user_id[fired].tolist(), of_all.actions.seq[fired].tolist()
    return list(zip(user_ids, seqs, strict=True))


@each_twin
@settings(max_examples=150)
@given(random=randoms)
def test_a_twin_fires_where_the_check_does(rule: Rule, random: Random) -> None:
    """Whatever the users, their actions, what was removed of them and the parameters are."""
    # With so few actions, the largest amounts are within the bounds of columns.
    largest = random.choice([Decimal("100.02"), Decimal(MOST_CENTS // 50).scaleb(-2)])
    users = {n: some_actions(random, random.choice([1, 6, 40]), largest) for n in range(1, random.randint(2, 5))}
    pruned = {n: some_pruned(random, own) for n, own in users.items() if random.random() < 0.2}
    chosen = in_force(rule, random)
    assert by_twin(chosen, users, pruned) == by_check(chosen, users, pruned)


@each_twin
def test_such_actions_make_it_fire(rule: Rule) -> None:
    """Else what is compared above were nothing."""
    random, fired = Random(rule.code), 0
    for _ in range(300):
        users = {1: some_actions(random, 40, Decimal("100.02"))}
        fired += len(by_twin(in_force(rule, random), users, {}))
    assert fired > 20


@pytest.mark.parametrize("code", SHIPPED)
def test_rules_that_are_shipped_have_twins(code: int) -> None:
    """So a backtest of any of them is fast."""
    assert REGISTRY[code].twin is not None


@pytest.mark.parametrize("rule", REGISTRY.values(), ids=[str(code) for code in REGISTRY])
def test_factors_fit_into_columns(rule: Rule) -> None:
    """What a user's amounts come to stays within 64 bits when it is multiplied by any factor."""
    for parameter in rule.declared:
        assert parameter.unit != "factor" or MOST_CENTS * in_cents(Decimal(parameter.most)) < 2**63
        assert parameter.unit != "money" or parameter.most <= MOST_MONEY


@pytest.mark.parametrize(
    ("amounts", "is_too_large"),
    [
        ([MOST_CENTS - 1], False),
        ([MOST_CENTS], True),
        ([MOST_CENTS // 2, MOST_CENTS - MOST_CENTS // 2 - 1], False),
        ([MOST_CENTS // 2, MOST_CENTS - MOST_CENTS // 2], True),
        ([MOST_PRODUCT // 2_000] + [1] * 1_997, False),
        ([MOST_PRODUCT // 2_000 + 1] + [1] * 1_999, True),
    ],
)
def test_who_is_too_large_for_columns(amounts: list[int], is_too_large: bool) -> None:
    """Users whose amounts, or whose largest one times their number, could overflow; nobody beside them."""
    users = {
        1: [Action(1, "deposit", Decimal("1.00"), 1)],
        2: [Action(seq, "deposit", Decimal(amount).scaleb(-2), 1) for seq, amount in enumerate(amounts, 1)],
    }
    assert list(StoredUsers(stored(users), {}).too_large) == [1] * is_too_large


def test_the_largest_amounts_that_fit_into_columns() -> None:
    """An amount that is multiplied by a number of actions, and is in hundredths then, stays within 64 bits."""
    assert MOST_PRODUCT * 100 <= 2**63
    largest = Decimal(MOST_PRODUCT // 1_001 - 1).scaleb(-2)

    def after(small: int) -> Users:
        amounts = [Decimal("0.01")] * small + [largest]
        return {1: [Action(seq, "deposit", amount, seq) for seq, amount in enumerate(amounts, 1)]}

    spike = RuleInForce(RuleSetting.initial(REGISTRY[630]), risk="normal", overrides={})
    assert by_twin(spike, after(1_000), {}) == by_check(spike, after(1_000), {}) == [(1, 1_001)]
    assert list(StoredUsers(stored(after(1_100)), {}).too_large) == [0]


def test_sums_of_all_users_may_overflow() -> None:
    """Those of each user are right although the running sum over all of them goes beyond 64 bits."""
    large = Decimal(MOST_CENTS // 2).scaleb(-2)
    own = [Action(1, "withdraw", large, 10), Action(2, "withdraw", Decimal("0.01"), 20)]
    users = dict.fromkeys(range(1, 250_001), own)
    of_all = StoredUsers(stored(users), {})
    assert MOST_CENTS // 2 * len(users) > 2**63
    columns, places = of_all.columns()
    histories = Histories(columns, places)
    assert set(histories.window(10, "withdraw").total[1::2].tolist()) == {MOST_CENTS // 2 + 1}
    assert set(histories.window(9, "withdraw").total[1::2].tolist()) == {1}


@given(random=randoms)
def test_searching_within_spans(random: Random) -> None:
    """The first place within a span whose value is large enough, or its end."""
    values = sorted(random.choices(range(20), k=random.randint(0, 12)))
    spans = [sorted(random.choices(range(len(values) + 1), k=2)) for _ in range(random.randint(0, 5))]
    least = [random.randint(-1, 21) for _ in spans]
    begins, ends = np.array(spans, np.int64).reshape(-1, 2).T
    found = first_at_least(np.array(values, np.int64), begins, ends, np.array(least, np.int64))
    expected = [
        next((at for at in range(begin, end) if values[at] >= wanted), end)
        for (begin, end), wanted in zip(spans, least, strict=True)
    ]
    assert found.tolist() == expected
