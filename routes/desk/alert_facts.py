"""What an alert's evidence says, in words: what was measured against what, and where each parameter came from. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from routes.desk import words
from routes.desk.evidence_chart import Line, Shade
from rules.base import RISK_FACTORS, Rule, SumsSoFar, SumsWithin, Within
from rules.model import ACTION_TYPES
from rules.parameters import Parameter
from rules.registry import REGISTRY
from rules.values import CENT

# Parameters that say until when a rule looks back, from the judged action on.
_WINDOWS = ("window", "age")


class ParameterFact(NamedTuple):
    """A parameter of the rule as it was in force: its name, value and origin, and whether it was compared."""

    name: str
    value: str
    origin: str
    is_limit: bool


class Measured(NamedTuple):
    """What was measured, and of what; `limit` and `name` are None where it is compared with no single parameter."""

    value: str
    limit: str | None
    name: str | None
    beyond: str | None


def parameter_facts(code: int, evidence: Mapping[str, Any], risk: str) -> list[ParameterFact]:
    """The parameters in force for a user of this rating, in the order in which the rule declares them."""
    stored: Mapping[str, Any] = evidence.get("parameters", {})
    origins: Mapping[str, str] = evidence.get("origin", {})
    declared, limit = _declared(code), _compared_with(code, evidence)
    names = sorted(stored, key=lambda name: list(declared).index(name) if name in declared else len(declared))
    return [
        ParameterFact(name, written(code, name, stored[name]), origin(origins.get(name), risk), name == limit)
        for name in names
    ]


def written(code: int, name: str, value: Any) -> str:
    """The value of a rule's parameter in words; as it is stored if the rule is gone or has no such parameter."""
    declared = _declared(code).get(name)
    return str(value) if declared is None else words.parameter(declared.unit, value)


def origin(word: str | None, risk: str) -> str:
    """Where the value of a parameter came from, for a user of this rating."""
    rated = words.RISK.get(risk, risk).lower()
    if word == "override":
        return "this user's override"
    if word == "by_risk":
        return f"the rule's value for users rated {rated}"
    if word == "risk":
        factor = RISK_FACTORS.get(risk)  # type: ignore[call-overload]
        return f"scaled by the rating {rated}" + (f" (times {factor})" if factor is not None else "")
    return "default" if word == "default" else words.NOTHING


def measured(code: int, evidence: Mapping[str, Any]) -> Measured:
    """What was measured against what."""
    value = evidence.get("measured")
    if value is None:
        return Measured(words.NOTHING, None, None, None)
    name = _compared_with(code, evidence)
    limit = evidence["parameters"][name] if name else None
    if isinstance(value, str):
        beyond = None
        if limit is not None and Decimal(value) > Decimal(limit) > 0:
            more = Decimal(value) - Decimal(limit)
            beyond = f"{words.money(more)} over{_share(more / Decimal(limit))}"
        return Measured(words.money(value), None if limit is None else words.money(limit), name, beyond)
    if name is None:
        return Measured(words.number(value), None, None, None)
    shown = words.rough(int(value)) if _unit(code, name) == "seconds" else words.number(value)
    return Measured(shown, written(code, name, limit), name, None)


def _share(more: Decimal) -> str:
    """By what share of the limit it is passed, where that says something."""
    if more < Decimal("0.01"):
        return ""
    return f" ({more:.0%})".replace("%", " %") if more < 10 else f" ({more:,.0f} times)"


def _compared_with(code: int, evidence: Mapping[str, Any]) -> str | None:
    """The parameter that the measured value was compared with, as its rule declares; nobody knows if that is gone."""
    rule = REGISTRY.get(code)
    name = None if rule is None else rule.compared_with
    return name if name in evidence.get("parameters", {}) else None


def window(evidence: Mapping[str, Any], time: int, listed: Mapping[int, int]) -> Shade | None:
    """The stretch of time that the rule looked at from an action at `time`; `listed` has the times of actions by seq.

    A rule that looks for a silence names the action before it first.
    """
    parameters = evidence.get("parameters", {})
    for name in _WINDOWS:
        if isinstance(length := parameters.get(name), int):
            return Shade(max(0, time - length), time, f"window of {words.seconds(length)}")
    first = [listed[seq] for seq in evidence.get("actions", ())[:2] if seq in listed]
    if isinstance(parameters.get("gap"), int) and len(first) > 1:
        return Shade(first[0], first[1], f"{words.rough(first[1] - first[0])} without an action")
    return None


def amount_lines(code: int, evidence: Mapping[str, Any]) -> list[Line]:
    """The thresholds with which the rule compares single amounts; none where it compares sums."""
    rule = REGISTRY.get(code)
    if rule is None or any(isinstance(look, Within | SumsWithin | SumsSoFar) for look in rule.look_back):
        return []
    parameters, declared = evidence.get("parameters", {}), _declared(code)
    of = {"tiny": "deposit"}
    return [
        Line(Decimal(parameters[name]), of.get(name, rule.fires_on), name)
        for name in ("threshold", "tiny")
        if name in parameters and name in declared and declared[name].unit == "money"
    ]


def average_line(evidence: Mapping[str, Any], kind: str, number: int, total: Decimal) -> Line | None:
    """The amount that is so many times the average of the `number` actions before, which sum to `total`.

    None if the rule compares with no average, or with that of other actions: late ones have come since.
    """
    times = evidence.get("parameters", {}).get("times")
    if times is None or not number or evidence.get("actions_unlisted") != number:
        return None
    amount = (Decimal(times) * total / number).quantize(CENT)
    return Line(amount, kind, f"{Decimal(times).normalize():f} times the average")


def summed(code: int, evidence: Mapping[str, Any], kind: str, time: int) -> dict[str, int]:
    """The types of actions that are behind an alert of an action of type `kind` without being listed, and since when.

    Nothing is known of a rule that is gone.
    """
    rule: Rule | None = REGISTRY.get(code)
    if rule is None or not evidence.get("actions_unlisted"):
        return {}
    found: dict[str, int] = {}
    for look in rule.look_back:
        if isinstance(look, Within | SumsWithin):
            seconds = evidence.get("parameters", {}).get(look.seconds, 0)
            for one in ACTION_TYPES if look.of is None else (look.of,):
                found[one] = max(0, time - seconds)
        elif isinstance(look, SumsSoFar) and look.of == kind:
            found[look.of] = 0
    return found


def _declared(code: int) -> Mapping[str, Parameter]:
    rule = REGISTRY.get(code)
    return {} if rule is None else {one.name: one for one in rule.declared}


def _unit(code: int, name: str) -> str | None:
    declared = _declared(code).get(name)
    return None if declared is None else declared.unit
