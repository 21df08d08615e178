"""Requests and answers about what rules are set to. What a rule's parameters take follows from its declaration."""

from collections.abc import Mapping
from typing import Annotated, Any, Self, Union, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    WithJsonSchema,
    create_model,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from database.models import RuleVersion
from routes.http.json_body import Number
from routes.schemas.answer_fields import AsStored, Moment
from routes.schemas.fields import Code, Id, MoneyText, Name, Page, Request, cursor_of, optional
from rules.base import Rule, Status
from rules.model import RISKS, ActionType, Risk, Value
from rules.parameters import Parameter, Unit, written_values
from rules.registry import REGISTRY
from rules.versions import RuleChange, WantedSetting

_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,2})?$"

Author = Annotated[Name | None, Field(description="Who wants it so.")]
Note = Annotated[
    Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")] | None, Field(description="Why it is wanted so.")
]


# What is asked for


class ParametersRequest(Request):
    """Values of parameters; those that are left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    def values(self) -> dict[str, Value]:
        """The values that were sent."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


class GroupsRequest(Request):
    """Values of parameters under a name each, which is a rating or a rule's code."""

    model_config = ConfigDict(extra="forbid")

    def values(self) -> dict[str, dict[str, Value]]:
        """The values that were sent, by that name; a name without any is left out."""
        groups = ((field.alias or name, getattr(self, name)) for name, field in type(self).model_fields.items())
        return {name: values for name, group in groups if group is not None and (values := group.values())}

    def written(self) -> dict[str, dict[str, str | int]]:
        """The same in their JSON form."""
        return {name: written_values(values) for name, values in self.values().items()}


def _read(parameter: Parameter) -> Any:
    def read(raw: object) -> Value:
        try:
            # A number counts as it was written.
            return parameter.read(raw.text if isinstance(raw, Number) and parameter.is_decimal else raw)
        except ValueError as error:
            raise PydanticCustomError("parameter", "{problem}", {"problem": str(error)}) from None

    return BeforeValidator(read)


def _schema(parameter: Parameter) -> JsonDict:
    least, most, default = (written_values({"": v})[""] for v in (parameter.least, parameter.most, parameter.default))
    # No keyword "default": tools fill it in, and what is left out here is not set to it.
    described: JsonDict = {"description": f"{parameter.why} {least} to {most}; as declared {default}."}
    if parameter.is_decimal:
        number: JsonDict = {"type": "number", "minimum": float(least), "maximum": float(most), "multipleOf": 0.01}
        return described | {"anyOf": [{"type": "string", "pattern": _PATTERN}, number]}
    return described | {"type": "integer", "minimum": least, "maximum": most}


def json_object(value: object) -> object:
    if not isinstance(value, dict):
        raise PydanticCustomError("object", "must be an object")
    return value


def left_out(model: type[BaseModel], alias: str | None = None) -> Any:
    # None stands for "not told": it is no value that a caller may send, so it is kept from the schema.
    return Annotated[model, BeforeValidator(json_object), optional()], Field(default=None, alias=alias)


def _parameters(rule: Rule) -> type[ParametersRequest]:
    fields: dict[str, Any] = {
        one.name: (Annotated[object, _read(one), WithJsonSchema(_schema(one)), optional()], None)
        for one in rule.declared
    }
    doc = f"Parameters of rule {rule.code}."
    return create_model(f"Parameters{rule.code}", __base__=ParametersRequest, __doc__=doc, **fields)


def _by_risk(rule: Rule) -> type[GroupsRequest]:
    fields: dict[str, Any] = {risk: left_out(PARAMETERS[rule.code]) for risk in RISKS}
    doc = f"Parameters of rule {rule.code} that differ for users of a rating."
    return create_model(f"ByRisk{rule.code}", __base__=GroupsRequest, __doc__=doc, **fields)


PARAMETERS: Mapping[int, type[ParametersRequest]] = {code: _parameters(rule) for code, rule in REGISTRY.items()}


class RuleSettingRequest(Request):
    """What to set a rule to, whichever it is."""

    status: Annotated[
        Status, optional("active: alerts and is answered. shadow: alerts are stored apart. off: judges nothing.")
    ] = "off"
    parameters: ParametersRequest | None = None
    by_risk: GroupsRequest | None = None
    note: Note = None
    author: Author = None

    def setting(self) -> WantedSetting:
        """What is wanted, in the domain's own terms."""
        return WantedSetting(
            status=self.status if "status" in self.model_fields_set else None,
            parameters=self.parameters.values() if self.parameters else {},
            by_risk=None if self.by_risk is None else self.by_risk.values(),
            author=self.author,
            note=self.note or None,
        )


def _change(rule: Rule) -> type[RuleSettingRequest]:
    shown = written_values(rule.defaults())
    fields: dict[str, Any] = {"parameters": left_out(PARAMETERS[rule.code]), "by_risk": left_out(_by_risk(rule))}
    return create_model(
        f"Rule{rule.code}Request",
        __base__=RuleSettingRequest,
        __doc__=f"What to set rule {rule.code} to ({rule.title.format_map(shown)}, as declared).",
        **fields,
    )


CHANGES: Mapping[int, type[RuleSettingRequest]] = {code: _change(rule) for code, rule in REGISTRY.items()}

_ANY_CHANGE: Any = Union[tuple(CHANGES.values())]  # noqa: UP007
_SET: JsonDict = {"status": "active", "parameters": {"threshold": "150.00"}, "note": "Too quiet.", "author": "Ada"}

RuleRequest: type[BaseModel] = create_model(
    "RuleRequest",
    __base__=RootModel,
    __doc__="What to set a rule to: its own kind of request. What is left out stays as it is.",
    root=(_ANY_CHANGE, Field(json_schema_extra={"examples": [_SET]})),
)


class VersionsQuery(Page):
    """Which part of a rule's versions."""

    cursor: Annotated[str, cursor_of(1)] = ""


# What is answered


WrittenAnswer = dict[str, MoneyText | int]

_TODAY = "2026-01-31T12:00:00.000000Z"
_SETTING: JsonDict = {
    "status": "active",
    "version": 1,
    "parameters": {"threshold": "100.00"},
    "by_risk": {},
    "author": None,
    "note": None,
    "created_at": _TODAY,
}
_RULE: JsonDict = {
    "code": 1100,
    "title": "Withdrawal over 100.00",
    **_SETTING,
    "fires_on": "withdraw",
    "declared": [
        {
            "name": "threshold",
            "unit": "money",
            "default": "100.00",
            "least": "0.00",
            "most": "999999999999.99",
            "scaled": True,
            "why": "Larger withdrawals are rare enough to look at each.",
        }
    ],
    "figures": {"alerts": 0, "shadow_alerts": 0, "among": 100_000},
}


class RuleVersionAnswer(BaseModel):
    """What a rule was set to, by whom and why; author null: it follows from its declaration and the setting RULES."""

    status: Status
    version: Annotated[Id, Field(description="Counts what the rule was set to, from 1.")]
    parameters: Annotated[dict[str, Any], AsStored(WrittenAnswer)]
    by_risk: Annotated[
        dict[str, Any], AsStored(dict[Risk, WrittenAnswer]), Field(description="What differs for users of a rating.")
    ]
    author: str | None
    note: str | None
    created_at: Moment

    @classmethod
    def of(cls, row: RuleVersion) -> Self:
        """The answer about a stored version."""
        return cls(
            status=cast(Status, row.status),
            version=row.version,
            parameters=row.parameters,
            by_risk=row.by_risk,
            author=row.author,
            note=row.note,
            created_at=row.created_at,
        )


class RuleVersionsAnswer(BaseModel):
    """A page of a rule's versions, newest first, and the cursor of the next page (null on the last one)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"versions": [_SETTING], "next": None}]})

    versions: list[RuleVersionAnswer]
    next: str | None


class ParameterAnswer(BaseModel):
    """A parameter as declared: what it counts, its bounds (both included), and why that default."""

    name: str
    unit: Unit
    default: MoneyText | int
    least: MoneyText | int
    most: MoneyText | int
    scaled: Annotated[bool, Field(description="Whether a user's rating scales the value.")]
    why: str

    @classmethod
    def of(cls, parameter: Parameter) -> Self:
        """The answer about a parameter that a rule declares."""
        bounds = {"default": parameter.default, "least": parameter.least, "most": parameter.most}
        return cls(
            name=parameter.name,
            unit=parameter.unit,
            scaled=parameter.scaled,
            why=parameter.why,
            **written_values(bounds),
        )


class FiguresAnswer(BaseModel):
    """How many of the newest `among` alerts of all rules are this rule's and stand."""

    alerts: int
    shadow_alerts: int
    among: int


class TitledAnswer(BaseModel):
    """A rule's code and its title."""

    code: Code
    title: str


# Pydantic takes the members of the last base first.
class RuleAnswer(RuleVersionAnswer, TitledAnswer):
    """A rule as it is set now."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RULE]})

    fires_on: Annotated[ActionType | None, Field(description="The type of action that it judges; null: any.")]
    declared: list[ParameterAnswer]
    figures: FiguresAnswer

    @classmethod
    def now(cls, change: RuleChange, figures: FiguresAnswer) -> Self:
        """The answer about a rule whose newest change is `change`."""
        setting = change.setting
        parameters = written_values(setting.parameters)
        assert change.created_at is not None
        return cls(
            code=setting.code,
            title=setting.rule.title.format_map(parameters),
            status=setting.status,
            version=setting.version,
            parameters=parameters,
            by_risk={risk: written_values(values) for risk, values in setting.by_risk.items()},
            author=change.author,
            note=change.note,
            created_at=change.created_at,
            fires_on=setting.rule.fires_on,
            declared=[ParameterAnswer.of(parameter) for parameter in setting.rule.declared],
            figures=figures,
        )


class RulesAnswer(BaseModel):
    """All rules as they are set now, in the order in which an answer to an event lists their codes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rules": [_RULE]}]})

    rules: list[RuleAnswer]
