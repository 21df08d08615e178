"""Requests and answers about backtests. What a rule's parameters take follows from its declaration."""

from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from routes.schemas.alerts import EvidenceAnswer
from routes.schemas.fields import DECIMAL_TEXT, AlertId, Code, Id, MoneyText, Page, Seconds, cursor_of, optional
from routes.schemas.rules import (
    CHANGES,
    PARAMETERS,
    GroupsRequest,
    ParametersRequest,
    WrittenAnswer,
    json_object,
    left_out,
)
from rules.base import Rule, RuleSetting
from rules.hindsight.question import MOST_STEPS, candidate, parameter_of, read_step, steps
from rules.model import Risk, Value
from rules.parameters import Parameter
from rules.payload import Payload
from rules.registry import REGISTRY
from rules.values import LAST_TIME, MOST_MONEY

# What is asked for

_VALUE_SCHEMA: JsonDict = {
    "anyOf": [
        DECIMAL_TEXT,
        {"type": "number", "minimum": 0, "maximum": float(MOST_MONEY), "multipleOf": 0.01},
    ]
}


class CandidateRequest(Payload):
    """How to try a rule, whichever it is."""

    parameters: ParametersRequest | None = None
    by_risk: GroupsRequest | None = None

    def setting(self, present: RuleSetting) -> RuleSetting:
        """What the rule is to be judged by, where it is set to `present` now."""
        parameters = self.parameters.values() if self.parameters else {}
        return candidate(present, parameters, None if self.by_risk is None else self.by_risk.values())


def _candidate(rule: Rule) -> type[CandidateRequest]:
    fields: dict[str, Any] = {
        "parameters": left_out(PARAMETERS[rule.code]),
        "by_risk": left_out(CHANGES[rule.code].model_fields["by_risk"].annotation),  # type: ignore[arg-type]
    }
    doc = f"How to try rule {rule.code}. What is left out is as it is set now; `by_risk` replaces all that there is."
    return create_model(f"Candidate{rule.code}", __base__=CandidateRequest, __doc__=doc, **fields)


CANDIDATES = {code: _candidate(rule) for code, rule in REGISTRY.items()}


class Candidates(Payload):
    """The rules to try, by code; each is judged as if it were active."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    def by_code(self) -> dict[int, CandidateRequest]:
        """Those that were named, by code."""
        named = {int(field.alias or 0): getattr(self, name) for name, field in type(self).model_fields.items()}
        return {code: one for code, one in named.items() if one is not None}

    @model_validator(mode="after")
    def _some(self) -> "Candidates":
        if not self.model_fields_set:
            raise PydanticCustomError("rules", "must name a rule")
        return self


CandidatesRequest: type[Candidates] = create_model(
    "CandidatesRequest",
    __base__=Candidates,
    __doc__=Candidates.__doc__,
    **{f"of_{code}": left_out(model, alias=str(code)) for code, model in CANDIDATES.items()},
)


def _swept(info: ValidationInfo) -> Parameter | None:
    # None: the rule or the parameter is bad, which is said there.
    try:
        return parameter_of(info.data["rule"], info.data["parameter"])
    except KeyError:
        return None


def _value(raw: object, info: ValidationInfo) -> object:
    return _read(raw, info, Parameter.read)


def _step(raw: object, info: ValidationInfo) -> object:
    return _read(raw, info, read_step)


def _read(raw: object, info: ValidationInfo, how: Any) -> object:
    parameter = _swept(info)
    try:
        return None if parameter is None else how(parameter, raw)
    except ValueError as error:
        raise PydanticCustomError("parameter", "{problem}", {"problem": str(error)}) from None


def _parameter_name(name: str, info: ValidationInfo) -> str:
    if "rule" in info.data:
        try:
            parameter_of(info.data["rule"], name)
        except ValueError as error:
            raise PydanticCustomError("parameter", "{problem}", {"problem": str(error)}) from None
    return name


def _known_rule(code: int) -> int:
    if code not in REGISTRY:
        raise PydanticCustomError("rule", "must be the code of a rule")
    return code


_Value = Annotated[object, BeforeValidator(_value), WithJsonSchema(_VALUE_SCHEMA)]
_Step = Annotated[object, BeforeValidator(_step), WithJsonSchema(_VALUE_SCHEMA)]


class SweepRequest(Payload):
    """A parameter and the values that it is to have in turn: all of `values`, or from `from` to `to` by `step`."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["values"]}, {"required": ["from", "to", "step"]}],
        }
    )

    rule: Annotated[int, AfterValidator(_known_rule), Field(json_schema_extra={"enum": list(REGISTRY)})]
    parameter: Annotated[str, AfterValidator(_parameter_name)]
    first: Annotated[_Value, optional("The first value.")] = Field(None, alias="from")
    last: Annotated[_Value, optional("No value is beyond this one, which may be the smaller one.")] = Field(
        None, alias="to"
    )
    step: Annotated[_Step, optional("How far the values are apart.")] = None
    values: Annotated[tuple[_Value, ...], Field(min_length=1, max_length=MOST_STEPS, strict=False), optional()] = ()

    def in_turn(self) -> tuple[Value, ...]:
        """The values in turn. Raises ValueError where they are too many."""
        if self.first is None:
            return cast(tuple[Value, ...], self.values)
        return steps(cast(Value, self.first), cast(Value, self.last), cast(Value, self.step))

    @model_validator(mode="after")
    def _either(self) -> "SweepRequest":
        bounds = {"first", "last", "step"} & self.model_fields_set
        if len(bounds) not in (0, 3) or bool(bounds) == ("values" in self.model_fields_set):
            raise PydanticCustomError("sweep", "must have either values, or from, to and step")
        try:
            self.in_turn()
        except ValueError as error:
            raise PydanticCustomError("sweep", "{problem}", {"problem": str(error)}) from None
        return self


_REQUEST: JsonDict = {
    "rules": {"123": {"parameters": {"threshold": "150.00"}}},
    "sweep": {"rule": 123, "parameter": "threshold", "from": "100.00", "to": "400.00", "step": "100.00"},
    "at_most_per_day": 20,
}


def _not_before(end: int, info: ValidationInfo) -> int:
    if end < info.data.get("start", 0):
        raise PydanticCustomError("period", "must not be before from")
    return end


def _one_of_the_rules(sweep: SweepRequest, info: ValidationInfo) -> SweepRequest:
    rules = info.data.get("rules")
    if rules is not None and sweep.rule not in rules.by_code():
        raise PydanticCustomError("sweep", "must sweep one of the rules")
    return sweep


def _of_a_sweep(at_most: int, info: ValidationInfo) -> int:
    if info.data.get("sweep", at_most) is None:  # a bad one is not there at all
        raise PydanticCustomError("at_most", "must stand beside a sweep")
    return at_most


class BacktestWanted(Payload):
    """Which rules to try over which period. Without `rules` the one of the sweep, or else all that are active."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REQUEST]})

    rules: Candidates | None = None
    start: Annotated[Seconds, optional("The first time whose alerts count.")] = Field(0, alias="from")
    end: Annotated[Seconds, AfterValidator(_not_before), optional("The last time that counts.")] = Field(
        LAST_TIME, alias="to"
    )
    sweep: SweepRequest | None = None
    at_most_per_day: Annotated[
        Seconds,
        AfterValidator(_of_a_sweep),
        optional("Asks for the first value of the sweep with at most so many alerts a day."),
    ] = 0


BacktestRequest: type[BacktestWanted] = create_model(
    "BacktestRequest",
    __base__=BacktestWanted,
    __doc__=BacktestWanted.__doc__,
    rules=left_out(CandidatesRequest),
    sweep=(Annotated[SweepRequest, BeforeValidator(json_object), AfterValidator(_one_of_the_rules), optional()], None),
)


class BacktestsQuery(Page):
    """Which part of the backtests."""

    cursor: Annotated[str, cursor_of(1)] = ""


# What is answered

Status = Literal["running", "done", "cancelled", "failed", "interrupted"]
Progress = Annotated[float, Field(ge=0, le=1, description="The share of all actions that are judged.")]
Count = Annotated[int, Field(ge=0)]
PerDay = Annotated[float, Field(ge=0, description="On average over the days of the period.")]


class TriedAnswer(BaseModel):
    """A rule as it was tried; `version` is what it was set to when that was asked."""

    code: Code
    version: Id
    parameters: WrittenAnswer
    by_risk: dict[Risk, WrittenAnswer]


class SweptAnswer(BaseModel):
    """The values that a parameter of a rule was given in turn."""

    rule: Code
    parameter: str
    values: list[MoneyText | int]


class QuestionAnswer(BaseModel):
    """What was asked, with everything that was left out."""

    rules: list[TriedAnswer]
    start: Annotated[Seconds, Field(alias="from")]
    end: Annotated[Seconds, Field(alias="to")]
    sweep: Annotated[SweptAnswer, optional()] = None  # type: ignore[assignment]
    at_most_per_day: Annotated[Count, optional()] = 0


class BusiestDayAnswer(BaseModel):
    """The day with the most alerts, the first of several: its seconds, both included."""

    start: Annotated[Seconds, Field(alias="from")]
    end: Annotated[int, Field(alias="to", ge=0)]
    alerts: Count


class BacktestFiguresAnswer(BaseModel):
    """How many alerts there are, and of how many users."""

    alerts: Count
    users: Count
    alerts_per_day: PerDay
    busiest_day: BusiestDayAnswer | None


class SweepStepAnswer(BaseModel):
    """What one value of the sweep would have raised."""

    value: MoneyText | int
    alerts: Count
    users: Count
    alerts_per_day: PerDay
    added: Count
    removed: Count


class SampleAnswer(BaseModel):
    """An alert that would have been added or removed; the evidence of a removed one is the stored one."""

    id: AlertId
    user_id: Id
    seq: Id
    code: Code
    time: Seconds
    evidence: EvidenceAnswer


class ResultAnswer(BaseModel):
    """What the rules that are tried would have raised, beside what is stored of the same rules and holds."""

    actions: Annotated[Count, Field(description="How many were read.")]
    users: Annotated[Count, Field(description="How many they have.")]
    start: Annotated[Seconds | None, Field(alias="from", description="The oldest action in the period.")]
    end: Annotated[Seconds | None, Field(alias="to", description="The newest action in the period.")]
    days: Annotated[int, Field(ge=1, description="How many days lie between these two, both included.")]
    then: Annotated[BacktestFiguresAnswer, Field(description="What is stored.")]
    now: Annotated[BacktestFiguresAnswer, Field(description="What would have been raised.")]
    added: Count
    removed: Count
    added_alerts: Annotated[list[SampleAnswer], Field(description="At most 20 of them.")]
    removed_alerts: Annotated[list[SampleAnswer], Field(description="At most 20 of them.")]
    sweep: Annotated[list[SweepStepAnswer], optional()] = []
    quiet_enough: Annotated[
        MoneyText | int | None, optional("The first value of the sweep with at most so many alerts a day, if any.")
    ] = None


_EVIDENCE: JsonDict = {
    "rule_version": 1,
    "measured": "160.00",
    "parameters": {"threshold": "150.00", "window": 30},
    "origin": {"threshold": "default", "window": "default"},
    "actions": [1, 2],
    "sentence": "Deposits of 160.00 between 10 and 20 are over 150.00 in 30 s.",
}
_SUMMARY: JsonDict = {
    "id": 1,
    "status": "done",
    "progress": 1.0,
    "request": {
        "rules": [{"code": 123, "version": 1, "parameters": {"threshold": "150.00", "window": 30}, "by_risk": {}}],
        "from": 0,
        "to": LAST_TIME,
        "sweep": {"rule": 123, "parameter": "threshold", "values": ["100.00", "200.00", "300.00", "400.00"]},
        "at_most_per_day": 20,
    },
    "error": None,
    "created_at": "2026-01-31T12:00:00.000000Z",
    "finished_at": "2026-01-31T12:00:02.000000Z",
}
_NONE: JsonDict = {"alerts": 0, "users": 0, "alerts_per_day": 0.0}
_ONE: JsonDict = {"alerts": 1, "users": 1, "alerts_per_day": 1.0}
_DETAIL: JsonDict = _SUMMARY | {
    "result": {
        "actions": 2,
        "users": 1,
        "from": 10,
        "to": 20,
        "days": 1,
        "then": _NONE | {"busiest_day": None},
        "now": _ONE | {"busiest_day": {"from": 0, "to": 86399, "alerts": 1}},
        "added": 1,
        "removed": 0,
        "added_alerts": [{"id": "7-2-123", "user_id": 7, "seq": 2, "code": 123, "time": 20, "evidence": _EVIDENCE}],
        "removed_alerts": [],
        "sweep": [
            {"value": "100.00", **_ONE, "added": 1, "removed": 0},
            *({"value": value, **_NONE, "added": 0, "removed": 0} for value in ("200.00", "300.00", "400.00")),
        ],
        "quiet_enough": "100.00",
    }
}


class BacktestAnswer(BaseModel):
    """A backtest: what was asked, and how far it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SUMMARY]})

    id: Id
    status: Annotated[Status, Field(description="interrupted: the service, or its run, ended before it was done.")]
    progress: Progress
    request: QuestionAnswer
    error: Annotated[str | None, Field(description="Why it failed.")]
    created_at: AwareDatetime
    finished_at: AwareDatetime | None


class BacktestDetailAnswer(BacktestAnswer):
    """A backtest with its result, once it is done."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DETAIL]})

    result: ResultAnswer | None


class BacktestsAnswer(BaseModel):
    """A page of backtests, newest first, and the cursor of the next page (null on the last one)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"backtests": [_SUMMARY], "next": None}]})

    backtests: list[BacktestAnswer]
    next: str | None
