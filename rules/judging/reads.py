"""Reading what it takes to judge a batch: its users and their timelines."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Protocol, cast

from sqlalchemy import Connection

from database import judging_forms
from database.checkpoints import read_checkpoints
from database.offsets import LateOffsets
from database.records import Deltas, EventKey, LastN, LockedUser, NextN, Since, StoredAction
from rules.judging.batch import Batch, BatchUser, signed
from rules.judging.kept import KeptHistory, Taken, go_on
from rules.judging.lookups import Lookups, Point, lookups, oldest_in_crowds
from rules.model import ACTION_TYPES, Event, Risk
from rules.pruned import pruned_by_user
from rules.timeline import Timeline
from rules.values import LAST_TIME
from rules.versions import NO_OVERRIDES, RulesSnapshot


class Begin(Protocol):
    """Begins a transaction and reads: as `database.judging.begin_lock_and_read`."""

    def __call__(
        self,
        connection: Connection,
        *,
        deltas: Sequence[Deltas],
        create: bool,
        last: Sequence[LastN],
        following: Sequence[NextN],
        keys: Sequence[EventKey],
        since: Sequence[Since] = (),
    ) -> tuple[list[LockedUser], list[StoredAction], LateOffsets]:
        """The users with `deltas` added, their history, and what is known of their late offsets."""


def begin_and_read(
    connection: Connection,
    events: Sequence[Event],
    *,
    create_users: bool,
    late_limit: int,
    expected: RulesSnapshot,
    snapshot: Callable[[int], RulesSnapshot],
    begin: Begin,
    kept: KeptHistory | None = None,
) -> Batch:
    """Begin a transaction by `begin`, and read the users of `events` and their history: a batch, ready to be judged.

    If a user may have more than `late_limit` actions after an event, what it takes to count them is read too.
    `expected` are the rules that probably hold; if the database says that others do, `snapshot` finds them by number.
    Of users in `kept` only what came since is read; the caller puts them back.
    """
    deltas = _deltas(events)
    reading, taken = expected.reading, Taken()
    if kept is not None:
        reading = expected.reading_to_keep
        taken = kept.take(events, expected.reading)
    # Several events of one user rarely have stored actions between them: the first read shows whether these do.
    several = len(deltas) < len(events)
    wanted = lookups(
        [
            Point(user_id=event.user_id, time=event.time, reading=reading[event.type])
            for event in events
            if event.user_id not in taken.users
        ],
        in_order=several,
    )
    keys = {(event.user_id, event.event_id) for event in events if event.event_id is not None}
    locked, history, offsets = begin(
        connection,
        deltas=list(deltas.values()),
        create=create_users,
        last=wanted.last,
        following=wanted.following + taken.following,
        since=taken.since,
        keys=[EventKey(user_id=user_id, event_id=event_id) for user_id, event_id in keys],
    )
    rules = expected
    if locked and locked[0].rules_number != expected.number:
        rules = snapshot(locked[0].rules_number)
    batch = Batch(rules.number, offsets)
    for user in locked:
        added = deltas[user.user_id]
        if user.is_full:
            added = Deltas(user_id=user.user_id, actions=0, net=Decimal(0))
        risk, own = cast(Risk, user.risk), taken.users.get(user.user_id)
        batch.users[user.user_id] = BatchUser(
            user_id=user.user_id,
            rule_set=rules.rule_set(risk, user.overrides),
            settings_version=user.settings_version,
            risk=risk,
            is_new=user.is_new,
            is_full=user.is_full,
            pruned_before=user.pruned_before,
            identity=user.identity,
            last_seq=user.last_seq - added.actions,
            balance=user.balance - added.net,
            unused_actions=added.actions,
            unused_net=added.net,
            timeline=Timeline() if own is None else own.timeline,
            times={} if own is None else own.times,
        )
    doubtful = _load(batch, history, taken)
    batch.kept_users = len(taken.users.keys() & batch.users.keys()) - len(doubtful)
    if several or doubtful or rules is not expected or any(user.overrides != NO_OVERRIDES for user in locked):
        _read_further(connection, batch, events, expected, doubtful)
    crowded = {user_id for user_id, user in batch.users.items() if user.timeline.may_be_crowded}
    if crowded:
        read_oldest(connection, batch, _points(batch, events, crowded))
    if any(user.last_seq + user.unused_actions > late_limit for user in batch.users.values()):
        _read_to_count(connection, batch, events, late_limit)
    if any(user.pruned_before is not None for user in batch.users.values()):
        _read_checkpoints(connection, batch, events)
    return batch


def _load(batch: Batch, history: Iterable[StoredAction], taken: Taken) -> set[int]:
    """Add what was read to the users' timelines. Returns those of whom what was kept is in doubt: it is dropped."""
    found = batch.by_user(history)
    doubtful = set()
    for user_id, user in batch.users.items():
        read, kept = found.get(user_id, []), taken.users.get(user_id)
        if kept is None:
            user.load(read)
        elif not go_on(
            user,
            kept,
            read,
            first_time=taken.first_times[user_id],
            has_late_offsets=user_id in batch.offsets.user_ids,
        ):
            doubtful.add(user_id)
            user.begin_anew()
            user.load(read)
    return doubtful


def _deltas(events: Iterable[Event]) -> dict[int, Deltas]:
    # Sorted by user, so that no two batches lock the same users in opposite orders.
    counts: dict[int, int] = defaultdict(int)
    nets: dict[int, Decimal] = defaultdict(Decimal)
    for event in events:
        counts[event.user_id] += 1
        nets[event.user_id] += signed(event)
    return {user_id: Deltas(user_id=user_id, actions=counts[user_id], net=nets[user_id]) for user_id in sorted(counts)}


def _read_further(
    connection: Connection, batch: Batch, events: Sequence[Event], expected: RulesSnapshot, doubtful: Collection[int]
) -> None:
    """Read what judging needs beyond what was read with the lock, when not all was known yet.

    That is for users who have actions after the first of several events; for those whose overrides look further back
    than the rules do; for all, if a rule has just been set to look further back; and for `doubtful` users.
    """
    first: dict[int, int] = {}
    for event in events:
        first[event.user_id] = min(event.time, first.get(event.user_id, LAST_TIME))
    covered = {
        rule_set: all(expected.reading[kind].covers(rule_set.reading[kind]) for kind in ACTION_TYPES)
        for rule_set in {user.rule_set for user in batch.users.values()}
    }
    further = set(doubtful)
    for user_id, user in batch.users.items():
        newest = user.timeline.newest()
        if not covered[user.rule_set] or (newest is not None and newest.time > first[user_id]):
            further.add(user_id)
    if further:
        read_more(connection, batch, lookups(_points(batch, events, further)))


def _points(batch: Batch, events: Iterable[Event], user_ids: Collection[int]) -> list[Point]:
    """Where events of these users are judged, by the rules in force for each."""
    rule_sets = {user_id: batch.users[user_id].rule_set for user_id in user_ids}
    return [
        Point(user_id=event.user_id, time=event.time, reading=rule_sets[event.user_id].reading[event.type])
        for event in events
        if event.user_id in rule_sets
    ]


def _read_to_count(connection: Connection, batch: Batch, events: Sequence[Event], late_limit: int) -> None:
    """Read what it takes to count the actions after the late ones of `events`, of users who may have too many."""
    ends: dict[int, int] = defaultdict(int)
    for event in events:
        ends[event.user_id] = max(event.time, ends[event.user_id])
    last: list[LastN] = []
    for user_id, time in {(event.user_id, event.time) for event in events}:
        user = batch.users.get(user_id)
        if user is not None and user.last_seq + user.unused_actions > late_limit:
            newest = user.timeline.newest()
            if time < max(ends[user_id], newest.time if newest else 0):
                last += [LastN(user_id=user_id, type=kind, after=-1, time=time, limit=1) for kind in ACTION_TYPES]
    if last:
        read_more(connection, batch, Lookups(last=last, following=[]))


def _read_checkpoints(connection: Connection, batch: Batch, events: Iterable[Event]) -> None:
    """Read what is left of removed actions, of those users for whom it matters.

    Stored actions go on counting from it, so most events need none of it: only those before which no action of a type
    is stored, those that are judged by the user's first action, and late ones.
    """
    own: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        own[event.user_id].append(event)
    asked = [
        user_id
        for user_id, user in batch.users.items()
        if user.pruned_before is not None and _needs_checkpoint(user, own[user_id])
    ]
    if asked:
        for user_id, pruned in pruned_by_user(read_checkpoints(connection, asked)).items():
            batch.users[user_id].go_on_from(pruned)


def _needs_checkpoint(user: BatchUser, events: Sequence[Event]) -> bool:
    times = [event.time for event in events]
    newest = user.timeline.newest()
    if (newest is not None and newest.time > times[0]) or any(a > b for a, b in pairwise(times)):
        return True
    readings = [user.rule_set.reading[event.type] for event in events]
    return any(
        reading.first or not all(user.timeline.has_any(kind, times[0]) for kind in reading.needs)
        for reading in readings
    )


def read_more(connection: Connection, batch: Batch, more: Lookups) -> None:
    """Read more history of the users of a batch."""
    batch.load(judging_forms.read_history(connection, last=more.last, following=more.following, offsets=batch.offsets))


def read_oldest(connection: Connection, batch: Batch, points: Iterable[Point]) -> None:
    """Read the oldest actions of crowded windows."""
    oldest = oldest_in_crowds(points, {user_id: user.timeline for user_id, user in batch.users.items()})
    if oldest:
        read_more(connection, batch, Lookups(last=[], following=oldest))
