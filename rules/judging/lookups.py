"""From what rules declare to what is read for judging: the least that serves, as arguments of one statement."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from database.records import Between, LastN, NextN
from rules.base import Reading
from rules.judging.late import Reach
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


@dataclass(slots=True, kw_only=True)
class LookupsAhead:
    """What to read after late actions: the first of each type, all of some stretches, and all up to some action."""

    following: list[NextN]
    between: list[Between]
    until: list[NextN]


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
        if limit:
            found.append((before, time, limit))
        if after < time:
            found.append((after, time, LISTED_ACTIONS))
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


def lookups_ahead(late: Mapping[int, Iterable[Action]], reaches: Mapping[int, Reach]) -> LookupsAhead:
    """What each user's late actions can reach; `reaches` says how far the rules that judged the user do."""
    following: list[NextN] = []
    until: list[NextN] = []
    between: list[Between] = []
    for user_id, actions in late.items():
        reach = reaches[user_id]
        moments = {action.time for action in actions}
        places = {(action.type, action.time) for action in actions if action.type in reach.until}
        until += [NextN(user_id=user_id, type=kind, time=time, limit=reach.until[kind]) for kind, time in places]
        reached = [(time, LAST_TIME if reach.endless else min(LAST_TIME, time + reach.seconds)) for time in moments]
        between += _merged(user_id, dict.fromkeys(ACTION_TYPES, reached))
        following += [
            NextN(user_id=user_id, type=kind, time=time, limit=reach.count) for kind in ACTION_TYPES for time in moments
        ]
    return LookupsAhead(following=following, between=between, until=until)


def _merged(user_id: int, spans: Mapping[ActionType, Iterable[tuple[int, int]]]) -> list[Between]:
    # Overlapping windows of one type are read once.
    merged: list[Between] = []
    for kind, of_one in spans.items():
        ordered = iter(sorted(of_one))
        start, end = next(ordered)
        for other, until in ordered:
            if other <= end:
                end = max(end, until)
            else:
                merged.append(Between(user_id=user_id, type=kind, start=start, end=end))
                start, end = other, until
        merged.append(Between(user_id=user_id, type=kind, start=start, end=end))
    return merged
