"""Backtest: what rules with other parameters would have raised, by the same rules that judge live events.

Everything is judged in order of time, so it is compared with the alerts that stand, whatever the order of arrival was.
Each action is judged with the rating and the overrides that its user had then; an override of the user takes precedence
over the candidate's value, as it does live.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from rules.columns import Ints, Mask
from rules.hindsight.backtest import DAY, FALSE, SAMPLES, TRUE, AlertFigures, AlertSample, BacktestPlan, BacktestResult
from rules.hindsight.in_columns import Firing, Steps
from rules.hindsight.stored_columns import OUTCOMES, StoredActions, StoredAlerts, StoredUsers
from rules.hindsight.stored_history import Settings
from rules.judging.evidence import evidence_of
from rules.pruned import Pruned
from rules.versions import RiskAndOverrides, RuleSet

REMEMBERED = 1024  # ratings with overrides; should there be more, all that was worked out is dropped and begun again

_TRUE, _FALSE = OUTCOMES.index(TRUE), OUTCOMES.index(FALSE)


class Backtester:
    """A backtest under way in one process."""

    def __init__(self, plan: BacktestPlan) -> None:
        self._plan = plan
        # At each step of a sweep only the rule that changes is judged.
        self._steps = (plan.candidates, *((candidate,) for candidate in plan.sweep))
        self._swept = {candidate.code for candidate in plan.sweep}
        self._in_force: dict[RiskAndOverrides, Steps] = {}

    def judge(
        self,
        actions: StoredActions,
        settings: Settings,
        standing: StoredAlerts,
        pruned: Mapping[int, Pruned] = MappingProxyType({}),
    ) -> BacktestResult:
        """Judge all actions of some users that have `time` up to the end of the period.

        `settings` are all that these users ever had; `standing` are their alerts in the period with the codes of the
        plan, `pruned` what is left of removed actions, by user.
        """
        result = BacktestResult(now=[AlertFigures() for _ in self._steps])
        users = StoredUsers(actions, pruned)
        if not len(users):
            return result
        result.users, result.actions = len(users), len(users.user)
        times = users.actions.time[users.actions.time >= self._plan.start]
        if len(times):
            result.span(int(times.min()), int(times.max()))
            result.days = set(np.unique(times // DAY).tolist())
        _Comparison(self, users, settings, standing).count(result)
        return result

    def steps_for(self, settings: RiskAndOverrides) -> Steps:
        """The rules of each step, in force for users with these settings."""
        found = self._in_force.get(settings)
        if found is None:
            if len(self._in_force) >= REMEMBERED:
                self._in_force.clear()
            found = self._in_force[settings] = tuple(
                RuleSet(step, risk=settings.risk, overrides=settings.overrides) for step in self._steps
            )
        return found


class _Raised(NamedTuple):
    """What some rules raise: how many alerts, which users have any, and which of the stored alerts are among them."""

    alerts: int
    users: Mask
    stored: Mask

    def __or__(self, other: "_Raised") -> "_Raised":
        """What those rules and others raise."""
        return _Raised(self.alerts + other.alerts, self.users | other.users, self.stored | other.stored)


class _Comparison:
    """Some users while they are judged."""

    def __init__(self, backtester: Backtester, users: StoredUsers, settings: Settings, standing: StoredAlerts) -> None:
        plan = backtester._plan
        self._users, self._codes, self._swept = users, plan.codes, backtester._swept
        self._firing = Firing(users, settings, backtester.steps_for, plan.start)
        self._unknown = self._firing.unknown
        standing = standing.at(np.flatnonzero(np.isin(standing.user_id, users.ids)))
        places = users.places_of(np.searchsorted(users.ids, standing.user_id), standing.seq)
        self._was_raised = {code: places[(standing.code == code) & (places >= 0)] for code in self._codes}
        is_known = np.ones(len(places), bool)
        for code, unknown in self._unknown.items():
            is_known &= (standing.code != code) | (places < 0) | ~unknown[places]
        self._stored, self._places = standing.at(np.flatnonzero(is_known)), places[is_known]

    def count(self, result: BacktestResult) -> None:
        """Add to an empty result what is stored and what would be."""
        stored = self._stored
        result.left_out = int(np.any(list(self._unknown.values()), axis=0).sum()) if self._unknown else 0
        result.true_positives, result.false_positives = self._closed(np.ones(len(stored.seq), bool))
        result.then.alerts, result.then.users = len(stored.seq), len(np.unique(stored.user_id))
        _add_days(result.then, stored.time)

        found = {code: self._firing.places(0, code) for code in self._codes}
        known = {code: self._known(code, places) for code, places in found.items()}
        _add_days(result.now[0], self._users.actions.time[np.concatenate(list(known.values()))])
        others = self._raised({code: places for code, places in known.items() if code not in self._swept})
        now = others | self._raised({code: places for code, places in known.items() if code in self._swept})
        self._compare(result.now[0], now)
        for step, figures in enumerate(result.now[1:], 1):
            swept = {code: self._known(code, self._firing.places(step, code)) for code in self._swept}
            self._compare(figures, others | self._raised(swept))
        result.added = self._added(known)
        result.removed = self._removed(~now.stored)

    def _known(self, code: int, places: Ints) -> Ints:
        """Those of which it is known what the rule with this code makes of them."""
        unknown = self._unknown.get(code)
        return places if unknown is None else places[~unknown[places]]

    def _raised(self, found: Mapping[int, Ints]) -> _Raised:
        users, stored = np.zeros(len(self._users), bool), np.zeros(len(self._places), bool)
        for code, places in found.items():
            fires = np.zeros(len(self._users.user) + 1, bool)  # the last one is for alerts without an action
            fires[places] = True
            users[self._users.user[places]] = True
            stored |= (self._stored.code == code) & fires[self._places]
        return _Raised(sum(map(len, found.values())), users, stored)

    def _compare(self, figures: AlertFigures, raised: _Raised) -> None:
        figures.alerts, figures.users = raised.alerts, int(raised.users.sum())
        figures.added = raised.alerts - int(raised.stored.sum())
        figures.removed = int((~raised.stored).sum())
        figures.true_lost, figures.false_spared = self._closed(~raised.stored)

    def _closed(self, among: Mask) -> tuple[int, int]:
        """How many of some stored alerts were closed as true, and how many as false."""
        outcomes = self._stored.outcome[among]
        return int((outcomes == _TRUE).sum()), int((outcomes == _FALSE).sum())

    def _added(self, found: Mapping[int, Ints]) -> list[AlertSample]:
        """Of the alerts that are not stored, the first of each user in order of time, until there are enough."""
        fresh = {code: np.setdiff1d(places, self._was_raised[code], True) for code, places in found.items()}
        places = np.concatenate(list(fresh.values()))
        codes = np.repeat(self._codes, [len(some) for some in fresh.values()])
        order = np.argsort(places, kind="stable")  # at one place they stay in order of the rules
        places, codes = places[order], codes[order]
        samples: list[AlertSample] = []
        at = 0
        while at < len(places) and len(samples) < SAMPLES:
            user = int(self._users.user[places[at]])
            end = int(np.searchsorted(places, self._users.ends[user]))
            own = slice(at, min(end, at + SAMPLES))
            wanted = list(zip(places[own].tolist(), codes[own].tolist(), strict=True))
            for place, rule, finding in self._firing.findings(user, wanted):
                key = int(self._users.ids[user]), int(self._users.actions.seq[place]), rule.code
                samples.append(AlertSample(key, int(self._users.actions.time[place]), evidence_of(rule, finding)))
            at = end
        return samples

    def _removed(self, gone: Mask) -> list[AlertSample]:
        """The first of the stored alerts that are `gone`."""
        alerts = self._stored.at(np.flatnonzero(gone))
        first = np.lexsort((alerts.code, alerts.seq, alerts.user_id, alerts.outcome != _TRUE))[:SAMPLES]
        return [
            AlertSample((user_id, seq, code), time, None, OUTCOMES[outcome])
            for user_id, seq, code, time, outcome in zip(*(column[first].tolist() for column in alerts), strict=True)
        ]


def _add_days(figures: AlertFigures, times: Ints) -> None:
    days, counts = np.unique(times // DAY, return_counts=True)
    figures.days.update(dict(zip(days.tolist(), counts.tolist(), strict=True)))
