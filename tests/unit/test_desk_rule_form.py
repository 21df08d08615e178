"""The form of a rule: what was typed, what it comes to, how settings differ, and what two people changed at once."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from routes.desk.rule_form import STATUS, changes, choices, differences, propose_sweep, read_draft, texts_of
from rules.base import RuleSetting
from rules.hindsight.question import WantedValues, parameter_of
from rules.registry import REGISTRY

PRESENT = replace(
    RuleSetting.initial(REGISTRY[123]), version=3, by_risk={"high": {"threshold": Decimal("50.00")}, "low": {}}
)


def test_what_is_left_alone_stays() -> None:
    """A form that nobody touched is what is stored."""
    found = read_draft(PRESENT, {})
    assert (found.faults, differences(PRESENT, found.setting)) == ({}, [])
    assert found.texts == texts_of(PRESENT)
    assert found.texts["high.threshold"] == "50.00"
    assert changes(PRESENT, found.setting) == WantedValues({}, None)


def test_what_is_typed() -> None:
    """Text becomes values; a field for a rating that is emptied takes its value away."""
    found = read_draft(PRESENT, {"threshold": " 150 ", "window": "60", "high.threshold": "", STATUS: "shadow"})
    assert found.faults == {}
    assert [(one.label, one.before, one.after) for one in differences(PRESENT, found.setting)] == [
        ("status", "active", "shadow"),
        ("threshold", Decimal("200.00"), Decimal("150.00")),
        ("threshold at high risk", Decimal("50.00"), None),
        ("window", 30, 60),
    ]
    assert changes(PRESENT, found.setting) == WantedValues({"threshold": Decimal("150.00"), "window": 60}, {})


@pytest.mark.parametrize(
    ("typed", "faults"),
    [
        ({"threshold": ""}, ["threshold"]),
        ({"threshold": "1e3", "window": "9999999"}, ["threshold", "window"]),
        ({"low.window": "-1"}, ["low.window"]),
        ({"window": "1.5"}, ["window"]),
        ({STATUS: "asleep"}, [STATUS]),
    ],
)
def test_what_cannot_be(typed: Any, faults: Any) -> None:
    """It is named field by field, and stays as it was typed."""
    found = read_draft(PRESENT, typed)
    assert sorted(found.faults) == faults
    assert typed.items() <= found.texts.items()


def test_what_cannot_be_together() -> None:
    """Values that contradict each other are a fault of the one that was changed, also of a rating."""
    present = RuleSetting.initial(REGISTRY[600])
    assert list(read_draft(present, {"margin": "20000.00"}).faults) == ["margin"]
    assert list(read_draft(present, {"high.margin": "20000.00"}).faults) == ["high.margin"]


def test_a_value_beyond_bounds_that_is_stored_may_stay() -> None:
    """Bounds may have become narrower since; only what is typed anew is held to them."""
    old = replace(PRESENT, parameters={"threshold": Decimal("200.00"), "window": 99_999})
    assert read_draft(old, {"window": "99999", "threshold": "1.00"}).faults == {}
    assert list(read_draft(old, {"window": "99998"}).faults) == ["window"]


def test_a_try_fills_the_form() -> None:
    """What was not typed is as in the try; its status is the stored one, since a try judges as if active."""
    tried = replace(PRESENT, status="active", parameters={"threshold": Decimal("300.00"), "window": 5}, by_risk={})
    shadow = replace(PRESENT, status="shadow")
    found = read_draft(shadow, {"window": "6"}, tried)
    assert (found.texts["threshold"], found.texts["window"], found.texts["high.threshold"]) == ("300.00", "6", "")
    assert found.setting.status == "shadow"
    assert found.differs_from(tried)
    assert not read_draft(shadow, {}, tried).differs_from(tried)


def test_two_people_at_once() -> None:
    """Only where they do not agree is there a choice; whoever alone changed something is proposed."""
    theirs = replace(PRESENT, version=4, status="off", parameters={"threshold": Decimal("180.00"), "window": 40})
    mine = read_draft(PRESENT, {"threshold": "150.00", "low.window": "9"}).texts
    found = {one.name: one for one in choices(PRESENT, theirs, mine)}
    assert list(found) == [STATUS, "threshold", "window", "low.window"]
    assert {name for name, one in found.items() if one.is_conflict} == {"threshold"}
    assert [one.keeps_mine for one in found.values()] == [False, True, False, True]
    assert (found["threshold"].before, found["threshold"].theirs, found["threshold"].mine) == (
        "200.00",
        "180.00",
        "150.00",
    )
    assert choices(PRESENT, theirs, texts_of(theirs)) == []


@pytest.mark.parametrize(
    ("code", "name", "value", "proposed"),
    [
        (123, "threshold", "200.00", ("100.00", "600.00", "25.00")),
        (1100, "threshold", "0.00", ("0.00", "20.00", "1.00")),
        (1100, "threshold", "999999999999.99", None),
        (30, "count", 3, (2, 22, 1)),
        (30, "count", 100, None),
        (123, "window", 30, (15, 90, 5)),
        (123, "window", 3600, None),
    ],
)
def test_a_sweep_is_proposed(code: int, name: str, value: Any, proposed: Any) -> None:
    """Round steps around the present value, which is one of them, within the bounds of the parameter."""
    parameter = parameter_of(code, name)
    now = parameter.value(value)
    first, last, step = propose_sweep(parameter, now)
    assert parameter.least <= first <= now <= last <= parameter.most
    assert step > 0
    assert (now - first) % step == 0
    assert (last - first) / step <= 20
    if proposed:
        assert (first, last, step) == tuple(parameter.value(one) for one in proposed)
