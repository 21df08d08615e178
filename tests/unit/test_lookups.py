"""What is read for judging: that it is enough, and no more than it must be."""

from collections.abc import Iterable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from database.records import LastN, NextN
from rules import timeline
from rules.base import Needs, Reading
from rules.judging import lookups as module
from rules.judging.lookups import Point, lookups, oldest_in_crowds
from rules.model import ACTION_TYPES, LISTED_ACTIONS, Action, ActionType, NumberedAction
from rules.timeline import Timeline
from rules.values import LAST_TIME
from tests.unit.rules.timeline import numbered

USER = 7
LISTED = 3  # here, so that few actions make a crowd
ORIGINS = st.sampled_from([0, LAST_TIME - 12])  # that all times count from

needs = st.builds(
    Needs,
    st.integers(1, 5),
    st.frozensets(st.sampled_from([0, 1, 2, 5, 30]), max_size=2),
    st.frozensets(st.sampled_from([0, 2, 30]), max_size=1),
)
# At least the action of the same type before it, as for every event; here each point may be of either type.
readings = st.builds(Reading, st.dictionaries(st.sampled_from(ACTION_TYPES), needs, min_size=1), st.booleans())
TIMES = st.integers(0, 12)
STORED = st.lists(st.tuples(st.sampled_from(ACTION_TYPES), TIMES | st.just(4)), max_size=30)


def asked_for(stored: list[NumberedAction], one: LastN | NextN) -> list[NumberedAction]:
    """What the database answers to one request."""
    own = [each for each in stored if each.action.type == one.type]
    if isinstance(one, NextN):
        return [each for each in own if each.action.time > one.time][: one.limit]
    return [each for each in own if one.after < each.action.time <= one.time][-one.limit :]


def answer(stored: list[NumberedAction], asked: Iterable[LastN | NextN]) -> list[NumberedAction]:
    """What it answers to several, each action once."""
    found = {each.action.seq: each for one in asked for each in asked_for(stored, one)}
    return list(found.values())


def upto(stored: list[NumberedAction], kind: ActionType, start: int, end: int) -> list[int]:
    return [one.action.seq for one in stored if one.action.type == kind and start <= one.action.time <= end]


@pytest.fixture
def few_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than three actions of a window are read and listed."""
    for each in (timeline, module):
        monkeypatch.setattr(each, "LISTED_ACTIONS", LISTED)


@settings(max_examples=200)
@given(drawn=STORED, kinds=st.lists(readings, min_size=1, max_size=2), data=st.data(), origin=ORIGINS)
def test_it_is_enough(
    few_listed: None, drawn: list[tuple[ActionType, int]], kinds: list[Reading], data: st.DataObject, origin: int
) -> None:
    """At each point there are the last so many, and of each window the oldest and the newest that are listed.

    And it shows whether anything follows the first point. With `in_order` nothing does.
    """
    times = data.draw(st.lists(TIMES, min_size=1, max_size=6))
    points = [Point(user_id=USER, time=origin + time, reading=data.draw(st.sampled_from(kinds))) for time in times]
    in_order = data.draw(st.booleans())
    if in_order:
        drawn = [(kind, min(time, *times)) for kind, time in drawn]
    stored = numbered([Action(seq, kind, Decimal(1), origin + time) for seq, (kind, time) in enumerate(drawn, start=1)])

    wanted = lookups(points, in_order)
    line = Timeline()
    found = {one.action.seq: one for one in answer(stored, [*wanted.last, *wanted.following])}
    line.load(found.values())
    more = answer(stored, oldest_in_crowds(points, {USER: line}))
    line.load([one for one in more if one.action.seq not in found])
    here = found.keys() | {one.action.seq for one in more}

    for point in points:
        if point.reading.first and stored:
            assert stored[0].action.seq in here
        for kind, own in point.reading.needs.items():
            assert here.issuperset(upto(stored, kind, 0, point.time)[-own.count :])
            for seconds in own.listed | own.windows:
                window = upto(stored, kind, point.time - seconds, point.time)
                assert here.issuperset(window[:1])
                if seconds in own.listed:
                    assert here.issuperset(window[-LISTED:])
    first = min(point.time for point in points)
    newest = line.newest()
    follows = newest is not None and newest.time > first
    assert follows is any(one.action.time > first for one in stored)


def test_a_longer_window_at_a_later_point() -> None:
    """It reaches back before the windows of the points before it."""
    stored = numbered([Action(seq, "deposit", Decimal(1), seq) for seq in range(1, 9)])
    points = [
        Point(user_id=USER, time=time, reading=Reading({"deposit": Needs(1, frozenset((seconds,)))}))
        for time, seconds in ((6, 0), (8, 5))
    ]
    found = answer(stored, lookups(points).last)
    assert {3, 4, 5, 6, 7, 8} <= {one.action.seq for one in found}


def test_each_is_read_once_however_many_points(few_listed: None) -> None:
    """Windows that overlap are not read again and again: each stretch between two points gives its newest actions."""
    stored = numbered([Action(seq, "deposit", Decimal(1), seq // 2) for seq in range(1, 101)])
    reading = Reading({"deposit": Needs(1, frozenset((10,)))})
    wanted = lookups([Point(user_id=USER, time=time, reading=reading) for time in range(10, 40)])
    seqs = [each.action.seq for one in wanted.last for each in asked_for(stored, one)]
    assert len(seqs) <= len(set(seqs)) + 2  # the last one before the first point, and the last of all
    assert len(wanted.last) <= 31 * len(ACTION_TYPES) + 1


@pytest.mark.parametrize(("size", "asked"), [(LISTED_ACTIONS - 1, []), (LISTED_ACTIONS, [9]), (5000, [9])])
def test_only_of_a_crowd_the_oldest_is_asked_for(size: int, asked: list[int]) -> None:
    """One message more is sent for windows that may have been cut, and for no others."""
    line = Timeline()
    line.load(numbered([Action(seq, "deposit", Decimal(1), 40) for seq in range(1, size + 1)]))
    point = Point(user_id=USER, time=40, reading=Reading({"deposit": Needs(1, frozenset((30,)))}))
    assert [one.time for one in oldest_in_crowds([point], {USER: line})] == asked
    assert line.may_be_crowded is bool(asked)
