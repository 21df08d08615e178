"""Events that make a rule fire, as it is set: by whom, when, and what is paid in first."""

from dataclasses import replace
from decimal import Decimal

import pytest

from rules.base import Rule, RuleSetting
from rules.examples import MOST_STEPS, example_events
from rules.registry import REGISTRY


@pytest.mark.parametrize("rule", REGISTRY.values(), ids=lambda rule: str(rule.code))
def test_each_can_be_sent(rule: Rule) -> None:
    """The events are one user's, in order, and end at the time given; without overdrafts no balance is below zero."""
    for may_overdraw in (True, False):
        events = example_events(RuleSetting.initial(rule), user_id=7, time=10**9, may_overdraw=may_overdraw)
        assert events
        assert {event.user_id for event in events} == {7}
        times = [event.time for event in events]
        assert times == sorted(times)
        assert times[-1] == 10**9
        balance = Decimal(0)
        for event in events:
            balance += event.amount if event.type == "deposit" else -event.amount
            assert may_overdraw or balance >= 0


@pytest.mark.parametrize(
    ("code", "values"), [(630, {"count": MOST_STEPS}), (1100, {"threshold": Decimal("999999999999.99")})]
)
def test_there_may_be_no_way(code: int, values: dict[str, Decimal | int]) -> None:
    """A rule that would take too many events, or too large ones, has no example."""
    setting = RuleSetting.initial(REGISTRY[code])
    hard = replace(setting, parameters={**setting.parameters, **values})
    assert example_events(hard, user_id=7, time=1, may_overdraw=True) == ()
    assert (
        example_events(replace(setting, rule=replace(setting.rule, example=None)), user_id=7, time=1, may_overdraw=True)
        == ()
    )
