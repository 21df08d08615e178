"""What each rule declares as its example makes it fire, whatever the rule is set to."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rules.base import Rule, Steps
from rules.model import Action
from rules.parameters import Parameter
from rules.registry import REGISTRY
from rules.timeline import Timeline
from rules.values import CENT, MOST_MONEY


def steps_of(rule: Rule, values: dict[str, Any]) -> Steps:
    """The example of the rule with these values of its parameters."""
    assert rule.example is not None
    return rule.example(rule.parameters(**values))


def fired(rule: Rule, values: dict[str, Any]) -> list[int]:
    """The `seq` of the actions of the example that the rule fires on, as they arrive one by one."""
    parameters = rule.parameters(**values)
    line, time, found = Timeline(), 1_000, []
    for seq, step in enumerate(steps_of(rule, values), start=1):
        assert step.amount == step.amount.quantize(CENT)
        time += step.after
        action = Action(seq, step.type, step.amount, time)
        line.add(action)
        if rule.judges(action.type) and rule.check(line.at(action), parameters):
            found.append(seq)
    return found


@pytest.mark.parametrize("rule", REGISTRY.values(), ids=lambda rule: str(rule.code))
def test_as_shipped(rule: Rule) -> None:
    """It fires on the last action, and on none before."""
    assert fired(rule, rule.defaults()) == [len(steps_of(rule, rule.defaults()))]


def value_of(parameter: Parameter) -> st.SearchStrategy[Any]:
    """Any value that the parameter can have; counts are small, so that examples are."""
    if parameter.is_decimal:
        return st.decimals(parameter.least, parameter.most, places=2)
    return st.integers(int(parameter.least), min(int(parameter.most), 40 if parameter.unit == "actions" else 10**9))


@pytest.mark.parametrize("rule", REGISTRY.values(), ids=lambda rule: str(rule.code))
@given(data=st.data())
def test_as_set(rule: Rule, data: st.DataObject) -> None:
    """It fires on the last action."""
    values = {one.name: data.draw(value_of(one), one.name) for one in rule.declared}
    assume(all(order.holds(values) for order in rule.in_order))
    steps = steps_of(rule, values)
    assume(all(CENT <= step.amount <= MOST_MONEY for step in steps))  # more than that is no amount
    assert len(steps) in fired(rule, values)
