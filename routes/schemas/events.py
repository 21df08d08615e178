"""Requests and answers: the models that validate them are also the source of the OpenAPI document."""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    WithJsonSchema,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from routes.http.json_body import Number
from routes.http.problems import FieldProblem
from rules.base import Origin
from rules.model import ActionType, Event, Risk

MAX_ID = 2**63 - 1
MAX_CODE = 2**31 - 1
MAX_EVENTS = 10_000  # in one request, which is one transaction of about a second
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
    overrides: Annotated[
        dict[str, dict[str, MoneyText | int]],
        _optional("Parameters of rules that hold for this user alone, by code; left out where there are none."),
    ] = {}


class UserChangedAnswer(UserAnswer):
    """A user after a change of rating or overrides."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    "name": "Ada",
                    "total": "100.00",
                    "balance": "142.00",
                    "risk": "high",
                    "overrides": {"1100": {"threshold": "50.00"}},
                }
            ]
        }
    )

    overrides: Annotated[dict[str, dict[str, MoneyText | int]], Field(description="There may be none.")]


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


def _cursor(numbers: int) -> Any:
    pattern = "-".join(["[0-9]{1,19}"] * numbers)
    return _optional("The `next` of the page before.", pattern=f"^{pattern}$")


class Page(BaseModel):
    """Which part of a list: a page size, and where to go on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    limit: Annotated[int, Field(ge=1, le=500), BeforeValidator(_digits)] = 50
    cursor: str = ""


class PageQuery(Page):
    """Which part of a list that goes by time, with bounds on `time` (seconds, both included)."""

    start: Annotated[Seconds, BeforeValidator(_digits), Field(alias="from")] = 0
    end: Annotated[Seconds, BeforeValidator(_digits), Field(alias="to")] = MAX_ID


class ActionsQuery(PageQuery):
    """Which actions of a user."""

    cursor: Annotated[str, _cursor(2)] = ""


AlertStatus = Literal["open", "acknowledged", "closed"]
Code = Annotated[int, Field(ge=1, le=MAX_CODE)]


def _flag(value: object) -> object:
    # bool() of pydantic takes "yes", "on", "1" and "T" too.
    if isinstance(value, str) and value not in ("true", "false"):
        raise PydanticCustomError("flag", "must be true or false")
    return value


def _filter(description: str) -> Any:
    # None stands for "not given": it is no value that a caller may send, so it is kept from the schema.
    def without_none(schema: dict[str, Any]) -> None:
        del schema["default"]
        schema |= schema.pop("anyOf")[0]

    return Field(description=description, json_schema_extra=without_none)


class AlertsQuery(PageQuery):
    """Which alerts: those that fit all filters given."""

    cursor: Annotated[str, _cursor(4)] = ""
    user_id: Annotated[Id | None, BeforeValidator(_digits), _filter("Of this user.")] = None
    code: Annotated[Code | None, BeforeValidator(_digits), _filter("Of this rule.")] = None
    status: Annotated[AlertStatus | None, _filter("In this state of work.")] = None
    risk: Annotated[Risk | None, _filter("Of users who have this rating now.")] = None
    late: Annotated[bool | None, BeforeValidator(_flag), _filter("Whether a late event raised them.")] = None
    superseded: Annotated[bool | None, BeforeValidator(_flag), _filter("Whether they no longer hold.")] = None
    shadow: Annotated[
        bool, BeforeValidator(_flag), Field(description="Those of rules that are tried out, in place of the others.")
    ] = False


AlertId = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,18}-[1-9][0-9]{0,18}-[1-9][0-9]{0,9}$")]

_ALERT: JsonDict = {
    "id": "7-3-123",
    "user_id": 7,
    "seq": 3,
    "code": 123,
    "title": "Deposits over 200.00 in 30 s",
    "time": 25,
    "type": "deposit",
    "amount": "120.00",
    "status": "open",
    "late": False,
    "superseded": False,
    "created_at": "2026-01-31T12:00:00.000000Z",
    "evidence": {
        "rule_version": 1,
        "measured": "220.00",
        "parameters": {"threshold": "200.00", "window": 30},
        "origin": {"threshold": "default", "window": "default"},
        "actions": [2, 3],
        "sentence": "Deposits of 220.00 between 10 and 25 are over 200.00 in 30 s.",
    },
}


class EvidenceAnswer(BaseModel):
    """Why the rule fired: what it measured, its parameters and their origin, and the `seq` of the actions behind it."""

    rule_version: int
    measured: MoneyText | int
    parameters: dict[str, MoneyText | int]
    origin: dict[str, Origin]
    actions: list[Id]
    actions_unlisted: Annotated[Id, _optional("How many older actions are behind it too.")] = 1
    sentence: str


class AlertAnswer(BaseModel):
    """One code on one action, with the evidence for it."""

    id: Annotated[AlertId, Field(description="user_id-seq-code")]
    user_id: Id
    seq: Annotated[Id, Field(description="The action's place in its user's order of arrival.")]
    code: Code
    title: str
    time: Annotated[Seconds, Field(description="The time of the action.")]
    type: ActionType
    amount: MoneyText
    status: AlertStatus
    late: Annotated[bool, Field(description="Raised by an event that arrived late, not answered with the action.")]
    superseded: Annotated[bool, Field(description="No longer holds, since an event arrived late.")]
    shadow: Annotated[Literal[True], _optional("By a rule that is tried out: it was not answered.")] = True
    created_at: AwareDatetime
    evidence: EvidenceAnswer


class AlertsAnswer(BaseModel):
    """A page of alerts, newest first, and the cursor of the next page (null on the last one)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"alerts": [_ALERT], "next": None}]})

    alerts: list[AlertAnswer]
    next: str | None


class AlertDetailAnswer(AlertAnswer):
    """One alert, with the changes of its status, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ALERT | {"history": []}]})

    history: list[dict[str, Any]]


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


# Many events

_LOUD: JsonDict = {"type": "withdraw", "amount": "150.00", "user_id": 1, "time": 20, "event_id": "order-18"}


class EventsRequest(RootModel[Annotated[list[EventRequest], Field(max_length=MAX_EVENTS)]]):
    """Deposits and withdrawals in the order in which they are judged."""

    model_config = ConfigDict(json_schema_extra={"examples": [[_LOUD, _LOUD, _LOUD | {"time": 30}]]})


class EventsQuery(BaseModel):
    """How the events of one request hang together."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    atomic: Annotated[bool, BeforeValidator(_flag), Field(description="Whether one bad event refuses all.")] = False


Index = Annotated[int, Field(ge=0, lt=MAX_EVENTS, description="Its place among the events of the request, from 0.")]
Count = Annotated[int, Field(ge=0, le=MAX_EVENTS)]


class EventDecision(BaseModel):
    """What became of an event that is stored."""

    model_config = ConfigDict(extra="forbid")

    index: Index
    alert: bool
    alert_codes: list[int]
    user_id: Id
    replayed: Annotated[Literal[True], _optional("It had been stored before under its event_id.")] = True


class EventProblem(BaseModel):
    """Why an event is not stored, as it would be said of it alone; status 424 where only others are bad."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblemAnswer] = []


class EventRefusal(BaseModel):
    """What became of an event that is not stored."""

    model_config = ConfigDict(extra="forbid")

    index: Index
    problem: EventProblem


class EventsAnswer(BaseModel):
    """How many events are stored and how many refused, and what became of each, in the order given."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "accepted": 2,
                    "rejected": 1,
                    "results": [
                        {"index": 0, "alert": True, "alert_codes": [1100], "user_id": 1},
                        {"index": 1, "alert": True, "alert_codes": [1100], "user_id": 1, "replayed": True},
                        {
                            "index": 2,
                            "problem": {
                                "type": "urn:problem:event-id-conflict",
                                "title": "Conflict",
                                "status": 409,
                                "detail": "This event_id came before with another payload.",
                            },
                        },
                    ],
                }
            ]
        }
    )

    accepted: Count
    rejected: Count
    results: list[EventDecision | EventRefusal]


class EventsProblemAnswer(ProblemAnswer):
    """Why no event is stored; where that is for the sake of some, with `atomic=true`, what is wrong with which."""

    accepted: Annotated[Literal[0], _optional()] = 0
    rejected: Annotated[Count, _optional()] = 0
    results: Annotated[list[EventRefusal], _optional()] = []
