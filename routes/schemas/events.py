"""Requests and answers about events."""

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, RootModel
from pydantic.config import JsonDict

from routes.schemas.alerts import EvidenceAnswer
from routes.schemas.answer_fields import AsStored, may_be_absent
from routes.schemas.fields import AMOUNT, WHOLE, Code, EventId, Id, Query, Seconds, exactly_one, flag, optional
from routes.schemas.problems import FieldProblemAnswer, ProblemAnswer
from routes.schemas.words import ActionType
from rules.payload import EventPayload

MAX_EVENTS = 10_000  # in one request, which is one transaction and takes about a second

EVENT_EXAMPLE: JsonDict = {"type": "withdraw", "amount": "150.00", "user_id": 7, "time": 10}


def _event_schema(schema: dict[str, Any]) -> None:
    properties = schema["properties"]
    properties["amount"] = AMOUNT
    properties["t"] = properties["time"] | {"deprecated": True, "description": "The same as time: send one of them."}
    # Either name for the time, never both. A keyword "oneOf" at the top would be two types in generated clients, which
    # pass over this one.
    schema["required"].remove("time")
    schema["dependentSchemas"] = exactly_one("user_id", ["time"], ["t"])
    schema["examples"] = [EVENT_EXAMPLE]


class EventRequest(EventPayload):
    """One deposit or withdrawal of one user. Members that are not listed are ignored."""

    model_config = ConfigDict(json_schema_extra=_event_schema)

    type: ActionType
    user_id: Annotated[Id, Field(description=f"Whose it is: {WHOLE}, 1 to 2^63-1.")]
    time: Annotated[
        Seconds,
        Field(
            validation_alias=AliasChoices("time", "t"),
            description=f"When it happened, in seconds: {WHOLE}, 0 to 2^63-1. Required, unless t stands for it.",
        ),
    ]
    event_id: Annotated[
        EventId, optional("Your own id of this event. If you post the same event again, it is not stored again.")
    ] = ""


class EventQuery(Query):
    """Whether an event is stored."""

    dry_run: Annotated[
        bool, BeforeValidator(flag), Field(description="Judge the event as it would be now, and store nothing.")
    ] = False


class DryRunAlert(BaseModel):
    """An alert that the event would raise, or raised when it was stored, and the evidence for it."""

    code: Code
    title: str
    evidence: Annotated[dict[str, Any], AsStored(EvidenceAnswer)]


class Decision(BaseModel):
    """What an event raised: the codes of its alerts in the order of the rules, none if all is well."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"alert": True, "alert_codes": [1100], "user_id": 7}]},
    )

    alert: bool
    alert_codes: list[int]
    user_id: Id
    dry_run: bool | None = may_be_absent("Always true. It was not stored.")
    alerts: list[DryRunAlert] | None = may_be_absent("With `dry_run`, an alert for each code, in the same order.")


# Many events

_LOUD: JsonDict = {"type": "withdraw", "amount": "150.00", "user_id": 1, "time": 20, "event_id": "order-18"}


class EventsRequest(RootModel[Annotated[list[EventRequest], Field(max_length=MAX_EVENTS)]]):
    """Deposits and withdrawals, in the order in which to judge them."""

    model_config = ConfigDict(json_schema_extra={"examples": [[_LOUD, _LOUD, _LOUD | {"time": 30}]]})


class EventsQuery(Query):
    """Whether the events of one request are stored independently."""

    atomic: Annotated[bool, BeforeValidator(flag), Field(description="Store nothing if one event is bad.")] = False


Index = Annotated[int, Field(ge=0, lt=MAX_EVENTS, description="The event's place in the request, from 0.")]


Count = Annotated[int, Field(ge=0, le=MAX_EVENTS)]


class EventDecision(BaseModel):
    """The outcome of an event that is stored."""

    model_config = ConfigDict(extra="forbid")

    index: Index
    alert: bool
    alert_codes: list[int]
    user_id: Id
    replayed: bool | None = may_be_absent("Always true. It was already stored under this event_id.")


class EventProblem(BaseModel):
    """Why an event is not stored, as if it were posted alone; status 424 if only others are bad."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblemAnswer] | None = may_be_absent()


class EventRefusal(BaseModel):
    """The outcome of an event that is not stored."""

    model_config = ConfigDict(extra="forbid")

    index: Index
    problem: EventProblem


class EventsAnswer(BaseModel):
    """How many events are stored and how many are refused, and the outcome of each, in the order given."""

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
    """Why no event is stored; with `atomic=true`, if that is because of some bad events, what is wrong with each."""

    accepted: Count | None = may_be_absent("Always 0.")
    rejected: Count | None = may_be_absent()
    results: list[EventRefusal] | None = may_be_absent()
