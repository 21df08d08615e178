"""Actions in order of time, as far as they have been read, with their running counts and sums."""

from bisect import bisect_left, bisect_right
from decimal import Decimal
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
        self.actions = sorted([*self.actions, *actions], key=_place) if self.actions else actions
        self.times = [action.time for action in self.actions]

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
    all later ones; these are then worked out only as far as they are asked for.
    """

    __slots__ = ("_late", "_stored", "ordinals", "totals", "was_late")

    def __init__(self) -> None:
        super().__init__()
        self.ordinals: list[int] = []
        self.totals: list[Decimal] = []
        self._stored: dict[int, tuple[int, Decimal]] = {}  # the numbers of the stored actions, as they were read
        # Once an action has come late: how many new actions there are up to each action, and their sum.
        self.was_late = False
        self._late: list[tuple[int, Decimal]] = []

    def add(self, action: Action) -> int:
        at = super().add(action)
        self._renumber_from(at if self.was_late else 0)
        return at

    def load_numbered(self, stored: list[NumberedAction]) -> None:
        """Add stored actions, in order; none of them may be here yet."""
        fresh = not self.actions
        self.load([one.action for one in stored])
        self._stored |= {one.action.seq: (one.ordinal, one.running_total) for one in stored}
        if fresh:
            self.ordinals = [one.ordinal for one in stored]
            self.totals = [one.running_total for one in stored]
        else:
            self._renumber_from(0)

    def total(self, start: int, end: int) -> Decimal:
        """The sum of the user's actions from the one at `start` to the one before `end`, gaps or not."""
        if end > len(self.totals):
            self._number_until(end)
        return self.totals[end - 1] - self.totals[start] + self.actions[start].amount

    def numbers(self, index: int) -> tuple[int, Decimal]:
        """The running count and sum of the action at `index`; zeros before the first one."""
        if index < 0:
            return 0, NOTHING
        if index >= len(self.ordinals):
            self._number_until(index + 1)
        return self.ordinals[index], self.totals[index]

    def _renumber_from(self, at: int) -> None:
        self.was_late = True
        del self.ordinals[at:], self.totals[at:], self._late[at:]

    def _number_until(self, end: int) -> None:
        for index in range(len(self.ordinals), end):
            action = self.actions[index]
            count, total = self._late[index - 1] if index else (0, NOTHING)
            stored = self._stored.get(action.seq)
            if stored is not None:
                self.ordinals.append(stored[0] + count)
                self.totals.append(stored[1] + total)
            else:
                # The action before a new one is always read, so there is no gap between the two.
                self.ordinals.append(self.ordinals[-1] + 1 if index else 1)
                self.totals.append(self.totals[-1] + action.amount if index else action.amount)
                count, total = count + 1, total + action.amount
            self._late.append((count, total))


_seq = itemgetter(0)


def _place(action: Action) -> tuple[int, int]:
    return action.time, action.seq
