"""Requests that set rules. What the parameters of a rule accept follows from its declaration."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    TypeAdapter,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import CoreSchema, PydanticCustomError

from routes.schemas.fields import DECIMAL_TEXT, Name, Page, cursor_of, not_null, optional
from routes.schemas.rule_answers import RuleAnswer
from routes.schemas.words import RuleStatus
from rules.base import Rule
from rules.model import RISKS, Value
from rules.parameters import Parameter, written_values
from rules.payload import Payload, validator
from rules.registry import REGISTRY
from rules.versions import WantedSetting

Author = Annotated[
    Name | None, Field(description="The name of the caller's key, which makes the change. Nobody else can be named.")
]
Note = Annotated[
    Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")] | None, Field(description="Why it is changed.")
]


def _any_parameters(schema: dict[str, Any]) -> None:
    # Bounds of numbers hold for text too, which JSON Schema cannot say.
    del schema["properties"]
    schema["additionalProperties"] = {"anyOf": [DECIMAL_TEXT, {"type": "number", "minimum": 0}]}


class ParameterValues(Payload):
    """Values of a rule's parameters by name; what is left out stays as it is.

    Money and factors are text such as "42.00", or numbers written with at most two decimals; counts and seconds are
    whole numbers. `GET /rules` says which parameters a rule has, and the bounds of each, which hold for text too.
    Values that contradict each other, so that the rule could never fire, are refused.
    """

    model_config = ConfigDict(json_schema_extra=_any_parameters)

    def values(self) -> dict[str, Value]:
        """The values that were sent."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


class GroupsRequest(Payload):
    """Groups of parameter values; the name of each group is a rating or a rule's code."""

    def values(self) -> dict[str, dict[str, Value]]:
        """The values that were sent, by the name of their group; empty groups are left out."""
        groups = ((field.alias or name, getattr(self, name)) for name, field in type(self).model_fields.items())
        return {name: values for name, group in groups if group is not None and (values := group.values())}

    def written(self) -> dict[str, dict[str, str | int]]:
        """The same in their JSON form."""
        return {name: written_values(values) for name, values in self.values().items()}


class RiskParameters(GroupsRequest):
    """Values of a rule's parameters that differ for users with a given rating."""

    low: ParameterValues | None = not_null("For users whose risk is low.")
    normal: ParameterValues | None = not_null("For users whose risk is normal.")
    high: ParameterValues | None = not_null("For users whose risk is high.")


def _reads(parameter: Parameter) -> BeforeValidator:
    return BeforeValidator(validator(parameter.read))


def _schema(parameter: Parameter) -> JsonDict:
    least, most, default = (written_values({"": v})[""] for v in (parameter.least, parameter.most, parameter.default))
    # No keyword "default": tools would fill it in, but what is left out is not set to the default.
    described: JsonDict = {"description": f"{parameter.why} {least} to {most}; as declared {default}."}
    if parameter.is_decimal:
        number: JsonDict = {"type": "number", "minimum": float(least), "maximum": float(most)}
        return described | {"anyOf": [DECIMAL_TEXT, number]}
    return described | {"type": "integer", "minimum": least, "maximum": most}


def declared_schema(rule: Rule) -> dict[str, Any]:
    """What the rule takes for its parameters, as JSON Schema."""
    properties = {one.name: _schema(one) for one in rule.declared}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def map_by_code(
    core_schema: CoreSchema,
    handler: GetJsonSchemaHandler,
    member: type[BaseModel],
    exact: Callable[[Rule], dict[str, Any]],
) -> dict[str, Any]:
    """The schema, as `handler` writes it, of an object whose members are named by the codes of rules.

    Generators of clients see one type for the members of all rules, `member`. What `exact` says of those of each rule
    stands in a keyword that they pass over.
    """
    written = handler(core_schema)
    schema = handler.resolve_ref_schema(written)
    schema.pop("properties", None)
    schema |= handler(TypeAdapter(dict[str, member]).core_schema)  # type: ignore[valid-type]
    schema["propertyNames"] = {"enum": [str(code) for code in REGISTRY]}
    schema["dependentSchemas"] = {
        str(code): {"properties": {str(code): exact(rule)}} for code, rule in REGISTRY.items()
    }
    return written


def json_object(value: object) -> object:
    """Lets through only what is a JSON object."""
    if not isinstance(value, dict):
        raise PydanticCustomError("object", "must be an object")
    return value


def left_out(model: type[BaseModel], alias: str | None = None) -> Any:
    """The declaration and default, for `create_model`, of an object that may be left out."""
    # None only marks what is left out; it is not a value that a caller may send, so the schema omits it.
    return Annotated[model, BeforeValidator(json_object), optional()], Field(default=None, alias=alias)


def _parameters(rule: Rule) -> type[ParameterValues]:
    fields: dict[str, Any] = {
        one.name: (
            Annotated[object, _reads(one), WithJsonSchema(_schema(one)), optional()],
            None,
        )
        for one in rule.declared
    }
    doc = f"Parameters of rule {rule.code}."
    return create_model(f"Parameters{rule.code}", __base__=ParameterValues, __doc__=doc, **fields)


def _by_risk(rule: Rule) -> type[GroupsRequest]:
    fields: dict[str, Any] = {risk: left_out(PARAMETERS[rule.code]) for risk in RISKS}
    doc = f"Parameters of rule {rule.code} that differ for users with a given rating."
    return create_model(f"ByRisk{rule.code}", __base__=RiskParameters, __doc__=doc, **fields)


PARAMETERS: Mapping[int, type[ParameterValues]] = {code: _parameters(rule) for code, rule in REGISTRY.items()}


class ChangeRequest(Payload):
    """A change of something. What is left out stays as it is, so a change that names nothing is a mistake."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("change", "must name something to change")
        return self


_SET: JsonDict = {"status": "active", "parameters": {"threshold": "150.00"}, "note": "Too quiet."}


class RuleRequest(ChangeRequest):
    """What to set a rule to. What is left out stays as it is; `by_risk` is replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "examples": [_SET]})

    # What was read can be changed and sent back once these are taken out.
    read_only: ClassVar = frozenset(RuleAnswer.model_fields) - {"status", "parameters", "by_risk", "note", "author"}

    status: Annotated[RuleStatus, optional()] = "off"
    parameters: ParameterValues | None = not_null()
    by_risk: RiskParameters | None = not_null()
    note: Note = None
    author: Author = None

    def setting(self, who: str) -> WantedSetting:
        """The request in the domain's own terms; `who` makes it."""
        return WantedSetting(
            status=self.status if "status" in self.model_fields_set else None,
            parameters=self.parameters.values() if self.parameters else {},
            by_risk=None if self.by_risk is None else self.by_risk.values(),
            author=who,
            note=self.note or None,
        )


def _change(rule: Rule) -> type[RuleRequest]:
    shown = written_values(rule.defaults())
    fields: dict[str, Any] = {"parameters": left_out(PARAMETERS[rule.code]), "by_risk": left_out(_by_risk(rule))}
    return create_model(
        f"Rule{rule.code}Request",
        __base__=RuleRequest,
        __doc__=f"What to set rule {rule.code} to ({rule.titled(shown)}, as declared).",
        **fields,
    )


CHANGES: Mapping[int, type[RuleRequest]] = {code: _change(rule) for code, rule in REGISTRY.items()}


class VersionsQuery(Page):
    """Which page of a rule's versions."""

    cursor: Annotated[str, cursor_of(1)] = ""
