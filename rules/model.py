"""The plain data that judging works on: events, actions, what a rule finds, and what becomes of an event."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NamedTuple

ActionType = Literal["deposit", "withdraw"]
ACTION_TYPES: tuple[ActionType, ...] = ("deposit", "withdraw")

Risk = Literal["low", "normal", "high"]
RISKS: tuple[Risk, ...] = ("low", "normal", "high")

Value = Decimal | int  # money and factors have two decimals; counts and seconds are whole numbers

# An alert lists at most this many actions: enough to see the pattern, and a burst of ten thousand events
# does not store ten thousand lists of ten thousand numbers.
LISTED_ACTIONS = 100


class Event(NamedTuple):
    """A deposit or withdrawal as posted, before it is judged. `time` is in seconds, `amount` is money."""

    user_id: int
    type: ActionType
    amount: Decimal
    time: int
    event_id: str | None = None


class Action(NamedTuple):
    """A stored event: `seq` is its place in its user's order of arrival, from 1 without gaps."""

    seq: int
    type: ActionType
    amount: Decimal
    time: int

    @property
    def place(self) -> tuple[int, int]:
        """Its place among its user's actions: by time, and at equal times by arrival."""
        return (self.time, self.seq)


class NumberedAction(NamedTuple):
    """An action with the count and sum of its user's actions of its type, in order of time, up to and including it."""

    action: Action
    ordinal: int
    running_total: Decimal


@dataclass(frozen=True, slots=True)
class Finding:
    """What made a rule fire: the measured value, the `seq` of the actions behind it, and a plain sentence.

    `unlisted` counts actions that are behind it too but are left out of `actions`.
    """

    measured: Value
    actions: tuple[int, ...]
    sentence: str
    unlisted: int = 0


class Verdict(NamedTuple):
    """An event was stored (or had been before: `replayed`) and raised `codes`, in the registry's order."""

    user_id: int
    codes: tuple[int, ...]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event was not stored, and why."""

    reason: Literal[
        "unknown_user",
        "overdraft",
        "out_of_order",
        "too_far_ahead",
        "too_late",
        "event_id_conflict",
        "pruned",
        "user_full",
        "unavailable",
    ]
    detail: str


Outcome = Verdict | Refusal


class DryRun(NamedTuple):
    """What would become of an event, and the evidence for at least the codes that it would be answered with."""

    outcome: Outcome
    evidence: Mapping[int, dict[str, Any]]
