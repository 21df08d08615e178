"""Requests for backtests. What the parameters of a rule accept follows from its declaration."""

from typing import Annotated, Any, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import CoreSchema, PydanticCustomError

from routes.schemas.fields import DECIMAL_TEXT, Page, Seconds, cursor_of, exactly_one, not_before, not_null, optional
from routes.schemas.rules import (
    CHANGES,
    PARAMETERS,
    ParameterValues,
    RiskParameters,
    declared_schema,
    json_object,
    left_out,
    map_by_code,
)
from rules.base import Rule
from rules.hindsight.question import MOST_STEPS, WantedValues, parameter_of, step_of, steps
from rules.model import Value
from rules.parameters import Parameter
from rules.payload import Payload
from rules.registry import REGISTRY
from rules.values import LAST_TIME, MOST_MONEY

_VALUE_SCHEMA: JsonDict = {
    "anyOf": [
        DECIMAL_TEXT,
        {"type": "number", "minimum": 0, "maximum": float(MOST_MONEY)},
    ]
}


class CandidateRequest(Payload):
    """How to set a rule in a backtest. What is left out is as it is set now; `by_risk` is replaced as a whole."""

    parameters: ParameterValues | None = not_null()
    by_risk: RiskParameters | None = not_null()

    def wanted(self) -> WantedValues:
        """The request in the domain's own terms."""
        parameters = self.parameters.values() if self.parameters else {}
        return WantedValues(parameters, None if self.by_risk is None else self.by_risk.values())


def _candidate(rule: Rule) -> type[CandidateRequest]:
    fields: dict[str, Any] = {
        "parameters": left_out(PARAMETERS[rule.code]),
        "by_risk": left_out(CHANGES[rule.code].model_fields["by_risk"].annotation),  # type: ignore[arg-type]
    }
    return create_model(f"Candidate{rule.code}", __base__=CandidateRequest, **fields)


def _candidate_schema(rule: Rule) -> dict[str, Any]:
    declared = declared_schema(rule)
    return {"properties": {"parameters": declared, "by_risk": {"additionalProperties": declared}}}


CANDIDATES = {code: _candidate(rule) for code, rule in REGISTRY.items()}


class Candidates(Payload):
    """The rules to judge by, by code; each is judged as if it were active."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A map by code."""
        return map_by_code(core_schema, handler, CandidateRequest, _candidate_schema)

    def by_code(self) -> dict[int, CandidateRequest]:
        """The rules that were named, by code."""
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
    # None: the rule or the parameter is bad, and is reported there.
    try:
        return parameter_of(info.data["rule"], info.data["parameter"])
    except KeyError:
        return None


def _value(raw: object, info: ValidationInfo) -> object:
    return _read(raw, info, Parameter.read)


def _step(raw: object, info: ValidationInfo) -> object:
    return _read(raw, info, lambda parameter, value: step_of(parameter).read(value))


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
    """A parameter and the values to try in turn: all of `values`, or those from `from` to `to` in steps of `step`."""

    model_config = ConfigDict(
        json_schema_extra={
            # A keyword "oneOf" at the top would be two types in generated clients; they pass over these.
            "dependentRequired": {"from": ["to", "step"], "to": ["from", "step"], "step": ["from", "to"]},
            "dependentSchemas": exactly_one("rule", ["values"], ["from", "to", "step"])
            | {
                "parameter": {
                    "anyOf": [
                        {"properties": {"rule": {"enum": [code]}, "parameter": {"enum": list(rule.defaults())}}}
                        for code, rule in REGISTRY.items()
                    ]
                }
            },
        }
    )

    rule: Annotated[int, AfterValidator(_known_rule), Field(description="The code of the rule.")]
    parameter: Annotated[str, AfterValidator(_parameter_name), Field(description="The name of one of its parameters.")]
    first: Annotated[_Value, optional("The first value.")] = Field(None, alias="from")
    last: Annotated[_Value, optional("The last value, or the limit if no step ends on it. May be below from.")] = Field(
        None, alias="to"
    )
    step: Annotated[_Step, optional("The distance between two values.")] = None
    values: Annotated[tuple[_Value, ...], Field(min_length=1, max_length=MOST_STEPS, strict=False), optional()] = ()

    def in_turn(self) -> tuple[Value, ...]:
        """The values in turn. Raises ValueError if there are too many."""
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


def _one_of_the_rules(sweep: SweepRequest, info: ValidationInfo) -> SweepRequest:
    rules = info.data.get("rules")
    if rules is not None and sweep.rule not in rules.by_code():
        raise PydanticCustomError("sweep", "must sweep one of the rules")
    return sweep


def _of_a_sweep(at_most: int, info: ValidationInfo) -> int:
    if info.data.get("sweep", at_most) is None:  # a bad sweep is not in the data at all
        raise PydanticCustomError("at_most", "needs a sweep")
    return at_most


class BacktestRequest(Payload):
    """Which rules to judge by over which period. Without `rules`, the rule of the sweep, or else all active rules."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_REQUEST], "dependentRequired": {"at_most_per_day": ["sweep"]}}
    )

    rules: Candidates | None = not_null("The rules to judge by. A sweep is of one of them.")
    start: Annotated[Seconds, optional("Alerts count from this time on.")] = Field(0, alias="from")
    end: Annotated[
        Seconds, AfterValidator(not_before), optional("Alerts count up to this time, which is not before from.")
    ] = Field(LAST_TIME, alias="to")
    sweep: SweepRequest | None = not_null("A parameter to try with several values.")
    at_most_per_day: Annotated[
        Seconds,
        AfterValidator(_of_a_sweep),
        optional("Only with a sweep: find the first value of the sweep with at most this many alerts per day."),
    ] = 0


# What validates it: for each rule, only its own parameters.
BacktestWanted: type[BacktestRequest] = create_model(
    "BacktestWanted",
    __base__=BacktestRequest,
    rules=left_out(CandidatesRequest),
    sweep=(Annotated[SweepRequest, BeforeValidator(json_object), AfterValidator(_one_of_the_rules), optional()], None),
)


class BacktestsQuery(Page):
    """Which page of the backtests."""

    cursor: Annotated[str, cursor_of(1)] = ""
