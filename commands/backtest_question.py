"""What the commands `backtest` and `spark-backtest` have in common: what is asked, and how the answer is shown."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from commands.endings import Stopped
from rules.base import RuleSetting
from rules.hindsight.backtest import BacktestResult
from rules.hindsight.question import Question, Sweep, candidate, parameter_of, report, step_of, steps
from rules.model import Value
from rules.parameters import Parameter, written_values
from rules.registry import REGISTRY
from rules.values import LAST_TIME
from rules.wording import shown_evidence

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_NAMED = re.compile(r"([a-z_]+)=(.+)", re.DOTALL)
_TIME = click.IntRange(0, LAST_TIME)
_CLOSED_AS: Mapping[str | None, str] = {
    "true_positive": ", closed as true",
    "false_positive": ", closed as false",
    "inconclusive": ", closed as inconclusive",
}

_OPTIONS = (
    click.option("--rule", type=int, help="The rule to test; without it, all active rules as they are set now."),
    click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Another value for one of its parameters."
    ),
    click.option("--from", "start", type=_TIME, metavar="SECONDS", default=0, help="Count alerts from this time on."),
    click.option("--to", "end", type=_TIME, metavar="SECONDS", default=LAST_TIME, help="Count alerts up to this time."),
    click.option("--sweep", metavar="NAME=FROM:TO:STEP", help="Try each of these values of a parameter in turn."),
    click.option("--at-most", type=click.IntRange(0), metavar="N", help="Show the first value with at most N a day."),
)


def question_options(command: CommandT) -> CommandT:
    """Adds to `command` the options that say what is asked: the arguments of `AskedOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class AskedOptions:
    """What the options ask. Raises UsageError if they contradict each other, or name what is not there."""

    def __init__(
        self,
        *,
        rule: int | None,
        settings: Sequence[str],
        start: int,
        end: int,
        sweep: str | None,
        at_most: int | None,
    ) -> None:
        if rule is None and (settings or sweep):
            raise click.UsageError("--set and --sweep need --rule.")
        if at_most is not None and not sweep:
            raise click.UsageError("--at-most needs --sweep.")
        if end < start:
            raise click.UsageError("--to must not be before --from.")
        if rule is not None and rule not in REGISTRY:
            known = ", ".join(map(str, REGISTRY))
            raise click.BadParameter(f"there is no rule {rule}; the rules are {known}", param_hint="--rule")
        self._rule, self._start, self._end, self._at_most = rule, start, end, at_most
        self._values: dict[str, Value] = {}
        self._sweep: Sweep | None = None
        if rule is not None:
            self._values = dict(_setting(rule, text) for text in settings)
            self._sweep = _sweep(rule, sweep) if sweep else None

    def question(self, present: Mapping[int, RuleSetting]) -> Question:
        """The question, about the rules as they are set at `present`, by code.

        Raises Stopped if none of them is active, and BadParameter if the rule is none of them or values contradict each
        other.
        """
        if self._rule is not None:
            if self._rule not in present:
                raise click.BadParameter(f"there was no rule {self._rule} when this was exported", param_hint="--rule")
            chosen = [candidate(present[self._rule], self._values)]
        else:
            chosen = [setting for setting in present.values() if setting.status == "active"]
            if not chosen:
                raise Stopped("No rule is active: name one with --rule.")
        question = Question(
            candidates=tuple(chosen), start=self._start, end=self._end, sweep=self._sweep, at_most=self._at_most
        )
        named = {self._rule: self._values} if self._rule is not None else {}
        for path, sentence in question.conflicts(named, {}).items():
            raise click.BadParameter(f"{path[-1]} {sentence}")
        return question


def show_result(
    question: Question,
    present: Mapping[int, RuleSetting],
    result: BacktestResult,
    *,
    seconds: float,
    as_json: bool,
    time_is_epoch: bool,
) -> None:
    """Write what was found, and in which time, to standard output."""
    data = report(question, result)
    if as_json:
        click.echo(json.dumps(data, indent=2))
    else:
        click.echo(_text(question, present, data, seconds, time_is_epoch))


# What is asked


def _setting(rule: int, text: str) -> tuple[str, Value]:
    name, value = _named(text, "--set", "NAME=VALUE")
    parameter = _parameter(rule, name, "--set")
    return name, _value(parameter, value, "--set")


def _sweep(rule: int, text: str) -> Sweep:
    form = "NAME=FROM:TO:STEP"
    name, bounds = _named(text, "--sweep", form)
    parameter = _parameter(rule, name, "--sweep")
    parts = bounds.split(":")
    if len(parts) != 3:
        raise click.BadParameter(f"must be {form}", param_hint="--sweep")
    first, last = (_value(parameter, part, "--sweep") for part in parts[:2])
    try:
        step = step_of(parameter).typed(parts[2])
    except ValueError as error:
        raise click.BadParameter(f"the step of {name} {error}", param_hint="--sweep") from None
    try:
        return Sweep(code=rule, parameter=name, values=steps(first, last, step))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--sweep") from None


def _named(text: str, option: str, form: str) -> tuple[str, str]:
    found = _NAMED.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"must be {form}", param_hint=option)
    return found[1], found[2]


def _parameter(rule: int, name: str, option: str) -> Parameter:
    try:
        return parameter_of(rule, name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _value(parameter: Parameter, text: str, option: str) -> Value:
    try:
        return parameter.typed(text)
    except ValueError as error:
        raise click.BadParameter(f"{parameter.name} {error}", param_hint=option) from None


# What is reported


def _text(
    question: Question, present: Mapping[int, RuleSetting], data: Mapping[str, Any], seconds: float, time_is_epoch: bool
) -> str:
    then, now = data["then"], data["now"]
    lines = [line for setting in question.candidates for line in _candidate(setting, present[setting.code])]
    span = "" if data["from"] is None else f", {data['from']} to {data['to']}"
    lines += [
        "",
        f"actions            {data['actions']:>14,}  of {data['users']:,} users",
        f"days with actions  {data['days']:>14,}{span}",
        f"actions per second {data['actions'] / seconds:>14,.0f}",
        "",
        f"                   {'stored':>14}{'backtest':>14}",
        f"alerts             {then['alerts']:>14,}{now['alerts']:>14,}",
        f"users hit          {then['users']:>14,}{now['users']:>14,}",
        f"alerts a day       {then['alerts_per_day']:>14,.2f}{now['alerts_per_day']:>14,.2f}",
        f"on the busiest day {_busiest(then):>14}{_busiest(now):>14}",
        f"added              {'':>14}{data['added']:>14,}",
        f"removed            {'':>14}{data['removed']:>14,}",
        f"true lost          {_of(data['true_positives'])}{data['true_lost']:>14,}",
        f"false spared       {_of(data['false_positives'])}{data['false_spared']:>14,}",
    ]
    for name in ("added", "removed"):
        if samples := data[f"{name}_alerts"]:
            lines += ["", f"{name} alerts" + (f", the first {len(samples)}" if len(samples) < data[name] else "")]
            lines += [_sample(sample, time_is_epoch) for sample in samples]
    if question.sweep:
        lines += ["", *_table(question.sweep.parameter, data["sweep"])]
        if question.at_most is not None:
            quiet = data["quiet_enough"]
            first = f"{question.sweep.parameter} {quiet} is the first" if quiet is not None else "there is no value"
            lines += ["", f"{first} with at most {question.at_most:,} alert{'s' * (question.at_most != 1)} a day"]
    for warning in data["warnings"]:
        lines += ["", f"Warning: {warning}"]
    return "\n".join(lines)


def _candidate(setting: RuleSetting, present: RuleSetting) -> list[str]:
    values, before = written_values(setting.parameters), written_values(present.parameters)
    lines = [f"rule {setting.rule.code}: {setting.rule.titled(values)}"]
    for name, value in values.items():
        lines.append(f"  {name} {value}" + (f" (now {before[name]})" if before[name] != value else ""))
    for risk, differs in setting.by_risk.items():
        lines += [f"  {name} {value} for users at {risk} risk" for name, value in written_values(differs).items()]
    return lines


def _busiest(figures: Mapping[str, Any]) -> str:
    return f"{figures['busiest_day']['alerts']:,}" if figures["busiest_day"] else "0"


def _of(all_closed: int) -> str:
    return f"{f'of {all_closed:,}':>14}"


def _sample(sample: Mapping[str, Any], time_is_epoch: bool) -> str:
    place = f"user {sample['user_id']}, action {sample['seq']} at {sample['time']}"
    evidence = shown_evidence(sample["evidence"], time_is_epoch)
    closed = _CLOSED_AS.get(sample.get("outcome"), "")
    return f"  {sample['code']}  {place}{closed}: {evidence.get('sentence', '')}"


def _table(parameter: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    heads = (parameter, "alerts", "users hit", "alerts a day", "added", "removed", "true lost", "false spared")
    return [
        "".join(f"{head:>14}" for head in heads),
        *(
            f"{row['value']:>14}{row['alerts']:>14,}{row['users']:>14,}{row['alerts_per_day']:>14,.2f}"
            f"{row['added']:>14,}{row['removed']:>14,}{row['true_lost']:>14,}{row['false_spared']:>14,}"
            for row in rows
        ),
    ]
