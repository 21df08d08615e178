"""What a transaction knows of the late offsets of its users: see `late_offsets.py`. Standard library only."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from operator import itemgetter

from database.records import Offset

Place = tuple[int, int]  # time, seq
Series = tuple[int, str]  # user, type
NOTHING = (0, Decimal(0))

place_of = itemgetter(2, 3)


class LateOffsets:
    """What is known of the late offsets of some locked users within a transaction.

    `user_ids` are those who have any. Of an action that has been read, or follows one at once, the offset is known.
    """

    def __init__(self, user_ids: Iterable[int] = ()) -> None:
        self.user_ids = set(user_ids)
        self._known: dict[Series, list[Offset]] = {}

    def added(self, user_id: int, kind: str, place: Place) -> tuple[int, Decimal]:
        """What is to be added to the count and sum that are stored at a place."""
        known = self._known.get((user_id, kind))
        at = bisect_right(known, place, key=place_of) if known else 0
        return (known[at - 1].added_count, known[at - 1].added_total) if known and at else NOTHING

    def note(self, offsets: Iterable[Offset]) -> None:
        """Keep what is known now, in place of what was known of the same places."""
        found: dict[Series, dict[Place, Offset]] = defaultdict(dict)
        for one in offsets:
            found[one.user_id, one.type][place_of(one)] = one
        for series, new in found.items():
            self.user_ids.add(series[0])
            known = {place_of(one): one for one in self._known.get(series, ())} | new
            self._known[series] = [known[place] for place in sorted(known)]
