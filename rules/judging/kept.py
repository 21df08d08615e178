"""Users' last actions, kept in the worker from one batch to the next, so that only what came since is read.

What is stored up to some `seq` does not change when more comes, so it stays true whatever others add. Whenever that is
in doubt, the user is read in full: see docs/decisions/kept-history.md.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import structlog

from database.records import NextN, Since
from rules.base import Reading
from rules.judging.batch import Batch, BatchUser
from rules.judging.lookups import lookups_beyond
from rules.model import ActionType, Event, NumberedAction
from rules.timeline import Timeline

# Bounds on what is kept in all. An action takes some 0.5 kB, a user 2 kB besides.
MOST_USERS, MOST_ACTIONS = 4_096, 32_768
# Of a type with more than ROOM actions only those are kept that rules look back at; if these are more than
# MOST_OF_TYPE, nothing is.
ROOM, MOST_OF_TYPE = 16, 64
# What came since a user was kept is read up to so many actions.
MOST_SINCE = 64

log = structlog.get_logger()


class KeptUser(NamedTuple):
    """A user as of the newest arrival that is known, `last_seq`: the last actions of each type, without gaps.

    `times` has the time of each of them by `seq`. `identity` and `pruned_before` are those of the user's row, `opening`
    is its balance before all actions.
    """

    timeline: Timeline
    times: dict[int, int]
    last_seq: int
    identity: str
    pruned_before: int | None
    opening: Decimal


@dataclass(slots=True)
class Taken:
    """What is kept of some users of a batch, and what is still to be read of them."""

    users: dict[int, KeptUser] = field(default_factory=dict)
    following: list[NextN] = field(default_factory=list)
    first_times: dict[int, int] = field(default_factory=dict)  # of each user's events

    @property
    def since(self) -> list[Since]:
        """What asks for all that came since: the user's row tells if that is more than is read."""
        return [Since(user_id=user_id, seq=one.last_seq, limit=MOST_SINCE) for user_id, one in self.users.items()]


class KeptHistory:
    """What a worker keeps of the users that it judged last. Any number of threads may share it.

    What is kept of a user is taken away when a batch begins, and put back when it is committed: no two batches have it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: dict[int, KeptUser] = {}  # those used longest ago first
        self._actions = 0
        self._times_forgotten = 0

    @property
    def times_forgotten(self) -> int:
        """How often everything was forgotten."""
        return self._times_forgotten

    def take(self, events: Iterable[Event], reading: Mapping[ActionType, Reading]) -> Taken:
        """Take what is kept of the users of `events`, as far as it serves to judge them by what `reading` says."""
        events = list(events)
        taken = Taken()
        with self._lock:
            for user_id in {event.user_id for event in events}:
                kept = self._users.pop(user_id, None)
                if kept is not None:
                    self._actions -= kept.timeline.size
                    taken.users[user_id] = kept
        newest: dict[int, int] = {}
        for user_id, kind, _, time, _ in events:
            kept = taken.users.get(user_id)
            if kept is None:
                continue
            if user_id not in newest:
                newest[user_id] = kept.timeline.newest_time
                taken.first_times[user_id] = time
            beyond = None if time < newest[user_id] else lookups_beyond(kept.timeline, user_id, time, reading[kind])
            if beyond is None:
                del taken.users[user_id]
                continue
            newest[user_id] = time
            taken.following += beyond
        return taken

    def put(self, batch: Batch, times_forgotten: int) -> None:
        """Keep the users of a batch that is committed, unless everything was forgotten since it began."""
        try:
            found = {user_id: kept for user_id, user in batch.users.items() if (kept := _kept(batch, user)) is not None}
        except Exception as error:  # raised, it would have the events stored again
            log.error("history_not_kept", error=type(error).__name__, exc_info=error)
            return
        with self._lock:
            if times_forgotten != self._times_forgotten:
                return
            for user_id, kept in found.items():
                other = self._users.pop(user_id, None)
                if other is not None:
                    self._actions -= other.timeline.size
                newest = kept if other is None or other.last_seq <= kept.last_seq else other
                self._users[user_id] = newest
                self._actions += newest.timeline.size
            while len(self._users) > MOST_USERS or self._actions > MOST_ACTIONS:
                self._actions -= self._users.pop(next(iter(self._users))).timeline.size

    def forget(self) -> None:
        """Forget everything, also what batches under way have taken."""
        with self._lock:
            self._times_forgotten += 1
            self._users.clear()
            self._actions = 0


def _kept(batch: Batch, user: BatchUser) -> KeptUser | None:
    """What is kept of a user after a batch; None if its last actions are not all there."""
    timeline = user.timeline
    if user.late or user.is_full or user.has_nothing or user.user_id in batch.offsets.user_ids or timeline.was_late:
        return None
    if timeline.most_of_a_type > ROOM:
        timeline.keep_last(*_looked_back_at(timeline, user.rule_set.reading))
    else:
        timeline.drop_before_gaps()
    count, net = timeline.count_and_net
    # Each type's newest action is there: otherwise this would be less than there are actions.
    if count != user.last_seq or timeline.most_of_a_type > MOST_OF_TYPE:
        return None
    timeline.settle(user.last_seq)
    if len(user.times) != timeline.size:
        user.times = timeline.seqs
    return KeptUser(timeline, user.times, user.last_seq, user.identity, user.pruned_before, user.balance - net)


def _looked_back_at(timeline: Timeline, reading: Mapping[ActionType, Reading]) -> tuple[int, int]:
    """From which time on all actions of a type, and how many of the last, rules look back at from now on."""
    all_needs = [needs for one in reading.values() for needs in one.needs.values()]
    longest, count = max(needs.longest for needs in all_needs), max(needs.count for needs in all_needs)
    return timeline.newest_time - longest, count


def go_on(
    user: BatchUser, kept: KeptUser, read: Sequence[NumberedAction], *, first_time: int, has_late_offsets: bool
) -> bool:
    """Whether what was kept of a locked user, and is its timeline, certainly is all that counts; adds what was read.

    `read` is what came since, and perhaps older actions. The first of the events is at `first_time`.
    """
    if (user.identity, user.pruned_before) != (kept.identity, kept.pruned_before) or user.is_full or has_late_offsets:
        return False
    timeline = user.timeline
    if read or user.last_seq != kept.last_seq:
        since = {one.action.seq: one for one in read if one.action.seq > kept.last_seq}
        if len(since) != user.last_seq - kept.last_seq:
            return False
        user.load(one for one in read if one.action.seq <= kept.last_seq)
        for seq in sorted(since):
            if not timeline.go_on(since[seq]):
                return False
            user.times[seq] = since[seq].action.time
        timeline.settle(user.last_seq)
    _, net = timeline.count_and_net
    return timeline.newest_time <= first_time and user.balance - net == kept.opening
