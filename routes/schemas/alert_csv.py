"""The columns of alerts as CSV."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from database.alerts import AlertRow
from routes.schemas.alerts import claim_has_lapsed
from rules.registry import title_of
from rules.values import alert_id
from rules.wording import shown_evidence

EXAMPLE = (
    "id,user_id,seq,code,title,time,type,amount,status,outcome,assignee,snoozed_until,late,superseded,shadow,"
    "created_at,touched_at,rule_version,measured,sentence\r\n"
    "7-3-123,7,3,123,Deposits over 200.00 in 30 s,25,deposit,120.00,open,,,,false,false,false,"
    "2026-01-31T12:00:00.000000Z,2026-01-31T12:00:00.000000Z,1,220.00,"
    "Deposits of 220.00 between 10 and 25 are over 200.00 in 30 s.\r\n"
)

Columns = Mapping[str, Callable[[AlertRow], Any]]


def columns(*, time_is_epoch: bool) -> Columns:
    """What is in each column, by its name; `time_is_epoch` as in `AlertAnswer.of`."""
    return {
        "id": lambda row: alert_id(row.user_id, row.seq, row.code),
        **{name: attrgetter(name) for name in ("user_id", "seq", "code")},
        "title": lambda row: title_of(row.code, row.evidence),
        **{name: attrgetter(name) for name in _STORED},
        "assignee": lambda row: None if claim_has_lapsed(row) else row.assignee,
        "rule_version": lambda row: row.evidence.get("rule_version"),
        "measured": lambda row: row.evidence.get("measured"),
        "sentence": lambda row: shown_evidence(row.evidence, time_is_epoch).get("sentence"),
    }


_STORED = (
    *("time", "type", "amount", "status", "outcome", "assignee", "snoozed_until"),
    *("late", "superseded", "shadow", "created_at", "touched_at"),
)
