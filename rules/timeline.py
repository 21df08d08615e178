"""A user's actions in order of time, and what a rule may see of them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from rules.model import ACTION_TYPES, LISTED_ACTIONS, Action, ActionType, NumberedAction
from rules.series import NOTHING, Series, TypedSeries, numbered_place, place
from rules.window import Window


class Timeline:
    """The part of one user's actions that judging needs, in order of (time, arrival)."""

    __slots__ = ("_all", "_first_removed", "_typed")

    def __init__(self) -> None:
        self._first_removed: Action | None = None
        self._all = Series()
        self._typed: dict[ActionType, TypedSeries] = {"deposit": TypedSeries(), "withdraw": TypedSeries()}

    def add(self, action: Action) -> None:
        """Insert a new action at its place in time; at equal times it comes last."""
        everything, typed = self._all, self._typed[action.type]
        times, time = everything.times, action.time
        if typed.was_late or (times and times[-1] > time):
            everything.add(action)
            typed.add(action)
            return
        # In order, as nearly all are: no further calls, since every action that is judged passes through here.
        times.append(time)
        everything.actions.append(action)
        typed.times.append(time)
        typed.actions.append(action)
        totals = typed.totals
        if totals:
            typed.ordinals.append(typed.ordinals[-1] + 1)
            totals.append(totals[-1] + action.amount)
        else:
            count, total = typed.base
            typed.ordinals.append(count + 1)
            totals.append(total + action.amount)

    def load(self, stored: Iterable[NumberedAction]) -> None:
        """Add stored actions; none of them may be here yet."""
        ordered = sorted(stored, key=numbered_place)
        self._all.load([one.action for one in ordered])
        for kind, series in self._typed.items():
            if of_kind := [one for one in ordered if one.action.type == kind]:
                series.load_numbered(of_kind)

    def go_on_from(self, first: Action, numbers: Mapping[ActionType, tuple[int, Decimal]]) -> None:
        """Count from removed actions on: the `first` of them, and how many there were of each type, and their sum.

        Nothing may have been added yet, except for what was loaded.
        """
        self._first_removed = first
        for kind, base in numbers.items():
            self._typed[kind].base = base

    def has_any(self, of: ActionType, until: int) -> bool:
        """Whether an action of this type with `time` up to `until` is here."""
        times = self._typed[of].times
        return bool(times) and times[0] <= until

    @property
    def may_be_crowded(self) -> bool:
        """Whether there are so many actions of one type that some of a window may not have been read."""
        return any(len(series.times) >= LISTED_ACTIONS for series in self._typed.values())

    def is_crowded(self, of: ActionType, start: int, end: int) -> bool:
        """Whether so many actions of one type with `time` in [start, end] are here that some may not have been read."""
        times = self._typed[of].times
        return bisect_right(times, end) - bisect_left(times, start) >= LISTED_ACTIONS

    def forget(self, before: int, keep: int) -> None:
        """Drop what nobody looks back at any more; no action may have come late.

        That is those with `time` before `before`, except for the user's first one and the last `keep` of each type.
        """
        for series in (self._all, *self._typed.values()):
            series.forget(before, keep)

    # What is kept from one batch to the next

    @property
    def was_late(self) -> bool:
        """Whether an action has come late."""
        return self._typed["deposit"].was_late or self._typed["withdraw"].was_late

    @property
    def newest_time(self) -> int:
        """The time of the last action in order; -1 without any."""
        times = self._all.times
        return times[-1] if times else -1

    @property
    def most_of_a_type(self) -> int:
        """How many actions are here of the type of which there are more."""
        return max(len(self._typed["deposit"].times), len(self._typed["withdraw"].times))

    @property
    def count_and_net(self) -> tuple[int, Decimal]:
        """How many actions the user has in all, and deposits less withdrawals; the last of each type must be here."""
        deposits, paid_in = self.newest_numbers("deposit")
        withdrawals, paid_out = self.newest_numbers("withdraw")
        return deposits + withdrawals, paid_in - paid_out

    @property
    def size(self) -> int:
        """How many actions are here."""
        return len(self._all.actions)

    @property
    def seqs(self) -> dict[int, int]:
        """The `time` of each action that is here, by `seq`."""
        return {action.seq: action.time for action in self._all.actions}

    def count_here(self, of: ActionType) -> int:
        """How many actions of one type are here."""
        return len(self._typed[of].actions)

    def complete_after(self, of: ActionType) -> int:
        """The time after which all of the user's actions of one type are here; -1 if simply all are.

        There must be no gaps (`drop_before_gaps`).
        """
        series = self._typed[of]
        return series.times[0] if series.times and series.ordinals[0] > series.base[0] + 1 else -1

    def go_on(self, one: NumberedAction) -> bool:
        """Add the stored action that arrived next. Returns False if it came late or does not continue the numbers."""
        action, newest = one.action, self.newest()
        if newest is not None and newest.time > action.time:
            return False
        self.add(action)
        return self.newest_numbers(action.type) == (one.ordinal, one.running_total)

    def keep_last(self, before: int, keep: int) -> None:
        """Leave, of each type, no gaps, the last `keep` actions, those with `time` from `before` on, and one more.

        The one more shows that there are no others with such a `time`.
        """
        for series in self._typed.values():
            series.shorten(before, keep)
        self.drop_before_gaps()

    def drop_before_gaps(self) -> None:
        """Drop all actions of a type that have a gap behind them, so that between the others there is none."""
        deposits, withdrawals = self._typed["deposit"], self._typed["withdraw"]
        deposits.drop_before_gaps()
        withdrawals.drop_before_gaps()
        if len(self._all.actions) != len(deposits.actions) + len(withdrawals.actions):
            self._all = Series()
            self._all.load(sorted([*deposits.actions, *withdrawals.actions], key=place))

    def settle(self, seq: int) -> None:
        """All actions up to `seq`, the newest arrival, are stored now as they are here; none may have come late."""
        for series in self._typed.values():
            series.settle(seq)

    def newest(self) -> Action | None:
        """The last action in order, or None."""
        return self._all.actions[-1] if self._all.actions else None

    def newest_numbers(self, of: ActionType) -> tuple[int, Decimal]:
        """How many actions of one type the user has in all, and their sum; the last one must be here."""
        series = self._typed[of]
        return series.numbers(len(series.actions) - 1)

    def count_after(self, time: int) -> int:
        """How many actions the user has after `time`, here or not.

        Of each type the newest and the last one up to `time` must be here, if there are any.
        """
        return sum(
            series.numbers(len(series.actions) - 1)[0] - series.numbers(bisect_right(series.times, time) - 1)[0]
            for series in self._typed.values()
        )

    def following(self, action: Action, of: ActionType | None = None) -> list[Action]:
        """The actions (of one type, if given) after `action`, oldest first."""
        series = self._of(of)
        return series.actions[series.end(action) :]

    def numbers(self, action: Action) -> tuple[int, Decimal]:
        """How many actions of its type the user has up to and including `action`, and their sum."""
        series = self._typed[action.type]
        return series.numbers(series.end(action) - 1)

    def at(self, action: Action) -> "History":
        """The history as `action` sees it: everything up to and including it, nothing later."""
        return History(self, action)

    def _of(self, kind: ActionType | None) -> Series:
        return self._all if kind is None else self._typed[kind]


class History:
    """A user's actions up to and including the one that is judged, as far as the rule's look-back declares."""

    __slots__ = ("_timeline", "now")

    def __init__(self, timeline: Timeline, now: Action) -> None:
        self._timeline = timeline
        self.now = now

    def last(self, count: int, of: ActionType | None = None) -> list[Action]:
        """The last `count` actions (of one type, if given), oldest first; fewer if there are no more.

        Declared by `Last`.
        """
        series = self._timeline._of(of)
        end = series.end(self.now)
        return series.actions[max(0, end - count) : end]

    def count(self, seconds: int, of: ActionType | None = None) -> int:
        """How many actions (of one type, if given) have `time` in [now - seconds, now]: the length of `window`."""
        series = self._timeline._of(of)
        end = series.end(self.now)
        here = end - bisect_left(series.times, self.now.time - seconds, 0, end)
        return here if here < LISTED_ACTIONS else self._count_crowd(seconds, of)

    def _count_crowd(self, seconds: int, of: ActionType | None) -> int:
        # Of a crowd only the oldest and the newest of each type may be here, but each has its number.
        return sum([self.sums(seconds, kind).actions for kind in (ACTION_TYPES if of is None else (of,))])

    def total(self, seconds: int, of: ActionType) -> Decimal:
        """The sum of the actions of one type with `time` in [now - seconds, now]: the total of `window`."""
        series = self._timeline._typed[of]
        end = series.end(self.now)
        start = bisect_left(series.times, self.now.time - seconds, 0, end)
        return series.total(start, end) if start < end else NOTHING

    def window(self, seconds: int, of: ActionType | None = None) -> "Window":
        """The actions (of one type, if given) with `time` in [now - seconds, now], oldest first.

        Declared by `Within`.
        """
        series = self._timeline._of(of)
        end = series.end(self.now)
        return Window(self, seconds, of, bisect_left(series.times, self.now.time - seconds, 0, end), end)

    def sums(self, seconds: int, of: ActionType) -> "Sums":
        """Count and sum of the actions of one type with `time` in [now - seconds, now], however many there are.

        Declared by `SumsWithin`.
        """
        series = self._timeline._typed[of]
        end = series.end(self.now)
        start = bisect_left(series.times, self.now.time - seconds, 0, end)
        if start == end:
            return _NO_SUMS
        count, _ = series.numbers(end - 1)
        before, _ = series.numbers(start)
        return Sums(count - before + 1, series.total(start, end), series.times[start])

    def sums_so_far(self, of: ActionType) -> "Sums":
        """Count and sum of all the user's actions of one type, up to and including `now`; `since` is not set.

        Declared by `SumsSoFar`.
        """
        series = self._timeline._typed[of]
        return Sums(*series.numbers(series.end(self.now) - 1), 0)

    @property
    def first(self) -> Action:
        """The user's first action in order of time, even if it was removed. Declared by `First`."""
        removed = self._timeline._first_removed
        return self._timeline._all.actions[0] if removed is None else removed


class Sums(NamedTuple):
    """How many actions, their sum, and the time of the oldest."""

    actions: int
    total: Decimal
    since: int


_NO_SUMS = Sums(0, NOTHING, 0)
