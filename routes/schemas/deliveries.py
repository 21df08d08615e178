"""Requests and answers about what is sent to webhooks."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from database.delivery_lists import AttemptRow, DeliveryRow
from routes.schemas.answer_fields import Moment
from routes.schemas.fields import AlertId, Id, MomentText, Page, cursor_of, not_null, query_filter, without_none
from routes.schemas.webhooks import WebhookEvent
from rules.payload import Payload
from rules.values import alert_id
from work.webhooks import SentAgain

DeliveryStatus = TypeAliasType(
    "DeliveryStatus",
    Annotated[
        Literal["waiting", "delivered", "given_up"],
        Field(description="Waiting: for its first or next attempt. Given up: the last attempt has failed too."),
    ],
)


class QueuedAnswer(BaseModel):
    """A delivery that waits to be sent."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"delivery": 17}]})

    delivery: Annotated[Id, Field(description="Its id in the list of deliveries.")]


class ResendRequest(Payload):
    """What to send again: one delivery, or all that were made since a moment."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "dependentSchemas": {"delivery": {"maxProperties": 1}},
            "dependentRequired": {"from": ["since"]},
            "examples": [{"since": "2026-01-31T12:00:00Z"}],
        }
    )

    since: MomentText | None = not_null("All made at this moment (RFC 3339) or later, the oldest first.")
    start: Id | None = Field(
        None, alias="from", description="With `since`: the `next` of the answer before.", json_schema_extra=without_none
    )
    delivery: Id | None = not_null("The id of a delivery.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if any(getattr(self, name) is None for name in self.model_fields_set):
            raise PydanticCustomError("resend", "must not have null: leave it out")
        if (self.since is None) == (self.delivery is None):
            raise PydanticCustomError("resend", "must have either since or delivery")
        if self.start is not None and self.since is None:
            raise PydanticCustomError("resend", "must have from only with since")
        return self


class ResentAnswer(BaseModel):
    """How many deliveries wait to be sent again. With a `next` there are more: send that as `from`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"resent": 3, "next": None}]})

    resent: Annotated[int, Field(ge=0)]
    next: Id | None

    @classmethod
    def of(cls, done: SentAgain) -> Self:
        """The answer about what waits again."""
        return cls(resent=done.number, next=done.next_id)


class AttemptAnswer(BaseModel):
    """One attempt to send a message. Without `seconds` nobody knows how it ended."""

    n: Id
    at: Moment
    seconds: float | None
    status: Annotated[int | None, Field(description="The status of the answer, if there was one.")]
    error: Annotated[str | None, Field(description="Why it failed, if it did.")]

    @classmethod
    def of(cls, row: AttemptRow) -> Self:
        """The answer about a stored attempt."""
        return cls(n=row.n, at=row.began_at, seconds=row.seconds, status=row.status, error=row.error)


class DeliveryAnswer(BaseModel):
    """A message for one webhook, and the newest attempts to send it, newest first."""

    id: Id
    message_id: Annotated[str, Field(description="Its `webhook-id`, the same in every attempt.")]
    event: WebhookEvent
    alert_id: AlertId | None
    created_at: Moment
    status: DeliveryStatus
    attempts_made: Annotated[
        int, Field(ge=0, description="Attempts since it was made, or since it was last sent again.")
    ]
    next_at: Annotated[Moment | None, Field(description="When the next attempt is due, if it waits.")]
    finished_at: Moment | None
    attempts: list[AttemptAnswer]

    @classmethod
    def of(cls, row: DeliveryRow, attempts: Sequence[AttemptRow]) -> Self:
        """The answer about a stored delivery."""
        return cls.model_validate(
            {
                "id": row.delivery_id,
                "message_id": row.message_id,
                "event": row.event,
                "alert_id": None if row.user_id is None else alert_id(row.user_id, row.seq or 0, row.code or 0),
                "created_at": row.created_at,
                "status": row.status,
                "attempts_made": row.attempts,
                "next_at": row.next_at,
                "finished_at": row.finished_at,
                "attempts": [AttemptAnswer.of(one) for one in attempts],
            }
        )


class DeliveriesAnswer(BaseModel):
    """A page of deliveries, newest first, and the cursor of the next page (null on the last one)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "deliveries": [
                        {
                            "id": 17,
                            "message_id": "msg_Zk1cXq0bR9mUe3sH7vYwT4aL",
                            "event": "alert.created",
                            "alert_id": "7-3-123",
                            "created_at": "2026-01-31T12:00:00.000000Z",
                            "status": "delivered",
                            "attempts_made": 1,
                            "next_at": None,
                            "finished_at": "2026-01-31T12:00:01.000000Z",
                            "attempts": [
                                {
                                    "n": 1,
                                    "at": "2026-01-31T12:00:00.900000Z",
                                    "seconds": 0.1,
                                    "status": 200,
                                    "error": None,
                                }
                            ],
                        }
                    ],
                    "next": None,
                }
            ]
        }
    )

    deliveries: list[DeliveryAnswer]
    next: str | None


class DeliveriesQuery(Page):
    """Which deliveries, and which page of them."""

    status: Annotated[DeliveryStatus | None, query_filter("Deliveries with this status.", "given_up")] = None
    cursor: Annotated[str, cursor_of(1)] = ""
