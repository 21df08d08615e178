"""`flask --app app backtest`: what other parameters would have raised, over the stored history."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click
from flask.cli import with_appcontext

from commands.endings import Command, Stopped, check_database, service
from commands.terminal import json_option, over_all, processes_option
from rules.base import RuleSetting
from rules.hindsight.backtest_work import BacktestWork
from rules.hindsight.question import Question, Sweep, candidate, parameter_of, report, step_of, steps
from rules.model import Value
from rules.parameters import Parameter, written_values
from rules.registry import REGISTRY
from rules.values import LAST_TIME
from rules.wording import shown_evidence

_NAMED = re.compile(r"([a-z_]+)=(.+)", re.DOTALL)
_TIME = click.IntRange(0, LAST_TIME)
_CLOSED_AS: Mapping[str | None, str] = {
    "true_positive": ", closed as true",
    "false_positive": ", closed as false",
    "inconclusive": ", closed as inconclusive",
}


@click.command(cls=Command)
@click.option("--rule", type=int, help="The rule to test; without it, all active rules as they are set now.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Another value for one of its parameters.")
@click.option("--from", "start", type=_TIME, metavar="SECONDS", default=0, help="Count alerts from this time on.")
@click.option("--to", "end", type=_TIME, metavar="SECONDS", default=LAST_TIME, help="Count alerts up to this time.")
@click.option("--sweep", metavar="NAME=FROM:TO:STEP", help="Try each of these values of a parameter in turn.")
@click.option("--at-most", type=click.IntRange(0), metavar="N", help="Show the first value with at most N a day.")
@processes_option
@json_option
@with_appcontext
def backtest(
    rule: int | None,
    settings: Sequence[str],
    start: int,
    end: int,
    sweep: str | None,
    at_most: int | None,
    processes: int,
    as_json: bool,
) -> None:
    """Judge all stored actions again, and compare the result with the stored alerts.

    Without --rule they are judged by all active rules as they are. With --rule, by that rule alone, as if it were
    active, with its present parameters except for those given by --set. Nothing is changed, and the service keeps
    running. Exit status: 0 if done, 2 if it could not be done, 130 after Ctrl+C.
    """
    if rule is None and (settings or sweep):
        raise click.UsageError("--set and --sweep need --rule.")
    if at_most is not None and not sweep:
        raise click.UsageError("--at-most needs --sweep.")
    if end < start:
        raise click.UsageError("--to must not be before --from.")
    if rule is not None and rule not in REGISTRY:
        known = ", ".join(map(str, REGISTRY))
        raise click.BadParameter(f"there is no rule {rule}; the rules are {known}", param_hint="--rule")
    values, swept = {}, None
    if rule is not None:
        values = dict(_setting(rule, text) for text in settings)
        swept = _sweep(rule, sweep) if sweep else None
    check_database()
    present = {code: change.setting for code, change in service().run(service().rules).items()}
    if rule is not None:
        chosen = [candidate(present[rule], values)]
    else:
        chosen = [setting for setting in present.values() if setting.status == "active"]
        if not chosen:
            raise Stopped("No rule is active: name one with --rule.")
    question = Question(candidates=tuple(chosen), start=start, end=end, sweep=swept, at_most=at_most)
    for path, sentence in question.conflicts({rule: values} if rule is not None else {}, {}).items():
        raise click.BadParameter(f"{path[-1]} {sentence}")
    result, seconds = over_all("Judging", BacktestWork(question.plan), question.empty_result(), processes)
    data = report(question, result)
    click.echo(json.dumps(data, indent=2) if as_json else _text(question, present, data, seconds))


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


def _text(question: Question, present: Mapping[int, RuleSetting], data: Mapping[str, Any], seconds: float) -> str:
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
            lines += [_sample(sample) for sample in samples]
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


def _sample(sample: Mapping[str, Any]) -> str:
    place = f"user {sample['user_id']}, action {sample['seq']} at {sample['time']}"
    evidence = shown_evidence(sample["evidence"], service().policy.time_is_epoch)
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
