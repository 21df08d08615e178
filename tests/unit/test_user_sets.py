"""Sets of users: exact while they are small, nearly right when they are large, and joined without counting twice."""

import pytest

from database.figures import median
from database.user_sets import EXACT, REGISTERS, UserSet, bounded, joined


def some(first: int, last: int) -> UserSet:
    return bounded(UserSet(frozenset(range(first, last + 1))))


def test_small_sets_are_exact() -> None:
    """Up to the bound each user counts once, in however many sets."""
    assert some(1, EXACT).number() == EXACT
    assert joined([some(1, 600), some(500, 1_100), UserSet()]) == UserSet(frozenset(range(1, 1_101)))
    assert joined([]).number() == 0


@pytest.mark.parametrize("number", [EXACT + 1, 5_000, 40_000, 300_000])
def test_large_sets_are_nearly_right(number: int) -> None:
    """And take two kilobytes, whatever their size."""
    large = some(1, number)
    assert large.registers is not None
    assert len(large.registers) == REGISTERS
    assert large.user_ids == frozenset()
    assert abs(large.number() - number) < 0.05 * number


def test_sets_of_both_kinds_are_joined() -> None:
    """As if all had come into one set at once."""
    assert joined([some(1, 5_000), some(4_000, 4_500), some(5_001, 5_400)]) == some(1, 5_400)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 59.0, 3_600.0, 86_400.0, 10_000_000.0])
def test_a_median_is_nearly_right(seconds: float) -> None:
    """Of times that fell into buckets, to within 5 per cent, or half a second below a minute."""
    from math import floor, log2

    bucket = floor(8 * log2(1 + seconds))
    found = median({bucket: 3, bucket + 40: 2, bucket - 1: 1})
    assert found is not None
    assert abs(found - seconds) <= max(0.05 * seconds, 0.5) + 0.1
    assert median({}) is None
    assert median({3: 0}) is None
