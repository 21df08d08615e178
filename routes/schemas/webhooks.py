"""Requests and answers about webhooks, and the messages that they get."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from database.delivery_lists import COUNTED, WaitingDeliveries
from database.webhooks import WebhookRow
from routes.schemas.answer_fields import Moment
from routes.schemas.fields import (
    Code,
    Id,
    optional,
)
from routes.schemas.rules import ChangeRequest
from routes.schemas.words import Risk
from rules.model import RISKS
from rules.payload import Payload
from rules.registry import REGISTRY
from work.webhook_addresses import LONGEST_URL
from work.webhook_messages import EVENTS
from work.webhook_secrets import LENGTH
from work.webhooks import LONGEST_OVERLAP

OVERLAP_HOURS = int(LONGEST_OVERLAP.total_seconds() // 3600)

WebhookEvent = TypeAliasType(
    "WebhookEvent",
    Annotated[
        Literal["alert.created", "alert.superseded", "alert.reinstated", "alert.changed", "webhook.test"],
        Field(
            description="What happened. alert.created: raised. alert.superseded: no longer holds because of a late "
            "event. alert.reinstated: holds again. alert.changed: somebody worked it. webhook.test: nothing; "
            "it is sent only when it is asked for, whether it is listed or not."
        ),
    ],
)
assert WebhookEvent.__value__.__origin__.__args__ == EVENTS


def _each_once(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeated", "must not have the same one twice")
    return values


def _known(code: int) -> int:
    if code not in REGISTRY:
        raise PydanticCustomError("unknown_code", "must be the code of a rule")
    return code


_UNIQUE: JsonDict = {"uniqueItems": True}
Url = Annotated[str, Field(min_length=1, max_length=LONGEST_URL)]
_Code = Annotated[int, AfterValidator(_known), WithJsonSchema({"type": "integer", "enum": list(REGISTRY)})]
WebhookEvents = TypeAliasType(
    "WebhookEvents",
    Annotated[
        list[WebhookEvent],
        AfterValidator(_each_once),
        Field(min_length=1, max_length=len(EVENTS), description="Of what it is told.", json_schema_extra=_UNIQUE),
    ],
)
WebhookCodes = TypeAliasType(
    "WebhookCodes",
    Annotated[
        list[_Code],
        AfterValidator(_each_once),
        Field(min_length=1, max_length=len(REGISTRY), description="Codes of rules.", json_schema_extra=_UNIQUE),
    ],
)
WebhookRatings = TypeAliasType(
    "WebhookRatings",
    Annotated[
        list[Risk],
        AfterValidator(_each_once),
        Field(min_length=1, max_length=len(RISKS), description="Ratings of users.", json_schema_extra=_UNIQUE),
    ],
)

_URL = "Where messages are posted: https, or what the settings allow. No user or password in it."
_CODES = "Only alerts of these rules. Null or left out: of all."
_RISK = "Only alerts of users who have one of these ratings then. Null or left out: of all."
_AMOUNTS = "Whether messages may contain amounts of money; false if it is left out."


class WebhookRequest(Payload):
    """A new webhook: where to, and what it is to be told."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": "https://example.com/alerts",
                    "events": ["alert.created", "alert.superseded", "alert.reinstated"],
                    "codes": [1100, 30],
                    "risk": ["high"],
                    "amounts": False,
                }
            ]
        }
    )

    url: Annotated[Url, Field(description=_URL)]
    events: WebhookEvents
    codes: Annotated[WebhookCodes | None, optional(_CODES)] = None
    risk: Annotated[WebhookRatings | None, optional(_RISK)] = None
    amounts: Annotated[bool, optional(_AMOUNTS)] = False


_SHOWN: JsonDict = {
    "id": 1,
    "url": "https://example.com/alerts",
    "events": ["alert.created", "alert.superseded", "alert.reinstated"],
    "codes": [30, 1100],
    "risk": ["high"],
    "amounts": False,
    "enabled": True,
    "disabled_reason": None,
    "created_at": "2026-01-31T12:00:00.000000Z",
    "created_by": "Ada",
    "previous_secret_until": None,
    "waiting": {"number": 0, "more": False, "oldest_at": None},
    "failing_since": None,
    "last_success_at": "2026-01-31T12:00:01.000000Z",
    "last_failure_at": None,
    "last_error": None,
}


class WaitingAnswer(BaseModel):
    """How many deliveries wait; `more`: there are more than that. `oldest_at`: when the oldest of them was made."""

    number: Annotated[int, Field(ge=0, le=COUNTED)]
    more: bool
    oldest_at: Moment | None


class WebhookAnswer(BaseModel):
    """A webhook, without its secret, and how sending to it goes."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SHOWN]})

    id: Id
    url: str
    events: list[WebhookEvent]
    codes: list[Code] | None
    risk: list[Risk] | None
    amounts: bool
    enabled: bool
    disabled_reason: Annotated[str | None, Field(description="Why it is not enabled, if the service disabled it.")]
    created_at: Moment
    created_by: str
    previous_secret_until: Annotated[
        Moment | None, Field(description="Until then the secret before the last rotation signs messages as well.")
    ]
    waiting: WaitingAnswer
    failing_since: Annotated[Moment | None, Field(description="Since then every attempt has failed.")]
    last_success_at: Moment | None
    last_failure_at: Moment | None
    last_error: Annotated[str | None, Field(description="Why the last attempt failed that did.")]

    @classmethod
    def of(cls, row: WebhookRow, waiting: WaitingDeliveries) -> Self:
        """The answer about a stored webhook."""
        return cls(**_members(row, waiting))


class MadeWebhookAnswer(WebhookAnswer):
    """A webhook with a new secret: `secret` is never answered again."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SHOWN | {"secret": f"whsec_{'x' * 43}="}]})

    secret: Annotated[
        str, Field(min_length=LENGTH, max_length=LENGTH, description="What verifies the signatures of its messages.")
    ]

    @classmethod
    def made(cls, row: WebhookRow, waiting: WaitingDeliveries, secret: str) -> Self:
        """The answer about a webhook that has a new secret."""
        return cls(**_members(row, waiting), secret=secret)


class WebhooksAnswer(BaseModel):
    """All webhooks, in the order in which they were made."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"webhooks": [_SHOWN], "held": None}]})

    webhooks: Sequence[WebhookAnswer]
    held: Annotated[str | None, Field(description="Why nothing is sent to any of them until somebody decides.")]


class WebhookChange(ChangeRequest):
    """What to change of a webhook. What is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "examples": [{"codes": None, "enabled": True}]})

    # What was read can be changed and sent back once these are taken out.
    read_only: ClassVar = frozenset(WebhookAnswer.model_fields) - {*WebhookRequest.model_fields, "enabled"}

    url: Annotated[Url, optional(_URL)] = ""
    events: Annotated[WebhookEvents, optional()] = list(EVENTS)  # type: ignore[arg-type] # noqa: RUF012
    codes: Annotated[WebhookCodes | None, optional("Only alerts of these rules; null: of all.")] = None
    risk: Annotated[
        WebhookRatings | None, optional("Only alerts of users who have one of these ratings then; null: of all.")
    ] = None
    amounts: Annotated[bool, optional("Whether messages may contain amounts of money.")] = False
    enabled: Annotated[bool, optional("Whether it is told of anything new, and sent what waits for it.")] = False

    def changes(self) -> dict[str, Any]:
        """The columns that are to have other values."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class SecretRotationRequest(Payload):
    """For how many hours the secret before signs messages along with the new one; with 0 it no longer does."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_hours": 24}]})

    overlap_hours: Annotated[int, Field(ge=0, le=OVERLAP_HOURS), optional("Hours, 24 if left out.")] = 24


def _members(row: WebhookRow, waiting: WaitingDeliveries) -> dict[str, Any]:
    members = {name: getattr(row, name) for name in WebhookAnswer.model_fields if name not in ("id", "waiting")}
    return members | {"id": row.webhook_id, "waiting": WaitingAnswer(**waiting._asdict())}
