"""What one batch reads and writes: its users, their timelines, and the actions and alerts to store."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, cast

from database.records import HistoryRow
from rules.model import Action, ActionType, Event, NumberedAction
from rules.timeline import Timeline
from rules.versions import RuleSet


@dataclass(slots=True)
class AlertState:
    """An alert on an action that a batch stores or judges again."""

    stands: bool
    late: bool = False
    evidence: str | None = None  # None: it was stored before
    changed: bool = False
    shadow: bool = False


class BatchUser:
    """One locked user while a batch is judged.

    `judges` is what judges its new actions, `judged` what judged each action by `seq`; `settings_version` counts the
    changes of its rating and overrides. `unused_actions` and `unused_net` are what the user was counted up by and no
    stored event has used yet.
    """

    __slots__ = (
        "alerts",
        "balance",
        "first_new",
        "is_new",
        "judged",
        "judges",
        "late",
        "next_seq",
        "settings_version",
        "timeline",
        "times",
        "unused_actions",
        "unused_net",
        "user_id",
    )

    def __init__(
        self,
        user_id: int,
        judges: RuleSet,
        settings_version: int,
        is_new: bool,
        next_seq: int,
        balance: Decimal,
        actions: int,
        net: Decimal,
    ) -> None:
        self.user_id = user_id
        self.judges = judges
        self.settings_version = settings_version
        self.is_new = is_new
        self.first_new = next_seq
        self.next_seq = next_seq
        self.balance = balance
        self.unused_actions = actions
        self.unused_net = net
        self.timeline = Timeline()
        self.times: dict[int, int] = {}  # of every action in the timeline, by `seq`
        self.judged: dict[int, RuleSet] = {}
        self.alerts: dict[tuple[int, int], AlertState] = {}
        self.late: list[Action] = []

    @property
    def has_nothing(self) -> bool:
        """Whether this batch made the user, and then stored nothing for it."""
        return self.is_new and self.next_seq == 1

    def load(self, stored: Iterable[NumberedAction]) -> None:
        """Take stored actions into the timeline, each once however often it comes."""
        new = {one.action.seq: one for one in stored if one.action.seq not in self.times}
        if new:
            self.timeline.load(new.values())
            self.times |= {seq: one.action.time for seq, one in new.items()}

    def enter(self, event: Event, signed: Decimal) -> Action:
        """Give an accepted event its `seq` and its place; remember it if others stand after it."""
        seq = self.next_seq
        action = Action(seq, event.type, event.amount, event.time)
        newest = self.timeline.newest()
        if newest is not None and newest.time > event.time:
            self.late.append(action)
        self.timeline.add(action)
        self.times[seq] = event.time
        self.judged[seq] = self.judges
        self.next_seq = seq + 1
        self.balance += signed
        self.unused_actions -= 1
        self.unused_net -= signed
        return action


class KnownEvent(NamedTuple):
    """The action that an `event_id` made, and the codes it was answered with."""

    action: Action
    codes: tuple[int, ...]


class Batch:
    """All of a batch: its users, the event ids known so far, and the stored events in order.

    `rules_number` is that of the rule book that judges it.
    """

    def __init__(self, rules_number: int) -> None:
        self.rules_number = rules_number
        self.accounts: dict[int, BatchUser] = {}
        self.known: dict[tuple[int, str], KnownEvent] = {}
        self.stored: list[tuple[Event, Action, tuple[int, ...]]] = []

    def load(self, history: Iterable[HistoryRow]) -> None:
        """Take what was read into the timelines of its users."""
        found: dict[int, list[NumberedAction]] = defaultdict(list)
        for _, user_id, seq, kind, amount, time, event_id, codes, ordinal, total in history:
            action = Action(seq, cast(ActionType, kind), amount, time)
            found[user_id].append(NumberedAction(action, ordinal, total))
            if event_id is not None:
                self.known[user_id, event_id] = KnownEvent(action, tuple(codes or ()))
        for user_id, stored in found.items():
            self.accounts[user_id].load(stored)
