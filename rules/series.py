"""Actions in order of time, as far as they have been read, with their running counts and sums."""

from bisect import bisect_left, bisect_right
from decimal import Decimal
from itertools import accumulate
from operator import itemgetter

from rules.model import Action, NumberedAction

NOTHING = Decimal("0.00")


class Series:
    """Actions in order of (time, arrival). There may be gaps between them: only what judging needs is here."""

    __slots__ = ("actions", "times")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.actions: list[Action] = []

    def add(self, action: Action) -> int:
        """Insert a new action, the newest to arrive, at its place in time. Returns its index."""
        times = self.times
        if not times or times[-1] <= action.time:
            times.append(action.time)
            self.actions.append(action)
            return len(times) - 1
        at = bisect_right(times, action.time)
        times.insert(at, action.time)
        self.actions.insert(at, action)
        return at

    def load(self, actions: list[Action]) -> None:
        """Add stored actions."""
        self.actions = sorted([*self.actions, *actions], key=place) if self.actions else actions
        self.times = [action.time for action in self.actions]

    def forget(self, before: int, keep: int) -> None:
        """Drop actions with `time` before `before`, but for the first and the last `keep`; none may have come late."""
        end = min(bisect_left(self.times, before), len(self.times) - keep)
        if end > 1:
            self._drop(1, end)

    def _drop(self, start: int, end: int) -> None:
        del self.times[start:end], self.actions[start:end]

    def end(self, action: Action) -> int:
        """How many actions there are up to and including the place of `action`."""
        if self.actions and self.actions[-1] is action:  # the usual case
            return len(self.actions)
        times = self.times
        if not times or times[-1] < action.time:
            return len(times)
        end = bisect_right(times, action.time)
        if end and times[end - 1] == action.time and self.actions[end - 1].seq > action.seq:
            # Leave out those of the same time that arrived later; there may be thousands of them.
            start = bisect_left(times, action.time, 0, end)
            end = bisect_right(self.actions, action.seq, start, end, key=_seq)
        return end


class TypedSeries(Series):
    """The actions of one type, each with its running count and sum over all of the user's, gaps or not.

    So the count and sum of a window follow from its first and its last action. A late action changes the numbers of
    all later ones; from then on they are put together when they are asked for: from those of the stored actions
    (`ordinals`, `totals`: at a new one, those of the stored one before it), and from the new actions up to there.
    `base` is the count and sum of those before the first that is stored: zeros, unless some were removed.
    """

    __slots__ = ("_new", "_new_amounts", "_new_totals", "_settled", "_stored", "base", "ordinals", "totals", "was_late")

    def __init__(self) -> None:
        super().__init__()
        self.ordinals: list[int] = []
        self.totals: list[Decimal] = []
        self.base: tuple[int, Decimal] = (0, NOTHING)
        self._stored: dict[int, tuple[int, Decimal]] = {}  # the numbers of the stored actions, as they were read
        self._settled = 0  # all actions up to this `seq` are stored too
        # Once an action has come late: the places of new actions, their amounts, and the running sum of these as far as
        # it has been needed.
        self.was_late = False
        self._new: list[tuple[int, int]] = []
        self._new_amounts: list[Decimal] = []
        self._new_totals: list[Decimal] = []

    def add(self, action: Action) -> int:
        if not self.was_late:
            self._take_apart()
        at = super().add(action)
        # The action before a new one is always read, so there is no gap between the two.
        ordinal, total = (self.ordinals[at - 1], self.totals[at - 1]) if at else self.base
        self.ordinals.insert(at, ordinal)
        self.totals.insert(at, total)
        new = bisect_left(self._new, action.place)
        self._new.insert(new, action.place)
        self._new_amounts.insert(new, action.amount)
        del self._new_totals[new:]
        return at

    def _drop(self, start: int, end: int) -> None:
        assert not self.was_late
        super()._drop(start, end)
        del self.ordinals[start:end], self.totals[start:end]

    def load_numbered(self, stored: list[NumberedAction]) -> None:
        """Add stored actions, in order; none of them may be here yet."""
        if not self.was_late and any(one.seq > self._settled and one.seq not in self._stored for one in self.actions):
            self._take_apart()  # a new action may have come late, before one that is only read now
        self._stored |= {one.action.seq: (one.ordinal, one.running_total) for one in stored}
        if self.was_late:
            self.load([one.action for one in stored])
            self._take_apart()
            return
        if self.actions:
            here = map(NumberedAction, self.actions, self.ordinals, self.totals)
            stored = sorted([*here, *stored], key=numbered_place)
        self.actions = [one.action for one in stored]
        self.times = [one.time for one in self.actions]
        self.ordinals = [one.ordinal for one in stored]
        self.totals = [one.running_total for one in stored]

    def settle(self, seq: int) -> None:
        """All actions up to `seq`, the newest arrival, are stored now as they are here; none may have come late."""
        assert not self.was_late
        self._stored, self._settled = {}, seq

    def shorten(self, before: int, keep: int) -> None:
        """Drop actions with `time` before `before`, but for the last of them and the last `keep` of all."""
        end = min(bisect_left(self.times, before) - 1, len(self.times) - keep)
        if end > 0:
            self._drop(0, end)

    def drop_before_gaps(self) -> None:
        """Drop all actions that have a gap behind them: between the others there is none."""
        ordinals = self.ordinals
        if not ordinals or ordinals[-1] - ordinals[0] == len(ordinals) - 1:
            return
        first = ordinals[-1] - len(ordinals) + 1
        # The ordinals rise by one from the last gap on, and by more somewhere before it.
        self._drop(0, bisect_left(range(len(ordinals)), first, key=lambda n: ordinals[n] - n))

    def total(self, start: int, end: int) -> Decimal:
        """The sum of the user's actions from the one at `start` to the one before `end`, gaps or not."""
        if self.was_late:
            return self.numbers(end - 1)[1] - self.numbers(start)[1] + self.actions[start].amount
        return self.totals[end - 1] - self.totals[start] + self.actions[start].amount

    def numbers(self, index: int) -> tuple[int, Decimal]:
        """The running count and sum of the action at `index`; before the first one, `base`."""
        if index < 0:
            return self.base
        ordinal, total = self.ordinals[index], self.totals[index]
        if not self.was_late:
            return ordinal, total
        new = bisect_right(self._new, self.actions[index].place)
        return ordinal + new, total + self._new_total(new) if new else total

    def _new_total(self, count: int) -> Decimal:
        """The sum of the first `count` new actions."""
        done = len(self._new_totals)
        if done < count:
            amounts = self._new_amounts[done:count]
            if done:
                amounts[0] += self._new_totals[-1]
            self._new_totals += accumulate(amounts)
        return self._new_totals[count - 1]

    def _take_apart(self) -> None:
        """Keep the numbers of stored actions and those of new ones apart."""
        if self._settled and not self.was_late:
            here = zip(self.actions, self.ordinals, self.totals, strict=True)
            self._stored |= {one.seq: (number, total) for one, number, total in here if one.seq <= self._settled}
        self.was_late = True
        new = [one for one in self.actions if one.seq not in self._stored]
        self._new, self._new_amounts, self._new_totals = [one.place for one in new], [one.amount for one in new], []
        self.ordinals, self.totals = [], []
        numbers = self.base
        for action in self.actions:
            numbers = self._stored.get(action.seq, numbers)
            self.ordinals.append(numbers[0])
            self.totals.append(numbers[1])


_seq = itemgetter(0)


def place(action: Action) -> tuple[int, int]:
    """Its place, to sort by."""
    return action.time, action.seq


def numbered_place(stored: NumberedAction) -> tuple[int, int]:
    """The place of its action, to sort by."""
    return stored.action.time, stored.action.seq
