"""What late events have added to the running counts and sums of the actions behind them.

A late event is one more for every later action of its type. Writing that to each of them would take as long as the
user's history is. So their order is cut into stretches, and what is to be added to the numbers stored in a whole
stretch stands beside it, once: see docs/decisions/running-sums.md. What leaves this floor has it added already.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, literal_column, select, true, tuple_, union_all
from sqlalchemy.orm import aliased

from database.models import LateOffset, UserAction
from database.offsets import LateOffsets, Place, Series
from database.prepared import Records
from database.records import LaterAction, Offset, StoredAction, Stretch
from database.user_records import Forms

# So many actions of one type are looked up one by one; if there are more, all that begins between them is read.
FEW = 64

ActionT = TypeVar("ActionT", StoredAction, LaterAction)

ASKED = Records(Stretch, "asked", UserAction, end_time=UserAction.time, end_seq=UserAction.seq)


def _of_stretches(stretches: Records) -> Any:
    o, asked = aliased(LateOffset, name="o"), stretches.c
    own = select(*[getattr(o, name) for name in Offset._fields]).where(stretches.own(o.user_id), o.type == asked.type)
    place, start, end = tuple_(o.time, o.seq), tuple_(asked.time, asked.seq), tuple_(asked.end_time, asked.end_seq)
    first = own.where(place <= start).order_by(o.time.desc(), o.seq.desc()).limit(literal_column("1")).lateral("f")
    later = own.where(place > start, place <= end).lateral("l")
    return union_all(*[select(*found.c).select_from(stretches.table.join(found, true())) for found in (first, later)])


_OF_STRETCHES = Forms(_of_stretches, ASKED)


def corrected(connection: Connection, actions: list[ActionT], offsets: LateOffsets) -> list[ActionT]:
    """Actions as they are stored, with their true counts and sums; `offsets` learns what is to be added to them."""
    if not offsets.user_ids:
        return actions
    places: dict[Series, set[Place]] = defaultdict(set)
    for one in actions:
        if one.user_id in offsets.user_ids:
            places[one.user_id, one.type].add((one.time, one.seq))
    asked: list[Stretch] = []
    for (user_id, kind), each in places.items():
        ends = [(one, one) for one in each] if len(each) <= FEW else [(min(each), max(each))]
        asked += [stretch(user_id, kind, start, end) for start, end in ends]
    if asked:
        offsets.note(read_offsets(connection, asked))
    return [_with_added(one, offsets) if one.user_id in offsets.user_ids else one for one in actions]


def _with_added(one: ActionT, offsets: LateOffsets) -> ActionT:
    count, total = offsets.added(one.user_id, one.type, (one.time, one.seq))
    return one._replace(ordinal=one.ordinal + count, running_total=one.running_total + total) if count else one


def stretch(user_id: int, kind: str, start: Place, end: Place) -> Stretch:
    """The stretch of a user's actions of one type from `start` to `end`."""
    return Stretch(user_id=user_id, type=kind, time=start[0], seq=start[1], end_time=end[0], end_seq=end[1])


def read_offsets(connection: Connection, stretches: Sequence[Stretch]) -> list[Offset]:
    """The offsets in force in some stretches: that of the first place, and all that begin later; some twice."""
    return [Offset._make(row) for row in _OF_STRETCHES.run(connection, stretches)]
