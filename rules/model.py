"""The plain data that judging works on: actions, a user's timeline, and what a rule finds in it."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

ActionType = Literal["deposit", "withdraw"]
ACTION_TYPES: tuple[ActionType, ...] = ("deposit", "withdraw")

Risk = Literal["low", "normal", "high"]
RISKS: tuple[Risk, ...] = ("low", "normal", "high")

Value = Decimal | int  # money has two decimals; counts and seconds are whole numbers

# An alert lists at most so many actions: enough to see the pattern, and a burst of ten thousand events
# does not store ten thousand lists of ten thousand numbers.
LISTED_ACTIONS = 100

LAST_TIME = 2**63 - 1  # the newest time that can be told, in seconds


@dataclass(frozen=True, slots=True)
class Event:
    """A deposit or withdrawal as posted, before it is judged. `time` is in seconds, `amount` is money."""

    user_id: int
    type: ActionType
    amount: Decimal
    time: int
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """A stored event: `seq` is its place in its user's order of arrival, from 1 without gaps."""

    seq: int
    type: ActionType
    amount: Decimal
    time: int

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among its user's actions: by time, equal times by arrival."""
        return (self.time, self.seq)


@dataclass(frozen=True, slots=True)
class Finding:
    """What made a rule fire: the measured value, the `seq` of the actions behind it, and a plain sentence.

    `unlisted` counts older actions that are behind it too but are left out of `actions`.
    """

    measured: Value
    actions: tuple[int, ...]
    sentence: str
    unlisted: int = 0


class Parameters:
    """The values of a rule's parameters that are in force for one user."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)

    def money(self, name: str) -> Decimal:
        """The amount of money called `name`."""
        value = self._values[name]
        assert isinstance(value, Decimal)
        return value

    def number(self, name: str) -> int:
        """The count or the number of seconds called `name`."""
        value = self._values[name]
        assert isinstance(value, int)
        return value

    def items(self) -> dict[str, Value]:
        """All of them by name."""
        return dict(self._values)


@dataclass(slots=True)
class _Series:
    """Actions in order, with running totals, so that a window's sum costs two look-ups whatever its length."""

    places: list[tuple[int, int]] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    totals: list[Decimal] = field(default_factory=lambda: [Decimal(0)])

    def add(self, action: Action) -> None:
        at = bisect_right(self.places, action.place)
        self.places.insert(at, action.place)
        self.actions.insert(at, action)
        del self.totals[at + 1 :]

    def total(self, end: int) -> Decimal:
        """The sum of the first `end` amounts; summed up no further than asked, since a late action undoes it."""
        for action in self.actions[len(self.totals) - 1 : end]:
            self.totals.append(self.totals[-1] + action.amount)
        return self.totals[end]


class Timeline:
    """The part of one user's actions that judging needs, in order of (time, arrival)."""

    def __init__(self) -> None:
        self._series: dict[ActionType | None, _Series] = {kind: _Series() for kind in (None, *ACTION_TYPES)}

    def add(self, action: Action) -> None:
        """Put `action` where its time puts it; at equal times the later `seq` comes later."""
        self._series[None].add(action)
        self._series[action.type].add(action)

    def newest(self) -> Action | None:
        """The last action in order, or None."""
        actions = self._series[None].actions
        return actions[-1] if actions else None

    def following(self, action: Action, count: int, of: ActionType | None = None) -> list[Action]:
        """The first `count` actions (of one type, if given) after `action`, oldest first."""
        series = self._series[of]
        start = bisect_right(series.places, action.place)
        return series.actions[start : start + count]

    def between(self, after: tuple[int, int], until: int, of: ActionType | None = None) -> list[Action]:
        """The actions (of one type, if given) after the place `after` with `time` up to `until`, oldest first."""
        series = self._series[of]
        start = bisect_right(series.places, after)
        return series.actions[start : bisect_right(series.places, (until, LAST_TIME))]

    def at(self, action: Action) -> "History":
        """The history as `action` sees it: everything up to and including it, nothing later."""
        return History(self._series, action)


class History:
    """A user's actions up to and including the one that is judged."""

    def __init__(self, series: Mapping[ActionType | None, _Series], now: Action) -> None:
        self.now = now
        self._series = series

    def last(self, count: int, of: ActionType | None = None) -> list[Action]:
        """The last `count` actions (of one type, if given), oldest first; fewer where there are no more."""
        series = self._series[of]
        end = bisect_right(series.places, self.now.place)
        return series.actions[max(0, end - count) : end]

    def window(self, seconds: int, of: ActionType | None = None) -> "Window":
        """The actions (of one type, if given) with `time` in [now - seconds, now], oldest first."""
        series = self._series[of]
        start = bisect_left(series.places, (self.now.time - seconds, 0))
        return Window(series, start, bisect_right(series.places, self.now.place))


class Window:
    """A stretch of a user's actions. Its count and sum do not grow costlier with its length."""

    def __init__(self, series: _Series, start: int, end: int) -> None:
        self._series, self._start, self._end = series, start, end

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def total(self) -> Decimal:
        """The sum of the amounts."""
        return self._series.total(self._end) - self._series.total(self._start)

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
