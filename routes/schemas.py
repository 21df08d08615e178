"""Requests and answers: the models that validate them are also the source of the OpenAPI document."""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from routes.json_body import Number
from routes.problems import FieldProblem
from rules.model import ActionType, Event, Risk

MAX_ID = 2**63 - 1
CENT = Decimal("0.01")

_MONEY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})?")
_NUMBER_SCHEMA = {"type": "number", "maximum": 999999999999.99, "multipleOf": 0.01}


def _money(value: object) -> Decimal:
    # Decimal itself takes "1e3", " 42 ", "4_2" and other scripts' digits, so the text is checked first; a
    # number counts as it was written.
    text = value.text if isinstance(value, Number) else str(value)
    if isinstance(value, bool) or not isinstance(value, (str, int, Number)) or not _MONEY.fullmatch(text):
        raise PydanticCustomError("money", 'must be 1 to 12 digits with at most 2 decimals, such as "42.00"')
    return Decimal(text).quantize(CENT)


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise PydanticCustomError("money", "must be greater than 0")
    return value


Amount = Annotated[
    Decimal,
    BeforeValidator(_money),
    AfterValidator(_positive),
    WithJsonSchema(
        {
            "description": "Money over 0 with at most two decimals. Text is exact; a plain number is tolerated.",
            "anyOf": [
                {"type": "string", "pattern": r"^(?=.*[1-9])[0-9]{1,12}(\.[0-9]{1,2})?$"},
                _NUMBER_SCHEMA | {"exclusiveMinimum": 0},
            ],
        }
    ),
]
OpeningBalance = Annotated[
    Decimal,
    BeforeValidator(_money),
    WithJsonSchema(
        {
            "description": "Money, 0 or more, with at most two decimals. Text is exact; a plain number is tolerated.",
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,2})?$"},
                _NUMBER_SCHEMA | {"minimum": 0},
            ],
            "default": "0.00",
        }
    ),
]
MoneyText = Annotated[str, Field(pattern=r"^-?[0-9]+\.[0-9]{2}$")]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Seconds = Annotated[int, Field(ge=0, le=MAX_ID)]
EventId = Annotated[str, Field(pattern=r"^[ -~]{1,128}$")]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]  # PostgreSQL stores no NUL


def _optional(description: str | None = None, pattern: str | None = None) -> Any:
    # The default stands for "not given": it is no value that a caller may send, so it is kept from the schema.
    return Field(description=description, pattern=pattern, json_schema_extra=lambda schema: schema.pop("default", None))


class Request(BaseModel):
    """A payload from outside: types are taken as they are, unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


def _event_schema(schema: dict[str, Any]) -> None:
    # Either name of the time, never both. Two whole objects, as readers of the document choose one and fill it in.
    properties, required = schema.pop("properties"), schema.pop("required")
    time = properties.pop("time")
    required.remove("time")
    del schema["type"]

    def with_time_as(name: str, never: str) -> dict[str, Any]:
        return {
            "title": f"With {name}",
            "type": "object",
            "properties": properties | {name: time | {"title": name.title()}},
            "required": [*required, name],
            "not": {"required": [never]},
        }

    schema["oneOf"] = [with_time_as("time", never="t"), with_time_as("t", never="time")]
    schema["examples"] = [{"type": "deposit", "amount": "42.00", "user_id": 1, "time": 10}]


class EventRequest(Request):
    """One deposit or withdrawal of one user."""

    model_config = ConfigDict(json_schema_extra=_event_schema)

    type: ActionType
    amount: Amount
    user_id: Id
    time: Annotated[Seconds, Field(validation_alias=AliasChoices("time", "t"), description="Seconds.")]
    event_id: Annotated[EventId, _optional("Your own id of this event: posted again, it is not stored again.")] = ""

    def event(self) -> Event:
        """The event in the domain's own terms."""
        return Event(self.user_id, self.type, self.amount, self.time, self.event_id or None)


def named_twice(data: dict[str, Any]) -> list[FieldProblem]:
    """The time of an event may be called `time` or `t`, but not both at once."""
    return [FieldProblem("/t", "must not stand beside time: it means the same")] if data.keys() >= {"time", "t"} else []


class Decision(BaseModel):
    """What an event raised: the codes of its alerts in the order of the rules, none when all is well."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"alert": True, "alert_codes": [30, 123], "user_id": 1}]},
    )

    alert: bool
    alert_codes: list[int]
    user_id: Id


class UserRequest(Request):
    """A new user. Every field is optional; without `user_id` the service gives a free one."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Ada", "total": "100.00", "risk": "normal", "user_id": 7}]}
    )

    user_id: Annotated[Id, _optional()] = 0
    name: Annotated[Name, _optional()] = ""
    total: OpeningBalance = Decimal("0.00")
    risk: Risk = "normal"


class UserAnswer(BaseModel):
    """A user. `total` is the opening balance; `balance` adds deposits and takes withdrawals off."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": 7, "name": "Ada", "total": "100.00", "balance": "142.00", "risk": "normal"}]
        }
    )

    id: Id
    name: str | None
    total: MoneyText
    balance: MoneyText
    risk: Risk


class ActionAnswer(BaseModel):
    """One stored action; `seq` counts its user's actions in their order of arrival, from 1."""

    seq: Id
    type: ActionType
    amount: MoneyText
    time: Seconds
    event_id: str | None


class ActionsAnswer(BaseModel):
    """A page of actions, newest first, and the cursor of the next page (null on the last one)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "actions": [{"seq": 1, "type": "deposit", "amount": "42.00", "time": 10, "event_id": None}],
                    "next": None,
                }
            ]
        }
    )

    actions: list[ActionAnswer]
    next: str | None


def _digits(value: object) -> object:
    # int() takes " 5 ", "5.0" and "1_0" too.
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,19}", value):
        raise PydanticCustomError("digits", "must be a whole number")
    return value


class ActionsQuery(BaseModel):
    """Which actions: a page size, where to go on, and bounds on `time` (seconds, both included)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    limit: Annotated[int, Field(ge=1, le=500), BeforeValidator(_digits)] = 50
    cursor: Annotated[str, _optional("The `next` of the page before.", pattern=r"^[0-9]{1,19}-[0-9]{1,19}$")] = ""
    start: Annotated[Seconds, BeforeValidator(_digits), Field(alias="from")] = 0
    end: Annotated[Seconds, BeforeValidator(_digits), Field(alias="to")] = MAX_ID


class HealthAnswer(BaseModel):
    """The state in one word."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: Literal["ok"]


class FieldProblemAnswer(BaseModel):
    """One bad field: a JSON pointer to it, and what is wrong."""

    pointer: str
    detail: str


class ProblemAnswer(BaseModel):
    """Every error looks like this (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblemAnswer] = []
    request_id: str
