"""What long reads find: plain rows, also for code that knows no SQLAlchemy."""

from decimal import Decimal
from typing import Any, NamedTuple


class StandingAlert(NamedTuple):
    """The key of an alert that holds, and the time of its action in seconds."""

    user_id: int
    seq: int
    code: int
    time: int


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
    """How many actions a user is said to have, and what deposits less withdrawals are said to be."""

    user_id: int
    last_seq: int
    net: Decimal


class StoredSettings(NamedTuple):
    """A rating and overrides (JSON text) that a user had or has."""

    user_id: int
    version: int
    risk: str
    overrides: str
