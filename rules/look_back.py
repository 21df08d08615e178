"""From what rules declare to what is read for judging: the least that serves, as arrays for one statement."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

from database.queries import Between, LastN, NextN  # noqa: TID251
from rules.base import Reading
from rules.late import Ahead
from rules.model import ACTION_TYPES, LAST_TIME, Action, ActionType

Whose = tuple[int, ActionType]  # user and type of action


class Point(NamedTuple):
    """A moment of a user's history at which something is judged, and what that reads."""

    user_id: int
    time: int
    reading: Reading


class Requests(NamedTuple):
    """What to read: the last actions before some moments, the first behind some, and all of some stretches."""

    last: list[LastN]
    following: list[NextN]
    between: list[Between]


class RequestsAhead(NamedTuple):
    """What to read behind late actions: the first of each type, all of some stretches, and all up to some action."""

    following: list[NextN]
    between: list[Between]
    until: list[NextN]


def requests(points: Iterable[Point]) -> Requests:
    """What judging at all of `points` reads, nothing twice, and the newest action of each user."""
    times: dict[int, set[int]] = defaultdict(set)
    counts: dict[Whose, int] = {}
    spans: dict[Whose, list[tuple[int, int]]] = defaultdict(list)
    behind: set[tuple[int, ActionType, int]] = set()
    for user_id, time, reading in points:
        times[user_id].add(time)
        for kind, needs in reading.needs.items():
            whose = user_id, kind
            if needs.count > counts.get(whose, 0):
                counts[whose] = needs.count
            if needs.seconds is not None:
                spans[whose].append((max(0, time - needs.seconds), time))
            for seconds in needs.windows:
                behind.add((user_id, kind, max(0, time - seconds) - 1))
        if reading.first:
            behind.update((user_id, kind, -1) for kind in ACTION_TYPES)
    last: list[LastN] = []
    for user_id, moments in times.items():
        ends = sorted(moments)
        for kind in ACTION_TYPES:
            # Each stretch between two times gives its own last actions, so none is read twice. One action is
            # enough to show that an event before it is late.
            count = counts.get((user_id, kind), 0)
            if count:
                last.append(LastN(user_id, kind, -1, ends[0], count))
            if len(ends) > 1:
                last += [LastN(user_id, kind, start, end, count or 1) for start, end in pairwise(ends)]
            last.append(LastN(user_id, kind, ends[-1], LAST_TIME, 1))
    return Requests(last, [NextN(*place, 1) for place in behind], _merged(spans))


def requests_ahead(late: Mapping[int, Iterable[Action]], aheads: Mapping[int, Ahead]) -> RequestsAhead:
    """What the late actions of each user can reach, by how far the rules that judged the user reach."""
    following: list[NextN] = []
    until: list[NextN] = []
    spans: dict[Whose, list[tuple[int, int]]] = defaultdict(list)
    for user_id, actions in late.items():
        ahead = aheads[user_id]
        moments = {action.time for action in actions}
        places = {(action.type, action.time) for action in actions if action.type in ahead.until}
        until += [NextN(user_id, kind, time, ahead.until[kind]) for kind, time in places]
        for kind in ACTION_TYPES:
            for time in moments:
                end = LAST_TIME if ahead.endless else min(LAST_TIME, time + ahead.seconds)
                spans[user_id, kind].append((time, end))
                following.append(NextN(user_id, kind, time, ahead.count))
    return RequestsAhead(following, _merged(spans), until)


def _merged(spans: Mapping[Whose, Iterable[tuple[int, int]]]) -> list[Between]:
    # Overlapping windows of one user and type are read once.
    merged: list[Between] = []
    for (user_id, kind), of_one in spans.items():
        begin = len(merged)
        for start, end in sorted(of_one):
            if len(merged) > begin and start <= merged[-1].end:
                merged[-1] = merged[-1]._replace(end=max(end, merged[-1].end))
            else:
                merged.append(Between(user_id, kind, start, end))
    return merged
