"""Queries and answers about alerts."""

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from database.alerts import AlertRow
from routes.schemas.alert_history import HistoryLineAnswer
from routes.schemas.answer_fields import AsStored, Moment, ParametersAnswer, may_be_absent
from routes.schemas.fields import (
    AlertId,
    Code,
    Id,
    MoneyText,
    Seconds,
)
from routes.schemas.words import ActionType, AlertOutcome, AlertStatus, Origin
from rules.registry import title_of
from rules.values import alert_id
from rules.wording import shown_evidence
from work.alerts import AlertAndHistory

EXAMPLE: JsonDict = {
    "id": "7-3-123",
    "user_id": 7,
    "seq": 3,
    "code": 123,
    "title": "Deposits over 200.00 in 30 s",
    "time": 25,
    "type": "deposit",
    "amount": "120.00",
    "status": "open",
    "outcome": None,
    "assignee": None,
    "snoozed_until": None,
    "late": False,
    "superseded": False,
    "created_at": "2026-01-31T12:00:00.000000Z",
    "touched_at": "2026-01-31T12:00:00.000000Z",
    "etag": '"0"',
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
    parameters: ParametersAnswer
    origin: dict[str, Origin]
    actions: list[Id]
    actions_unlisted: Id | None = may_be_absent("How many older actions are behind it too but are not listed.")
    sentence: str


class AlertAnswer(BaseModel):
    """One code raised by one action, with the evidence for it."""

    id: Annotated[AlertId, Field(description="user_id-seq-code")]
    user_id: Id
    seq: Annotated[Id, Field(description="The action's number among its user's actions, in order of arrival.")]
    code: Code
    title: str
    time: Annotated[Seconds, Field(description="The time of the action.")]
    type: ActionType
    amount: MoneyText
    status: AlertStatus
    outcome: AlertOutcome | None
    assignee: Annotated[str | None, Field(description="Who works on it; null: nobody, also where a claim has lapsed.")]
    snoozed_until: Moment | None
    claim_lapses_at: Moment | None = may_be_absent("When it is nobody's again, unless its assignee has worked it.")
    late: Annotated[bool, Field(description="Raised later by a late event, so not in the answer to this action.")]
    superseded: Annotated[bool, Field(description="No longer holds because of a late event.")]
    shadow: bool | None = may_be_absent("Always true. Raised by a rule in shadow, so not in the answer to the event.")
    created_at: Moment
    touched_at: Annotated[Moment, Field(description="When it was raised, superseded, reinstated or worked last.")]
    etag: Annotated[str, Field(description="For If-Match: it changes whenever somebody works the alert.")]
    evidence: Annotated[dict[str, Any], AsStored(EvidenceAnswer)]

    @classmethod
    def of(cls, row: AlertRow, *, time_is_epoch: bool, **more: Any) -> Self:
        """The answer about a stored alert; `more` has the members that are not in `row`.

        `time_is_epoch`: times are seconds since 1970, and shown as dates where they are part of a text.
        """
        has_lapsed = claim_has_lapsed(row)
        return cls(
            id=alert_id(row.user_id, row.seq, row.code),
            user_id=row.user_id,
            seq=row.seq,
            code=row.code,
            title=title_of(row.code, row.evidence),
            time=row.time,
            type=row.type,
            amount=str(row.amount),
            status=row.status,
            outcome=row.outcome,
            assignee=None if has_lapsed else row.assignee,
            snoozed_until=row.snoozed_until,
            claim_lapses_at=None if has_lapsed else row.claim_lapses_at,
            late=row.late,
            superseded=row.superseded,
            shadow=True if row.shadow else None,
            created_at=row.created_at,
            touched_at=row.touched_at,
            etag=f'"{row.work_version}"',
            evidence=shown_evidence(row.evidence, time_is_epoch),
            **more,
        )


def claim_has_lapsed(row: AlertRow) -> bool:
    """Whether its assignee had it from the queue, and has not worked it in time: nobody has it then."""
    return row.claim_lapses_at is not None and row.claim_lapses_at <= datetime.now(UTC)


class AlertsAnswer(BaseModel):
    """A page of alerts, newest first, and the cursor of the next page (null on the last one)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"alerts": [EXAMPLE], "next": None}]})

    alerts: list[AlertAnswer]
    next: str | None


class AlertDetailAnswer(AlertAnswer):
    """One alert, with the newest 100 lines of its history, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE | {"history": []}]})

    history: list[HistoryLineAnswer]

    @classmethod
    def with_history(cls, found: AlertAndHistory, *, time_is_epoch: bool) -> Self:
        """The answer about a stored alert and its history."""
        history = [HistoryLineAnswer.of(line) for line in found.history]
        return cls.of(found.alert, time_is_epoch=time_is_epoch, history=history)
