"""Answers about what rules are set to, now and before."""

from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from database.models import RuleVersion
from routes.schemas.answer_fields import AsStored, Moment, ParametersAnswer
from routes.schemas.fields import Code, Id, MoneyText
from routes.schemas.words import ActionType, Risk, RuleStatus, Unit
from rules.base import Status
from rules.parameters import Parameter, written_values
from rules.versions import RuleChange

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
    """What a rule was set to, by whom and why. Author null: by the service, from the declaration and setting RULES."""

    status: RuleStatus
    version: Annotated[Id, Field(description="The number of the version, counted from 1 for each rule.")]
    parameters: Annotated[dict[str, Any], AsStored(ParametersAnswer)]
    by_risk: Annotated[
        dict[str, Any],
        AsStored(dict[Risk, ParametersAnswer]),
        Field(description="Values that differ for users with a given rating."),
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
    """A parameter as declared: its unit, its default and bounds (both included), and the reason for the default."""

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
    """How many of the newest `among` alerts of all rules are this rule's and still stand."""

    alerts: int
    shadow_alerts: int
    among: int


class TitledAnswer(BaseModel):
    """A rule's code and its title."""

    code: Code
    title: str


# pydantic puts the members of the last base first.
class RuleAnswer(RuleVersionAnswer, TitledAnswer):
    """A rule as it is set now."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RULE]})

    fires_on: Annotated[ActionType | None, Field(description="The type of action it fires on; null: any.")]
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
            title=setting.rule.titled(parameters),
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
