"""The chart of the actions around an alert: what is drawn where, and what it says to who does not see it."""

from decimal import Decimal
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from routes.desk.chart_axes import nice_step, short_amount, time_ticks
from routes.desk.evidence_chart import (
    COLUMNS,
    ChartAction,
    Column,
    Line,
    Shade,
    Strip,
    column_note,
    evidence_chart,
    label,
    span,
    stretches,
)

DAY = 86_400


def an_action(seq: int, amount: str, time: int, kind: str = "deposit", *, counts: bool = False) -> ChartAction:
    """An action of a chart."""
    return ChartAction(seq, kind, Decimal(amount), time, counts)


def a_strip(*actions: ChartAction, **more: Any) -> Strip:
    """A strip from 0 to 100 of these actions, of which the last one is judged."""
    return Strip(0, 100, actions[-1], actions, **more)


def drawn(strip: Strip) -> ElementTree.Element:
    """The chart as a tree."""
    return ElementTree.fromstring(evidence_chart(strip))


def by_class(tree: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """The parts of a chart that have this class."""
    return [one for one in tree.iter() if name in one.get("class", "").split()]


def test_what_is_behind_is_marked() -> None:
    """Deposits go up and withdrawals down from zero; what is behind the alert has a class of its own."""
    tree = drawn(
        a_strip(
            an_action(1, "50.00", 10), an_action(2, "20.00", 40, "withdraw"), an_action(3, "80.00", 90, counts=True)
        )
    )
    zero = float(by_class(tree, "zero")[0].get("y1", ""))
    tops = {one.findtext("title", "").split()[0]: float(one[2].get("cy", "")) for one in by_class(tree, "action")}
    assert tops["#1"] < zero < tops["#2"]
    assert tops["#3"] < tops["#1"]
    assert [one.findtext("title") for one in by_class(tree, "counts")] == ["#3 deposit of 80.00 at 90"]
    assert len(by_class(tree, "judged")) == 1


def test_nothing_leaves_the_plot() -> None:
    """Whatever the amounts, every action and line is between the top and the axis, and within the width."""
    for amount in ("0.01", "1.00", "99.99", "100.01", "999999999999.99"):
        tree = drawn(a_strip(an_action(1, amount, 0), an_action(2, amount, 100, "withdraw")))
        for one in by_class(tree, "action"):
            assert 20 <= float(one[2].get("cy", "")) <= 204, amount
            assert 0 < float(one[2].get("cx", "").removesuffix("%")) < 100


def test_actions_of_one_time_stand_side_by_side() -> None:
    """Else they would hide each other; the last one stands at its place."""
    actions = [an_action(seq, "10.00", 50) for seq in range(1, 6)]
    tree = drawn(a_strip(*actions))
    places = [float(one[2].get("cx", "").removesuffix("%")) for one in by_class(tree, "action")]
    assert places == sorted(set(places))
    assert places[-1] == 50


def test_shade_and_lines() -> None:
    """The window is shaded, and a threshold is a line where actions of its type are; both have their name."""
    strip = a_strip(
        an_action(1, "150.00", 90, "withdraw"),
        shade=Shade(20, 90, "window of 70 s"),
        lines=[Line(Decimal("100.00"), "withdraw", "threshold"), Line(Decimal("0.99"), "deposit", "tiny")],
    )
    tree = drawn(strip)
    assert len(by_class(tree, "window")) == len(by_class(tree, "threshold")) == 1
    assert [one.text for one in by_class(tree, "threshold-name")] == ["threshold 100.00"]
    assert [one.text for one in by_class(tree, "window-name")] == ["window of 70 s"]


def test_many_actions_are_columns() -> None:
    """They stand for sums, so no threshold of single amounts is drawn among them."""
    columns = [Column("deposit", at, at + 10, 1_000, Decimal("5000.00"), at == 90) for at in range(0, 100, 10)]
    now = an_action(9, "5.00", 95)
    strip = Strip(0, 100, now, columns=columns, lines=[Line(Decimal("100.00"), "deposit", "threshold")])
    tree = drawn(strip)
    assert (len(by_class(tree, "column")), len(by_class(tree, "counts"))) == (10, 1)
    assert by_class(tree, "threshold") == by_class(tree, "action") == []
    assert column_note(strip) == "10,000 actions: each column is the sum of 10 s."
    assert "10,000 deposits up" in label(strip)


def test_the_label_says_what_is_seen() -> None:
    """How many actions, of which type, when, and which are behind the alert."""
    strip = a_strip(
        an_action(1, "50.00", 10, counts=True),
        an_action(2, "20.00", 40, "withdraw"),
        an_action(3, "180.00", 90, counts=True),
        shade=Shade(60, 90, "window of 30 s"),
    )
    assert label(strip) == (
        "3 actions from 0 to 100: 2 deposits up, 1 withdrawals down; 2 behind the alert are marked; the judged action "
        "is the deposit of 180.00; shaded: window of 30 s."
    )
    tree = drawn(strip)
    assert (tree.get("role"), tree.get("aria-label")) == ("img", label(strip))


def test_text_is_escaped() -> None:
    """Whatever a name is, it is text."""
    tree = drawn(a_strip(an_action(1, "5.00", 90), shade=Shade(1, 90, "<b>&</b>")))
    assert [one.text for one in by_class(tree, "window-name")] == ["<b>&</b>"]


@pytest.mark.parametrize(
    ("now", "behind", "shade", "near", "expected"),
    [
        (118, [100, 112], Shade(88, 118, "w"), [], (85, 121)),
        (10, [], None, [], (9, 11)),  # alone
        (1000, [], None, [200, 1000, 1200], (75, 1325)),  # others give the scale
        (100, [90], Shade(0, 100, "w"), [], (89, 101)),  # the end of a long window
        (5, [], Shade(0, 5, "w"), [], (0, 6)),
        (2**63 - 1, [], None, [], (2**63 - 2, 2**63 - 1)),
    ],
)
def test_span(now: int, behind: list[int], shade: Shade | None, near: list[int], expected: tuple[int, int]) -> None:
    """What is drawn holds what is behind the alert and, unless it is very long, the window."""
    assert span(now, behind, shade, near) == expected


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1000, 10**9, 2**63 - 1])
def test_stretches_cover_all(length: int) -> None:
    """One begins where the last one ended, from the start to the end, and there are not too many."""
    found = stretches(7, 7 + length)
    assert len(found) <= COLUMNS
    assert (found[0][0], found[-1][1]) == (7, 7 + length + 1)
    assert all(one[1] == other[0] and one[0] < one[1] for one, other in pairwise(found))


def test_round_steps_and_amounts() -> None:
    """Axes have round numbers, written shortly."""
    steps = [nice_step(Decimal(one), 4) for one in ("0.01", "3", "220", "2500", "999999999999.99")]
    assert steps == [Decimal("0.01"), 1, 100, 1000, 500_000_000_000]
    amounts = [short_amount(Decimal(one)) for one in ("0", "0.50", "1500", "20000", "1500000", "500000000000")]
    assert amounts == ["0", "0.50", "1,500", "20k", "1.5M", "500bn"]


@pytest.mark.parametrize(
    ("start", "end", "has_dates", "expected"),
    [
        (0, 100, False, ["0", "50", "100"]),
        (10, 11, False, ["10", "11"]),
        (0, 600, True, ["00:00:00", "00:05:00", "00:10:00"]),
        (0, 10 * DAY, True, ["1 Jan", "4 Jan", "7 Jan", "10 Jan"]),
    ],
)
def test_ticks_of_times(start: int, end: int, has_dates: bool, expected: list[str]) -> None:
    """Four round times at most, as dates where times are seconds since 1970."""
    found = [text for _, text in time_ticks(start, end, has_dates)]
    assert len(found) <= 4
    assert found == expected


def test_ticks_of_times_without_a_date() -> None:
    """A time that is too late for a date is written as it is."""
    assert time_ticks(2**63 - 10, 2**63 - 1, has_dates=True)[0][1].isdigit()
