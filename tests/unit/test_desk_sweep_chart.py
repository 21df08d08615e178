"""The curve of a sweep: where its points are, the budget and the present value, and what it says in words."""

import re
from typing import Any

from routes.desk.sweep_chart import SweepPoint, sweep_curve

POINTS = [
    SweepPoint(f"{value}.00", per_day, f"?v={value}&x#f") for value, per_day in ((100, 40.0), (200, 9.5), (300, 2.0))
]


def curve(points: Any = POINTS, **more: Any) -> str:
    """The curve of a threshold."""
    return str(sweep_curve(points, parameter="threshold", **more))


def places(drawn: str) -> list[tuple[float, float]]:
    """The points of the line."""
    line = re.search(r'polyline class="line-mark" points="([^"]*)"', drawn)
    assert line is not None
    return [(float(x), float(y)) for x, y in (one.split(",") for one in line[1].split())]


def test_more_is_higher_and_larger_values_are_to_the_right() -> None:
    """Whatever the order of the sweep was."""
    up = places(curve())
    assert [x for x, _ in up] == sorted(x for x, _ in up)
    assert [y for _, y in up] == sorted(y for _, y in up)
    assert up[1][0] - up[0][0] == up[2][0] - up[1][0]
    assert places(curve(POINTS[::-1])) == up


def test_the_budget_the_present_value_and_the_first_within() -> None:
    """Each is marked, and said in words."""
    drawn = curve(present="150.00", budget=10, within="200.00")
    assert ("budget 10" in drawn, "now 150.00" in drawn, drawn.count('class="dot within"')) == (True, True, 1)
    line = re.search(r'class="budget-line"[^>]*y1="([0-9.]+)"', drawn)
    assert line is not None
    (_, above), (_, below), _ = places(drawn)
    assert above < float(line[1]) < below
    assert "Alerts a day by threshold: 40.00 at 100.00, 2.00 at 300.00, 3 values." in drawn
    assert "200.00 is the first within the budget of 10." in drawn
    assert "No value is within the budget of 1." in curve(budget=1)


def test_what_is_not_asked_for_is_not_drawn() -> None:
    """A present value outside of the sweep has no place on the curve."""
    drawn = curve(present="400.00")
    assert ("present-line" in drawn, "budget" in drawn) == (False, False)


def test_each_value_leads_somewhere() -> None:
    """Addresses are written as HTML has it; the keyboard finds them in the table."""
    drawn = curve()
    assert re.findall(r'<a href="([^"]*)" tabindex="-1"', drawn) == [f"?v={v}00&amp;x#f" for v in (1, 2, 3)]


def test_one_value_none_and_very_many() -> None:
    """A sweep of one value stands in the middle; all of 200 are on the line, and not all have a dot."""
    assert len(places(curve(POINTS[:1]))) == 1
    assert "NaN" not in curve([SweepPoint("1", 0.0, "#")])
    many = curve([SweepPoint(str(value), 1.0, "#") for value in range(1, 201)], within="7")
    assert (len(places(many)), 30 < many.count('<circle class="dot') / 2 <= 61) == (200, True)
