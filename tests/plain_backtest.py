"""A backtest as plainly as it can be said: user by user, action by action, by the rules' checks alone."""

from collections.abc import Iterable, Mapping
from heapq import nsmallest
from typing import NamedTuple

from rules.hindsight.backtest import DAY, FALSE, SAMPLES, TRUE, AlertFigures, AlertSample, BacktestPlan, BacktestResult
from rules.judging.evidence import evidence_of
from rules.model import Action
from rules.pruned import Pruned, is_complete
from rules.timeline import Timeline
from rules.versions import FIRST_SETTINGS, RiskAndOverrides, RuleSet


class Standing(NamedTuple):
    """A stored alert that holds."""

    user_id: int
    seq: int
    code: int
    time: int
    outcome: str | None


class OwnHistory(NamedTuple):
    """What is stored of a user: actions with what each is judged by, and what is left of removed ones."""

    actions: list[tuple[Action, RiskAndOverrides]]
    pruned: Pruned | None


def plain_backtest(plan: BacktestPlan, users: Mapping[int, OwnHistory], standing: Iterable[Standing]) -> BacktestResult:
    """What the backtest finds over users, who all have actions, and their alerts."""
    steps = (plan.candidates, *((one,) for one in plan.sweep))
    swept = {one.code for one in plan.sweep}
    result = BacktestResult(now=[AlertFigures() for _ in steps])
    removed = []
    for user_id, (actions, pruned) in sorted(users.items()):
        stored = {(one.seq, one.code): one for one in standing if one.user_id == user_id}
        found: list[dict[tuple[int, int], int]] = [{} for _ in steps]
        fresh: list[AlertSample] = []
        unknown = set()
        timeline = Timeline()
        if pruned is not None:
            timeline.go_on_from(pruned.first, pruned.numbers)
        for now, by in sorted(actions, key=lambda one: one[0].place):
            timeline.add(now)
            history = timeline.at(now)
            if now.time < plan.start:
                continue
            result.span(now.time, now.time)
            result.days.add(now.time // DAY)
            for step, candidates in enumerate(steps):
                for rule in RuleSet(candidates, risk=by.risk, overrides=by.overrides).by_type[now.type]:
                    key = now.seq, rule.code
                    if pruned is not None and not is_complete(rule, history, pruned):
                        unknown.add(key)
                    if (finding := rule.check(history, rule.parameters)) is None:
                        continue
                    found[step][key] = now.time
                    if step == 0 and key not in stored:
                        fresh.append(AlertSample((user_id, *key), now.time, evidence_of(rule, finding)))
        result.users += 1
        result.actions += len(actions)
        result.left_out += len({seq for seq, _ in unknown})
        for gone in unknown:
            stored.pop(gone, None)
            for one in found:
                one.pop(gone, None)
        result.then.add(AlertFigures(alerts=len(stored), users=len(stored) > 0))
        result.then.days.update(one.time // DAY for one in stored.values())
        result.now[0].days.update(time // DAY for time in found[0].values())
        closed = {kind: {key for key, one in stored.items() if one.outcome == kind} for kind in (TRUE, FALSE)}
        result.true_positives += len(closed[TRUE])
        result.false_positives += len(closed[FALSE])
        others = {key for key in found[0] if key[1] not in swept}
        for step, figures in enumerate(result.now):
            keys = found[step].keys() | (others if step else set())
            gone_keys = stored.keys() - keys
            figures.alerts += len(keys)
            figures.users += len(keys) > 0
            figures.added += len(keys - stored.keys())
            figures.removed += len(gone_keys)
            figures.true_lost += len(gone_keys & closed[TRUE])
            figures.false_spared += len(gone_keys & closed[FALSE])
        if len(result.added) < SAMPLES:
            result.added += [one for one in fresh if one.key[1:] not in unknown][:SAMPLES]
        removed += [
            AlertSample((user_id, *key), one.time, None, one.outcome)
            for key, one in stored.items()
            if key not in found[0]
        ]
    result.removed = nsmallest(SAMPLES, removed, key=lambda one: (one.outcome != TRUE, one.key))
    return result


def plain_settings(settings: Mapping[int, RiskAndOverrides], version: int) -> RiskAndOverrides:
    """What an action was judged by, from all versions of its user's settings."""
    return settings.get(version, FIRST_SETTINGS)
