"""Backtest: what rules with other parameters would have raised, by the same checks that judge live events.

Everything is judged in order of time, so it is compared with the alerts that stand, whatever the order of arrival was.
Each action is judged with the rating and the overrides that its user had then; an override of the user takes precedence
over the candidate's value, as it does live.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from types import MappingProxyType
from typing import Any, NamedTuple

from database.records import StandingAlert
from rules.base import RuleInForce, RuleSetting
from rules.hindsight.stored_history import Settings, actions_of, by_user, settings_at, without
from rules.judging.evidence import evidence_of
from rules.model import ACTION_TYPES, Action, ActionType, Finding
from rules.pruned import Pruned, is_complete
from rules.timeline import History, Timeline
from rules.versions import FIRST_SETTINGS, RiskAndOverrides, RuleSet

SAMPLES = 20  # added and removed alerts that are shown
TRUE, FALSE = "true_positive", "false_positive"  # what alerts turned out to be; all else is undecided
DAY = 86_400  # seconds
MOST_DAYS = 100_000  # that are counted: 270 years. By times that are not in seconds each action may have its own
REMEMBERED = 1024  # ratings with overrides; should there be more, all that was worked out is dropped and begun again

Key = tuple[int, int, int]  # user_id, seq, code
# By the type of the judged action: the step (0: the candidates themselves, then the sweep), the rule's check, its
# parameters, and the rule in force.
_Checks = dict[ActionType, tuple[tuple[int, Callable[[History, Any], Finding | None], Any, RuleInForce], ...]]


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
        self.removed = nsmallest(SAMPLES, self.removed + other.removed, key=_true_first)

    def span(self, first: int, last: int) -> None:
        """Extend the span to actions between these two times."""
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


class Backtester:
    """A backtest under way in one process."""

    def __init__(self, plan: BacktestPlan) -> None:
        self._plan = plan
        # At each step of a sweep only the rule that changes is judged.
        self._steps = (plan.candidates, *((candidate,) for candidate in plan.sweep))
        self._swept = {candidate.code for candidate in plan.sweep}
        self._checks: dict[RiskAndOverrides, _Checks] = {}

    def judge(
        self,
        copied: str,
        settings: Settings,
        standing: Iterable[StandingAlert],
        pruned: Mapping[int, Pruned] = MappingProxyType({}),
    ) -> BacktestResult:
        """Judge all actions of some users; `copied` is what `database.history.actions_to_backtest` returns.

        `settings` are all that these users ever had; `standing` are their alerts in the period,
        `pruned` what is left of removed actions, by user.
        """
        result = BacktestResult(now=[AlertFigures() for _ in self._steps])
        stored: dict[int, _Stored] = {}
        for alert in standing:
            own = stored.setdefault(alert.user_id, _Stored({}, {}))
            own.times[alert.seq, alert.code] = alert.time
            if alert.outcome is not None:
                own.outcomes[alert.seq, alert.code] = alert.outcome
        for user_id, lines in by_user(copied.splitlines()):
            self._judge_user(result, user_id, list(lines), settings, stored.get(user_id, _NONE), pruned.get(user_id))
        return result

    def _judge_user(
        self,
        result: BacktestResult,
        user_id: int,
        lines: list[list[str]],
        settings: Settings,
        stored: "_Stored",
        pruned: Pruned | None,
    ) -> None:
        then = stored.times
        result.users += 1
        result.actions += len(lines)
        start = self._plan.start
        timeline = Timeline()
        # What is not known without removed actions, by seq and code: then it is left out at all steps.
        unknown: set[tuple[int, int]] = set()
        if pruned is not None:
            timeline.go_on_from(pruned.first, pruned.numbers)
        found: list[dict[tuple[int, int], int]] = [{} for _ in self._steps]
        fresh: list[tuple[Action, RuleInForce, Finding]] = []
        version, rules = "0", self._checks_for(FIRST_SETTINGS)
        tomorrow = 0
        actions, add = actions_of(lines), timeline.add
        history = History(timeline, actions[0])  # one for all, since a check keeps nothing of it
        for now, line in zip(actions, lines, strict=True):
            add(now)
            history.now = now
            if line[5] != version:
                version = line[5]
                rules = self._checks_for(settings_at(settings, user_id, int(version)) or FIRST_SETTINGS)
            if now.time < start:
                continue
            if now.time >= tomorrow:
                day = now.time // DAY
                result.days.add(day)
                tomorrow = (day + 1) * DAY
            if pruned is not None and now.seq <= pruned.until_seq:
                unknown.update(
                    [(now.seq, one[3].code) for one in rules[now.type] if not is_complete(one[3], history, pruned)]
                )
            for step, check, parameters, rule in rules[now.type]:
                if (finding := check(history, parameters)) is not None:
                    key = now.seq, rule.code
                    found[step][key] = now.time
                    if step == 0 and key not in then and len(fresh) < SAMPLES:
                        fresh.append((now, rule, finding))
        if unknown:
            result.left_out += len({seq for seq, _ in unknown})
            stored = _Stored(without(stored.times, unknown), without(stored.outcomes, unknown))
            then = stored.times
            found = [without(one, unknown) for one in found]
            fresh = [one for one in fresh if (one[0].seq, one[1].code) not in unknown]
        if (newest := int(lines[-1][4])) >= start:
            result.span(next(at for line in lines if (at := int(line[4])) >= start), newest)
        if self._swept:
            others = {key: time for key, time in found[0].items() if key[1] not in self._swept}
            for swept in found[1:]:
                swept.update(others)
        _count(result.then, then, then)
        for figures, alerts in zip(result.now, found, strict=True):
            _count(figures, alerts, then)
        if stored.outcomes:
            _count_closed(result, found, stored.outcomes)
        for figures, dated in ((result.then, then), (result.now[0], found[0])):
            figures.days.update(time // DAY for time in dated.values())
        if len(result.added) < SAMPLES:
            for now, rule, finding in fresh:
                result.added.append(AlertSample((user_id, now.seq, rule.code), now.time, evidence_of(rule, finding)))
        if len(result.removed) < SAMPLES or stored.outcomes:
            gone = [
                AlertSample((user_id, *key), then[key], None, stored.outcomes.get(key))
                for key in then.keys() - found[0].keys()
            ]
            result.removed = nsmallest(SAMPLES, result.removed + gone, key=_true_first)

    def _checks_for(self, settings: RiskAndOverrides) -> "_Checks":
        found = self._checks.get(settings)
        if found is None:
            if len(self._checks) >= REMEMBERED:
                self._checks.clear()
            rule_sets = [RuleSet(step, risk=settings.risk, overrides=settings.overrides) for step in self._steps]
            found = self._checks[settings] = {
                kind: tuple(
                    (step, rule.check, rule.parameters, rule)
                    for step, rule_set in enumerate(rule_sets)
                    for rule in rule_set.by_type[kind]
                )
                for kind in ACTION_TYPES
            }
        return found


def _count_closed(
    result: BacktestResult, found: Iterable[Mapping[tuple[int, int], int]], outcomes: Mapping[tuple[int, int], str]
) -> None:
    true, false = ([key for key, outcome in outcomes.items() if outcome == kind] for kind in (TRUE, FALSE))
    result.true_positives += len(true)
    result.false_positives += len(false)
    for figures, alerts in zip(result.now, found, strict=True):
        figures.true_lost += sum(key not in alerts for key in true)
        figures.false_spared += sum(key not in alerts for key in false)


class _Stored(NamedTuple):
    """A user's alerts that stand, by seq and code: the times of all, and what the closed ones turned out to be."""

    times: dict[tuple[int, int], int]
    outcomes: dict[tuple[int, int], str]


_NONE = _Stored({}, {})


def _true_first(sample: AlertSample) -> tuple[bool, Key]:
    """Those that were closed as true are looked at first: they should not be lost."""
    return sample.outcome != TRUE, sample.key


def _count(figures: AlertFigures, alerts: Mapping[tuple[int, int], int], then: Mapping[tuple[int, int], int]) -> None:
    if alerts:
        figures.alerts += len(alerts)
        figures.users += 1
    if alerts is not then:
        figures.added += len(alerts.keys() - then.keys())
        figures.removed += len(then.keys() - alerts.keys())
