"""The messages that webhooks get, for the OpenAPI document: `work/webhook_messages.py` makes them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from routes.schemas.answer_fields import Moment, may_be_absent
from routes.schemas.fields import AlertId, Code, Id, MoneyText, Seconds
from routes.schemas.words import ActionType, AlertOutcome, AlertStatus

_AT = "2026-01-31T12:00:00.000000Z"
_DATA: JsonDict = {
    "alert_id": "7-3-123",
    "user_id": 7,
    "seq": 3,
    "code": 123,
    "time": 25,
    "title": "Deposits over 200.00 in 30 s",
    "sentence": "Deposits over 200.00 in 30 s.",
    "late": False,
}
_CHANGE: JsonDict = {
    "status": "closed",
    "outcome": "false_positive",
    "assignee": "Ada",
    "snoozed_until": None,
    "changed": ["status", "outcome"],
    "who": "Ada",
}

_HAPPENED = Field(description="When it happened.")


class ToldAlertData(BaseModel):
    """Which alert it is. `type`, `amount` and `measured` are there if the webhook has `amounts`."""

    alert_id: AlertId
    user_id: Id
    seq: Annotated[Id, Field(description="The action's number among its user's actions, in order of arrival.")]
    code: Code
    time: Annotated[Seconds, Field(description="The time of the action.")]
    title: Annotated[str, Field(description="What the rule raises, with what it was set to then.")]
    sentence: Annotated[
        str, Field(description="Why the alert was raised; without `amounts` the title, which has none of the user's.")
    ]
    late: Annotated[bool, Field(description="Raised later by a late event, so not in the answer to its action.")]
    type: ActionType | None = may_be_absent()
    amount: MoneyText | None = may_be_absent("Of the action.")
    measured: MoneyText | int | None = Field(
        None, description="What the rule measured.", exclude_if=lambda value: value is None, json_schema_extra=None
    )
    previous_id: Annotated[
        str | None,
        Field(description="The `webhook-id` of the message before it about this user; null if none is on record."),
    ]


class ToldChangeData(ToldAlertData):
    """Which alert it is, what people have made of it, and what of that has changed."""

    status: AlertStatus
    outcome: AlertOutcome | None
    assignee: str | None
    snoozed_until: Moment | None
    changed: Annotated[
        list[Literal["status", "outcome", "assignee", "snoozed_until", "note"]],
        Field(description="What has changed; of a note only that there is one."),
    ]
    who: Annotated[str, Field(description="The name of the key that changed it.")]


class ToldTestData(BaseModel):
    """What a test says."""

    webhook_id: Id
    sentence: str


class AlertMessage(BaseModel):
    """An alert was raised, no longer holds because of a late event, or holds again."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"type": "alert.created", "timestamp": _AT, "data": {**_DATA, "previous_id": None}}]
        }
    )

    type: Literal["alert.created", "alert.superseded", "alert.reinstated"]
    timestamp: Annotated[Moment, _HAPPENED]
    data: ToldAlertData


class AlertChangedMessage(BaseModel):
    """Somebody has worked an alert."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "alert.changed",
                    "timestamp": _AT,
                    "data": {**_DATA, **_CHANGE, "previous_id": "msg_Zk1cXq0bR9mUe3sH7vYwT4aL"},
                }
            ]
        }
    )

    type: Literal["alert.changed"]
    timestamp: Annotated[Moment, _HAPPENED]
    data: ToldChangeData


class WebhookTestMessage(BaseModel):
    """A test: nothing has happened."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "webhook.test",
                    "timestamp": _AT,
                    "data": {"webhook_id": 1, "sentence": "This is a test: nothing happened."},
                }
            ]
        }
    )

    type: Literal["webhook.test"]
    timestamp: Annotated[Moment, _HAPPENED]
    data: ToldTestData


MESSAGES: dict[str, type[BaseModel]] = {
    "alert.created": AlertMessage,
    "alert.superseded": AlertMessage,
    "alert.reinstated": AlertMessage,
    "alert.changed": AlertChangedMessage,
    "webhook.test": WebhookTestMessage,
}
