"""Actions of many users as columns, and what a rule's twin sees of them: `timeline.py`, but for all of them at once.

Only what judges all of history imports this, since it imports numpy. Money is in cents and factors are in hundredths:
whole numbers of 64 bits. So everything is as exact as with Decimal if each user's amounts come to less than MOST_CENTS,
and the largest of them times their number to less than MOST_PRODUCT; other users are not put into columns. Sums over
all users may overflow and wrap around: the differences that are taken of them do not.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

# There is no linear algebra here, for which numpy would begin a thread on each core when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
from numpy.typing import NDArray

from rules.model import ACTION_TYPES, ActionType

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

# Within 64 bits, there may be a factor on both: one of up to 1,000.00, and that it is in hundredths.
MOST_CENTS = 2**63 // 100_000
MOST_PRODUCT = 2**63 // 100

# Windows that are kept while rules, or the steps of a sweep, ask for the same ones.
_KEPT = 4


def decimal(value: int) -> Decimal:
    """Money with its two decimals, from cents."""
    return Decimal(value).scaleb(-2)


def cumulative(values: NDArray[Any]) -> Ints:
    """The sum of all values before each place, and, one place more, of all; with masks, how many are true."""
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def first_at_least(values: Ints, begins: Ints, ends: Ints, least: Ints) -> Ints:
    """For each of `begins`, the first place from there to before `ends` whose value is `least` or more, else `ends`.

    Values increase between each of `begins` and its `ends`.
    """
    low, high = begins, ends
    while len(values) and (open_ := low < high).any():
        middle = (low + high) >> 1
        below = open_ & (values[np.minimum(middle, len(values) - 1)] < least)
        low, high = np.where(below, middle + 1, low), np.where(below, high, middle)
    return low


class ColumnSeries:
    """Actions of one type or of any, by user in order of (time, arrival)."""

    def __init__(self, amounts: Ints, times: Ints, is_deposit: Mask) -> None:
        self.amounts, self.times, self.is_deposit = amounts, times, is_deposit

    @cached_property
    def sums(self) -> Ints:
        """The running sum of the amounts, as `cumulative` has it."""
        return cumulative(self.amounts)

    def earlier(self, values: NDArray[Any]) -> NDArray[Any]:
        """Of a value for each of them that of the one before it, whosever that is; of the first its own."""
        return np.concatenate((values[:1], values[:-1]))

    def only(self, of: Mask | Ints) -> "ColumnSeries":
        """Some of them."""
        return ColumnSeries(self.amounts[of], self.times[of], self.is_deposit[of])


@dataclass(frozen=True)
class Removed:
    """What is left of removed actions, at each place that of its user: zeros if none were removed.

    Of these, `counts` and `totals` are by type; `first` is the time of the first action, which is the largest number
    if none were removed.
    """

    first: Ints
    counts: Mapping[ActionType, Ints]
    totals: Mapping[ActionType, Ints]


class ActionColumns:
    """All actions of some users: `begins` has, at each place, the place of its user's first action."""

    def __init__(self, every: ColumnSeries, begins: Ints, removed: Removed | None = None) -> None:
        self.every, self.begins, self.removed = every, begins, removed
        self._typed: dict[ActionType, tuple[ColumnSeries, Ints]] = {}

    def typed(self, of: ActionType) -> tuple[ColumnSeries, Ints]:
        """The actions of one type, and how many of them there are before each place."""
        found = self._typed.get(of)
        if found is None:
            mask = self.every.is_deposit if of == "deposit" else ~self.every.is_deposit
            found = self._typed[of] = self.every.only(mask), cumulative(mask)
        return found


@dataclass(frozen=True)
class Spans:
    """For each judged action some consecutive ones of a series: from its place in `starts` to before that in `ends`."""

    series: ColumnSeries
    starts: Ints
    ends: Ints

    @property
    def actions(self) -> Ints:
        """How many they are."""
        return self.ends - self.starts

    @property
    def total(self) -> Ints:
        """The sum of their amounts."""
        return self.series.sums[self.ends] - self.series.sums[self.starts]

    def number(self, of: Mask) -> Ints:
        """How many of them are true in `of`, which has a value for each action of the series."""
        counts = cumulative(of)
        return counts[self.ends] - counts[self.starts]

    def steps(self, of: Mask) -> Ints:
        """The same, without the first: of the steps from one to the next, those whose end is true in `of`."""
        counts = cumulative(of)
        return counts[self.ends] - counts[np.minimum(self.starts + 1, self.ends)]

    def __and__(self, other: "Spans") -> "Spans":
        """Those that are in both; both end at the same places."""
        return Spans(self.series, np.maximum(self.starts, other.starts), self.ends)


@dataclass
class Histories:
    """What the actions at `places` see: each its user's actions up to and including itself. See `timeline.History`."""

    columns: ActionColumns
    places: Ints
    _ranges: dict[ActionType | None, tuple[Ints, Ints]] = field(default_factory=dict)
    _windows: dict[tuple[int, ActionType | None], Spans] = field(default_factory=dict)

    @cached_property
    def amounts(self) -> Ints:
        """The amounts of the judged actions."""
        return self.columns.every.amounts[self.places]

    @cached_property
    def times(self) -> Ints:
        """Their times."""
        return self.columns.every.times[self.places]

    @cached_property
    def first(self) -> Ints:
        """The times of their users' first actions, even of removed ones."""
        first = self.columns.every.times[self.columns.begins[self.places]]
        removed = self.columns.removed
        return first if removed is None else np.minimum(first, removed.first[self.places])

    def series(self, of: ActionType | None = None) -> ColumnSeries:
        """The actions (of one type, if given) of all users."""
        return self.columns.every if of is None else self.columns.typed(of)[0]

    def last(self, count: int, of: ActionType | None = None) -> Spans:
        """The last `count` actions (of one type, if given) of each; fewer if there are no more."""
        begins, ends = self._range(of)
        return Spans(self.series(of), np.maximum(begins, ends - count), ends)

    def window(self, seconds: int, of: ActionType | None = None) -> Spans:
        """The actions (of one type, if given) with `time` in [now - seconds, now]."""
        found = self._windows.get((seconds, of))
        if found is None:
            if len(self._windows) >= _KEPT:
                self._windows.clear()
            series, (begins, ends) = self.series(of), self._range(of)
            starts = first_at_least(series.times, begins, ends, self.times - seconds)
            found = self._windows[seconds, of] = Spans(series, starts, ends)
        return found

    def sums_so_far(self) -> tuple[Ints, Ints]:
        """Count and sum of all actions of the judged one's type, it included, even of removed ones."""
        is_deposit = self.columns.every.is_deposit[self.places]
        (actions, totals), (others, their_totals) = (self._so_far(kind) for kind in ACTION_TYPES)
        return np.where(is_deposit, actions, others), np.where(is_deposit, totals, their_totals)

    def _so_far(self, of: ActionType) -> tuple[Ints, Ints]:
        spans = Spans(self.series(of), *self._range(of))
        removed = self.columns.removed
        if removed is None:
            return spans.actions, spans.total
        return spans.actions + removed.counts[of][self.places], spans.total + removed.totals[of][self.places]

    def _range(self, of: ActionType | None) -> tuple[Ints, Ints]:
        """Where in the series each one's user begins, and the place after the judged action's."""
        found = self._ranges.get(of)
        if found is None:
            begins, ends = self.columns.begins[self.places], self.places + 1
            if of is not None:
                before = self.columns.typed(of)[1]
                begins, ends = before[begins], before[ends]
            found = self._ranges[of] = begins, ends
        return found
