"""What a rule is: a code, a title, declared parameters, how far back it looks, and one pure check."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Literal

from rules.model import ACTION_TYPES, ActionType, Finding, History, Parameters, Risk, Value

# Money thresholds scale by these; a riskier user alerts earlier. Source: the service's contract, "Users".
RISK_FACTORS: Mapping[Risk, Decimal] = {"low": Decimal(2), "normal": Decimal(1), "high": Decimal("0.5")}

CENT = Decimal("0.01")


@dataclass(frozen=True)
class Parameter:
    """One knob of a rule: its name, what it counts, its default, and why that default."""

    name: str
    unit: Literal["money", "actions", "seconds"]
    default: Value
    why: str


@dataclass(frozen=True)
class Last:
    """The rule looks at the last so many actions (of one type, if given); `count` names the parameter."""

    count: str
    of: ActionType | None = None


@dataclass(frozen=True)
class Within:
    """The rule looks at the actions of the last so many seconds; `seconds` names the parameter."""

    seconds: str
    of: ActionType | None = None


@dataclass(frozen=True)
class Rule:
    """One kind of alert.

    `fires_on` is the type of action it judges (None: any). `title` is a template over the parameters.
    `look_back` declares what `check` may read beside the judged action: reading further finds nothing there.
    `check` takes the history and the parameters in force and returns a Finding, or None when all is well.
    """

    code: int
    title: str
    fires_on: ActionType | None
    parameters: tuple[Parameter, ...]
    look_back: tuple[Last | Within, ...]
    check: Callable[[History, Parameters], Finding | None]
    version: int = 1

    def judges(self, action_type: ActionType) -> bool:
        """Whether it looks at actions of this type at all."""
        return self.fires_on is None or self.fires_on == action_type


@dataclass(frozen=True)
class RuleInForce:
    """A rule with the parameters that hold for one user, and where each value comes from."""

    rule: Rule
    parameters: Parameters
    origin: Mapping[str, Literal["default", "risk"]]

    @classmethod
    def for_risk(cls, rule: Rule, risk: Risk) -> "RuleInForce":
        """The rule's defaults as they hold at this risk rating: money is scaled, counts and times are not."""
        values: dict[str, Value] = {}
        origin: dict[str, Literal["default", "risk"]] = {}
        factor = RISK_FACTORS[risk]
        for parameter in rule.parameters:
            scaled = parameter.unit == "money" and factor != 1
            # Rounded down: half a cent can only make a rule stricter.
            values[parameter.name] = (
                (Decimal(parameter.default) * factor).quantize(CENT, ROUND_DOWN) if scaled else parameter.default
            )
            origin[parameter.name] = "risk" if scaled else "default"
        return cls(rule, Parameters(values), origin)


@dataclass(frozen=True)
class Reach:
    """How far back judging reads actions of one type: the last `count`, and those of the last `seconds`."""

    count: int = 0
    seconds: int | None = None


def reach(rules: list[RuleInForce]) -> dict[ActionType, Reach]:
    """The least history that serves all of `rules`: per action type, none where no rule looks."""
    counts: dict[ActionType, int] = {}
    seconds: dict[ActionType, int] = {}
    for in_force in rules:
        for look in in_force.rule.look_back:
            for kind in ACTION_TYPES if look.of is None else (look.of,):
                if isinstance(look, Last):
                    counts[kind] = max(counts.get(kind, 0), in_force.parameters.number(look.count))
                else:
                    seconds[kind] = max(seconds.get(kind, 0), in_force.parameters.number(look.seconds))
    return {k: Reach(counts.get(k, 0), seconds.get(k)) for k in ACTION_TYPES if k in counts or k in seconds}
