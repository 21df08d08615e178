"""Reading what late events reach: the later actions that they can change, and what it takes to judge them again.

How far that is follows from the rules that judged the actions that are there, not from all that there ever were: see
docs/decisions/late-arrivals.md.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from itertools import pairwise
from typing import cast

from sqlalchemy import Connection

from database import judging_forms, late_counts, late_events
from database.offsets import LateOffsets
from database.records import ActionKey, Ahead, LaterAction, NextN, StoredAction
from rules.judging.batch import AlertState, Batch, BatchUser
from rules.judging.late import FIRST_RULES, Arrivals, LargeRepair, Reach, reach_of
from rules.judging.lookups import Point, lookups_again, may_be_incomplete, merged, spans_ahead
from rules.judging.reads import read_more, read_oldest
from rules.model import ACTION_TYPES, Action, ActionType, NumberedAction
from rules.values import LAST_TIME
from rules.versions import FIRST_SETTINGS, RiskAndOverrides, RuleSet, RuleVersions, settings_by_user

# More later actions of one user than this are read and judged again in parts of about this many.
PART = 20_000
# At most so many of all users of a batch are read at once: what is read of them takes memory.
AT_ONCE = 100_000
# The search for what judged a user's actions looks at this many places between two that differ, and gives up if they
# differ in more than MOST_CHANGES.
_BETWEEN = 30
MOST_CHANGES = 30

Settings = Mapping[int, RiskAndOverrides]  # of a user, by version


class Repairs:
    """What is to be repaired in a batch: `reaches` by user, what judged whom, and what is too large to read at once."""

    def __init__(self, batch: Batch, users: Iterable[BatchUser], versions: RuleVersions) -> None:
        self.batch = batch
        self.users = {user.user_id: user for user in users}
        self.versions = versions
        self.settings: dict[int, Settings] = {}
        self.reaches: dict[int, Reach] = {}
        # Of users whose later actions are read in parts: from when until when.
        self.in_parts: dict[int, tuple[int, int]] = {}

    def read(self, connection: Connection, limit: int | None) -> None:
        """Read the actions that late events can change, what judged them, and what it takes to judge them again.

        Raises LargeRepair if that is more than `limit` of a user, before they are read.
        """
        self.settings = _settings(connection, self.users.values())
        arrivals = self._arrivals(connection)
        self.reaches = {
            user_id: reduce(Reach.with_all_of, [one.reach for one in each], _reach(self.users[user_id].rule_set))
            for user_id, each in arrivals.items()
        }
        following, ahead = self._ahead(connection, arrivals)
        self._measure(connection, ahead, limit)
        ahead = [one for one in ahead if one.user_id not in self.in_parts]
        offsets = self.batch.offsets
        found = late_events.read_ahead(connection, following=following, ahead=ahead, offsets=offsets)
        after_first = self._after_former_first(connection)
        if after_first:
            found += late_events.read_ahead(connection, following=[], ahead=after_first, offsets=offsets)
        points = []
        for user_id, own in _by_user(found).items():
            self.users[user_id].load(numbered(own))
            points += self.note(self.users[user_id], own)
        complete = _complete([*ahead, *after_first])
        read_more(connection, self.batch, lookups_again(points, complete))
        read_oldest(connection, self.batch, may_be_incomplete(points, complete))

    def note(self, user: BatchUser, found: Iterable[LaterAction]) -> list[Point]:
        """Note in `user` what judged the actions and which alerts they have; returns what is read to judge them."""
        points = []
        for one in found:
            rule_set = self._rule_set(user.user_id, one.rules_number, one.settings_version)
            user.rule_sets[one.seq] = rule_set
            reading = rule_set.reading[cast(ActionType, one.type)]
            points.append(Point(user_id=user.user_id, time=one.time, reading=reading))
            if one.standing or one.superseded:
                user.alerts |= {(one.seq, code): AlertState(stands=True) for code in one.standing}
                user.alerts |= {(one.seq, code): AlertState(stands=False) for code in one.superseded}
        return points

    def _rule_set(self, user_id: int, number: int, version: int) -> RuleSet:
        return self.versions.at(number).rule_set(*self.settings[user_id][version])

    # How far

    def _arrivals(self, connection: Connection) -> dict[int, list[Arrivals]]:
        """The users' actions in order of arrival, by how far the rules reach that judged them."""
        found: dict[int, list[Arrivals]] = {}
        unsure = []
        for user_id, user in self.users.items():
            ever = reach_of(self.versions.furthest(self.settings[user_id].values())).with_all_of(FIRST_RULES)
            found[user_id] = [Arrivals(first=0, last=LAST_TIME, reach=ever)]
            if ever != _reach(user.rule_set):
                unsure.append(user)
        for user_id, each in self._search(connection, unsure).items():
            if each is not None:
                found[user_id] = each
        return found

    def _search(self, connection: Connection, users: Collection[BatchUser]) -> dict[int, list[Arrivals] | None]:
        # What judges a user never goes back, so wherever it is the same at two places, it is the same between them.
        wanted = [(user.user_id, seq) for user in users for seq in {1, user.first_new - 1}]
        found: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
        while wanted:
            keys = [ActionKey(user_id=user_id, seq=seq) for user_id, seq in wanted]
            for one in late_events.action_settings(connection, keys):
                found[one.user_id][one.seq] = (one.rules_number, one.settings_version)
            wanted = []
            for user_id, own in found.items():
                if len(set(own.values())) <= MOST_CHANGES:
                    for low, high in pairwise(sorted(own)):
                        if own[low] != own[high]:
                            step = max(1, (high - low) // _BETWEEN)
                            wanted += [(user_id, seq) for seq in range(low + step, high, step)]
        return {user_id: self._alike(user_id, own) for user_id, own in found.items()}

    def _alike(self, user_id: int, settings: Mapping[int, tuple[int, int]]) -> list[Arrivals] | None:
        if len(set(settings.values())) > MOST_CHANGES:
            return None
        if self.users[user_id].first_new - 1 not in settings:
            return None  # the newest arrival was removed: nothing says where the last change was
        reaches = {one: _reach(self._rule_set(user_id, *one)) for one in set(settings.values())}
        found: list[Arrivals] = []
        for seq in sorted(settings):
            reach = reaches[settings[seq]]
            if found and found[-1].reach == reach:
                found[-1] = Arrivals(first=found[-1].first, last=seq, reach=reach)
            else:
                found.append(Arrivals(first=seq, last=seq, reach=reach))
        if len(found) == 1:
            return [Arrivals(first=0, last=LAST_TIME, reach=found[0].reach)]
        return found

    def _ahead(
        self, connection: Connection, arrivals: Mapping[int, Sequence[Arrivals]]
    ) -> tuple[list[NextN], list[Ahead]]:
        following: list[NextN] = []
        until: list[NextN] = []
        for user_id, user in self.users.items():
            reach = self.reaches[user_id]
            places = {(one.type, one.time) for one in user.late}
            following += [
                NextN(user_id=user_id, type=kind, time=time, limit=reach.count)
                for kind in ACTION_TYPES
                for time in {time for _, time in places}
                if reach.count
            ]
            until += [
                NextN(user_id=user_id, type=kind, time=time, limit=reach.until[kind])
                for kind, time in places
                if kind in reach.until
            ]
        ends: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for user_id, start, end in late_events.times_of_nth(connection, until) if until else ():
            ends[user_id].append((start, LAST_TIME if end is None else end))
        ahead = [
            one
            for user_id, user in self.users.items()
            for one in spans_ahead(user_id, user.late, arrivals[user_id], ends[user_id])
        ]
        return following, ahead

    # How much

    def _measure(self, connection: Connection, ahead: Sequence[Ahead], limit: int | None) -> None:
        """Find the users whose later actions are to be read in parts. Raises LargeRepair beyond `limit`.

        With a limit, it also raises LargeRepair for those with the most, if all together have more than AT_ONCE.
        """
        most = PART if limit is None else min(PART, limit)
        long = {user_id for user_id, user in self.users.items() if user.first_new > most}
        some = long if sum(user.first_new for user in self.users.values()) <= AT_ONCE else set(self.users)
        if not some:
            return
        count_to = max(PART, limit or 0) + 1
        asked = [one for one in ahead if one.user_id in some]
        counts = late_events.count_ahead(connection, asked, count_to) if asked else {}
        beyond = _beyond(counts)
        if limit is not None:
            changed = {user_id: counts.get(user_id, 0) + _rewritten(self.users[user_id]) for user_id in long}
            if large := beyond.union(user_id for user_id, count in changed.items() if count > limit):
                raise LargeRepair(large)
        for user_id in some:
            if counts.get(user_id, 0) > PART or user_id in beyond:
                own = [one for one in asked if one.user_id == user_id]
                self.in_parts[user_id] = min(one.start for one in own), max(one.end for one in own)

    def _after_former_first(self, connection: Connection) -> list[Ahead]:
        """What is within reach of the former first actions of users who get a new first one, if a rule cares."""
        asked = [
            user_id
            for user_id, reach in self.reaches.items()
            if reach.after_first is not None and self.users[user_id].pruned is None  # else it stays the first
        ]
        if not asked:
            return []
        firsts: dict[int, int] = {}
        of_each_type = [
            NextN(user_id=user_id, type=kind, time=-1, limit=1) for user_id in asked for kind in ACTION_TYPES
        ]
        offsets: LateOffsets = self.batch.offsets
        for one in judging_forms.read_history(connection, last=[], following=of_each_type, offsets=offsets):
            firsts[one.user_id] = min(one.time, firsts.get(one.user_id, LAST_TIME))
        found: list[Ahead] = []
        for user_id, first in firsts.items():
            if min(action.time for action in self.users[user_id].late) < first:
                end = min(LAST_TIME, first + (self.reaches[user_id].after_first or 0))
                found += [
                    Ahead(user_id=user_id, type=kind, start=first, end=end, first=0, last=LAST_TIME)
                    for kind in ACTION_TYPES
                ]
        return found


def _complete(ahead: Iterable[Ahead]) -> dict[int, list[tuple[int, int]]]:
    """By user, the stretches of time of which all actions are asked for."""
    spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for one in ahead:
        if one.last == LAST_TIME:
            spans[one.user_id].append((one.start, one.end))
    return {user_id: merged(each) for user_id, each in spans.items()}


def numbered(found: Iterable[LaterAction | StoredAction]) -> list[NumberedAction]:
    """The actions with their running counts and sums."""
    return [
        NumberedAction(
            Action(one.seq, cast(ActionType, one.type), one.amount, one.time), one.ordinal, one.running_total
        )
        for one in found
    ]


def _by_user(found: Iterable[LaterAction]) -> dict[int, list[LaterAction]]:
    own: dict[int, list[LaterAction]] = defaultdict(list)
    for one in found:
        own[one.user_id].append(one)
    return own


def _beyond(counts: Mapping[int, int]) -> frozenset[int]:
    """The users with the most actions, as many of them as are to be left out so that no more than AT_ONCE remain."""
    found, total = [], sum(counts.values())
    for user_id in sorted(counts, key=counts.__getitem__, reverse=True):
        if total <= AT_ONCE:
            break
        total -= counts[user_id]
        found.append(user_id)
    return frozenset(found)


def _rewritten(user: BatchUser) -> int:
    """How many stored numbers the late actions of a user rewrite, at most."""
    most = 0
    for kind in ACTION_TYPES:
        own = [action for action in user.late if action.type == kind]
        if own:
            first = min(own, key=lambda one: one.place)
            behind = user.timeline.newest_numbers(kind)[0] - user.timeline.numbers(first)[0]
            most += min(behind, 2 * late_counts.STRETCH * len(own))
    return most


def _settings(connection: Connection, users: Collection[BatchUser]) -> dict[int, Settings]:
    """Rating and overrides of each version of these users' settings."""
    changed = [user.user_id for user in users if user.settings_version]
    stored = settings_by_user(late_events.user_settings(connection, changed) if changed else ())
    return {user.user_id: {0: FIRST_SETTINGS, **stored.get(user.user_id, {})} for user in users}


def _reach(rule_set: RuleSet) -> Reach:
    return reach_of(rule_set.all).with_all_of(FIRST_RULES)
