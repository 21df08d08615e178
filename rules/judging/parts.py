"""Judging again so many later actions of a user that they are read in parts, each of which is forgotten when done."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import accumulate

from sqlalchemy import Connection

from database import judging_forms, late_events
from database.records import Ahead, LaterAction, StoredAction
from rules.judging.ahead import PART, Repairs, numbered
from rules.judging.batch import BatchUser
from rules.judging.lookups import Lookups, lookups_again, may_be_incomplete, oldest_in_crowds
from rules.judging.repair import repair
from rules.model import ACTION_TYPES, Action, NumberedAction
from rules.values import LAST_TIME


def repair_in_parts(connection: Connection, repairs: Repairs, user: BatchUser, new: Iterable[Action]) -> None:
    """Judge again all that the late actions of `user` can change, and note the difference in its alerts.

    `new` are all its actions of this batch.
    """
    start, end = repairs.in_parts[user.user_id]
    numbers = _FinalNumbers(user, new)
    size = PART
    while start <= end:
        found = _read(connection, repairs, user, start, end, size)
        counts = [sum(one.type == kind for one in found) for kind in ACTION_TYPES]
        cut = end + 1  # where the next part begins: actions at one time are never divided
        for kind, count in zip(ACTION_TYPES, counts, strict=True):
            if count == size:
                cut = min(cut, max(one.time for one in found if one.type == kind))
        if cut == start:
            size *= 2
            continue
        _repair_part(connection, repairs, user, numbers, [one for one in found if one.time < cut], start, cut - 1)
        start, size = cut, PART


def _read(
    connection: Connection, repairs: Repairs, user: BatchUser, start: int, end: int, size: int
) -> list[LaterAction]:
    asked = [
        Ahead(user_id=user.user_id, type=kind, start=start, end=end, first=0, last=LAST_TIME) for kind in ACTION_TYPES
    ]
    return late_events.read_part(connection, asked, limit=size, offsets=repairs.batch.offsets)


def _repair_part(
    connection: Connection,
    repairs: Repairs,
    user: BatchUser,
    numbers: "_FinalNumbers",
    found: Sequence[LaterAction],
    start: int,
    end: int,
) -> None:
    part = BatchUser(user_id=user.user_id, rule_set=user.rule_set, last_seq=user.first_new - 1, pruned=user.pruned)
    part.late = user.late
    points, complete = repairs.note(part, found), {user.user_id: [(start, end)]}

    def read(more: Lookups) -> list[StoredAction]:
        offsets = repairs.batch.offsets
        return judging_forms.read_history(connection, last=more.last, following=more.following, offsets=offsets)

    stored = numbered([*found, *read(lookups_again(points, complete))])
    part.load([*map(numbers.of_stored, stored), *numbers.of_new(end)])
    oldest = oldest_in_crowds(may_be_incomplete(points, complete), {user.user_id: part.timeline})
    if oldest:
        part.load(map(numbers.of_stored, numbered(read(Lookups(last=[], following=oldest)))))
    repair(part, repairs.reaches[user.user_id])
    for (seq, code), state in part.alerts.items():
        if state.changed or state.evidence is not None:
            user.alerts[seq, code] = state
            user.times[seq] = part.times[seq]


class _FinalNumbers:
    """The running counts and sums of a user's actions as they are once the new ones are among them."""

    def __init__(self, user: BatchUser, new: Iterable[Action]) -> None:
        ordered = sorted(new, key=lambda action: action.place)
        self._new = [NumberedAction(action, *user.timeline.numbers(action)) for action in ordered]
        self._places = {kind: [one.place for one in ordered if one.type == kind] for kind in ACTION_TYPES}
        self._totals = {
            kind: list(accumulate((one.amount for one in ordered if one.type == kind), initial=Decimal(0)))
            for kind in ACTION_TYPES
        }

    def of_stored(self, one: NumberedAction) -> NumberedAction:
        """A stored action with those numbers."""
        action = one.action
        before = bisect_left(self._places[action.type], action.place)
        if not before:
            return one
        return NumberedAction(action, one.ordinal + before, one.running_total + self._totals[action.type][before])

    def of_new(self, until: int) -> list[NumberedAction]:
        """The new actions with `time` up to `until`."""
        return [one for one in self._new if one.action.time <= until]
