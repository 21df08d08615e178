"""What holds for one user, and how far back judging reads."""

from decimal import Decimal

import pytest

from rules.base import Last, Parameter, Reach, Rule, RuleInForce, Within, reach
from rules.catalogue import action_velocity, consecutive_withdrawals, deposit_velocity, large_withdrawal


def rule(threshold: str = "1.00", count: int = 3, window: int = 30, look_back: tuple[Last | Within, ...] = ()) -> Rule:
    """A rule with a parameter of each unit."""
    parameters = (
        Parameter("threshold", "money", Decimal(threshold), "why"),
        Parameter("count", "actions", count, "why"),
        Parameter("window", "seconds", window, "why"),
    )
    return Rule(1, "title", None, parameters, look_back, lambda history, parameters: None)


def in_force(*looks: Last | Within, **values: int) -> RuleInForce:
    return RuleInForce.for_risk(rule(look_back=looks, **values), "normal")


@pytest.mark.parametrize(
    ("risk", "threshold", "origin"),
    [("low", "200.00", "risk"), ("normal", "100.00", "default"), ("high", "50.00", "risk")],
)
def test_risk_scales_money_only(risk: str, threshold: str, origin: str) -> None:
    """Money doubles at low and halves at high risk; counts and seconds stay, and each value tells its origin."""
    found = RuleInForce.for_risk(rule("100.00"), risk)
    assert found.parameters.items() == {"threshold": Decimal(threshold), "count": 3, "window": 30}
    assert found.origin == {"threshold": origin, "count": "default", "window": "default"}


@pytest.mark.parametrize(
    ("default", "scaled"), [("0.01", "0.00"), ("0.05", "0.02"), ("99.99", "49.99"), ("3.00", "1.50"), ("7", "3.50")]
)
def test_half_a_cent_is_rounded_down(default: str, scaled: str) -> None:
    """A scaled threshold has two decimals, and half a cent only makes it stricter."""
    found = RuleInForce.for_risk(rule(default), "high").parameters.money("threshold")
    assert str(found) == scaled


@pytest.mark.parametrize(
    ("fires_on", "expected"), [(None, [True, True]), ("deposit", [True, False]), ("withdraw", [False, True])]
)
def test_judges(fires_on: str | None, expected: list[bool]) -> None:
    """A rule judges actions of its own type, or all where it names none."""
    judged = Rule(1, "title", fires_on, (), (), lambda history, parameters: None)
    assert [judged.judges("deposit"), judged.judges("withdraw")] == expected


REACHES = {
    "no rules": ([], {}),
    "no look-back": ([in_force()], {}),
    "the last of one type": ([in_force(Last("count", "deposit"))], {"deposit": Reach(3)}),
    "the last of any type": ([in_force(Last("count"))], {"deposit": Reach(3), "withdraw": Reach(3)}),
    "a window of one type": ([in_force(Within("window", "withdraw"))], {"withdraw": Reach(0, 30)}),
    "a window of any type": ([in_force(Within("window"))], {"deposit": Reach(0, 30), "withdraw": Reach(0, 30)}),
    "both in one rule": ([in_force(Last("count", "deposit"), Within("window", "deposit"))], {"deposit": Reach(3, 30)}),
    "the largest count wins": (
        [in_force(Last("count", "deposit"), count=n) for n in (2, 7, 4)],
        {"deposit": Reach(7)},
    ),
    "the longest window wins": (
        [in_force(Within("window", "deposit"), window=n) for n in (10, 90, 60)],
        {"deposit": Reach(0, 90)},
    ),
    "a window of no seconds is one": ([in_force(Within("window", "deposit"), window=0)], {"deposit": Reach(0, 0)}),
    "types are merged apart": (
        [in_force(Last("count", "withdraw"), count=5), in_force(Last("count")), in_force(Within("window", "deposit"))],
        {"deposit": Reach(3, 30), "withdraw": Reach(5)},
    ),
}


@pytest.mark.parametrize(("rules", "expected"), REACHES.values(), ids=REACHES)
def test_reach(rules: list[RuleInForce], expected: dict[str, Reach]) -> None:
    """Rules are merged to the largest count and the longest window a type; types no rule looks at are left out."""
    assert reach(rules) == expected


def test_reach_of_the_catalogue() -> None:
    """The real rules on withdrawals together read three actions and 60 s of both types."""
    modules = (large_withdrawal, consecutive_withdrawals, action_velocity)
    rules = [RuleInForce.for_risk(module.RULE, "normal") for module in modules]
    assert reach(rules) == {"deposit": Reach(3, 60), "withdraw": Reach(3, 60)}
    velocity = RuleInForce.for_risk(deposit_velocity.RULE, "high")
    assert reach([velocity]) == {"deposit": Reach(0, 30)}
