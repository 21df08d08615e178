"""The form of a rule: what was entered, what that would set the rule to, and how two settings of a rule differ."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple, cast, get_args

from rules.base import Rule, RuleInForce, RuleSetting, Status
from rules.conflicts import setting_conflicts
from rules.hindsight.question import WantedValues
from rules.model import RISKS, Risk, Value
from rules.parameters import Parameter, written_values
from rules.values import CENT

# A parameter's name has no dash, so no other field of the form has the name of one.
STATUS = "new-status"
# Other fields of the form: what was seen, why, and how to try it.
SEEN, NOTE, TRY = "seen-version", "new-note", "try"
SWEEP, SWEEP_FROM, SWEEP_TO, SWEEP_STEP, BUDGET = "sweep", "sweep-from", "sweep-to", "sweep-step", "at-most"
START, END = "period-from", "period-to"


class RuleField(NamedTuple):
    """A field of the form: a parameter's own value, or that for users of one rating, which may be left empty."""

    parameter: Parameter
    risk: Risk | None

    @property
    def name(self) -> str:
        """Its name in the form: "threshold", or "high.threshold"."""
        return f"{self.risk}.{self.parameter.name}" if self.risk else self.parameter.name

    @property
    def label(self) -> str:
        """What people call it."""
        return f"{self.parameter.name} at {self.risk} risk" if self.risk else self.parameter.name

    def of(self, setting: RuleSetting) -> Value | None:
        """Its value in a setting of the rule; None if nothing is set for this rating."""
        values = setting.by_risk.get(self.risk, {}) if self.risk else setting.parameters
        return values.get(self.parameter.name)


def fields_of(rule: Rule) -> list[RuleField]:
    """The fields of a rule's form."""
    return [RuleField(one, risk) for one in rule.declared for risk in (None, *RISKS)]


def texts_of(setting: RuleSetting) -> dict[str, str]:
    """What the form says if the rule is set so: the text of each field, by name."""
    texts = {STATUS: str(setting.status)}
    for field in fields_of(setting.rule):
        value = field.of(setting)
        texts[field.name] = "" if value is None else str(value)
    return texts


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A form that was filled in: the text of each field by name, what is wrong with which, and what it comes to.

    `setting` is that of the present version where a field cannot be read.
    """

    texts: Mapping[str, str]
    faults: Mapping[str, str]
    setting: RuleSetting

    def differs_from(self, other: RuleSetting) -> bool:
        """Whether another setting has other values; whether its status is another does not matter."""
        return any(field.of(self.setting) != field.of(other) for field in fields_of(other.rule))


def read_draft(present: RuleSetting, entered: Mapping[str, str], base: RuleSetting | None = None) -> Draft:
    """The form for a rule that is now set to `present`; what was not `entered` is as in `base`, or else as it is now.

    A value that is stored already may stay, even if it is no longer within its bounds.
    """
    stored = texts_of(present)
    texts = texts_of(base or present) | {STATUS: stored[STATUS]}
    texts |= {name: entered[name].strip() for name in texts if name in entered}
    faults: dict[str, str] = {}
    status = texts[STATUS]
    if status not in get_args(Status):
        faults[STATUS], status = "must be one of the three", present.status
    parameters = dict(present.parameters)
    by_risk: dict[str, dict[str, Value]] = {risk: {} for risk in RISKS}
    for field in fields_of(present.rule):
        values, text = by_risk[field.risk] if field.risk else parameters, texts[field.name]
        if field.risk and not text:
            continue
        value = field.of(present) if text == stored[field.name] else None
        try:
            values[field.parameter.name] = field.parameter.typed(text) if value is None else value
        except ValueError as error:
            faults[field.name] = str(error)
    setting = replace(
        present,
        status=cast(Status, status),
        parameters=parameters,
        by_risk={risk: values for risk, values in by_risk.items() if values},
    )
    if not faults:
        faults |= _contradictions(present, setting)
    return Draft(texts=texts, faults=faults, setting=setting)


def changes(present: RuleSetting, setting: RuleSetting) -> WantedValues:
    """What has to be said so that a rule that is set to `present` is set to `setting`."""
    parameters = {name: value for name, value in setting.parameters.items() if present.parameters.get(name) != value}
    is_same = all(field.of(present) == field.of(setting) for field in fields_of(present.rule) if field.risk)
    return WantedValues(parameters, None if is_same else setting.by_risk)


def _contradictions(present: RuleSetting, setting: RuleSetting) -> Iterator[tuple[str, str]]:
    parameters, by_risk = changes(present, setting)
    named: dict[str, Collection[str]] = {}
    if by_risk is not None:
        named = {risk: {*present.by_risk.get(risk, ()), *by_risk.get(risk, ())} for risk in RISKS}
    for path, sentence in setting_conflicts(setting, parameters, named).items():
        yield ".".join(path[1:]), sentence


class SettingDifference(NamedTuple):
    """Something in which two settings differ; None: nothing is set for this rating."""

    label: str
    unit: str
    before: Value | str | None
    after: Value | str | None


def differences(before: RuleSetting, after: RuleSetting) -> list[SettingDifference]:
    """In what two settings of a rule differ."""
    found = [
        SettingDifference(field.label, field.parameter.unit, field.of(before), field.of(after))
        for field in fields_of(after.rule)
        if field.of(before) != field.of(after)
    ]
    if before.status != after.status:
        found.insert(0, SettingDifference("status", "status", before.status, after.status))
    return found


class Choice(NamedTuple):
    """A field of a form whose rule has moved: what it was, what somebody else and what oneself has made of it.

    `is_conflict` says whether both have changed it.
    """

    name: str
    label: str
    unit: str
    before: str
    theirs: str
    mine: str

    @property
    def is_conflict(self) -> bool:
        """Whether both have changed it, and not to the same."""
        return self.before not in (self.theirs, self.mine)

    @property
    def keeps_mine(self) -> bool:
        """Whether mine is the one to keep, as long as nobody says otherwise: I have changed it."""
        return self.mine != self.before


def choices(before: RuleSetting, theirs: RuleSetting, mine: Mapping[str, str]) -> list[Choice]:
    """The fields on which `theirs`, the present version, and the texts of `mine` do not agree.

    `before` is the version from which mine began.
    """
    then, now = texts_of(before), texts_of(theirs)
    shown = [
        (STATUS, "status", "status"),
        *((one.name, one.label, one.parameter.unit) for one in fields_of(theirs.rule)),
    ]
    return [
        Choice(name, label, unit, then[name], now[name], mine[name])
        for name, label, unit in shown
        if now[name] != mine[name]
    ]


def in_force(setting: RuleSetting) -> dict[str, str]:
    """What holds for users of each rating without overrides: the text by the name of the rating's field."""
    return {
        f"{risk}.{name}": str(value)
        for risk in RISKS
        for name, value in written_values(RuleInForce(setting, risk=risk, overrides={}).values).items()
    }


class SweepProposal(NamedTuple):
    """The values that it makes sense to try for a parameter: from a half to three times of what it is, and that too."""

    first: Value
    last: Value
    step: Value


MOST_PROPOSED = 20  # steps


def propose_sweep(parameter: Parameter, value: Value) -> SweepProposal:
    """The values to try for a parameter that is now `value`, at most MOST_PROPOSED and one, within its bounds."""
    now = Decimal(value)
    width = max(now * 5 / 2, Decimal(MOST_PROPOSED if parameter.unit != "factor" else "1.00"))
    step = _round_step(width / MOST_PROPOSED, CENT if parameter.is_decimal else Decimal(1))
    below = int(min(now / 2, now - Decimal(parameter.least)) // step)
    above = int(min(width // step - below, (Decimal(parameter.most) - now) // step))
    first, last = now - below * step, now + above * step
    if parameter.is_decimal:
        return SweepProposal(*(one.quantize(CENT) for one in (first, last, step)))
    return SweepProposal(int(first), int(last), int(step))


def _round_step(rough: Decimal, least: Decimal) -> Decimal:
    """The smallest of 1, 2, 2.5 (of decimals), 5 and 10 times a power of ten that is not below `rough` nor `least`."""
    rough = max(rough, least)
    power = Decimal(1).scaleb(rough.adjusted())
    sizes = (Decimal(one) * power for one in ("1", "2", "2.5", "5", "10"))
    return next(size for size in sizes if size >= rough and size % least == 0)
