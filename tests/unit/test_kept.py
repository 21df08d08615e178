"""What is kept of a user's history: that it serves wherever it is used, and that it is not used elsewhere."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.base import Needs, Reading, reading_to_keep
from rules.judging.batch import BatchUser
from rules.judging.kept import KeptUser, go_on
from rules.judging.lookups import lookups_beyond
from rules.model import ACTION_TYPES, Action, ActionType, NumberedAction
from rules.timeline import Timeline
from rules.versions import RuleSet
from tests.unit.rules.timeline import numbered
from tests.unit.test_lookups import STORED, USER, answer, readings, upto

CENT = Decimal("0.01")


def stored_as(drawn: list[tuple[ActionType, int]]) -> list[NumberedAction]:
    """Actions that arrived in this order, each with an amount of its own."""
    return numbered([Action(seq, kind, seq * CENT, time) for seq, (kind, time) in enumerate(drawn, start=1)])


def of_kind(stored: list[NumberedAction], kind: ActionType) -> list[NumberedAction]:
    return [one for one in stored if one.action.type == kind]


def content(line: Timeline) -> dict[ActionType, list[NumberedAction]]:
    """All that is in a timeline, with its numbers."""
    return {
        kind: [NumberedAction(one, *line.numbers(one)) for one in line._typed[kind].actions] for kind in ACTION_TYPES
    }


@settings(max_examples=300)
@given(drawn=STORED, own=readings, lasts=st.tuples(st.integers(0, 8), st.integers(0, 8)), after=st.integers(0, 20))
def test_what_is_kept_is_enough(
    drawn: list[tuple[ActionType, int]], own: Reading, lasts: tuple[int, int], after: int
) -> None:
    """With what is read besides, there is all that is read in full; it serves as soon as there is enough."""
    stored = stored_as(drawn)
    line = Timeline()
    for kind, last in zip(ACTION_TYPES, lasts, strict=True):
        some = of_kind(stored, kind)
        line.load(some[max(0, len(some) - max(1, last)) :])  # the newest of each type is always there
    time = max(line.newest_time, 0) + after
    asked = lookups_beyond(line, USER, time, own)
    here = set(line.seqs)
    if asked is None:
        missing = [
            len(of_kind(stored, kind)) > line.count_here(kind)
            and (line.count_here(kind) < needs.count or time - needs.longest <= line.complete_after(kind))
            for kind, needs in own.needs.items()
        ]
        assert any(missing)
        return
    here |= {one.action.seq for one in answer(stored, asked)}
    if own.first and stored:
        assert stored[0].action.seq in here
    for kind, needs in own.needs.items():
        assert here.issuperset(upto(stored, kind, 0, time)[-needs.count :])
        for seconds in needs.windows:
            assert here.issuperset(upto(stored, kind, time - seconds, time)[:1])
        for seconds in needs.listed:
            assert here.issuperset(upto(stored, kind, time - seconds, time))


@given(drawn=STORED, pieces=st.lists(st.integers(0, 2), min_size=30, max_size=30), new=STORED)
def test_pieces_make_the_same_timeline(
    drawn: list[tuple[ActionType, int]], pieces: list[int], new: list[tuple[ActionType, int]]
) -> None:
    """In however many pieces and in whatever order it is read, and whatever comes then."""
    stored = stored_as(drawn)
    whole, pieced = Timeline(), Timeline()
    whole.load(stored)
    for piece in (2, 0, 1):
        pieced.load([one for one, its in zip(stored, pieces, strict=False) if its == piece])
    assert content(pieced) == content(whole) == {kind: of_kind(stored, kind) for kind in ACTION_TYPES}
    for seq, (kind, time) in enumerate(new, start=len(drawn) + 1):
        for line in (whole, pieced):
            line.add(Action(seq, kind, seq * CENT, time))
    everything = stored_as(drawn + new)
    assert content(pieced) == content(whole) == {kind: of_kind(everything, kind) for kind in ACTION_TYPES}


@given(drawn=STORED, later=STORED, last=STORED)
def test_settled_actions_count_as_stored(
    drawn: list[tuple[ActionType, int]], later: list[tuple[ActionType, int]], last: list[tuple[ActionType, int]]
) -> None:
    """A timeline that goes on from one batch to the next counts as if all had been stored before."""
    line = Timeline()
    line.load(stored_as(drawn))
    newest = max(line.newest_time, 0)
    in_order = [(kind, newest + time) for (kind, _), time in zip(later, sorted(time for _, time in later), strict=True)]
    for seq, (kind, time) in enumerate(in_order, start=len(drawn) + 1):
        line.add(Action(seq, kind, seq * CENT, time))
    line.settle(len(drawn + in_order))
    for seq, (kind, time) in enumerate(last, start=len(drawn + in_order) + 1):  # some of which come late
        line.add(Action(seq, kind, seq * CENT, time))
    everything = stored_as(drawn + in_order + last)
    assert content(line) == {kind: of_kind(everything, kind) for kind in ACTION_TYPES}


@given(drawn=STORED, gaps=st.sets(st.integers(1, 30)), before=st.integers(0, 13), keep=st.integers(1, 5))
def test_between_what_stays_there_are_no_gaps(
    drawn: list[tuple[ActionType, int]], gaps: set[int], before: int, keep: int
) -> None:
    """Of each type the actions behind the last gap stay; or of these the last, those since a moment, and one more."""
    there = [one for one in stored_as(drawn) if one.action.seq not in gaps]
    whole, shortened = Timeline(), Timeline()
    for line in (whole, shortened):
        line.load(there)
    whole.drop_before_gaps()
    shortened.keep_last(before, keep)
    for kind in ACTION_TYPES:
        ends = content(whole)[kind]
        some = of_kind(there, kind)
        assert ends == some[len(some) - len(ends) :]
        assert [one.ordinal for one in ends] == [*range(ends[0].ordinal, ends[0].ordinal + len(ends))] if ends else True
        if len(ends) < len(some):  # and the one before it lies behind a gap
            assert some[len(some) - len(ends) - 1].ordinal < ends[0].ordinal - 1
        rest = content(shortened)[kind]
        wanted = max(keep, sum(one.action.time >= before for one in ends) + 1)
        assert rest == ends[max(0, len(ends) - wanted) :]
    for line in (whole, shortened):
        in_order = sorted(
            (one.action for kind in ACTION_TYPES for one in content(line)[kind]), key=lambda one: one.place
        )
        assert line._all.actions == in_order
        assert line.size == len(in_order) == len(line.seqs)


def test_what_arrives_next() -> None:
    """It continues the numbers and is not late, or it is refused."""
    for next_one, is_next in (
        (NumberedAction(Action(3, "deposit", Decimal(5), 20), 3, Decimal(8)), True),
        (NumberedAction(Action(3, "withdraw", Decimal(5), 20), 1, Decimal(5)), True),
        (NumberedAction(Action(3, "deposit", Decimal(5), 19), 3, Decimal(8)), False),
        (NumberedAction(Action(3, "deposit", Decimal(5), 20), 4, Decimal(8)), False),
        (NumberedAction(Action(3, "deposit", Decimal(5), 20), 3, Decimal(9)), False),
        (NumberedAction(Action(3, "withdraw", Decimal(5), 20), 2, Decimal(5)), False),
    ):
        line = Timeline()
        line.load(numbered([Action(1, "deposit", Decimal(1), 10), Action(2, "deposit", Decimal(2), 20)]))
        assert line.go_on(next_one) is is_next
    assert Timeline().go_on(NumberedAction(Action(1, "deposit", Decimal(5), 0), 1, Decimal(5)))


def test_reading_to_keep() -> None:
    """Besides what judging a type takes, the last actions and listed windows of the other; no sums, and no first."""
    deposits = Needs(3, frozenset([30]), frozenset([900]))
    own: dict[ActionType, Reading] = {
        "deposit": Reading({"deposit": deposits}, first=True),
        "withdraw": Reading({"withdraw": Needs(2), "deposit": Needs(4)}),
    }
    assert reading_to_keep(own) == {
        "deposit": Reading({"deposit": Needs(4, *(deposits.listed, deposits.windows)), "withdraw": Needs(2)}, True),
        "withdraw": Reading({"deposit": Needs(4, frozenset([30])), "withdraw": Needs(2)}),
    }


@pytest.mark.parametrize(
    ("row", "has_late_offsets", "goes_on"),
    [
        ({}, False, True),
        ({"is_full": True}, False, False),
        ({}, True, False),
        ({"identity": "another"}, False, False),
        ({"pruned_before": 5}, False, False),
        ({"last_seq": 2}, False, False),
        ({"balance": Decimal(2)}, False, False),
    ],
)
def test_a_row_that_is_not_the_same(row: dict[str, Any], has_late_offsets: bool, goes_on: bool) -> None:
    """Each single difference is enough to drop what is kept."""
    line = Timeline()
    line.load(numbered([Action(1, "deposit", Decimal(1), 10)]))
    kept = KeptUser(line, line.seqs, 1, "the one", None, Decimal(0))
    own: dict[str, Any] = {"identity": "the one", "last_seq": 1, "balance": Decimal(1)} | row
    user = BatchUser(user_id=USER, rule_set=RuleSet([], risk="normal"), timeline=line, times=kept.times, **own)
    assert go_on(user, kept, [], first_time=10, has_late_offsets=has_late_offsets) is goes_on
