"""Small charts: axes of round numbers, and pictures that say in words what they show."""

import re
from xml.etree.ElementTree import fromstring

import pytest

from routes.desk.charts import bars, meter, nice_ticks, sparkline


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (2, [0, 1, 2]),
        (3, [0, 2, 4]),
        (9, [0, 5, 10]),
        (10, [0, 5, 10]),
        (11, [0, 10, 20]),
        (59, [0, 50, 100]),
        (1_234, [0, 1_000, 2_000]),
        (98_000_000, [0, 50_000_000, 100_000_000]),
    ],
)
def test_ticks_are_round(most: float, ticks: list[int]) -> None:
    """Whole numbers with 1, 2 or 5 in front, up to the largest value or beyond."""
    assert nice_ticks(most, 2) == ticks


def test_bars_fill_their_axis() -> None:
    """Each bar is as high as its value, stands on the axis, and has a name; nothing is outside of the picture."""
    svg = bars([0, 50, 100, 1], ["1 Nov", "2 Nov", "3 Nov", "4 Nov so far"], "Alerts by day", unfinished=True)
    drawn = fromstring(svg)
    assert drawn.get("role") == "img"
    assert drawn.get("aria-label") == "Alerts by day. In all 151, most at 3 Nov: 100; at 4 Nov so far: 1."
    marks = [one for one in drawn.iter() if (one.get("class") or "").startswith("bar-mark")]
    heights = [float(one.get("height", "")) for one in marks]
    assert heights[0] == 0
    assert heights[2] == pytest.approx(2 * heights[1])
    assert heights[3] == 1.0  # not so small that it cannot be seen
    assert {round(float(one.get("y", "")) + float(one.get("height", "")), 1) for one in marks} == {78.0}
    assert [one.get("class") for one in marks][-2:] == ["bar-mark", "bar-mark unfinished"]
    _, _, width, height = map(float, drawn.get("viewBox", "").split())
    assert all(0 <= float(one.get("x", "0")) <= width for one in drawn.iter("rect"))
    assert all(0 <= float(one.get("y", "0")) <= height for one in drawn.iter("rect"))


def test_nothing_to_draw() -> None:
    """Without values there is an axis, or a line of no length, and it is said."""
    assert 'aria-label="Events a minute. None."' in bars([], [], "Events a minute")
    assert 'aria-label="Alerts: none"' in sparkline([], "Alerts")
    assert "nan" not in bars([0, 0], ["a", "b"], "Nothing") + sparkline([0, 0], "Nothing")


def test_what_cannot_be_added_up() -> None:
    """Of users a day there is no sum: the same ones come again."""
    assert "In all" not in bars([3, 2], ["1 Nov", "2 Nov"], "Users", has_sum=False)


def test_a_sparkline() -> None:
    """It begins and ends at the edges, highest at the largest value."""
    svg = sparkline([1, 4, 2], "Alerts a day")
    assert 'aria-label="Alerts a day: 1, 4, 2"' in svg
    points = [tuple(map(float, one.split(","))) for one in re.findall(r'points="([^"]*)"', svg)[0].split()]
    assert [x for x, _ in points] == [2.0, 56.0, 110.0]
    assert min(y for _, y in points) == points[1][1] == 2.0


def test_a_meter_stays_within_its_bounds() -> None:
    """Whatever the share."""
    assert 'width="100.0"' in meter(1.5)
    assert 'width="0.0"' in meter(-1)


def test_text_is_escaped() -> None:
    """Names and labels come from rules, and cannot make elements."""
    for svg in (bars([1], ["<b>"], '"><script>'), sparkline([1], '"><script>')):
        assert "<script>" not in svg
        assert "<b>" not in svg
