"""What pages show of an alert in a list."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from sqlalchemy.orm import Session

from database.alerts import AlertRow
from database.mutes import muted_among
from routes.desk.alert_facts import measured
from routes.schemas.alerts import claim_has_lapsed
from rules.registry import title_of
from rules.values import alert_id


class AlertLine(NamedTuple):
    """An alert as a line of a list; `etag` is for forms, which are refused if somebody has worked it since."""

    id: str
    user_id: int
    seq: int
    code: int
    title: str
    figures: str
    is_urgent: bool
    time: int
    created_at: datetime
    touched_at: datetime
    assignee: str | None
    status: str
    outcome: str | None
    snoozed_until: datetime | None
    late: bool
    superseded: bool
    shadow: bool
    muted: bool
    etag: str

    @classmethod
    def of(cls, row: AlertRow, *, muted: bool = False) -> Self:
        """The line of a stored alert; `muted`: its user is muted for its rule now."""
        return cls(
            id=alert_id(row.user_id, row.seq, row.code),
            user_id=row.user_id,
            seq=row.seq,
            code=row.code,
            title=title_of(row.code, row.evidence),
            figures=figures(row.code, row.evidence),
            is_urgent=row.high_risk,
            time=row.time,
            created_at=row.created_at,
            touched_at=row.touched_at,
            assignee=None if claim_has_lapsed(row) else row.assignee,
            status=row.status,
            outcome=row.outcome,
            snoozed_until=is_still(row.snoozed_until),
            late=row.late,
            superseded=row.superseded,
            shadow=row.shadow,
            muted=muted,
            etag=str(row.work_version),
        )


def lines_of(session: Session, rows: Sequence[AlertRow], *, may_be_muted: bool) -> list[AlertLine]:
    """The lines of stored alerts, in their order; `may_be_muted`: the list does not leave out those that are."""
    muted = muted_among(session, {(row.user_id, row.code) for row in rows}) if may_be_muted else set()
    return [AlertLine.of(row, muted=(row.user_id, row.code) in muted) for row in rows]


def is_still(until: datetime | None) -> datetime | None:
    """A moment, unless it is over."""
    return until if until is not None and until > datetime.now(UTC) else None


def figures(code: int, evidence: dict[str, Any]) -> str:
    """What was measured, of what was allowed: "220.00 of 200.00"."""
    found = measured(code, evidence)
    return found.value if found.limit is None else f"{found.value} of {found.limit}"
