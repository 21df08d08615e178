"""Queries and answers about alerts."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict

from routes.schemas.fields import (
    AlertId,
    Code,
    Id,
    MoneyText,
    PageQuery,
    Seconds,
    cursor_of,
    digits,
    flag,
    optional,
    query_filter,
)
from rules.base import Origin
from rules.model import ActionType, Risk

AlertStatus = Literal["open", "acknowledged", "closed"]


class AlertsQuery(PageQuery):
    """Which alerts: those that fit all filters given."""

    cursor: Annotated[str, cursor_of(4)] = ""
    user_id: Annotated[Id | None, BeforeValidator(digits), query_filter("Of this user.")] = None
    code: Annotated[Code | None, BeforeValidator(digits), query_filter("Of this rule.")] = None
    status: Annotated[AlertStatus | None, query_filter("In this state of work.")] = None
    risk: Annotated[Risk | None, query_filter("Of users who have this rating now.")] = None
    late: Annotated[bool | None, BeforeValidator(flag), query_filter("Whether a late event raised them.")] = None
    superseded: Annotated[bool | None, BeforeValidator(flag), query_filter("Whether they no longer hold.")] = None
    shadow: Annotated[
        bool, BeforeValidator(flag), Field(description="Those of rules that are tried out, in place of the others.")
    ] = False


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
    actions_unlisted: Annotated[Id, optional("How many older actions are behind it too.")] = 1
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
    shadow: Annotated[Literal[True], optional("By a rule that is tried out: it was not answered.")] = True
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
