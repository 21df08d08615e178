"""The backtest over columns: that it reports what is found plainly, user by user and action by action."""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.base import Rule, RuleSetting
from rules.columns import MOST_CENTS
from rules.hindsight.backtest import SAMPLES, BacktestPlan, BacktestResult
from rules.hindsight.backtester import Backtester
from rules.hindsight.stored_columns import OUTCOMES, StoredActions, StoredAlerts
from rules.model import RISKS, Action, ActionType
from rules.parameters import written_values
from rules.pruned import Pruned
from rules.registry import REGISTRY
from rules.values import LAST_TIME
from rules.versions import FIRST_SETTINGS, RiskAndOverrides
from tests.plain_backtest import OwnHistory, Standing, plain_backtest, plain_settings
from tests.service import ROOT
from tests.unit.rules.test_twins import randoms, some_actions, some_pruned, some_value, stored

RULES = list(REGISTRY.values())


def as_alerts(standing: list[Standing], random: Random) -> StoredAlerts:
    """The alerts as they are read, in any order."""
    rows = [(one.user_id, one.seq, one.code, one.time, OUTCOMES.index(one.outcome)) for one in standing]
    random.shuffle(rows)
    return StoredAlerts(*np.array(rows, np.int64).reshape(-1, 5).T)


class Case:
    """Some users with all that is stored of them, and what a backtest is asked."""

    def __init__(self, random: Random) -> None:
        largest = random.choice([Decimal("100.02"), Decimal(MOST_CENTS // 50).scaleb(-2), Decimal(f"{MOST_CENTS}.00")])
        ids = sorted(random.sample([*range(1, 9), LAST_TIME], random.randint(1, 5)))
        actions = {n: some_actions(random, random.choice([1, 6, 40]), largest) for n in ids}
        self.pruned: dict[int, Pruned] = {
            n: some_pruned(random, own) for n, own in actions.items() if random.random() < 0.3
        }
        some = random.sample(RULES, random.randint(1, 4))
        own_rules = {n: random.sample(some, random.randint(0, len(some))) for n in ids}
        self.settings = {
            n: {
                version: RiskAndOverrides(random.choice(RISKS), self._overrides(own_rules[n], random))
                for version in range(1, random.randint(1, 4))
            }
            for n in ids
            if random.random() < 0.5
        }
        versions = {n: [random.randint(0, 4) for _ in own] for n, own in actions.items()}
        if random.random() < 0.3:
            versions = {n: [0] * len(own) for n, own in actions.items()}
        self.users = {
            n: OwnHistory(
                [
                    (one, plain_settings(self.settings.get(n, {}), version))
                    for one, version in zip(own, versions[n], strict=True)
                ],
                self.pruned.get(n),
            )
            for n, own in actions.items()
        }
        self.actions = stored(actions, versions)
        self.plan = self._plan(some, actions, random)
        self.standing = self._standing(actions, random)

    def _overrides(self, rules: list[Rule], random: Random) -> str:
        return json.dumps(
            {
                str(rule.code): written_values(
                    {one.name: some_value(one, random) for one in rule.declared if random.random() < 0.5}
                )
                for rule in rules
            }
        )

    def _setting(self, rule: Rule, random: Random) -> RuleSetting:
        parameters = {one.name: some_value(one, random) for one in rule.declared}
        return RuleSetting(rule=rule, version=2, status="active", parameters=parameters, by_risk={})

    def _plan(self, rules: list[Rule], actions: dict[int, list[Action]], random: Random) -> BacktestPlan:
        candidates = tuple(self._setting(rule, random) for rule in rules)
        sweep: tuple[RuleSetting, ...] = ()
        if random.random() < 0.5:
            (name, *_) = random.sample(list(candidates[0].parameters), 1)
            (parameter,) = (one for one in candidates[0].rule.declared if one.name == name)
            values = [some_value(parameter, random) for _ in range(3)]
            sweep = tuple(
                replace(candidates[0], parameters={**candidates[0].parameters, name: value}) for value in values
            )
        start = random.choice([0, random.choice([one.time for own in actions.values() for one in own])])
        return BacktestPlan(candidates=candidates, sweep=sweep, start=start, end=LAST_TIME)

    def _standing(self, actions: dict[int, list[Action]], random: Random) -> list[Standing]:
        """Alerts on some actions, on actions that are not there, and of a user who has none."""
        found = []
        for user_id, own in actions.items():
            for seq in range(1, len(own) + 2):
                for code in self.plan.codes:
                    if random.random() < 0.4:
                        time = own[min(seq, len(own)) - 1].time
                        found.append(Standing(user_id, seq, code, time, random.choice([None, *OUTCOMES])))
        return [*found, Standing(100, 1, self.plan.codes[0], 10, None)]

    def judged(self, plan: BacktestPlan, random: Random) -> BacktestResult:
        """What the backtest reports, from actions and alerts that are read in any order."""
        order = np.array(random.sample(range(len(self.actions.seq)), len(self.actions.seq)), np.int64)
        standing = as_alerts(self.standing, random)
        return Backtester(plan).judge(self.actions.at(order), self.settings, standing, self.pruned)


def without_twin(setting: RuleSetting) -> RuleSetting:
    """The same setting of a rule that has no twin."""
    return replace(setting, rule=replace(setting.rule, twin=None))


def changed(plan: BacktestPlan, change: Callable[[RuleSetting], RuleSetting]) -> BacktestPlan:
    """The plan with other rules."""
    return replace(plan, candidates=tuple(map(change, plan.candidates)), sweep=tuple(map(change, plan.sweep)))


@settings(max_examples=400)
@given(random=randoms)
def test_it_reports_what_is_found_plainly(random: Random) -> None:
    """Late actions, settings that change, removed actions, amounts beyond columns, alerts of all kinds, sweeps."""
    case = Case(random)
    expected = plain_backtest(case.plan, case.users, case.standing)
    assert case.judged(case.plan, random) == expected


@settings(max_examples=150)
@given(random=randoms, some=st.sets(st.sampled_from(list(REGISTRY))))
def test_rules_without_a_twin_are_judged_all_the_same(random: Random, some: set[int]) -> None:
    """If none of the rules has one, and if some have."""
    case = Case(random)
    expected = case.judged(case.plan, random)
    assert case.judged(changed(case.plan, without_twin), random) == expected
    mixed = changed(case.plan, lambda one: without_twin(one) if one.code in some else one)
    assert case.judged(mixed, random) == expected


def test_without_actions() -> None:
    """Users without actions, or with none up to the end of the period, come to nothing."""
    none = StoredActions(*(np.zeros(0, np.int64),) * 2, np.zeros(0, bool), *(np.zeros(0, np.int64),) * 3)
    alerts = StoredAlerts(*np.array([[1], [1], [1100], [10], [0]], np.int64))
    plan = BacktestPlan(candidates=(RuleSetting.initial(REGISTRY[1100]),), sweep=(), start=0, end=5)
    found = Backtester(plan).judge(none, {}, alerts)
    assert found == plain_backtest(plan, {}, [])


def test_a_twin_that_is_wrong_is_noticed() -> None:
    """If it fires where the check does not, a backtest that would show that alert breaks off."""

    def always(histories: Any, _: Any) -> Any:
        return histories.amounts > 0

    setting = RuleSetting.initial(REGISTRY[1100])
    wrong = replace(setting, rule=replace(setting.rule, twin=always))
    plan = BacktestPlan(candidates=(wrong,), sweep=(), start=0, end=LAST_TIME)
    actions = stored({1: [Action(1, "withdraw", Decimal("1.00"), 1)]})
    with pytest.raises(AssertionError, match="the twin of rule 1100"):
        Backtester(plan).judge(actions, {}, StoredAlerts(*np.zeros((5, 0), np.int64)))


def test_what_is_not_known_takes_no_samples_place() -> None:
    """However many alerts of a user's first actions are left out, the first of those that count are shown."""
    unknown = [Action(seq, "withdraw", Decimal("1000.01"), 100) for seq in range(2, SAMPLES + 4)]
    own = [*unknown, Action(SAMPLES + 4, "withdraw", Decimal("1000.01"), 200_000)]
    first = Action(1, "withdraw", Decimal("1.00"), 10)
    numbers: dict[ActionType, tuple[int, Decimal]] = {"withdraw": (1, Decimal("1.00"))}
    pruned = Pruned(before=100, until_seq=SAMPLES + 4, newest_seq=1, first=first, numbers=numbers)
    plan = BacktestPlan(candidates=(RuleSetting.initial(REGISTRY[660]),), sweep=(), start=0, end=LAST_TIME)
    found = Backtester(plan).judge(stored({7: own}), {}, as_alerts([], Random(1)), {7: pruned})
    assert found == plain_backtest(plan, {7: OwnHistory([(one, FIRST_SETTINGS) for one in own], pruned)}, [])
    assert (found.left_out, found.now[0].added) == (len(unknown), 1)
    assert [one.key for one in found.added] == [(7, SAMPLES + 4, 660)]


def peak(number: int) -> int:
    """The most bytes in use while a user with many actions is judged by this many settings."""
    own = [Action(seq, "withdraw", Decimal("1.00"), seq) for seq in range(20_000)]
    versions = {7: [seq * number // len(own) + 1 for seq in range(len(own))]}
    changes = {
        version: RiskAndOverrides("normal", json.dumps({"660": {"threshold": f"{version}.00"}}))
        for version in range(1, number + 1)
    }
    actions = stored({7: own}, versions)
    plan = BacktestPlan(candidates=(RuleSetting.initial(REGISTRY[660]),), sweep=(), start=0, end=LAST_TIME)
    tracemalloc.start()
    try:
        found = Backtester(plan).judge(actions, {7: changes}, as_alerts([], Random(1)))
        assert found.now[0].alerts > len(own) // 2
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_settings() -> None:
    """A user's actions are not copied for each of the settings that the user has had."""
    assert peak(100) < 2 * peak(2)


SHOWN = """
import sys
import app, commands.serve, routes.asgi, rules.registry, rules.hindsight.run, rules.hindsight.start
assert app.create_app
print(sorted({"numpy", "pandas", "pyarrow", "pyspark"} & set(sys.modules)))
"""


def test_the_service_loads_neither_numpy_nor_what_spark_needs() -> None:
    """Nor does whatever starts a backtest or shows one: only the processes that judge."""
    done = subprocess.run([sys.executable, "-c", SHOWN], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
