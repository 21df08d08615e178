"""Parameters that bound one another: what is refused, whichever way the values come together."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from rules.base import Rule, RuleInForce, RuleSetting
from rules.conflicts import override_conflicts, setting_conflicts
from rules.model import RISKS
from rules.registry import REGISTRY
from tests.unit.rules.timeline import fired

PING_PONG = RuleSetting.initial(REGISTRY[670])


@pytest.mark.parametrize("rule", REGISTRY.values(), ids=lambda rule: rule.code)
def test_what_is_declared(rule: Rule) -> None:
    """Orders name parameters of the same unit, and hold for the defaults at every rating."""
    units = {one.name: one.unit for one in rule.declared}
    for order in rule.in_order:
        assert units[order.lower] == units[order.upper]
        for risk in RISKS:
            assert order.holds(RuleInForce(RuleSetting.initial(rule), risk=risk, overrides={}).values)


def changed(parameters: Any, by_risk: Any = None) -> RuleSetting:
    return replace(PING_PONG, parameters={**PING_PONG.parameters, **parameters}, by_risk=by_risk or {})


CASES: list[tuple[Any, Any, dict[tuple[str, ...], str]]] = [
    ({"count": 19}, {}, {}),
    ({"count": 20}, {}, {("parameters", "count"): "must be less than among, which is 20"}),
    ({"among": 6}, {}, {}),
    ({"among": 5}, {}, {("parameters", "among"): "must be more than count, which is 5"}),
    ({"count": 100, "among": 2}, {}, {("parameters", "count"): "must be less than among, which is 2"}),
    ({}, {"high": {"among": 4}}, {("by_risk", "high", "among"): "must be more than count, which is 5"}),
    ({"among": 5}, {"low": {"count": 3}}, {("parameters", "among"): "must be more than count, which is 5"}),
    ({"among": 5}, {risk: {"count": 3} for risk in RISKS}, {}),
    ({"count": 3}, {"low": {"among": 3}}, {("parameters", "count"): "must be less than among, which is 3"}),
    ({}, {"low": {"among": 2, "count": 2}}, {("by_risk", "low", "count"): "must be less than among, which is 2"}),
]


@pytest.mark.parametrize(("parameters", "by_risk", "expected"), CASES)
def test_a_setting(parameters: Any, by_risk: Any, expected: dict[tuple[str, ...], str]) -> None:
    """A value is refused beside those it would be in force with at any rating; one sent is named before one kept."""
    named = {risk: tuple(values) for risk, values in by_risk.items()}
    assert setting_conflicts(changed(parameters, by_risk), tuple(parameters), named) == expected


def test_what_was_wrong_before_may_stay() -> None:
    """A contradiction of values that are kept, from before it was refused, does not get in the way of other changes."""
    stored = changed({"count": 100, "among": 2})
    assert setting_conflicts(stored, (), {}) == {}
    assert setting_conflicts(stored, ("window",), {}) == {}


def test_overrides() -> None:
    """A user's own values count beside those of the user's rating."""
    strict = changed({}, {"high": {"among": 6}})
    assert override_conflicts(strict, "normal", {"count": 7}) == {}
    assert override_conflicts(strict, "high", {"count": 7}) == {"count": "must be less than among, which is 6"}
    assert override_conflicts(strict, "high", {"count": 7, "among": 8}) == {}
    margin = RuleSetting.initial(REGISTRY[600])
    wrong = {"margin": "must be at most threshold, which is 500.00"}
    assert override_conflicts(margin, "normal", {"threshold": Decimal(500).quantize(Decimal("0.01"))}) == {
        "threshold": "must be at least margin, which is 1000.00"
    }
    own = {"threshold": Decimal("500.00"), "margin": Decimal("500.01")}
    assert override_conflicts(margin, "normal", own) == wrong


# The least there is to fire on, at the bounds of each parameter: a history that fires, and what it is set to.
AT_THE_BOUNDS: dict[int, list[tuple[str, dict[str, str | int]]]] = {
    600: [
        ("d 0.01 @1, d 0.01 @1", {"threshold": "0.02", "margin": "0.01", "count": 2, "window": 0}),
        ("d 0.01 @1, d 0.01 @1", {"threshold": "0.02", "margin": "0.02", "count": 2, "window": 0}),
    ],
    610: [("d 10 @1, w 100 @1", {"share": "10.00", "minimum": "0.02", "window": 0})],
    640: [
        ("d 499999999999.99 @1", {"unit": "499999999999.99", "count": 1}),
        ("w 0.02 @1", {"unit": "0.02", "count": 1}),
    ],
    650: [("d 0.01 @1, w 0.01 @1", {"threshold": "0.00", "tiny": "0.01", "count": 1, "window": 0})],
    670: [("d 1 @1, w 1 @1", {"count": 1, "among": 2, "window": 0})],
}


@pytest.mark.parametrize(("code", "number"), [(code, n) for code, of in AT_THE_BOUNDS.items() for n in range(len(of))])
def test_what_is_accepted_can_fire(code: int, number: int) -> None:
    """At the bounds of its parameters a rule can still fire, and at every rating."""
    notation, values = AT_THE_BOUNDS[code][number]
    rule = REGISTRY[code]
    declared = {one.name: one for one in rule.declared}
    setting = replace(
        RuleSetting.initial(rule),
        parameters={**rule.defaults(), **{name: declared[name].read(value) for name, value in values.items()}},
    )
    assert setting_conflicts(setting, tuple(values), {}) == {}
    assert fired(rule, notation, "normal", **values)


@pytest.mark.parametrize(
    ("code", "name", "value"),
    [
        (600, "margin", "0.00"),
        (600, "threshold", "0.01"),
        (650, "tiny", "0.00"),
        (640, "unit", "0.01"),
        (640, "unit", "500000000000.00"),
    ],
)
def test_what_can_never_fire_is_out_of_bounds(code: int, name: str, value: str) -> None:
    """No deposit is in an empty range, under a cent or at most nothing; no amount is a multiple of nearly all money."""
    declared = {one.name: one for one in REGISTRY[code].declared}
    with pytest.raises(ValueError, match="must be money"):
        declared[name].read(value)
