"""What one batch reads and writes: its users, their timelines, and the actions and alerts to store."""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from rules.model import Action, Event, Risk, Timeline


class JudgedBy(NamedTuple):
    """What an action was first judged with: its user's rating and the codes of the active rules of that moment."""

    risk: Risk
    codes: tuple[int, ...]


@dataclass(slots=True)
class AlertState:
    """An alert on an action that a batch stores or judges again."""

    stands: bool
    late: bool = False
    evidence: str | None = None  # None: it was stored before
    changed: bool = False


class Account:
    """One locked user while a batch is judged.

    `unused_actions` and `unused_net` are what the user was counted up by and no stored event has used yet.
    """

    def __init__(
        self, user_id: int, risk: Risk, is_new: bool, next_seq: int, balance: Decimal, actions: int, net: Decimal
    ) -> None:
        self.user_id = user_id
        self.risk: Risk = risk
        self.is_new = is_new
        self.next_seq = next_seq
        self.balance = balance
        self.unused_actions = actions
        self.unused_net = net
        self.timeline = Timeline()
        self.judged: dict[int, JudgedBy] = {}
        self.alerts: dict[tuple[int, int], AlertState] = {}
        self.late: list[Action] = []
        self.times: dict[int, int] = {}  # of every action in the timeline, by seq

    @property
    def has_nothing(self) -> bool:
        """Whether this batch made the user, and then stored nothing for it."""
        return self.is_new and self.next_seq == 1

    def load(self, actions: dict[int, Action]) -> None:
        """Take stored actions (by `seq`) into the timeline, each once."""
        new = (action for seq, action in actions.items() if seq not in self.times)
        for action in sorted(new, key=lambda action: action.place):
            self.timeline.add(action)
            self.times[action.seq] = action.time

    def enter(self, event: Event, signed: Decimal) -> Action:
        """Give an accepted event its `seq` and its place; remember it if others stand after it."""
        action = Action(self.next_seq, event.type, event.amount, event.time)
        newest = self.timeline.newest()
        if newest is not None and newest.place > action.place:
            self.late.append(action)
        self.timeline.add(action)
        self.times[action.seq] = action.time
        self.next_seq += 1
        self.balance += signed
        self.unused_actions -= 1
        self.unused_net -= signed
        return action


class Known(NamedTuple):
    """The action that an `event_id` made, and the codes it was answered with."""

    action: Action
    codes: tuple[int, ...]


class Ledger:
    """All of a batch: its users, the event ids known so far, and the stored events in order."""

    def __init__(self, accounts: dict[int, Account]) -> None:
        self.accounts = accounts
        self.known: dict[tuple[int, str], Known] = {}
        self.stored: list[tuple[Event, Action, tuple[int, ...]]] = []
