"""Counting late events in: the running counts and sums of what follows them, and what is to be added to them."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import accumulate, chain
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    any_,
    bindparam,
    false,
    literal_column,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from database.late_offsets import ASKED, read_offsets, stretch
from database.models import LateOffset, User, UserAction
from database.offsets import NOTHING, LateOffsets, Place, Series, place_of
from database.prepared import Planned, Records, array, array_of
from database.records import LateAction, Offset
from database.user_records import Forms

# A late event rewrites the numbers of at most twice as many actions, and the offsets of the stretches behind it, each
# of which but the last has at least as many: docs/decisions/running-sums.md has what was measured.
STRETCH = 500

_LAST: Place = (2**63 - 1, 2**63 - 1)


class Rewritten(NamedTuple):
    """What is added to the numbers of the stored actions of one type after one place and before another."""

    user_id: int
    type: str
    time: int
    seq: int
    end_time: int
    end_seq: int
    added_count: int
    added_total: Decimal


OFFSETS = Records(Offset, "late_offset", LateOffset)
REWRITTEN = Records(
    Rewritten,
    "rewritten",
    UserAction,
    end_time=UserAction.time,
    end_seq=UserAction.seq,
    added_count=UserAction.ordinal,
    added_total=UserAction.running_total,
)


def _cuts(stretches: Records) -> Any:
    x, asked = aliased(UserAction, name="x"), stretches.c
    place = tuple_(x.time, x.seq)
    behind = select(x.time, x.seq).where(stretches.own(x.user_id), x.type == asked.type)
    behind = behind.where(place > tuple_(asked.time, asked.seq), place < tuple_(asked.end_time, asked.end_seq))
    behind = behind.order_by(x.time, x.seq).limit(literal_column("1"))
    length: ColumnElement[Any] = bindparam("length", type_=BigInteger())
    cut, enough = behind.offset(length).lateral("c"), behind.offset(length * literal_column("2")).lateral("e")
    both = stretches.table.join(cut, true()).join(enough, true())
    return select(asked.user_id, asked.type, cut.c.time, cut.c.seq).select_from(both)


def _rewrite() -> Any:
    of, place = REWRITTEN.c, tuple_(UserAction.time, UserAction.seq)
    return (
        update(UserAction)
        .where(
            UserAction.user_id == of.user_id,
            UserAction.type == of.type,
            place > tuple_(of.time, of.seq),
            place < tuple_(of.end_time, of.end_seq),
        )
        .values(
            {
                UserAction.ordinal: UserAction.ordinal + of.added_count,
                UserAction.running_total: UserAction.running_total + of.added_total,
            }
        )
    )


def _set_offsets() -> Any:
    new = insert(LateOffset).from_select([getattr(LateOffset, name) for name in Offset._fields], select(*OFFSETS.c))
    values = {name: new.excluded.corresponding_column(LateOffset.__mapper__.c[name]) for name in _VALUES}
    keys = [LateOffset.user_id, LateOffset.type, LateOffset.time, LateOffset.seq]
    return new.on_conflict_do_update(
        index_elements=keys, set_={getattr(LateOffset, name): value for name, value in values.items()}
    )


_VALUES = ("added_count", "added_total")
_CUTS, _SET_OFFSETS = Forms(_cuts, ASKED), Planned(_set_offsets())
# By the index, stretch by stretch: PostgreSQL, which cannot know how short they are, would rather read the whole table.
_REWRITE = Planned(_rewrite(), enable_hashjoin="off", enable_mergejoin="off")
_MARK = Planned(
    update(User)
    .where(User.user_id == any_(array_of("user_id", User.user_id.type)), User.has_late_offsets == false())
    .values({User.has_late_offsets: true()})
)


class _LateSeries:
    """The late actions of one user and type, in order, and what they do to the offsets behind the first of them."""

    def __init__(self, actions: Sequence[LateAction]) -> None:
        self.actions = sorted(actions, key=place_of)
        self.places = [(one.time, one.seq) for one in self.actions]
        self.totals = list(accumulate((one.amount for one in self.actions), initial=Decimal(0)))
        self.offsets: list[Offset] = []  # the one in force before the first action, if any, and all later ones
        self.cuts: list[Place] = []
        self.next = 0  # the first action that is in no stretch yet

    def end(self) -> Place:
        """Where the stored stretch of the next action ends."""
        at = bisect_right(self.offsets, self.places[self.next], key=place_of)
        return place_of(self.offsets[at]) if at < len(self.offsets) else _LAST

    def take(self, end: Place) -> Iterable[Rewritten]:
        """What the next actions, as far as `end`, add to the stored ones between them and before `end`."""
        start, self.next = self.next, bisect_left(self.places, end)
        ends = [*self.places[start + 1 : self.next], end]
        for at, (one, until) in enumerate(zip(self.actions[start : self.next], ends, strict=True), start=1):
            yield Rewritten(
                user_id=one.user_id,
                type=one.type,
                time=one.time,
                seq=one.seq,
                end_time=until[0],
                end_seq=until[1],
                added_count=at,
                added_total=self.totals[start + at] - self.totals[start],
            )

    def changed(self) -> Iterable[Offset]:
        """All offsets behind the first action as they will be, those of new cuts too."""
        of_cuts = []
        for place in self.cuts:
            at = bisect_right(self.offsets, place, key=place_of)
            first = self.actions[0]
            count, total = self.offsets[at - 1][4:] if at else NOTHING
            of_cuts.append(
                Offset(
                    user_id=first.user_id,
                    type=first.type,
                    time=place[0],
                    seq=place[1],
                    added_count=count,
                    added_total=total,
                )
            )
        for one in chain(self.offsets, of_cuts):
            before = bisect_left(self.places, place_of(one))
            if before:
                count, total = one.added_count + before, one.added_total + self.totals[before]
                yield one._replace(added_count=count, added_total=total)


def count_in(connection: Connection, late: Sequence[LateAction], offsets: LateOffsets) -> None:
    """Add late actions, not stored yet, to the running counts and sums of the stored ones that follow them.

    `offsets` knows afterwards what is to be added to those of the new actions.
    """
    series = _by_series(connection, late, offsets)
    rewritten: list[Rewritten] = []
    left = series
    while left:
        ends = {key: each.end() for key, each in left.items()}
        asked = [stretch(*key, each.places[each.next], ends[key]) for key, each in left.items()]
        for user_id, kind, *cut in _CUTS.run(connection, asked, length=STRETCH):
            ends[user_id, kind] = (cut[0], cut[1])
            left[user_id, kind].cuts.append((cut[0], cut[1]))
        for key, each in left.items():
            rewritten += each.take(ends[key])
        left = {key: each for key, each in left.items() if each.next < len(each.actions)}
    _REWRITE.run(connection, REWRITTEN.arrays(rewritten))
    if changed := [one for each in series.values() for one in each.changed()]:
        _SET_OFFSETS.run(connection, OFFSETS.arrays(changed))
        if new := {one.user_id for one in changed} - offsets.user_ids:
            _MARK.run(connection, {"user_id": array(sorted(new))})
        offsets.note(changed)


def _by_series(connection: Connection, late: Sequence[LateAction], offsets: LateOffsets) -> dict[Series, _LateSeries]:
    actions: dict[Series, list[LateAction]] = defaultdict(list)
    for one in late:
        actions[one.user_id, one.type].append(one)
    series = {key: _LateSeries(each) for key, each in actions.items()}
    asked = [stretch(*key, each.places[0], _LAST) for key, each in series.items() if key[0] in offsets.user_ids]
    if asked:
        found = sorted(set(read_offsets(connection, asked)))
        offsets.note(found)
        for offset in found:
            series[offset.user_id, offset.type].offsets.append(offset)
    return series
