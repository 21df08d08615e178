"""Stored actions and alerts of many users as columns, and reading them from what COPY writes."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from database import records
from rules.columns import (
    MOST_CENTS,
    MOST_PRODUCT,
    ActionColumns,
    ColumnSeries,
    Ints,
    Mask,
    Removed,
    cumulative,
    decimal,
    first_at_least,
)
from rules.model import ACTION_TYPES, Action
from rules.pruned import Pruned
from rules.values import LAST_TIME, in_cents

OUTCOMES = (None, *records.OUTCOMES)
_HEAD = 19  # bytes: COPY's signature, flags, and the length of an extension, of which there is none


class StoredActions(NamedTuple):
    """Actions in any order; the amounts are in cents."""

    user_id: Ints
    seq: Ints
    is_deposit: Mask
    amount: Ints
    time: Ints
    settings_version: Ints

    @classmethod
    def copied(cls, copied: bytes) -> "StoredActions":
        """Those that `database.history.actions_to_backtest` returns."""
        return cls(*_columns(copied, ("i8", "i8", "?", "i8", "i8", "i8")))

    def at(self, places: Ints) -> "StoredActions":
        """Those at these places."""
        return StoredActions._make(column[places] for column in self)


class StoredAlerts(NamedTuple):
    """Alerts that hold, in any order; `outcome` is a place in OUTCOMES."""

    user_id: Ints
    seq: Ints
    code: Ints
    time: Ints
    outcome: Ints

    @classmethod
    def copied(cls, copied: bytes) -> "StoredAlerts":
        """Those that `database.history.standing_alerts` returns."""
        return cls(*_columns(copied, ("i8", "i8", "i4", "i8", "i4")))

    def at(self, places: Ints) -> "StoredAlerts":
        """Those at these places."""
        return StoredAlerts._make(column[places] for column in self)


def _columns(copied: bytes, types: Sequence[str]) -> list[NDArray[Any]]:
    """The columns of what COPY writes in its binary form, none of whose values is null."""
    # Each row begins with the number of its fields, and each field with its length, all with the high byte first.
    fields = [("fields", ">i2")]
    for number, one in enumerate(types):
        fields += [(f"length{number}", ">i4"), (str(number), f">{one}")]
    row = np.dtype(fields)
    count, rest = divmod(len(copied) - _HEAD - 2, row.itemsize)
    rows = np.frombuffer(copied, row, count, _HEAD)
    lengths = [(rows[f"length{number}"] == row[str(number)].itemsize).all() for number in range(len(types))]
    if rest or not all(lengths):
        raise ValueError("COPY has written other columns than were asked for, or nulls")
    return [rows[str(number)].astype(bool if one == "?" else np.int64) for number, one in enumerate(types)]


class StoredUsers:
    """The actions of some users in order: by user, and then by (time, seq). Users are numbered from 0.

    `pruned` is what is left of removed actions, by user.
    """

    def __init__(self, actions: StoredActions, pruned: Mapping[int, Pruned]) -> None:
        user_id, _, _, _, time, _ = actions
        following = (user_id[1:] > user_id[:-1]) | ((user_id[1:] == user_id[:-1]) & (time[1:] > time[:-1]))
        if not following.all():
            order = np.lexsort((actions.seq, time, user_id))
            actions = actions.at(order)
        self.actions = actions
        is_first = np.ones(len(actions.user_id), bool)
        is_first[1:] = actions.user_id[1:] != actions.user_id[:-1]
        self.begins = np.flatnonzero(is_first)  # of each user
        self.ends = np.append(self.begins[1:], len(is_first))
        self.ids = actions.user_id[self.begins]
        self.user = np.cumsum(is_first) - 1  # of each action
        found = [pruned.get(user_id) for user_id in self.ids.tolist()] if pruned else []
        self.pruned = {user: one for user, one in enumerate(found) if one is not None}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def too_large(self) -> Ints:
        """Those whose amounts are too large for columns."""
        if not len(self):
            return self.begins
        # Rounding keeps their order, so nobody beyond a limit is missed.
        amounts, counts = self.actions.amount, (self.ends - self.begins).astype(float)
        totals = np.add.reduceat(amounts.astype(float), self.begins)
        largest = np.maximum.reduceat(amounts, self.begins).astype(float)
        for user, pruned in self.pruned.items():
            totals[user] += sum(in_cents(total) for _, total in pruned.numbers.values())
            counts[user] += pruned.count
        return np.flatnonzero((totals >= MOST_CENTS) | (largest * counts >= MOST_PRODUCT))

    @cached_property
    def series(self) -> ColumnSeries:
        """All the actions."""
        return ColumnSeries(self.actions.amount, self.actions.time, self.actions.is_deposit)

    @cached_property
    def removed(self) -> Removed | None:
        """What is left of removed actions, for each action; None if there is none of any."""
        if not self.pruned:
            return None
        first = np.full(len(self), LAST_TIME)
        counts, totals = ({kind: np.zeros(len(self), np.int64) for kind in ACTION_TYPES} for _ in range(2))
        for user, pruned in self.pruned.items():
            first[user] = pruned.first.time
            for kind, (count, total) in pruned.numbers.items():
                # Those of users who are too large for columns are not looked at.
                counts[kind][user], totals[kind][user] = count, min(in_cents(total), MOST_CENTS)
        return Removed(
            first[self.user],
            {kind: one[self.user] for kind, one in counts.items()},
            {kind: one[self.user] for kind, one in totals.items()},
        )

    def columns(self, of: Ints | None = None) -> tuple[ActionColumns, Ints]:
        """All actions of the users `of`, in order (None: of all), as columns, and the places here of these actions."""
        every, removed = self.series, self.removed
        if of is None:
            return ActionColumns(every, self.begins[self.user], removed), np.arange(len(self.user))
        lengths = self.ends[of] - self.begins[of]
        begins = np.repeat(cumulative(lengths)[:-1], lengths)
        places = np.arange(len(begins)) - begins + np.repeat(self.begins[of], lengths)
        if removed is not None:
            removed = Removed(
                removed.first[places],
                {kind: one[places] for kind, one in removed.counts.items()},
                {kind: one[places] for kind, one in removed.totals.items()},
            )
        return ActionColumns(every.only(places), begins, removed), places

    def actions_of(self, user: int, until: int | None = None) -> list[Action]:
        """The actions of one user, up to and including that at the place `until` (None: all)."""
        end = self.ends[user] if until is None else until + 1
        rows = (column[self.begins[user] : end].tolist() for column in self.actions[1:5])
        return [
            Action(seq, "deposit" if is_deposit else "withdraw", decimal(amount), time)
            for seq, is_deposit, amount, time in zip(*rows, strict=True)
        ]

    def places_of(self, user: Ints, seq: Ints) -> Ints:
        """The places of the actions of these users with these `seq`; -1 for those that are not there."""
        seqs, order = self.actions.seq, None
        if ((seqs[1:] < seqs[:-1]) & (self.user[1:] == self.user[:-1])).any():  # some came late
            order = np.lexsort((seqs, self.user))
            seqs = seqs[order]
        places = first_at_least(seqs, self.begins[user], self.ends[user], seq)
        found = places < self.ends[user]
        found[found] = seqs[places[found]] == seq[found]
        if order is not None:
            places[found] = order[places[found]]
        return np.where(found, places, -1)
