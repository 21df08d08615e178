"""Backtest: what it is asked to judge, and what comes of it. `backtester.py` does it.

This is without numpy, which the service never loads.
"""

from collections import Counter
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any, NamedTuple

from rules.base import RuleSetting

SAMPLES = 20  # added and removed alerts that are shown
TRUE, FALSE = "true_positive", "false_positive"  # what alerts turned out to be; all else is undecided
DAY = 86_400  # seconds
# Actions that are judged at a time: some tens of megabytes of memory, and a fraction of a second of work, so that
# progress is shown often. A user is never split, so one with more of them is judged alone.
PART = 50_000
MOST_DAYS = 100_000  # that are counted: 270 years. By times that are not in seconds each action may have its own

Key = tuple[int, int, int]  # user_id, seq, code


@dataclass(frozen=True, kw_only=True)
class BacktestPlan:
    """The rules as they would be, and in a sweep the same with each of `sweep` in its rule's place.

    Alerts count if the action's time is from `start` to `end` (seconds, both included); all that is earlier is read
    too, since rules look back.
    """

    candidates: tuple[RuleSetting, ...]
    sweep: tuple[RuleSetting, ...]
    start: int
    end: int

    @property
    def codes(self) -> list[int]:
        """The codes of the candidates."""
        return [candidate.code for candidate in self.candidates]

    @property
    def part(self) -> int:
        """How many actions to judge at a time: fewer if all values of a sweep are judged action by action."""
        has_twins = all(setting.rule.twin for setting in (*self.candidates, *self.sweep))
        return PART if has_twins else max(PART // (1 + len(self.sweep)), 500)


@dataclass
class AlertFigures:
    """Alerts of one kind: how many, of how many users, and on which days (the time divided by 86,400).

    The days are counted for what is stored and for the candidates themselves, not for the steps of a sweep.
    """

    alerts: int = 0
    users: int = 0
    added: int = 0  # that are not stored
    removed: int = 0  # that are stored, and would not have been raised
    true_lost: int = 0  # of these, those that were closed as true,
    false_spared: int = 0  # and as false
    days: Counter[int] = field(default_factory=Counter)

    def add(self, other: "AlertFigures") -> None:
        """Add the figures of other users."""
        self.alerts += other.alerts
        self.users += other.users
        self.added += other.added
        self.removed += other.removed
        self.true_lost += other.true_lost
        self.false_spared += other.false_spared
        self.days.update(other.days)


class AlertSample(NamedTuple):
    """An alert that would be added or removed; the evidence of removed ones is the stored one.

    `outcome` is what a removed one turned out to be, if it is closed.
    """

    key: Key
    time: int
    evidence: dict[str, Any] | None
    outcome: str | None = None


@dataclass
class BacktestResult:
    """What a backtest finds over some users.

    `then` is what is stored; `now` is what would be, followed by each step of the sweep. `first` and `last` are the
    times of the oldest and the newest action in the period, and `days` those that have any; `actions` and `users` are
    those that were read. `left_out` actions were judged first with others that have been removed, and cannot be judged
    without them by all of the rules: by those, they count nowhere. Of what is stored, `true_positives` and
    `false_positives` were closed as such.
    """

    actions: int = 0
    users: int = 0
    left_out: int = 0
    first: int | None = None
    last: int | None = None
    days: set[int] = field(default_factory=set)
    then: AlertFigures = field(default_factory=AlertFigures)
    true_positives: int = 0
    false_positives: int = 0
    now: list[AlertFigures] = field(default_factory=list)
    added: list[AlertSample] = field(default_factory=list)
    removed: list[AlertSample] = field(default_factory=list)

    def add(self, other: "BacktestResult") -> None:
        """Add what was found over other users."""
        self.actions += other.actions
        self.users += other.users
        self.left_out += other.left_out
        if other.first is not None and other.last is not None:
            self.span(other.first, other.last)
        if len(self.days) < MOST_DAYS:
            self.days |= other.days
        self.then.add(other.then)
        self.true_positives += other.true_positives
        self.false_positives += other.false_positives
        if not self.now:
            self.now = [AlertFigures() for _ in other.now]
        for mine, others in zip(self.now, other.now, strict=True):
            mine.add(others)
        self.added = nsmallest(SAMPLES, self.added + other.added)
        self.removed = nsmallest(SAMPLES, self.removed + other.removed, key=true_first)

    def span(self, first: int, last: int) -> None:
        """Extend the span to actions between these two times."""
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


def true_first(sample: AlertSample) -> tuple[bool, Key]:
    """The order of removed alerts: first those that were closed as true, which should not be lost."""
    return sample.outcome != TRUE, sample.key
