"""What one batch reads and writes: its users, their timelines, and the actions and alerts to store."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from database.offsets import LateOffsets
from database.records import StoredAction
from rules.judging.evidence import written_evidence
from rules.model import Action, ActionType, Event, NumberedAction, Risk
from rules.pruned import Pruned, was_complete_on_arrival
from rules.timeline import Timeline
from rules.versions import RuleSet

_NOTHING = Decimal(0)


@dataclass(slots=True, kw_only=True)
class AlertState:
    """An alert on an action that a batch stores or judges again."""

    stands: bool
    late: bool = False
    evidence: str | None = None  # None: it was stored before
    changed: bool = False
    shadow: bool = False


def signed(event: Event) -> Decimal:
    """What an event adds to its user's balance: negative for a withdrawal."""
    return event.amount if event.type == "deposit" else -event.amount


@dataclass(slots=True, kw_only=True)
class BatchUser:
    """One locked user while a batch is judged.

    `last_seq` is that of the newest stored action, `balance` what the user has. `unused_actions` and `unused_net` are
    what was added to the user with the lock and no stored event has used yet. `rule_set` judges its new actions,
    `settings_version` counts the changes of its rating (`risk`) and overrides. If it `is_full`, it can have no more
    actions.
    """

    user_id: int
    rule_set: RuleSet
    settings_version: int = 0
    risk: Risk = "normal"
    is_new: bool = False
    is_full: bool = False
    # Its actions with `time` before this were removed. `pruned` is what is left of them: None unless it was needed, but
    # always there for a user with late events.
    pruned_before: int | None = None
    identity: str = ""  # see LockedUser
    pruned: Pruned | None = None
    last_seq: int = 0
    balance: Decimal = Decimal(0)
    unused_actions: int = 0
    unused_net: Decimal = Decimal(0)

    timeline: Timeline = field(default_factory=Timeline)
    times: dict[int, int] = field(default_factory=dict)  # of every action in the timeline, by `seq`
    # If the newest action is too far ahead of the clock: the time of the newest that is not, or -1
    newest_in_time: int | None = None
    rule_sets: dict[int, RuleSet] = field(default_factory=dict)  # what judged each action, by `seq`
    alerts: dict[tuple[int, int], AlertState] = field(default_factory=dict)  # by `seq` and code
    late: list[Action] = field(default_factory=list)  # new ones that came after others of a later time
    # What could not be judged (again), since it was judged first with actions that are gone: `seq` and code
    unproved: set[tuple[int, int]] = field(default_factory=set)
    first_new: int = field(init=False)  # the `seq` of the first new action, if any

    # What was there when the batch began, to be checked at its end
    _opening_balance: Decimal = field(init=False)
    _numbers: dict[ActionType, tuple[int, Decimal]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.first_new = self.last_seq + 1
        self._opening_balance = self.balance
        if self.pruned is not None:
            self.go_on_from(self.pruned)

    def go_on_from(self, pruned: Pruned) -> None:
        """Count from removed actions on."""
        self.pruned = pruned
        self.timeline.go_on_from(pruned.first, pruned.numbers)

    @property
    def has_nothing(self) -> bool:
        """Whether this batch made the user, and then stored nothing for it."""
        return self.is_new and self.last_seq == 0

    @property
    def newest_time(self) -> int:
        """The time of the newest action that counts for the order of arrival; -1 without any."""
        if self.newest_in_time is not None:
            return self.newest_in_time
        newest = self.timeline.newest()
        return -1 if newest is None else newest.time

    def load(self, stored: Iterable[NumberedAction]) -> None:
        """Add stored actions to the timeline, each once however often it is read."""
        new = {one.action.seq: one for one in stored if one.action.seq not in self.times}
        if new:
            self.timeline.load(new.values())
            self.times |= {seq: one.action.time for seq, one in new.items()}

    def begin_anew(self) -> None:
        """Drop all actions from the timeline: nothing of them is certain."""
        self.timeline, self.times = Timeline(), {}

    def accept(self, event: Event) -> Action:
        """The user's next action, made from an event that is not refused."""
        net = signed(event)
        if event.type not in self._numbers:
            self._numbers[event.type] = self.timeline.newest_numbers(event.type)
        seq = self.last_seq = self.last_seq + 1
        if self.newest_in_time is not None:
            self.newest_in_time = max(self.newest_in_time, event.time)
        self.balance += net
        self.unused_actions -= 1
        self.unused_net -= net
        return Action(seq, event.type, event.amount, event.time)

    def give_back(self) -> tuple[int, Decimal]:
        """What was added to the user in vain: actions, and deposits minus withdrawals. It no longer counts as unused.

        The caller subtracts it from what is stored.
        """
        back = self.unused_actions, self.unused_net
        self.unused_actions, self.unused_net = 0, Decimal(0)
        return back

    def place(self, action: Action, rule_set: RuleSet) -> None:
        """Insert a new action, which `rule_set` judges, at its place in time; note it as late if others follow it."""
        newest = self.timeline.newest()
        if newest is not None and newest.time > action.time:
            self.late.append(action)
        self.timeline.add(action)
        self.times[action.seq] = action.time
        self.rule_sets[action.seq] = rule_set

    def arrive(self, action: Action, rule_set: RuleSet) -> tuple[int, ...]:
        """Insert a new action, judge it in its place, and note its alerts. Returns the codes it is answered with."""
        self.place(action, rule_set)
        history = self.timeline.at(action)
        codes: tuple[int, ...] = ()
        # Only of actions that are judged as if they arrived again.
        pruned = self.pruned if self.pruned is not None and action.seq <= self.pruned.until_seq else None
        for rule in rule_set.by_type[action.type]:
            if pruned is not None and not was_complete_on_arrival(rule, history, pruned):
                self.unproved.add((action.seq, rule.code))
                continue
            finding = rule.check(history, rule.parameters)
            if finding is not None:
                if not rule.shadow:
                    codes += (rule.code,)
                state = AlertState(stands=True, evidence=written_evidence(rule, finding), shadow=rule.shadow)
                self.alerts[action.seq, rule.code] = state
        return codes

    def check(self) -> None:
        """Assert that what is about to be stored continues, without a gap, what was locked and read."""
        assert not self.unused_actions, "counted up for actions that are not stored"
        assert not self.unused_net, "the balance counts what is not stored"
        # Late or not, new actions go into the running count and sum of the newest one of their type.
        count, net = 0, _NOTHING
        for kind, (ordinal, total) in self._numbers.items():
            new_ordinal, new_total = self.timeline.newest_numbers(kind)
            count += new_ordinal - ordinal
            net += new_total - total if kind == "deposit" else total - new_total
        assert count == self.last_seq - self.first_new + 1, "running counts do not continue those read"
        assert net == self.balance - self._opening_balance, "running sums do not continue those read"


class KnownEvent(NamedTuple):
    """The action that an `event_id` made, and the codes it was answered with."""

    action: Action
    codes: tuple[int, ...]


Accepted = tuple[Event, Action, tuple[int, ...]]  # an event that is to be stored, and the codes it is answered with


class Batch:
    """All of a batch: its users, the event ids known so far, and the stored events in order.

    `rules_number` says which rules judge it, `offsets` what late events have added to stored numbers.
    """

    def __init__(self, rules_number: int, offsets: LateOffsets) -> None:
        self.rules_number = rules_number
        self.offsets = offsets
        self.users: dict[int, BatchUser] = {}
        self.known: dict[tuple[int, str], KnownEvent] = {}
        self.stored: list[Accepted] = []
        self.kept_users = 0  # of how many users the last actions were kept

    @property
    def late_users(self) -> list[BatchUser]:
        """Those who have a late event."""
        return [user for user in self.users.values() if user.late]

    def load(self, history: Iterable[StoredAction]) -> None:
        """Add what was read to its users' timelines, and its event ids to those known."""
        for user_id, stored in self.by_user(history).items():
            self.users[user_id].load(stored)

    def by_user(self, history: Iterable[StoredAction]) -> dict[int, list[NumberedAction]]:
        """What was read, by user; its event ids are known from now on."""
        found: dict[int, list[NumberedAction]] = defaultdict(list)
        new = tuple.__new__  # without a call for each: there may be a hundred thousand
        for one in history:
            action = new(Action, (one.seq, one.type, one.amount, one.time))
            found[one.user_id].append(new(NumberedAction, (action, one.ordinal, one.running_total)))
            if one.event_id is not None:
                self.known[one.user_id, one.event_id] = KnownEvent(action, tuple(one.alert_codes or ()))
        return found

    def check(self) -> None:
        """Assert that what is about to be stored follows from what was locked and read."""
        for user in self.users.values():
            user.check()
        new = sum(user.last_seq - user.first_new + 1 for user in self.users.values())
        assert len(self.stored) == new, "other actions are stored than those that arrived"
