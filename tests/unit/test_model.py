"""A user's actions in order, and the stretches of them that rules look at."""

from decimal import Decimal
from itertools import permutations

import pytest

from rules.model import Action, Timeline, Window
from tests.unit.rules.timeline import actions, timeline

MIXED = actions("d 1 @10, w 2 @10, d 4 @5, d 8 @20, w 16 @10")
IN_ORDER = [3, 1, 2, 5, 4]


def seqs(found: list[Action]) -> list[int]:
    return [action.seq for action in found]


def window_after(count: int, kind: str | None = None) -> Window:
    """The window that the last of `count` deposits of 1.00 at one time sees."""
    line = timeline(", ".join(["d 1.00 @0"] * count))
    newest = line.newest()
    assert newest is not None
    return line.at(newest).window(30, kind)


def test_order_and_totals_whatever_comes_in_first() -> None:
    """Actions stand by time, equal times by arrival, and sums are right, in whatever order they are added."""
    for order in permutations(MIXED):
        line = Timeline()
        for action in order:
            line.add(action)
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
    """An action sees itself and what stands before it; later ones, also at the same time, are not there."""
    line = timeline("d 1 @10, w 2 @10, d 4 @5, d 8 @20, w 16 @10")
    history = line.at(MIXED[seq - 1])
    assert seqs(history.last(9)) == seen
    assert list(history.window(100).listed) == seen


def test_totals_between_insertions() -> None:
    """Sums stay right after each insertion in the middle or at the front, not only at the end."""
    line = Timeline()
    totals = []
    for action in actions("d 1 @50, d 2 @40, d 4 @45, d 8 @50, d 16 @30"):
        line.add(action)
        newest = line.newest()
        assert newest is not None
        totals.append(line.at(newest).window(10).total)
    assert totals == [Decimal(1), Decimal(3), Decimal(7), Decimal(15), Decimal(15)]


def test_last_of_one_type() -> None:
    """The last so many of one type skip the other type, oldest first, and are fewer where there are no more."""
    line = timeline("d 1 @0, w 1 @1, d 1 @2, w 1 @3, d 1 @4")
    newest = line.newest()
    assert newest is not None
    history = line.at(newest)
    assert seqs(history.last(2, "deposit")) == [3, 5]
    assert seqs(history.last(2, "withdraw")) == [2, 4]
    assert seqs(history.last(2)) == [4, 5]
    assert seqs(history.last(9, "deposit")) == [1, 3, 5]


def test_window_edges() -> None:
    """A window holds what is exactly `seconds` old and nothing older."""
    line = timeline("d 1 @9, d 2 @10, d 4 @40")
    newest = line.newest()
    assert newest is not None
    window = line.at(newest).window(30, "deposit")
    assert (len(window), window.total, window.oldest.seq, window.listed) == (2, Decimal(6), 2, (2, 3))


def test_window_without_any() -> None:
    """A window of a type that the user has no action of is empty and sums to nothing."""
    window = window_after(1, "withdraw")
    assert (len(window), window.total, window.listed, window.unlisted) == (0, Decimal(0), (), 0)


def test_newest_of_none() -> None:
    """A timeline without actions has no newest one."""
    assert Timeline().newest() is None


@pytest.mark.parametrize(
    ("count", "first", "unlisted"), [(99, 1, 0), (100, 1, 0), (101, 2, 1), (250, 151, 150)], ids=str
)
def test_at_most_a_hundred_are_listed(count: int, first: int, unlisted: int) -> None:
    """A window lists its newest 100 actions and counts the older ones; its length and sum are of all."""
    window = window_after(count)
    assert window.listed == tuple(range(first, count + 1))
    assert (len(window), window.unlisted, window.total) == (count, unlisted, Decimal(count))
