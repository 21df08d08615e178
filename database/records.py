"""The rows that travel between the rules and the statements."""

from decimal import Decimal
from typing import NamedTuple


class Deltas(NamedTuple):
    """What a batch adds to one user: the number of its actions, and its deposits minus its withdrawals."""

    user_id: int
    actions: int
    net: Decimal


class Account(NamedTuple):
    """A locked user as it is after the addition; `is_new` if this transaction made it.

    `overrides` is JSON text; `settings_version` counts the changes of rating and overrides, `rules_number` those of
    the rules.
    """

    user_id: int
    last_seq: int
    balance: Decimal
    risk: str
    overrides: str
    settings_version: int
    rules_number: int
    is_new: bool


# A stored action as it is read: False, user_id, seq, type, amount, time, event_id, alert_codes, ordinal, running_total.
# `event_id` and `alert_codes` (what it was answered with) come only where it was asked for by its id.
HistoryRow = tuple[bool, int, int, str, Decimal, int, str | None, list[int] | None, int, Decimal]


class LastN(NamedTuple):
    """Ask for the `limit` actions of one type that stand last in the times after `after`, up to `time`."""

    user_id: int
    type: str
    after: int
    time: int
    limit: int


class Between(NamedTuple):
    """Ask for the actions of one type with `time` in [start, end]."""

    user_id: int
    type: str
    start: int
    end: int


class EventKey(NamedTuple):
    """Ask for the action that a user's `event_id` made."""

    user_id: int
    event_id: str


class NextN(NamedTuple):
    """Ask for the `limit` actions of one type that stand first after `time`."""

    user_id: int
    type: str
    time: int
    limit: int


class NewAction(NamedTuple):
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


class NewAlert(NamedTuple):
    """A row for `alerts`; `evidence` is JSON text, `time` that of the action."""

    user_id: int
    seq: int
    code: int
    time: int
    evidence: str
    late: bool
    superseded: bool
    shadow: bool


class LateAction(NamedTuple):
    """A new action that stands before others of its type."""

    user_id: int
    type: str
    time: int
    seq: int
    amount: Decimal


class Standing(NamedTuple):
    """A stored alert, and whether it is superseded from now on."""

    user_id: int
    seq: int
    code: int
    superseded: bool
