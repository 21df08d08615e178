"""What a rule is: a code, a title, declared parameters, how far back it looks, and one pure check."""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rules.model import ACTION_TYPES, ActionType, Finding, Risk, Value
from rules.parameters import Order, Parameter, declared_in
from rules.timeline import History
from rules.values import CENT
from rules.wording import shown_title

if TYPE_CHECKING:
    from rules.columns import Histories, Mask  # which imports numpy

# Money thresholds scale by these; a riskier user alerts earlier. Source: the service's contract, "Users".
RISK_FACTORS: Mapping[Risk, Decimal] = {"low": Decimal(2), "normal": Decimal(1), "high": Decimal("0.5")}

Origin = Literal["override", "by_risk", "risk", "default"]
Status = Literal["active", "shadow", "off"]


# How far back a rule looks. What a look-back names is read for every event that the rule judges, so declare as little
# as will do. `count` and `seconds` are names of parameters.


@dataclass(frozen=True)
class Last:
    """The last `count` actions (of one type, if given): `History.last`."""

    count: str
    of: ActionType | None = None


@dataclass(frozen=True)
class Within:
    """The actions (of one type, if given) of the last `seconds`: `History.window`.

    However many there are, it reads no more than the newest LISTED_ACTIONS of each type and the oldest.
    """

    seconds: str
    of: ActionType | None = None


@dataclass(frozen=True)
class SumsWithin:
    """Count and sum of the actions of one type in the last `seconds`: `History.sums`. It reads one action."""

    seconds: str
    of: ActionType


@dataclass(frozen=True)
class SumsSoFar:
    """Count and sum of all actions of one type so far: `History.sums_so_far`. It reads one action.

    A late event changes it for every later action, so all of them are judged again.
    """

    of: ActionType


@dataclass(frozen=True)
class First:
    """The user's first action, which matters only for `seconds` after it: `History.first`."""

    seconds: str


class Step(NamedTuple):
    """An action of an example: its amount is money, and it is `after` seconds later than the one before it."""

    type: ActionType
    amount: Decimal
    after: int = 0


Steps = tuple[Step, ...]

LookBack = Last | Within | SumsWithin | SumsSoFar | First


@dataclass(frozen=True)
class Rule:
    """One kind of alert.

    `fires_on` is the type of action it judges (None: any). `parameters` is a frozen dataclass whose fields are made by
    `money`, `factor`, `actions` and `seconds`. `title` is a template over them. `look_back` declares what `check` may
    read besides the judged action; beyond that it would find nothing, or wrong values. `check` takes the history and an
    instance of `parameters` and returns a Finding, or None when all is well. `compared_with` is the parameter with
    which the measured value of a finding is compared; None if it is compared with no single one. `in_order` says which
    parameters bound one another. `example` takes an instance of `parameters` and returns what a new user does to make
    it fire. `twin` says of many actions at once where `check` fires; without one a backtest takes longer.
    """

    code: int
    title: str
    fires_on: ActionType | None
    parameters: type
    look_back: tuple[LookBack, ...]
    check: Callable[[History, Any], Finding | None]
    compared_with: str | None = None
    in_order: tuple[Order, ...] = ()
    example: Callable[[Any], Steps] | None = None
    twin: "Callable[[Histories, Any], Mask] | None" = None

    @cached_property
    def declared(self) -> tuple[Parameter, ...]:
        """Its parameters as declared."""
        return declared_in(self.parameters)

    def defaults(self) -> dict[str, Value]:
        """The default of each parameter."""
        return {parameter.name: parameter.default for parameter in self.declared}

    @cached_property
    def looks_by(self) -> frozenset[str]:
        """The parameters that say how far back it looks: counts and seconds."""
        return frozenset(
            look.count if isinstance(look, Last) else look.seconds
            for look in self.look_back
            if not isinstance(look, SumsSoFar)
        )

    @cached_property
    def described(self) -> tuple[str, ...]:
        """What it finds, and where that comes from: the paragraphs of its file's docstring, without the code."""
        text = sys.modules[self.check.__module__].__doc__ or ""
        first, *others = (" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))
        first = first.removeprefix(f"{self.code}: ")
        return first[:1].upper() + first[1:], *others

    @cached_property
    def fires_when(self) -> str:
        """When it fires, in a sentence over its parameters."""
        return " ".join((self.check.__doc__ or "").split())

    def titled(self, values: Mapping[str, Any]) -> str:
        """The title for people, with the values of its parameters in their JSON form. Raises KeyError without one."""
        return shown_title(self.title.format_map(values))

    def judges(self, action_type: ActionType) -> bool:
        """Whether it looks at actions of this type at all."""
        return self.fires_on is None or self.fires_on == action_type


@dataclass(frozen=True, kw_only=True)
class RuleSetting:
    """What a rule is set to: `version` counts the rule's own versions from 1.

    `parameters` has a value for every parameter; `by_risk` has, by risk rating, only those that differ.
    """

    rule: Rule
    version: int
    status: Status
    parameters: Mapping[str, Value]
    by_risk: Mapping[str, Mapping[str, Value]]

    @classmethod
    def initial(cls, rule: Rule, status: Status = "active") -> "RuleSetting":
        """The first version of a rule: as declared."""
        return cls(rule=rule, version=1, status=status, parameters=rule.defaults(), by_risk={})

    @property
    def code(self) -> int:
        """The code of its rule."""
        return self.rule.code

    def value_for(self, risk: Risk, name: str) -> Value:
        """The value of a parameter for users of this rating, before a rating scales it."""
        return self.by_risk.get(risk, {}).get(name, self.parameters[name])


class RuleInForce:
    """A rule with the parameters that hold for one user, and where each value comes from."""

    __slots__ = ("check", "code", "origin", "parameters", "rule", "shadow", "values", "version", "written")

    def __init__(self, setting: RuleSetting, *, risk: Risk, overrides: Mapping[str, Value]) -> None:
        self.rule = setting.rule
        self.code = setting.rule.code
        self.check = setting.rule.check
        self.version = setting.version
        self.shadow = setting.status == "shadow"
        self.values: dict[str, Value] = {}
        self.origin: dict[str, Origin] = {}
        by_risk = setting.by_risk.get(risk, {})
        factor = RISK_FACTORS[risk]
        for parameter in setting.rule.declared:
            name, value = parameter.name, setting.value_for(risk, parameter.name)
            origin: Origin = "default"
            if name in overrides:
                value, origin = overrides[name], "override"
            elif name in by_risk:
                origin = "by_risk"
            elif parameter.scaled and factor != 1:
                # Rounded down: half a cent can only make a rule stricter.
                value, origin = (value * factor).quantize(CENT, ROUND_DOWN), "risk"
            self.values[name], self.origin[name] = value, origin
        self.parameters = setting.rule.parameters(**self.values)
        # What evidence says of it, as JSON without the braces; written when it is first needed.
        self.written: str | None = None

    def number(self, name: str) -> int:
        """The value of the parameter that a look-back names: a count, or seconds."""
        value = self.values[name]
        assert isinstance(value, int)
        return value


@dataclass(frozen=True)
class Needs:
    """What is read of the actions of one type.

    That is the last `count`, the oldest one in each of `windows`, and of each window in `listed` the oldest and the
    newest LISTED_ACTIONS; windows are in seconds.
    """

    count: int = 1
    listed: frozenset[int] = frozenset()
    windows: frozenset[int] = frozenset()

    @cached_property
    def longest(self) -> int:
        """The length of the longest window in `listed`; -1 without any."""
        return max(self.listed, default=-1)

    def covers(self, other: "Needs") -> bool:
        """Whether what is read serves `other` too, except that the oldest of a crowded window is read later."""
        return self.count >= other.count and self.longest >= other.longest and self.windows >= other.windows

    def with_all_of(self, other: "Needs") -> "Needs":
        """The least that serves both."""
        return Needs(max(self.count, other.count), self.listed | other.listed, self.windows | other.windows)


@dataclass(frozen=True)
class Reading:
    """What is read to judge actions of one type: `needs`, by the type that is read; `first`: the user's first too."""

    needs: Mapping[ActionType, Needs]
    first: bool = False

    def covers(self, other: "Reading") -> bool:
        """Whether what it reads serves `other` too, except that the oldest of a crowded window is read later."""
        if other.first and not self.first:
            return False
        return all(kind in self.needs and self.needs[kind].covers(needs) for kind, needs in other.needs.items())

    def with_all_of(self, other: "Reading") -> "Reading":
        """The least that serves both."""
        kinds = [kind for kind in ACTION_TYPES if kind in self.needs or kind in other.needs]
        needs = {kind: self.needs.get(kind, Needs()).with_all_of(other.needs.get(kind, Needs())) for kind in kinds}
        return Reading(needs, self.first or other.first)


def reading(kind: ActionType, rules: Iterable[RuleInForce]) -> Reading:
    """The least to read so that all of `rules` can judge an action of type `kind`.

    That is at least the action of the same type before it, from which its running count and sum follow.
    """
    found = Reading({kind: Needs()})
    for in_force in rules:
        for look in in_force.rule.look_back:
            found = found.with_all_of(_reading_of(look, in_force))
    return found


def reading_to_keep(readings: Mapping[ActionType, Reading]) -> dict[ActionType, Reading]:
    """The same, and the last actions and listed windows of the other type too.

    So what is read to judge an action of one type serves the next one, of whichever type.
    """
    found = {}
    for kind in readings:
        others = [needs for other in readings if other != kind for needs in readings[other].needs.items()]
        last = {of: Needs(needs.count, needs.listed) for of, needs in others}
        found[kind] = readings[kind].with_all_of(Reading(last))
    return found


def _reading_of(look: LookBack, in_force: RuleInForce) -> Reading:
    if isinstance(look, Last):
        needs = Needs(count=in_force.number(look.count))
    elif isinstance(look, Within):
        needs = Needs(listed=frozenset((in_force.number(look.seconds),)))
    elif isinstance(look, SumsWithin):
        needs = Needs(windows=frozenset((in_force.number(look.seconds),)))
    elif isinstance(look, SumsSoFar):
        needs = Needs()
    else:
        return Reading({}, first=True)
    return Reading(dict.fromkeys(ACTION_TYPES if look.of is None else (look.of,), needs))
