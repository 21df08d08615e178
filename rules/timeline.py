"""A user's actions in order of time, and what a rule may see of them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from decimal import Decimal
from operator import itemgetter
from typing import NamedTuple

from rules.model import LISTED_ACTIONS, Action, ActionType, NumberedAction

_NOTHING = Decimal("0.00")


class _Series:
    """Actions in order of (time, arrival). There may be gaps between them: only what judging needs is here."""

    __slots__ = ("actions", "times")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.actions: list[Action] = []

    def add(self, action: Action) -> int:
        """Put a new action, the newest to arrive, where its time puts it. Returns its index."""
        times = self.times
        if not times or times[-1] <= action.time:
            times.append(action.time)
            self.actions.append(action)
            return len(times) - 1
        at = bisect_right(times, action.time)
        times.insert(at, action.time)
        self.actions.insert(at, action)
        return at

    def load(self, actions: list[Action]) -> None:
        """Take in stored actions."""
        self.actions = sorted([*self.actions, *actions], key=_place) if self.actions else actions
        self.times = [action.time for action in self.actions]

    def end(self, action: Action) -> int:
        """How many stand up to and including the place of `action`."""
        if self.actions and self.actions[-1] is action:  # as it is, mostly
            return len(self.actions)
        times = self.times
        if not times or times[-1] < action.time:
            return len(times)
        end = bisect_right(times, action.time)
        if end and times[end - 1] == action.time and self.actions[end - 1].seq > action.seq:
            # At equal times those that arrived later; there may be thousands of them.
            start = bisect_left(times, action.time, 0, end)
            end = bisect_right(self.actions, action.seq, start, end, key=_seq)
        return end


class _TypedSeries(_Series):
    """The actions of one type, each with its running count and sum over all of the user's, gaps or not.

    So what a window holds follows from its first and its last action. An action that comes late counts for all behind
    it; their numbers are then worked out no further than asked.
    """

    __slots__ = ("_late", "_stored", "ordinals", "totals", "was_late")

    def __init__(self) -> None:
        super().__init__()
        self.ordinals: list[int] = []
        self.totals: list[Decimal] = []
        self._stored: dict[int, tuple[int, Decimal]] = {}  # the numbers of the stored actions, as they were read
        # Once an action came late: how many new actions stand up to each, and their sum.
        self.was_late = False
        self._late: list[tuple[int, Decimal]] = []

    def add(self, action: Action) -> int:
        at = super().add(action)
        self._renumber_from(at if self.was_late else 0)
        return at

    def load_numbered(self, stored: list[NumberedAction]) -> None:
        """Take in stored actions, in order, none of which is here yet."""
        fresh = not self.actions
        self.load([one.action for one in stored])
        self._stored |= {one.action.seq: (one.ordinal, one.running_total) for one in stored}
        if fresh:
            self.ordinals = [one.ordinal for one in stored]
            self.totals = [one.running_total for one in stored]
        else:
            self._renumber_from(0)

    def total(self, start: int, end: int) -> Decimal:
        """The sum of the user's actions from the one at `start` to the one before `end`, gaps or not."""
        if end > len(self.totals):
            self._number_until(end)
        return self.totals[end - 1] - self.totals[start] + self.actions[start].amount

    def numbers(self, index: int) -> tuple[int, Decimal]:
        """The running count and sum of the action at `index`; nothing before the first one."""
        if index < 0:
            return 0, _NOTHING
        if index >= len(self.ordinals):
            self._number_until(index + 1)
        return self.ordinals[index], self.totals[index]

    def _renumber_from(self, at: int) -> None:
        self.was_late = True
        del self.ordinals[at:], self.totals[at:], self._late[at:]

    def _number_until(self, end: int) -> None:
        for index in range(len(self.ordinals), end):
            action = self.actions[index]
            count, total = self._late[index - 1] if index else (0, _NOTHING)
            stored = self._stored.get(action.seq)
            if stored is not None:
                self.ordinals.append(stored[0] + count)
                self.totals.append(stored[1] + total)
            else:
                # What stands before a new action was read with it, so there is no gap between the two.
                self.ordinals.append(self.ordinals[-1] + 1 if index else 1)
                self.totals.append(self.totals[-1] + action.amount if index else action.amount)
                count, total = count + 1, total + action.amount
            self._late.append((count, total))


class Timeline:
    """The part of one user's actions that judging needs, in order of (time, arrival)."""

    __slots__ = ("_all", "_typed")

    def __init__(self) -> None:
        self._all = _Series()
        self._typed: dict[ActionType, _TypedSeries] = {"deposit": _TypedSeries(), "withdraw": _TypedSeries()}

    def add(self, action: Action) -> None:
        """Put a new action where its time puts it; at equal times it comes last."""
        everything, typed = self._all, self._typed[action.type]
        times, time = everything.times, action.time
        if typed.was_late or (times and times[-1] > time):
            everything.add(action)
            typed.add(action)
            return
        # In order, as nearly all come: without a call more, since every action that is judged passes here.
        times.append(time)
        everything.actions.append(action)
        typed.times.append(time)
        typed.actions.append(action)
        totals = typed.totals
        if totals:
            typed.ordinals.append(typed.ordinals[-1] + 1)
            totals.append(totals[-1] + action.amount)
        else:
            typed.ordinals.append(1)
            totals.append(action.amount)

    def load(self, stored: Iterable[NumberedAction]) -> None:
        """Take in stored actions that are not here yet."""
        ordered = sorted(stored, key=_stored_place)
        self._all.load([one.action for one in ordered])
        for kind, series in self._typed.items():
            if of_kind := [one for one in ordered if one.action.type == kind]:
                series.load_numbered(of_kind)

    def newest(self) -> Action | None:
        """The last action in order, or None."""
        return self._all.actions[-1] if self._all.actions else None

    def newest_numbers(self, of: ActionType) -> tuple[int, Decimal]:
        """How many actions of one type the user has in all, and their sum, where the last one is here."""
        series = self._typed[of]
        return series.numbers(len(series.actions) - 1)

    def following(self, action: Action, of: ActionType | None = None) -> list[Action]:
        """The actions (of one type, if given) behind `action`, oldest first."""
        series = self._of(of)
        return series.actions[series.end(action) :]

    def numbers(self, action: Action) -> tuple[int, Decimal]:
        """How many actions of its type the user has up to and including `action`, and their sum."""
        series = self._typed[action.type]
        return series.numbers(series.end(action) - 1)

    def at(self, action: Action) -> "History":
        """The history as `action` sees it: everything up to and including it, nothing later."""
        return History(self, action)

    def _of(self, kind: ActionType | None) -> _Series:
        return self._all if kind is None else self._typed[kind]


class History:
    """A user's actions up to and including the one that is judged, as far as the rule's look-back declares."""

    __slots__ = ("_timeline", "now")

    def __init__(self, timeline: Timeline, now: Action) -> None:
        self._timeline = timeline
        self.now = now

    def last(self, count: int, of: ActionType | None = None) -> list[Action]:
        """The last `count` actions (of one type, if given), oldest first; fewer where there are no more.

        Declared by `Last`.
        """
        series = self._timeline._of(of)
        end = series.end(self.now)
        return series.actions[max(0, end - count) : end]

    def count(self, seconds: int, of: ActionType | None = None) -> int:
        """How many actions (of one type, if given) have `time` in [now - seconds, now]: the length of `window`."""
        series = self._timeline._of(of)
        end = series.end(self.now)
        return end - bisect_left(series.times, self.now.time - seconds, 0, end)

    def total(self, seconds: int, of: ActionType) -> Decimal:
        """The sum of the actions of one type with `time` in [now - seconds, now]: the total of `window`."""
        series = self._timeline._typed[of]
        end = series.end(self.now)
        start = bisect_left(series.times, self.now.time - seconds, 0, end)
        return series.total(start, end) if start < end else _NOTHING

    def window(self, seconds: int, of: ActionType | None = None) -> "Window":
        """The actions (of one type, if given) with `time` in [now - seconds, now], oldest first.

        Declared by `Within`.
        """
        series = self._timeline._of(of)
        end = series.end(self.now)
        return Window(series, bisect_left(series.times, self.now.time - seconds, 0, end), end)

    def sums(self, seconds: int, of: ActionType) -> "Sums":
        """Count and sum of the actions of one type with `time` in [now - seconds, now], however many they are.

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
        """Count and sum of all the user's actions of one type, up to and including now. Its `since` means nothing.

        Declared by `SumsSoFar`.
        """
        series = self._timeline._typed[of]
        return Sums(*series.numbers(series.end(self.now) - 1), 0)

    @property
    def first(self) -> Action:
        """The user's first action in order of time. Declared by `First`."""
        return self._timeline._all.actions[0]


class Sums(NamedTuple):
    """How many actions, their sum, and the time of the oldest."""

    actions: int
    total: Decimal
    since: int


_NO_SUMS = Sums(0, _NOTHING, 0)


class Window:
    """A stretch of a user's actions."""

    __slots__ = ("_end", "_series", "_start")

    def __init__(self, series: _Series, start: int, end: int) -> None:
        self._series, self._start, self._end = series, start, end

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def total(self) -> Decimal:
        """The sum of the amounts; of one type it does not grow costlier with the length."""
        series, start, end = self._series, self._start, self._end
        if start == end:
            return _NOTHING
        if isinstance(series, _TypedSeries):
            return series.total(start, end)
        return sum((action.amount for action in series.actions[start:end]), _NOTHING)

    @property
    def actions(self) -> list[Action]:
        """Its actions, oldest first."""
        return self._series.actions[self._start : self._end]

    @property
    def oldest(self) -> Action:
        """The first action in it."""
        return self._series.actions[self._start]

    @property
    def listed(self) -> tuple[int, ...]:
        """The `seq` of its newest actions, at most LISTED_ACTIONS, oldest first."""
        return tuple(a.seq for a in self._series.actions[self._end - min(len(self), LISTED_ACTIONS) : self._end])

    @property
    def unlisted(self) -> int:
        """How many actions `listed` leaves out."""
        return max(0, len(self) - LISTED_ACTIONS)


_seq = itemgetter(0)


def _place(action: Action) -> tuple[int, int]:
    return action.time, action.seq


def _stored_place(stored: NumberedAction) -> tuple[int, int]:
    return stored.action.time, stored.action.seq
