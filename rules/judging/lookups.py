"""From what rules declare to what is read for judging: the least that serves, as arguments of one statement."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter

from database.records import Ahead, LastN, NextN
from rules.base import Reading
from rules.judging.late import Arrivals
from rules.model import ACTION_TYPES, LISTED_ACTIONS, Action, ActionType
from rules.timeline import Timeline
from rules.values import LAST_TIME


@dataclass(slots=True, kw_only=True)
class Point:
    """A moment of a user's history at which something is judged, and what is read for that."""

    user_id: int
    time: int
    reading: Reading


@dataclass(slots=True, kw_only=True)
class Lookups:
    """What to read: the last actions before some moments, and the first after some."""

    last: list[LastN]
    following: list[NextN]


def lookups(points: Iterable[Point], in_order: bool = False) -> Lookups:
    """What is read to judge at all of `points`, nothing twice, and to see if anything follows each user's first point.

    With `in_order` it is assumed that nothing follows: then a user's last actions are those before the first point, and
    the newest action shows whether the assumption was right. Of crowded windows more is read: `oldest_in_crowds`.
    """
    found = Lookups(last=[], following=[])
    for user_id, own in _by_user(points).items():
        counts: dict[ActionType, int] = {}
        windows: dict[ActionType, list[tuple[int, int]]] = {}
        next_after: set[tuple[ActionType, int]] = set()
        moments: set[int] = set()
        for reading, times in own:
            moments |= times
            for kind, needs in reading.needs.items():
                counts[kind] = max(needs.count, counts.get(kind, 0))
                if needs.listed:
                    ends = [min(times)] if in_order else times
                    windows.setdefault(kind, []).extend([(time, _before(time, needs.longest)) for time in ends])
                for seconds in needs.windows:
                    next_after.update([(kind, _before(time, seconds)) for time in times])
            if reading.first:
                next_after.update([(kind, -1) for kind in ACTION_TYPES])
        found.following.extend([NextN(user_id=user_id, type=kind, time=time, limit=1) for kind, time in next_after])
        # Each stretch between two times gives its own last actions, so none is read twice. One action is enough to
        # show that an event before it is late.
        ends = sorted(moments)
        if in_order:
            del ends[1:]
        for kind in ACTION_TYPES:
            last = _last(ends, counts.get(kind, 0), windows.get(kind, []))
            last.append((ends[-1], LAST_TIME, 1))
            found.last.extend(
                [LastN(user_id=user_id, type=kind, after=after, time=time, limit=limit) for after, time, limit in last]
            )
    return found


def lookups_beyond(timeline: Timeline, user_id: int, time: int, reading: Reading) -> list[NextN] | None:
    """What is still to be read to judge at `time`, the newest of a user whose last actions are here without gaps.

    None if that is more than the oldest of some windows and the user's first action.
    """
    asked = []
    is_complete = True
    for kind in ACTION_TYPES:
        start, needs = timeline.complete_after(kind), reading.needs.get(kind)
        if start < 0:
            continue
        is_complete = False
        if needs is None:
            continue
        if timeline.count_here(kind) < needs.count or time - needs.longest <= start:
            return None
        asked += [
            NextN(user_id=user_id, type=kind, time=_before(time, seconds), limit=1)
            for seconds in needs.windows
            if time - seconds <= start
        ]
    if reading.first and not is_complete:
        asked += [NextN(user_id=user_id, type=kind, time=-1, limit=1) for kind in ACTION_TYPES]
    return asked


def _before(time: int, seconds: int) -> int:
    """The last moment before a window of `seconds` that ends at `time`."""
    return max(0, time - seconds) - 1


def _last(ends: list[int], count: int, windows: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """The last `count` actions at each of `ends`, and the newest of `windows`: the arguments of LastN.

    `windows` are the end of each, and the last moment before it.
    """
    found: list[tuple[int, int, int]] = []
    windows = sorted(windows)
    earliest = LAST_TIME  # of the moments before the windows that end at `time` or later
    for before, time in reversed([*pairwise((-1, *ends))]):
        while windows and windows[-1][0] >= time:
            earliest = min(earliest, windows.pop()[1])
        after = max(before, earliest)
        limit = count or int(before >= 0)
        if after == before:
            found.append((before, time, max(limit, LISTED_ACTIONS)))
            continue
        # The last ones before a window also show that the rest of it is all that there is.
        if limit:
            found.append((before, min(after, time), limit))
        if after < time:
            found.append((after, time, max(limit, LISTED_ACTIONS)))
    return found


def oldest_in_crowds(points: Iterable[Point], timelines: Mapping[int, Timeline]) -> list[NextN]:
    """What is still to be read of windows with so many actions that not all may have been read: the oldest of each.

    `timelines` hold what `lookups` found for `points`, by user.
    """
    asked: set[NextN] = set()
    for user_id, own in _by_user(points).items():
        timeline = timelines[user_id]
        for reading, times in own:
            for kind, needs in reading.needs.items():
                asked.update(
                    [
                        NextN(user_id=user_id, type=kind, time=_before(time, seconds), limit=1)
                        for seconds in needs.listed
                        for time in times
                        if timeline.is_crowded(kind, time - seconds, time)
                    ]
                )
    return list(asked)


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
    found = Lookups(last=[], following=[])
    alone: list[Point] = []
    within: dict[tuple[int, int], list[Point]] = {}
    for point in points:
        start = _start(point, complete)
        if start is None:
            alone.append(point)
        else:
            within.setdefault((point.user_id, start), []).append(point)
    for (_, start), some in within.items():
        _look_before(start, some, found)
    if alone:
        more = lookups(alone)
        found.last.extend(more.last)
        found.following.extend(more.following)
    return found


def _start(point: Point, complete: Mapping[int, Sequence[tuple[int, int]]]) -> int | None:
    """The first time of the complete stretch that `point` is in, if it is in one."""
    stretches = complete.get(point.user_id, ())
    at = bisect_right(stretches, point.time, key=itemgetter(0)) - 1
    return stretches[at][0] if at >= 0 and point.time <= stretches[at][1] else None


def _look_before(start: int, points: Iterable[Point], found: Lookups) -> None:
    """Add what is read of the time before `start` to judge at `points`, which all belong to one user."""
    for user_id, own in _by_user(points).items():
        counts: dict[ActionType, int] = {}
        listed: dict[ActionType, int] = {}  # the last moment before the windows
        next_after: set[tuple[ActionType, int]] = set()
        for reading, times in own:
            for kind, needs in reading.needs.items():
                counts[kind] = max(needs.count, counts.get(kind, 0))
                if needs.listed:
                    listed[kind] = min(_before(min(times), needs.longest), listed.get(kind, start))
                for seconds in needs.windows:
                    next_after.update([(kind, _before(time, seconds)) for time in times if time - seconds < start])
            if reading.first:
                next_after.update([(kind, -1) for kind in ACTION_TYPES])
        found.following.extend([NextN(user_id=user_id, type=kind, time=time, limit=1) for kind, time in next_after])
        last = [(kind, -1, count) for kind, count in counts.items()]
        last += [(kind, after, LISTED_ACTIONS) for kind, after in listed.items() if after < start - 1]
        found.last.extend(
            [
                LastN(user_id=user_id, type=kind, after=after, time=start - 1, limit=limit)
                for kind, after, limit in last
                if start > 0
            ]
        )


def may_be_incomplete(points: Iterable[Point], complete: Mapping[int, Sequence[tuple[int, int]]]) -> list[Point]:
    """Those of `points` from which a window reaches back beyond the stretches of which all actions are there."""
    found = []
    for point in points:
        start = _start(point, complete)
        longest = max((needs.longest for needs in point.reading.needs.values()), default=-1)
        if start is None or point.time - longest < start:
            found.append(point)
    return found


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


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same stretches of time, in order, those that overlap made one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
