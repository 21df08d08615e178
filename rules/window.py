"""The actions of some seconds, as a rule sees them."""

from decimal import Decimal
from typing import TYPE_CHECKING

from rules.model import ACTION_TYPES, LISTED_ACTIONS, Action, ActionType
from rules.series import NOTHING

if TYPE_CHECKING:
    from rules.timeline import History


class Window:
    """The actions of some seconds. Its count and sum cost the same however many there are.

    It holds until its history goes on to another action.
    """

    __slots__ = ("_end", "_history", "_of", "_seconds", "_series", "_start")

    def __init__(self, history: "History", seconds: int, of: ActionType | None, start: int, end: int) -> None:
        self._history, self._seconds, self._of = history, seconds, of
        self._series, self._start, self._end = history._timeline._of(of), start, end

    def __len__(self) -> int:
        here = self._end - self._start
        return here if here < LISTED_ACTIONS else self._history._count_crowd(self._seconds, self._of)

    @property
    def total(self) -> Decimal:
        """The sum of the amounts."""
        kinds = ACTION_TYPES if self._of is None else (self._of,)
        return sum([self._history.total(self._seconds, kind) for kind in kinds], NOTHING)

    @property
    def oldest(self) -> Action:
        """The first action in it."""
        return self._series.actions[self._start]

    @property
    def newest(self) -> list[Action]:
        """Its newest actions, at most LISTED_ACTIONS, oldest first."""
        return self._series.actions[max(self._start, self._end - LISTED_ACTIONS) : self._end]

    @property
    def listed(self) -> tuple[int, ...]:
        """The `seq` of its newest actions, at most LISTED_ACTIONS, oldest first."""
        return tuple(action.seq for action in self.newest)

    @property
    def unlisted(self) -> int:
        """How many actions `listed` leaves out."""
        return max(0, len(self) - LISTED_ACTIONS)
