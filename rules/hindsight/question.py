"""What a backtest is asked and what it answers, as plain JSON data: the same for the command and the API."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from rules.base import RuleSetting
from rules.conflicts import Path, setting_conflicts
from rules.hindsight.backtest import DAY, MOST_DAYS, AlertFigures, AlertSample, BacktestPlan, BacktestResult
from rules.model import Value
from rules.parameters import Parameter, read_values, written_values
from rules.registry import REGISTRY
from rules.values import CENT
from rules.wording import shown_evidence

# Days without any action, in the middle of those that have some, that no real history is likely to have.
MOST_DAYS_APART = 3_650
MOST_STEPS = 200  # of a sweep: each of them judges all of history again


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The values that a parameter of one of the rules takes in turn."""

    code: int
    parameter: str
    values: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a backtest is asked: what if these had been the rules from `start` to `end` (seconds, both included)?

    With a sweep, also: which of its values would have raised `at_most` alerts a day, or fewer?
    """

    candidates: tuple[RuleSetting, ...]
    start: int
    end: int
    sweep: Sweep | None = None
    at_most: int | None = None

    def conflicts(
        self, named: Mapping[int, Collection[str]], by_risk: Mapping[int, Mapping[str, Collection[str]]]
    ) -> dict[Path, str]:
        """What contradicts other parameters, by its path in a request, among those `named` and those `by_risk`.

        Both are by code. Of the values of a sweep only the first that does is named.
        """
        found: dict[Path, str] = {}
        for one in self.candidates:
            bad = setting_conflicts(one, named.get(one.code, ()), by_risk.get(one.code, {}))
            found |= {("rules", str(one.code), *path): sentence for path, sentence in bad.items()}
        if self.sweep and not found:
            for step in self._steps(self.sweep):
                value = step.parameters[self.sweep.parameter]
                for sentence in setting_conflicts(step, (self.sweep.parameter,), {}).values():
                    return {("sweep",): f"has {self.sweep.parameter} {value}, which {sentence}"}
        return found

    @property
    def plan(self) -> BacktestPlan:
        """What has to be judged for the answer."""
        sweep = self._steps(self.sweep) if self.sweep else ()
        return BacktestPlan(candidates=self.candidates, sweep=sweep, start=self.start, end=self.end)

    def empty_result(self) -> BacktestResult:
        """What is found if there are no actions."""
        return BacktestResult(now=[AlertFigures() for _ in range(1 + len(self.plan.sweep))])

    def _steps(self, sweep: Sweep) -> tuple[RuleSetting, ...]:
        (swept,) = (candidate for candidate in self.candidates if candidate.code == sweep.code)
        return tuple(replace(swept, parameters={**swept.parameters, sweep.parameter: value}) for value in sweep.values)

    def written(self) -> dict[str, Any]:
        """The same as JSON data."""
        written: dict[str, Any] = {
            "rules": [
                {
                    "code": candidate.code,
                    "version": candidate.version,
                    "parameters": written_values(candidate.parameters),
                    "by_risk": {risk: written_values(values) for risk, values in candidate.by_risk.items() if values},
                }
                for candidate in self.candidates
            ],
            "from": self.start,
            "to": self.end,
        }
        if self.sweep:
            values = [_written(value) for value in self.sweep.values]
            written["sweep"] = {"rule": self.sweep.code, "parameter": self.sweep.parameter, "values": values}
        if self.at_most is not None:
            written["at_most_per_day"] = self.at_most
        return written

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> "Question":
        """The question from its JSON data, as the method `written` makes it."""
        candidates = []
        for one in written["rules"]:
            rule = REGISTRY[one["code"]]
            by_risk = {risk: read_values(rule.declared, values) for risk, values in one["by_risk"].items()}
            parameters = read_values(rule.declared, one["parameters"])
            setting = RuleSetting(
                rule=rule, version=one["version"], status="active", parameters=parameters, by_risk=by_risk
            )
            candidates.append(setting)
        sweep = None
        if swept := written.get("sweep"):
            parameter = parameter_of(swept["rule"], swept["parameter"])
            values = tuple(parameter.read(value) for value in swept["values"])
            sweep = Sweep(code=swept["rule"], parameter=parameter.name, values=values)
        return cls(
            candidates=tuple(candidates),
            start=written["from"],
            end=written["to"],
            sweep=sweep,
            at_most=written.get("at_most_per_day"),
        )


class WantedValues(NamedTuple):
    """How a rule is to be set in a backtest: the parameters that differ from what it is set to now.

    `by_risk` replaces what differs by rating; None keeps it.
    """

    parameters: Mapping[str, Value]
    by_risk: Mapping[str, Mapping[str, Value]] | None = None


def candidate(
    present: RuleSetting, parameters: Mapping[str, Value], by_risk: Mapping[str, Mapping[str, Value]] | None = None
) -> RuleSetting:
    """A rule as it is set, with other values for some parameters, judged as if it were active.

    `by_risk` replaces what differs by rating; None keeps it.
    """
    return replace(
        present,
        status="active",
        parameters={**present.parameters, **parameters},
        by_risk=present.by_risk if by_risk is None else by_risk,
    )


def parameter_of(code: int, name: str) -> Parameter:
    """The declared parameter. Raises ValueError, whose message lists those there are, if there is none of that name."""
    declared = {parameter.name: parameter for parameter in REGISTRY[code].declared}
    if name not in declared:
        raise ValueError(f"rule {code} has no such parameter, but {', '.join(declared)}")
    return declared[name]


def step_of(parameter: Parameter) -> Parameter:
    """What says how far apart the values of a sweep of `parameter` are: it reads a step as that reads a value."""
    return replace(parameter, least=CENT if parameter.is_decimal else 1)


def steps(first: Value, last: Value, step: Value) -> tuple[Value, ...]:
    """The values from `first`, `step` apart, none of them beyond `last`, which may be the smaller one.

    Raises ValueError if there are too many; its message says how many.
    """
    count = int(abs(Decimal(last) - Decimal(first)) // Decimal(step)) + 1
    if count > MOST_STEPS:
        raise ValueError(f"makes {count:,} values, which are more than {MOST_STEPS}")
    signed = step if first <= last else -step
    return tuple(first + signed * number for number in range(count))


# What comes out


def report(question: Question, result: BacktestResult) -> dict[str, Any]:
    """What a backtest has found, as JSON data."""
    now, *swept = result.now
    days = min(max(1, len(result.days)), MOST_DAYS)
    written: dict[str, Any] = {
        "actions": result.actions,
        "users": result.users,
        "from": result.first,
        "to": result.last,
        "days": days,
        "left_out": result.left_out,
        "warnings": [*_warnings(result.days), *_left_out(result.left_out)],
        "then": _figures(result.then, days) | {"busiest_day": _busiest(result.then.days)},
        "now": _figures(now, days) | {"busiest_day": _busiest(now.days)},
        **_changes(now),
        "true_positives": result.true_positives,
        "false_positives": result.false_positives,
        "added_alerts": _samples(result.added),
        "removed_alerts": [
            written | {"outcome": sample.outcome}
            for written, sample in zip(_samples(result.removed), result.removed, strict=True)
        ],
    }
    if question.sweep:
        written["sweep"] = [
            {"value": _written(value), **_figures(figures, days), **_changes(figures)}
            for value, figures in zip(question.sweep.values, swept, strict=True)
        ]
        if question.at_most is not None:
            written["quiet_enough"] = next(
                (
                    _written(value)
                    for value, figures in zip(question.sweep.values, swept, strict=True)
                    if figures.alerts <= question.at_most * days
                ),
                None,
            )
    return written


def shown_result(result: Mapping[str, Any], time_is_epoch: bool) -> dict[str, Any]:
    """A result as it is stored, but with the sentences of its samples as people read them."""
    shown = dict(result)
    for name in ("added_alerts", "removed_alerts"):
        shown[name] = [
            one | {"evidence": shown_evidence(one["evidence"] or {}, time_is_epoch)} for one in result.get(name, [])
        ]
    return shown


def _warnings(days: Collection[int]) -> list[str]:
    """What casts doubt on the figures: sentences."""
    if len(days) >= MOST_DAYS:
        return [f"There are actions on {MOST_DAYS:,} days, and no more are counted: perhaps times are not in seconds."]
    in_order = sorted(days)
    gap, before, after = max(((b - a, a, b) for a, b in pairwise(in_order)), default=(0, 0, 0))
    if gap <= MOST_DAYS_APART:
        return []
    return [
        f"There is no action in the {(gap - 1) // 365:,} years between the times {before * DAY + DAY - 1} and "
        f"{after * DAY}: perhaps times of two clocks are mixed, or seconds and milliseconds."
    ]


def _left_out(actions: int) -> list[str]:
    if not actions:
        return []
    return [
        f"{actions:,} actions were judged first with others that have been pruned since. What the rules would make of "
        "them is not known, so what they raised and would raise counts nowhere."
    ]


def _figures(figures: AlertFigures, days: int) -> dict[str, Any]:
    return {"alerts": figures.alerts, "users": figures.users, "alerts_per_day": round(figures.alerts / days, 2)}


def _changes(figures: AlertFigures) -> dict[str, int]:
    return {
        "added": figures.added,
        "removed": figures.removed,
        "true_lost": figures.true_lost,
        "false_spared": figures.false_spared,
    }


def _busiest(days: Counter[int]) -> dict[str, int] | None:
    if not days:
        return None
    # Of several days with as many alerts, the first.
    day, alerts = max(days.items(), key=lambda one: (one[1], -one[0]))
    return {"from": day * DAY, "to": day * DAY + DAY - 1, "alerts": alerts}


def _samples(samples: Sequence[AlertSample]) -> list[dict[str, Any]]:
    return [
        {
            "id": "-".join(map(str, sample.key)),
            "user_id": sample.key[0],
            "seq": sample.key[1],
            "code": sample.key[2],
            "time": sample.time,
            "evidence": sample.evidence,
        }
        for sample in samples
    ]


def _written(value: Value) -> str | int:
    return str(value) if isinstance(value, Decimal) else value
