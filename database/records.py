"""The rows that travel between the rules and the statements.

`user_id`, `seq`, `type`, `amount`, `time` and the like are what the columns of the same names hold: see `models`.
Times and stretches of time are in seconds. Records are made by keyword, since a look-alike in the wrong place would go
unnoticed, and are tuples: a batch makes a hundred thousand, and a tuple takes half the time of an object.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

OUTCOMES = ("true_positive", "false_positive", "inconclusive")  # what alerts turned out to be

# What is read


class Users(NamedTuple):
    """A stretch of user ids, both ends included, and how many actions their rows say there are."""

    first: int
    last: int
    actions: int


class LockedUser(NamedTuple):
    """A locked user, after what the batch adds; `is_new` if this transaction made it.

    If it `is_full`, nothing was added: it has as many actions, or as large a balance, as there can be. `overrides` is
    JSON text; `settings_version` counts the changes of rating and overrides, `rules_number` those of the rules.
    `has_late_offsets`: something is to be added to the running counts and sums that are stored. Its actions with `time`
    before `pruned_before` were removed; None: none were. `identity` says which row this is: when it was made, in which
    table, and when its server was started.
    """

    user_id: int
    last_seq: int
    risk: str
    balance: Decimal
    is_new: bool
    is_full: bool
    overrides: str
    settings_version: int
    rules_number: int
    has_late_offsets: bool
    pruned_before: int | None = None
    identity: str = ""


class StoredAction(NamedTuple):
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


class LaterAction(NamedTuple):
    """A stored action that a late one can change: what judged it first, and which of its alerts still hold."""

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


class Offset(NamedTuple):
    """What is to be added to the numbers stored with a user's actions of one type from a place on, until the next."""

    user_id: int
    type: str
    time: int
    seq: int
    added_count: int
    added_total: Decimal


class ActionSettings(NamedTuple):
    """By what an action was first judged: the newest change of any rule, and of the user's settings.

    If the action at `seq` was removed, it says that of the next one to arrive.
    """

    user_id: int
    seq: int
    rules_number: int
    settings_version: int


class StoredSettings(NamedTuple):
    """A rating and overrides (JSON text) that a user had or has."""

    user_id: int
    version: int
    risk: str
    overrides: str


class RuleVersionRow(NamedTuple):
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


class StoredAlert(NamedTuple):
    """An alert as it is stored."""

    user_id: int
    seq: int
    code: int
    time: int
    late: bool
    superseded: bool
    shadow: bool
    evidence: dict[str, Any]


class StoredTotals(NamedTuple):
    """How many actions there are by a user's row, and what they come to: deposits minus withdrawals."""

    user_id: int
    last_seq: int
    net: Decimal


# What is requested


class AlertKey(NamedTuple):
    """Names an alert: whose it is, on which action, and of which rule."""

    user_id: int
    seq: int
    code: int


class LastN(NamedTuple):
    """Ask for the last `limit` actions of one type with `time` in (after, time]."""

    user_id: int
    type: str
    after: int
    time: int
    limit: int


class NextN(NamedTuple):
    """Ask for the first `limit` actions of one type after `time`."""

    user_id: int
    type: str
    time: int
    limit: int


class Since(NamedTuple):
    """Ask for the first `limit` actions to arrive after the one with `seq`."""

    user_id: int
    seq: int
    limit: int


class Stretch(NamedTuple):
    """A stretch of a user's actions of one type: from one place (time, seq) to another."""

    user_id: int
    type: str
    time: int
    seq: int
    end_time: int
    end_seq: int


class Ahead(NamedTuple):
    """Ask for the actions of one type with `time` in [start, end] and `seq` in [first, last]."""

    user_id: int
    type: str
    start: int
    end: int
    first: int
    last: int


class ActionKey(NamedTuple):
    """Ask for an action by its place in its user's order of arrival."""

    user_id: int
    seq: int


class EventKey(NamedTuple):
    """Ask for the action that a user's `event_id` made."""

    user_id: int
    event_id: str


# What is stored


class Deltas(NamedTuple):
    """What a batch adds to one user: the number of its actions, and its deposits minus its withdrawals."""

    user_id: int
    actions: int
    net: Decimal


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
    """A row for `alerts`; `evidence` is JSON text, `time` that of the action, `high_risk` the user's rating now."""

    user_id: int
    seq: int
    code: int
    time: int
    evidence: str
    late: bool
    superseded: bool
    shadow: bool
    high_risk: bool


class NewOutboxEvent(NamedTuple):
    """A row for `outbox`: what happened to an alert that people may see; `risk` is its user's rating now."""

    user_id: int
    at_seq: int
    n: int
    seq: int
    code: int
    event: str
    risk: str


class LateAction(NamedTuple):
    """A new action that came late."""

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
