"""The file that has everything about one user."""

import json
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from database.models import AlertChange, Checkpoint, Delivery, Erasure, LogEntry, UserAction, UserSettings, Webhook
from routes.schemas.alert_history import LINE, HistoryLineAnswer
from routes.schemas.alerts import AlertAnswer
from routes.schemas.answer_fields import AsStored, Moment
from routes.schemas.fields import AlertId, Code, Id, MoneyText, Seconds
from routes.schemas.log import LogLineAnswer
from routes.schemas.mutes import MuteAnswer
from routes.schemas.user_actions import ActionAnswer
from routes.schemas.users import OverridesAnswer, UserAnswer
from routes.schemas.words import ActionType, Risk
from rules.values import alert_id

_AT = "2026-01-31T12:00:00.000000Z"


class StoredActionAnswer(ActionAnswer):
    """One stored action, with the codes it was answered with and when it was stored."""

    alert_codes: list[Code]
    created_at: Moment

    @classmethod
    def of(cls, action: UserAction) -> Self:
        """The answer about a stored action."""
        same = ActionAnswer.of(action).model_dump()
        return cls(**same, alert_codes=action.alert_codes, created_at=action.created_at)


class UserVersionAnswer(BaseModel):
    """How a user was judged from a moment on, who set that, and why."""

    version: Id
    risk: Risk
    overrides: Annotated[dict[str, Any], AsStored(OverridesAnswer)]
    author: str | None
    note: str | None
    created_at: Moment

    @classmethod
    def of(cls, row: UserSettings) -> Self:
        """The answer about a stored version."""
        return cls.model_validate({name: getattr(row, name) for name in cls.model_fields})


class AlertChangeAnswer(HistoryLineAnswer):
    """A line of the history of an alert."""

    alert_id: AlertId

    @classmethod
    def of(cls, line: AlertChange) -> Self:
        """The answer about a stored line."""
        same = HistoryLineAnswer.of(line).model_dump(by_alias=True)
        return cls.model_validate(same | {"alert_id": alert_id(line.user_id, line.seq, line.code)})


class SentAnswer(BaseModel):
    """A message about an alert, and whom it was for."""

    webhook_id: Id
    host: Annotated[str, Field(description="Of the address that it was for.")]
    event: str
    alert_id: AlertId
    created_at: Moment
    status: str
    finished_at: Moment | None
    body: Annotated[Any, Field(description="The message.")]

    @classmethod
    def of(cls, delivery: Delivery, webhook: Webhook) -> Self:
        """The answer about a stored message."""
        assert None not in (delivery.user_id, delivery.seq, delivery.code)
        return cls(
            webhook_id=delivery.webhook_id,
            # The rest of an address may hold what only its owner is to know.
            host=urlsplit(webhook.url).hostname or "",
            event=delivery.event,
            alert_id=f"{delivery.user_id}-{delivery.seq}-{delivery.code}",
            created_at=delivery.created_at,
            status=delivery.status,
            finished_at=delivery.finished_at,
            body=json.loads(delivery.body),
        )


class CheckpointAnswer(BaseModel):
    """What is left of actions of one type that were removed."""

    type: ActionType
    actions: int
    total: MoneyText
    first_time: Seconds
    created_at: Moment

    @classmethod
    def of(cls, row: Checkpoint) -> Self:
        """The answer about a stored checkpoint."""
        same = {name: getattr(row, name) for name in ("type", "actions", "first_time", "created_at")}
        return cls.model_validate(same | {"total": f"{row.total:.2f}"})


class ErasureAnswer(BaseModel):
    """That the user was erased, who asked for it, and why before the law's time was over, if it was."""

    erased_at: Moment
    who: str
    override: str | None

    @classmethod
    def of(cls, row: Erasure) -> Self:
        """The answer about a line of the ledger."""
        return cls(erased_at=row.erased_at, who=row.who, override=row.override)


def log_line(entry: LogEntry) -> LogLineAnswer:
    """The answer about an entry of the log."""
    same = {name: getattr(entry, name) for name in ("at", "who", "kind", "subject", "what", "note")}
    return LogLineAnswer.model_validate(same | {"from": entry.before, "to": entry.after})


class PersonAnswer(BaseModel):
    """Everything that is stored about a user, at one moment."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "exported_at": _AT,
                    "user": {"id": 7, "name": "Ada", "total": "100.00", "balance": "142.00", "risk": "normal"},
                    "created_at": _AT,
                    "settings": [],
                    "actions": [
                        {
                            "seq": 1,
                            "type": "deposit",
                            "amount": "42.00",
                            "time": 10,
                            "event_id": "p-1",
                            "alert_codes": [],
                            "created_at": _AT,
                        }
                    ],
                    "alerts": [],
                    "alert_history": [dict[str, Any](LINE) | {"alert_id": "7-3-123"}],
                    "mutes": [],
                    "log": [],
                    "deliveries": [],
                    "checkpoints": [],
                    "erasures": [],
                }
            ]
        }
    )

    exported_at: Moment
    user: UserAnswer
    created_at: Annotated[Moment, Field(description="When the user was made.")]
    settings: Annotated[list[UserVersionAnswer], Field(description="Every rating and set of overrides, oldest first.")]
    actions: Annotated[list[StoredActionAnswer], Field(description="In order of arrival.")]
    alerts: Annotated[list[AlertAnswer], Field(description="All of them: superseded ones and those in shadow too.")]
    alert_history: Annotated[list[AlertChangeAnswer], Field(description="What was done about the alerts.")]
    mutes: list[MuteAnswer]
    log: Annotated[list[LogLineAnswer], Field(description="What was done to the user, and exports like this one.")]
    deliveries: Annotated[list[SentAnswer], Field(description="Messages of webhooks about the alerts.")]
    checkpoints: list[CheckpointAnswer]
    erasures: list[ErasureAnswer]
