"""From what rules declare to what is read for judging: the least that serves, as arguments of one statement."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter

from database.records import Ahead, Between, LastN, NextN
from rules.base import Reading
from rules.judging.late import Arrivals
from rules.model import ACTION_TYPES, Action, ActionType
from rules.values import LAST_TIME


@dataclass(slots=True, kw_only=True)
class Point:
    """A moment of a user's history at which something is judged, and what is read for that."""

    user_id: int
    time: int
    reading: Reading


@dataclass(slots=True, kw_only=True)
class Lookups:
    """What to read: the last actions before some moments, the first after some, and all of some stretches."""

    last: list[LastN]
    following: list[NextN]
    between: list[Between]


def lookups(points: Iterable[Point], in_order: bool = False) -> Lookups:
    """What is read to judge at all of `points`, nothing twice, and to see if anything follows each user's first point.

    With `in_order` it is assumed that nothing follows: then a user's last actions are those before the first point, and
    the newest action shows whether the assumption was right.
    """
    found = Lookups(last=[], following=[], between=[])
    for user_id, own in _by_user(points).items():
        counts: dict[ActionType, int] = {}
        spans: dict[ActionType, list[tuple[int, int]]] = {}
        next_after: set[tuple[ActionType, int]] = set()
        moments: set[int] = set()
        for reading, times in own:
            moments |= times
            for kind, needs in reading.needs.items():
                counts[kind] = max(needs.count, counts.get(kind, 0))
                if needs.seconds is not None:
                    spans.setdefault(kind, []).extend([(max(0, time - needs.seconds), time) for time in times])
                for seconds in needs.windows:
                    next_after.update([(kind, max(0, time - seconds) - 1) for time in times])
            if reading.first:
                next_after.update([(kind, -1) for kind in ACTION_TYPES])
        found.following.extend([NextN(user_id=user_id, type=kind, time=time, limit=1) for kind, time in next_after])
        found.between.extend(_merged(user_id, spans))
        ends = sorted(moments)
        for kind in ACTION_TYPES:
            count = counts.get(kind, 0)
            if count:
                found.last.append(LastN(user_id=user_id, type=kind, after=-1, time=ends[0], limit=count))
            # Each stretch between two times gives its own last actions, so none is read twice. One action is enough to
            # show that an event before it is late.
            if in_order:
                found.last.append(LastN(user_id=user_id, type=kind, after=ends[0], time=LAST_TIME, limit=1))
            else:
                found.last.extend(
                    [
                        LastN(user_id=user_id, type=kind, after=start, time=end, limit=count or 1)
                        for start, end in pairwise(ends)
                    ]
                )
                found.last.append(LastN(user_id=user_id, type=kind, after=ends[-1], time=LAST_TIME, limit=1))
    return found


def _by_user(points: Iterable[Point]) -> dict[int, Collection[tuple[Reading, set[int]]]]:
    # Events of one type share what they read: working it out once for all their times is what makes this quick.
    grouped: dict[int, dict[int, tuple[Reading, set[int]]]] = {}
    for point in points:
        own = grouped.get(point.user_id)
        if own is None:
            own = grouped[point.user_id] = {}
        group = own.get(id(point.reading))
        if group is None:
            own[id(point.reading)] = (point.reading, {point.time})
        else:
            group[1].add(point.time)
    return {user_id: own.values() for user_id, own in grouped.items()}


def lookups_again(points: Iterable[Point], complete: Mapping[int, Sequence[tuple[int, int]]]) -> Lookups:
    """What is read to judge again at all of `points`, where all actions of some stretches of time are there already.

    `complete` has these stretches by user, in order: their first and last times. Within them, only what lies before the
    first time is still to be read.
    """
    found = Lookups(last=[], following=[], between=[])
    alone: list[Point] = []
    within: dict[tuple[int, int], list[Point]] = {}
    for point in points:
        stretches = complete.get(point.user_id, ())
        at = bisect_right(stretches, point.time, key=itemgetter(0)) - 1
        if at >= 0 and point.time <= stretches[at][1]:
            within.setdefault((point.user_id, stretches[at][0]), []).append(point)
        else:
            alone.append(point)
    for (_, start), some in within.items():
        _look_before(start, some, found)
    if alone:
        more = lookups(alone)
        found.last.extend(more.last)
        found.following.extend(more.following)
        found.between.extend(more.between)
    return found


# A window's oldest action is looked up for so many moments; for more of them, all that those windows hold is read.
_ONE_BY_ONE = 1000


def _look_before(start: int, points: Iterable[Point], found: Lookups) -> None:
    """Add what is read of the time before `start` to judge at `points`, which all belong to one user."""
    for user_id, own in _by_user(points).items():
        counts: dict[ActionType, int] = {}
        since: dict[ActionType, int] = {}
        next_after: set[tuple[ActionType, int]] = set()
        for reading, times in own:
            earliest = min(times)
            for kind, needs in reading.needs.items():
                counts[kind] = max(needs.count, counts.get(kind, 0))
                if needs.seconds is not None:
                    since[kind] = min(earliest - needs.seconds, since.get(kind, start))
                for seconds in needs.windows:
                    before = [time - seconds for time in times if time - seconds < start]
                    if len(before) > _ONE_BY_ONE:
                        since[kind] = min(earliest - seconds, since.get(kind, start))
                    else:
                        next_after.update([(kind, max(0, time) - 1) for time in before])
            if reading.first:
                next_after.update([(kind, -1) for kind in ACTION_TYPES])
        found.following.extend([NextN(user_id=user_id, type=kind, time=time, limit=1) for kind, time in next_after])
        if start > 0:
            for kind, count in counts.items():
                found.last.append(LastN(user_id=user_id, type=kind, after=-1, time=start - 1, limit=count))
            for kind, time in since.items():
                if time < start:
                    found.between.append(Between(user_id=user_id, type=kind, start=max(0, time), end=start - 1))


def spans_ahead(
    user_id: int, late: Iterable[Action], arrivals: Iterable[Arrivals], until: Iterable[tuple[int, int]]
) -> list[Ahead]:
    """The stretches of a user's actions that its late ones can reach.

    `arrivals` says how far the rules reach that judged the user's actions; `until` are stretches of time in which all
    actions are in reach, whatever judged them.
    """
    moments = {action.time for action in late}
    spans: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for one in arrivals:
        reach = one.reach
        spans[one.first, one.last] = [
            (time, LAST_TIME if reach.endless else min(LAST_TIME, time + reach.seconds)) for time in moments
        ]
    everyone = spans.setdefault((0, LAST_TIME), [])
    everyone += until
    return [
        Ahead(user_id=user_id, type=kind, start=start, end=end, first=first, last=last)
        for (first, last), each in spans.items()
        for start, end in merged(each)
        for kind in ACTION_TYPES
    ]


def _merged(user_id: int, spans: Mapping[ActionType, Iterable[tuple[int, int]]]) -> list[Between]:
    # Overlapping windows of one type are read once.
    return [
        Between(user_id=user_id, type=kind, start=start, end=end)
        for kind, of_one in spans.items()
        for start, end in merged(of_one)
    ]


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same stretches of time, in order, those that overlap made one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
