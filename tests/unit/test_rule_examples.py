"""What each rule declares as its example makes it fire, whatever the rule is set to."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rules.base import Rule, Steps
from rules.model import Action, Finding
from rules.parameters import Parameter
from rules.registry import REGISTRY
from rules.timeline import Timeline
from rules.values import CENT, MOST_MONEY

COMPARED_WITH_NONE = {610, 630}  # but with a share of the deposits, and with a multiple of an average


def steps_of(rule: Rule, values: dict[str, Any]) -> Steps:
    """The example of the rule with these values of its parameters."""
    assert rule.example is not None
    return rule.example(rule.parameters(**values))


def findings(rule: Rule, values: dict[str, Any], steps: Steps) -> dict[int, Finding]:
    """What the rule finds as these actions arrive one by one, by their `seq`."""
    parameters = rule.parameters(**values)
    line, time, found = Timeline(), 1_000, {}
    for seq, step in enumerate(steps, start=1):
        assert step.amount == step.amount.quantize(CENT)
        time += step.after
        action = Action(seq, step.type, step.amount, time)
        line.add(action)
        if rule.judges(action.type) and (finding := rule.check(line.at(action), parameters)):
            found[seq] = finding
    return found


def fired(rule: Rule, values: dict[str, Any]) -> list[int]:
    """The `seq` of the actions of the example that the rule fires on."""
    return list(findings(rule, values, steps_of(rule, values)))


@pytest.mark.parametrize("rule", REGISTRY.values(), ids=lambda rule: str(rule.code))
def test_as_shipped(rule: Rule) -> None:
    """It fires on the last action, and on none before."""
    assert fired(rule, rule.defaults()) == [len(steps_of(rule, rule.defaults()))]


@pytest.mark.parametrize("rule", REGISTRY.values(), ids=lambda rule: str(rule.code))
def test_what_is_measured(rule: Rule) -> None:
    """What is measured has reached the parameter with which the rule says that it is compared; over that, it would not
    have fired."""
    name, values = rule.compared_with, rule.defaults()
    if name is None:
        assert rule.code in COMPARED_WITH_NONE
        return
    steps = steps_of(rule, values)
    (finding,) = findings(rule, values, steps).values()
    measured = finding.measured
    assert (type(measured), measured >= values[name]) == (type(values[name]), True)
    smallest = CENT if isinstance(measured, Decimal) else 1
    assert not findings(rule, values | {name: measured + smallest}, steps)


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
