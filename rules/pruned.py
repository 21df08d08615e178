"""What is left of a user's removed actions, and what can still be judged without them.

An action that has been removed (`flask --app app prune`) can no longer be looked back at. Counts and sums of all so far
and the first action follow from a checkpoint; windows and the last few actions do not. So an action that was judged
with removed ones is judged again only by rules that look back at nothing but what is left. `is_complete` decides that
for late repair, verify, backtests and the desk alike (docs/decisions/checkpoints.md).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from typing import cast

from database.checkpoint_rows import StoredCheckpoint  # noqa: TID251
from rules.base import First, Last, RuleInForce, SumsSoFar
from rules.model import Action, ActionType
from rules.timeline import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What is left of a user's removed actions: all that had `time` before `before`.

    `numbers` are how many there were and their sum, by type, of those types that had any; `first` is the first of all
    in order of time. `newest_seq` is the newest arrival among them, `until_seq` the user's newest arrival when they
    were removed.
    """

    before: int
    until_seq: int
    newest_seq: int
    first: Action
    numbers: Mapping[ActionType, tuple[int, Decimal]]

    @property
    def count(self) -> int:
        """How many there were of both types."""
        return sum(count for count, _ in self.numbers.values())

    @property
    def net(self) -> Decimal:
        """What they came to: deposits less withdrawals."""
        return sum(
            (total if kind == "deposit" else -total for kind, (_, total) in self.numbers.items()), Decimal("0.00")
        )


def pruned_by_user(rows: Iterable[StoredCheckpoint]) -> dict[int, Pruned]:
    """What is left of the removed actions of each user in `rows`, which hold all rows of each."""
    found = {}
    for user_id, group in groupby(sorted(rows), attrgetter("user_id")):
        own = list(group)
        first = min(own, key=lambda one: (one.first_time, one.first_seq))
        found[user_id] = Pruned(
            before=own[0].pruned_before,
            until_seq=max(one.until_seq for one in own),
            newest_seq=max(one.newest_seq for one in own),
            first=Action(first.first_seq, cast(ActionType, first.type), first.first_amount, first.first_time),
            numbers={cast(ActionType, one.type): (one.actions, one.total) for one in own},
        )
    return found


def is_complete(rule: RuleInForce, history: History, pruned: Pruned) -> bool:
    """Whether `rule` can be judged at the end of `history` as if nothing had been removed.

    Always, if the action arrived later than that: what was removed played no part in it from the beginning.
    """
    now = history.now
    if now.seq > pruned.until_seq:
        return True
    for look in rule.rule.look_back:
        if isinstance(look, SumsSoFar | First):
            continue  # the checkpoint has it
        if look.of is not None and look.of not in pruned.numbers:
            continue  # none of these were removed
        if isinstance(look, Last):
            if len(history.last(rule.number(look.count), look.of)) < rule.number(look.count):
                return False
        elif now.time - rule.number(look.seconds) < pruned.before:
            return False
    return True


def was_complete_on_arrival(rule: RuleInForce, history: History, pruned: Pruned) -> bool:
    """Whether that also holds for what was found when the action arrived; `history` ends as it did then.

    The checkpoint counts removed actions that arrived later, too, which nobody knew of then.
    """
    if not is_complete(rule, history, pruned):
        return False
    from_checkpoint = any(isinstance(look, SumsSoFar | First) for look in rule.rule.look_back)
    return not from_checkpoint or history.now.seq > pruned.newest_seq
