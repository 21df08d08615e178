"""The rows that travel between the rules and the statements.

`user_id`, `seq`, `type`, `amount`, `time` and the like are what the columns of the same names hold: see `models.py`.
Times and stretches of time are in seconds.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

# What is read


@dataclass(slots=True, kw_only=True)
class LockedUser:
    """A locked user, after what the batch adds; `is_new` if this transaction made it.

    `overrides` is JSON text; `settings_version` counts the changes of rating and overrides, `rules_number` those of
    the rules.
    """

    user_id: int
    last_seq: int
    risk: str
    balance: Decimal
    is_new: bool
    overrides: str
    settings_version: int
    rules_number: int


@dataclass(slots=True, kw_only=True)
class StoredAction:
    """A stored action, with the count and sum of its user's actions of its type up to and including it.

    `event_id` and `alert_codes` (what it was answered with) are there only if it was asked for by its `event_id`.
    """

    user_id: int
    seq: int
    type: str
    amount: Decimal
    time: int
    event_id: str | None
    alert_codes: list[int] | None
    ordinal: int
    running_total: Decimal


@dataclass(slots=True, kw_only=True)
class LaterAction:
    """A stored action that a late one can change: what judged it first, and the codes of its alerts.

    `standing` are those that hold, `superseded` those that no longer do.
    """

    user_id: int
    seq: int
    type: str
    amount: Decimal
    time: int
    ordinal: int
    running_total: Decimal
    rules_number: int
    settings_version: int
    standing: list[int]
    superseded: list[int]


@dataclass(slots=True, kw_only=True)
class StoredSettings:
    """A rating and overrides (JSON text) that a user had or has."""

    user_id: int
    version: int
    risk: str
    overrides: str


@dataclass(slots=True, kw_only=True)
class RuleVersionRow:
    """A change of a rule: what it was set to, by whom, why and when. No `author`: it follows from what is declared."""

    number: int
    code: int
    version: int
    status: str
    parameters: dict[str, Any]
    by_risk: dict[str, Any]
    author: str | None
    note: str | None
    created_at: datetime


@dataclass(slots=True, kw_only=True)
class StandingAlert:
    """The key of an alert that holds, and the time of its action."""

    user_id: int
    seq: int
    code: int
    time: int


@dataclass(slots=True, kw_only=True)
class StoredAlert:
    """An alert as it is stored."""

    user_id: int
    seq: int
    code: int
    time: int
    late: bool
    superseded: bool
    shadow: bool
    evidence: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class StoredTotals:
    """How many actions there are by a user's row, and what they come to: deposits minus withdrawals."""

    user_id: int
    last_seq: int
    net: Decimal


# What is requested


@dataclass(slots=True, kw_only=True)
class LastN:
    """Ask for the last `limit` actions of one type with `time` in (after, time]."""

    user_id: int
    type: str
    after: int
    time: int
    limit: int


@dataclass(slots=True, kw_only=True)
class NextN:
    """Ask for the first `limit` actions of one type after `time`."""

    user_id: int
    type: str
    time: int
    limit: int


@dataclass(slots=True, kw_only=True)
class Between:
    """Ask for the actions of one type with `time` in [start, end]."""

    user_id: int
    type: str
    start: int
    end: int


@dataclass(slots=True, kw_only=True)
class EventKey:
    """Ask for the action that a user's `event_id` made."""

    user_id: int
    event_id: str


# What is stored


@dataclass(slots=True, kw_only=True)
class Deltas:
    """What a batch adds to one user: the number of its actions, and its deposits minus its withdrawals."""

    user_id: int
    actions: int
    net: Decimal


@dataclass(slots=True, kw_only=True)
class NewAction:
    """A row for `user_actions`; `alert_codes` is an array literal (see `array`)."""

    user_id: int
    seq: int
    type: str
    amount: Decimal
    time: int
    event_id: str | None
    alert_codes: str
    rules_number: int
    settings_version: int
    ordinal: int
    running_total: Decimal


@dataclass(slots=True, kw_only=True)
class NewAlert:
    """A row for `alerts`; `evidence` is JSON text, `time` that of the action."""

    user_id: int
    seq: int
    code: int
    time: int
    evidence: str
    late: bool
    superseded: bool
    shadow: bool


@dataclass(slots=True, kw_only=True)
class LateAction:
    """A new action that came late."""

    user_id: int
    type: str
    time: int
    seq: int
    amount: Decimal


@dataclass(slots=True, kw_only=True)
class Standing:
    """A stored alert, and whether it is superseded from now on."""

    user_id: int
    seq: int
    code: int
    superseded: bool
