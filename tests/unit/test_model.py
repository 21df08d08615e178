"""A user's actions in order, and what rules see of them."""

from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.model import ACTION_TYPES, Action, ActionType, NumberedAction
from rules.timeline import History, Timeline
from rules.window import Window
from tests.unit.rules.timeline import actions, numbered, timeline

NOTATION = "d 1 @10, w 2 @10, d 4 @5, d 8 @20, w 16 @10"
MIXED = actions(NOTATION)
IN_ORDER = [3, 1, 2, 5, 4]


def seqs(found: list[Action]) -> list[int]:
    return [action.seq for action in found]


def newest_sees(line: Timeline) -> History:
    """The history as the newest action sees it."""
    newest = line.newest()
    assert newest is not None
    return line.at(newest)


def window_after(count: int, kind: ActionType | None = None) -> Window:
    """The window seen by the last of `count` deposits of 1.00 at one time."""
    return newest_sees(timeline(", ".join(["d 1.00 @0"] * count))).window(30, kind)


def test_order_and_totals_whatever_comes_in_first() -> None:
    """Actions are in order of time, equal times by arrival, and sums are right, however they are stored."""
    stored = {one.action.seq: one for one in numbered(MIXED)}
    for order in permutations(MIXED):
        line = Timeline()
        for action in order:
            line.load([stored[action.seq]])
        newest = line.newest()
        assert newest == MIXED[3]
        history = line.at(newest)
        assert seqs(history.last(9)) == IN_ORDER
        found = [(w.listed, w.total) for w in (history.window(15, kind) for kind in (None, "deposit", "withdraw"))]
        assert found == [((3, 1, 2, 5, 4), Decimal(31)), ((3, 1, 4), Decimal(13)), ((2, 5), Decimal(18))]
        assert history.window(10).total == Decimal(27)


@pytest.mark.parametrize(
    ("seq", "seen"), [(3, [3]), (1, [3, 1]), (2, [3, 1, 2]), (5, [3, 1, 2, 5]), (4, IN_ORDER)], ids="31254"
)
def test_history_ends_with_the_judged_action(seq: int, seen: list[int]) -> None:
    """An action sees itself and what comes before it; later ones, even at the same time, are not there."""
    history = timeline(NOTATION).at(MIXED[seq - 1])
    assert seqs(history.last(9)) == seen
    assert list(history.window(100).listed) == seen
    for kind in ACTION_TYPES:
        of_kind = [action for action in MIXED if action.type == kind and action.seq in seen]
        assert sorted(seqs(history.last(9, kind))) == seqs(of_kind)
        assert history.sums(100, kind)[:2] == (len(of_kind), sum(action.amount for action in of_kind))
        assert history.sums_so_far(kind)[:2] == (len(of_kind), sum(action.amount for action in of_kind))
    assert history.first.seq == 3


def test_totals_between_insertions() -> None:
    """Sums stay right after each insertion in the middle or at the front, not only at the end."""
    line = Timeline()
    totals = []
    for action in actions("d 1 @50, d 2 @40, d 4 @45, d 8 @50, d 16 @30"):
        line.add(action)
        totals.append(newest_sees(line).window(10).total)
        assert newest_sees(line).window(10, "deposit").total == totals[-1]
        assert newest_sees(line).sums(10, "deposit").total == totals[-1]
    assert totals == [Decimal(1), Decimal(3), Decimal(7), Decimal(15), Decimal(15)]


def test_last_of_one_type() -> None:
    """The last ones of one type skip the other type, oldest first, and are fewer if there are no more."""
    history = newest_sees(timeline("d 1 @0, w 1 @1, d 1 @2, w 1 @3, d 1 @4"))
    assert seqs(history.last(2, "deposit")) == [3, 5]
    assert seqs(history.last(2, "withdraw")) == [2, 4]
    assert seqs(history.last(2)) == [4, 5]
    assert seqs(history.last(9, "deposit")) == [1, 3, 5]


def test_following() -> None:
    """What follows an action is listed oldest first, of one type or of both."""
    line = timeline(NOTATION)
    assert seqs(line.following(MIXED[0])) == [2, 5, 4]
    assert seqs(line.following(MIXED[0], "withdraw")) == [2, 5]
    assert seqs(line.following(MIXED[0], "deposit")) == [4]
    assert line.following(MIXED[3]) == []


def test_window_edges() -> None:
    """A window holds what is exactly `seconds` old and nothing older."""
    history = newest_sees(timeline("d 1 @9, d 2 @10, d 4 @40"))
    window = history.window(30, "deposit")
    assert (len(window), window.total, window.oldest.seq, window.listed) == (2, Decimal(6), 2, (2, 3))
    assert seqs(window.newest) == [2, 3]
    assert history.sums(30, "deposit") == (2, Decimal(6), 10)
    assert history.sums(29, "deposit") == (1, Decimal(4), 40)
    assert history.sums(31, "deposit") == (3, Decimal(7), 9)


def test_without_any() -> None:
    """For a type of which the user has no action, windows are empty and sums are nothing."""
    window = window_after(1, "withdraw")
    assert (len(window), window.total, window.listed, window.unlisted) == (0, Decimal(0), (), 0)
    history = newest_sees(timeline("w 5 @1, d 1 @100"))
    assert history.sums(50, "withdraw")[:2] == (0, Decimal(0))
    assert newest_sees(timeline("d 1 @100")).sums_so_far("withdraw")[:2] == (0, Decimal(0))
    assert str(history.sums(50, "withdraw").total) == "0.00"


def test_newest_of_none() -> None:
    """A timeline without actions has no newest one, even when nothing is loaded."""
    line = Timeline()
    line.load([])
    assert line.newest() is None


@pytest.mark.parametrize(
    ("count", "first", "unlisted"), [(99, 1, 0), (100, 1, 0), (101, 2, 1), (250, 151, 150)], ids=str
)
def test_at_most_a_hundred_are_listed(count: int, first: int, unlisted: int) -> None:
    """A window lists its newest 100 actions and counts the older ones; its length and sum are of all."""
    window = window_after(count)
    assert window.listed == tuple(range(first, count + 1))
    assert (len(window), window.unlisted, window.total) == (count, unlisted, Decimal(count))


def test_sums_over_a_gap() -> None:
    """The first and the last action of a window are enough for its count and sum, however many lie between."""
    stored = numbered(actions("d 1 @0, d 2 @10, w 5 @11, d 4 @20, d 8 @30, d 16 @40"))
    line = Timeline()
    line.load([one for one in stored if one.action.seq in (2, 6)])
    line.add(Action(7, "deposit", Decimal(32), 40))
    history = newest_sees(line)
    assert history.sums(30, "deposit") == (5, Decimal(62), 10)
    assert history.window(30, "deposit").total == Decimal(62)
    assert history.sums_so_far("deposit")[:2] == (6, Decimal(63))
    assert line.numbers(history.now) == (6, Decimal(63))


def test_a_late_action_counts_for_all_behind_it() -> None:
    """What came late is in the numbers of the stored actions after it, and not in those before it."""
    stored = numbered(actions("d 1 @0, d 2 @10, d 4 @20, d 8 @30"))
    line = Timeline()
    line.load(stored[:1])
    line.load(stored[2:])
    line.add(Action(5, "deposit", Decimal(16), 5))
    assert [line.numbers(one.action) for one in stored if one.action.seq != 2] == [
        (1, Decimal(1)),
        (4, Decimal(23)),
        (5, Decimal(31)),
    ]
    assert line.numbers(Action(5, "deposit", Decimal(16), 5)) == (2, Decimal(17))
    assert line.at(stored[3].action).sums(10, "deposit") == (2, Decimal(12), 20)


# Against brute force: some of a user's actions are stored, some of these are read, others arrive, and more is read.

TIMES = st.integers(0, 12) | st.sampled_from([0, 5, 5, 5, 100])
DRAWN = st.tuples(st.sampled_from(ACTION_TYPES), st.integers(1, 500), TIMES)
SPANS = (0, 1, 4, 95, 1000)
COUNTS = (1, 2, 5)
KINDS: tuple[ActionType | None, ...] = (None, *ACTION_TYPES)


def made(drawn: list[tuple[ActionType, int, int]], begin: int) -> list[Action]:
    return [
        Action(seq, kind, Decimal(cents) / 100, time) for seq, (kind, cents, time) in enumerate(drawn, start=begin + 1)
    ]


@settings(max_examples=200)
@given(st.lists(DRAWN, max_size=14), st.lists(DRAWN, min_size=1, max_size=6), st.data())
def test_any_gaps(
    stored: list[tuple[ActionType, int, int]], new: list[tuple[ActionType, int, int]], data: st.DataObject
) -> None:
    """With gaps, late actions and reading in two steps, every action sees what it would see in the whole."""
    past = made(stored, 0)
    arriving = made(new, len(past))
    rows = numbered(past)
    # At least what every event reads: the action of its type before it.
    wanted = {before.action.seq for action in arriving if (before := _before(rows, action)) is not None}
    read = wanted | set(data.draw(st.lists(st.sampled_from(seqs(past)))) if past else [])
    line, here = Timeline(), set(read)
    line.load(data.draw(st.permutations([row for row in rows if row.action.seq in read])))
    whole = list(past)
    for action in arriving:
        line.add(action)
        whole.append(action)
        here.add(action.seq)
        compare(line, action, whole, here)
    for action in whole:
        if action.seq in here:
            compare(line, action, whole, here)
    rest = data.draw(st.permutations([row for row in rows if row.action.seq not in read]))
    half = data.draw(st.integers(0, len(rest)))
    for more in (rest[:half], rest[half:]):
        line.load(more)
        here |= {row.action.seq for row in more}
        for action in whole:
            if action.seq in here:
                compare(line, action, whole, here)
    newest = max(whole, key=lambda one: one.place)
    assert line.newest() == newest
    assert line.at(newest).last(99) == sorted(whole, key=lambda one: one.place)


def _before(rows: list[NumberedAction], action: Action) -> NumberedAction | None:
    of_type = [row for row in rows if row.action.type == action.type and row.action.place < action.place]
    return of_type[-1] if of_type else None


def compare(line: Timeline, now: Action, whole: list[Action], here: set[int]) -> None:
    """With the actions `here` loaded, `now` sees on `line` what it sees of the whole."""
    history = line.at(now)
    seen = sorted((one for one in whole if one.place <= now.place), key=lambda one: one.place)
    of = {kind: [one for one in seen if kind in (None, one.type)] for kind in KINDS}
    own = of[now.type]
    assert line.numbers(now) == (len(own), sum(one.amount for one in own))
    for kind in KINDS:
        for count in COUNTS:
            expected = of[kind][-count:]
            if here.issuperset(seqs(expected)):
                assert history.last(count, kind) == expected
        for span in SPANS:
            inside = [one for one in of[kind] if one.time >= now.time - span]
            window = history.window(span, kind)
            if here.issuperset(seqs(inside)):
                assert (window.newest, len(window), window.total) == (inside, len(inside), _sum(inside))
                assert (window.listed, window.unlisted) == (tuple(seqs(inside)), 0)
            if kind is not None and here.issuperset(seqs(inside[:1] + of[kind][-1:])):
                assert window.total == _sum(inside)
                sums = history.sums(span, kind)
                assert (sums.actions, sums.total) == (len(inside), _sum(inside))
                assert not inside or sums.since == inside[0].time
        if kind is not None and here.issuperset(seqs(of[kind][-1:])):
            assert history.sums_so_far(kind)[:2] == (len(of[kind]), _sum(of[kind]))
    if seen[0].seq in here and min(whole, key=lambda one: one.place).seq in here:
        assert history.first == seen[0]
    later = sorted((one for one in whole if one.place > now.place and one.seq in here), key=lambda one: one.place)
    assert line.following(now) == later


def _sum(actions: list[Action]) -> Decimal:
    return sum((one.amount for one in actions), Decimal(0))
