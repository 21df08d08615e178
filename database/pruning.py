"""Removing a user's old actions, a few at a time, so that a checkpoint always says what is gone.

Each call of `prune_user` is a transaction under the user's row lock, as judging is, so that nobody judges an event of
the user meanwhile: see docs/decisions/checkpoints.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    select,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from database import citus
from database.models import Alert, AlertChange, Checkpoint, LateOffset, User, UserAction

TYPES = ("deposit", "withdraw")
# Milliseconds for which it waits for a user: whoever has that one goes first, and it comes back later.
LOCK_TIMEOUT = 500
# A lost commit is no loss, since the next run removes the same again: nobody waits for the disk.
_SETTINGS = {"lock_timeout": LOCK_TIMEOUT, "synchronous_commit": "off"}

NO_DIGEST = bytes(32)

_USER, _BEFORE = bindparam("user", type_=BigInteger), bindparam("before", type_=BigInteger)


class Removal(NamedTuple):
    """What one transaction has removed: `open_alerts` of the `alerts` were still open.

    `is_done`: nothing of the user is left to remove. `is_held`: nothing was removed, since a legal hold keeps it.
    """

    actions: int = 0
    alerts: int = 0
    open_alerts: int = 0
    is_done: bool = True
    is_held: bool = False


def digest_after(digest: bytes, user_id: int, actions: Iterable[Any]) -> bytes:
    """The digest of what was removed before, and of `actions` (seq, type, amount, time) after it.

    For each action in order of (time, seq), the SHA-256 of the digest so far and of a line of text: user_id, seq, type,
    amount with two decimals and time, with a tab between them and a newline at the end. It begins with 32 zero bytes.
    """
    for one in actions:
        line = f"{user_id}\t{one.seq}\t{one.type}\t{one.amount:.2f}\t{one.time}\n"
        digest = sha256(digest + line.encode()).digest()
    return digest


_LOCK = (
    select(User.last_seq, User.legal_hold, User.pruned_before)
    .where(User.user_id == _USER)
    .with_for_update(key_share=True)
)


def _oldest() -> Select[Any]:
    some = [
        select(UserAction.time)
        .where(UserAction.user_id == _USER, UserAction.type == kind, UserAction.time < _BEFORE)
        .order_by(UserAction.time)
        .limit(bindparam("most", type_=BigInteger) + 1)
        for kind in TYPES
    ]
    times = union_all(*some).subquery("times")
    return select(times.c.time).order_by(times.c.time).limit(bindparam("most", type_=BigInteger) + 1)


_OLDEST = _oldest()
_OLD_ALERTS = and_(Alert.user_id == _USER, Alert.time < _BEFORE, Alert.shadow.in_([False, True]))
# Whoever works one of them now, or comes after, must not add to its history meanwhile.
_LOCK_ALERTS = (
    select(Alert.status == "open", Alert.shadow).where(_OLD_ALERTS).order_by(Alert.seq, Alert.code).with_for_update()
)
_REMOVE_HISTORY = delete(AlertChange).where(
    AlertChange.user_id == Alert.user_id, AlertChange.seq == Alert.seq, AlertChange.code == Alert.code, _OLD_ALERTS
)
_REMOVE_ALERTS = delete(Alert).where(_OLD_ALERTS)
_OLD_OFFSETS = and_(LateOffset.user_id == _USER, LateOffset.type.in_(TYPES), LateOffset.time < _BEFORE)
_REMOVE_OFFSETS = (
    delete(LateOffset)
    .where(_OLD_OFFSETS)
    .returning(LateOffset.type, LateOffset.time, LateOffset.seq, LateOffset.added_count, LateOffset.added_total)
)
_HAS_OFFSETS = select(exists().where(LateOffset.user_id == _USER))
_OLD_ACTIONS = and_(UserAction.user_id == _USER, UserAction.type.in_(TYPES), UserAction.time < _BEFORE)
_REMOVE_ACTIONS = (
    delete(UserAction)
    .where(_OLD_ACTIONS)
    .returning(UserAction.seq, UserAction.type, UserAction.amount, UserAction.time)
)
_DIGESTS = select(Checkpoint.type, Checkpoint.digest).where(Checkpoint.user_id == _USER)


def prune_user(connection: Connection, user_id: int, before: int, most: int) -> Removal:
    """Remove the oldest of a user's actions with `time` before `before`, with all that belongs to them.

    About `most` are removed; actions of one time go together. The caller commits. Raises what the database raises if
    somebody else has the user, or one of the alerts, for longer than LOCK_TIMEOUT.
    """
    connection.execute(text(citus.set_local(connection, _SETTINGS)))
    user = connection.execute(_LOCK, {"user": user_id}).one_or_none()
    if user is None:
        return Removal()
    if user.legal_hold:
        return Removal(is_held=True)
    oldest = connection.execute(_OLDEST, {"user": user_id, "before": before, "most": most}).scalars().all()
    if not oldest:
        if user.pruned_before is not None and user.pruned_before < before:
            connection.execute(update(User).where(User.user_id == user_id).values({User.pruned_before: before}))
        return Removal()
    is_done = len(oldest) <= most
    cut = before if is_done else max(oldest[-1], oldest[0] + 1)
    values = {"user": user_id, "before": cut}
    alerts = connection.execute(_LOCK_ALERTS, values).all()
    if alerts:
        connection.execute(_REMOVE_HISTORY, values)
        connection.execute(_REMOVE_ALERTS, values)
    _move_offsets(connection, values)
    removed = connection.execute(_REMOVE_ACTIONS, values).all()
    _add_to_checkpoints(connection, user_id, user.last_seq, removed)
    has_offsets = connection.execute(_HAS_OFFSETS, values).scalar_one()
    changed = {User.pruned_before: cut, User.has_late_offsets: has_offsets}
    connection.execute(update(User).where(User.user_id == user_id).values(changed))
    return Removal(
        actions=len(removed),
        alerts=sum(not is_shadow for _, is_shadow in alerts),
        open_alerts=sum(is_open and not is_shadow for is_open, is_shadow in alerts),
        is_done=is_done,
    )


_FIRST_KEPT = (
    select(UserAction.time, UserAction.seq)
    .where(UserAction.user_id == _USER, UserAction.type == bindparam("type"), UserAction.time >= _BEFORE)
    .order_by(UserAction.time, UserAction.seq)
    .limit(1)
)
_ADD_OFFSET = upsert(LateOffset).on_conflict_do_nothing()


def _move_offsets(connection: Connection, values: dict[str, int]) -> None:
    """Remove the late offsets of what is to be removed; the last of each type goes on from the first that stays."""
    last: dict[str, Any] = {}
    for one in sorted(connection.execute(_REMOVE_OFFSETS, values)):
        last[one.type] = one
    for kind, one in last.items():
        first = connection.execute(_FIRST_KEPT, values | {"type": kind}).one_or_none()
        if first is not None:
            place = {"user_id": values["user"], "type": kind, "time": first.time, "seq": first.seq}
            added = {"added_count": one.added_count, "added_total": one.added_total}
            # There may be one at that place, which holds from there on.
            connection.execute(_ADD_OFFSET, place | added)


_new = upsert(Checkpoint)
_ADD_CHECKPOINT = _new.on_conflict_do_update(
    index_elements=[Checkpoint.user_id, Checkpoint.type],
    set_={
        Checkpoint.actions: Checkpoint.actions + _new.excluded.actions,
        Checkpoint.total: Checkpoint.total + _new.excluded.total,
        Checkpoint.newest_seq: func.greatest(Checkpoint.newest_seq, _new.excluded.newest_seq),
        Checkpoint.until_seq: _new.excluded.until_seq,
        Checkpoint.digest: _new.excluded.digest,
    },
)


def _add_to_checkpoints(connection: Connection, user_id: int, last_seq: int, removed: Sequence[Any]) -> None:
    digests = {row.type: row.digest for row in connection.execute(_DIGESTS, {"user": user_id})}
    by_type: dict[str, list[Any]] = defaultdict(list)
    for one in sorted(removed, key=lambda one: (one.time, one.seq)):
        by_type[one.type].append(one)
    for kind, own in by_type.items():
        connection.execute(
            _ADD_CHECKPOINT,
            {
                "user_id": user_id,
                "type": kind,
                "actions": len(own),
                "total": sum(one.amount for one in own),
                "first_time": own[0].time,
                "first_seq": own[0].seq,
                "first_amount": own[0].amount,
                "newest_seq": max(one.seq for one in own),
                "until_seq": last_seq,
                "digest": digest_after(digests.get(kind, NO_DIGEST), user_id, own),
            },
        )


# Who has any


class UsersToPrune(NamedTuple):
    """Some users in order of id: how many, the last id, and those of them who have old actions, held ones apart."""

    users: int
    last: int
    old: list[int]
    held: list[int]


def _has(kind: str, condition: ColumnElement[bool], user_id: Any) -> ColumnElement[bool]:
    return exists().where(UserAction.user_id == user_id, UserAction.type == kind, condition)


_AFTER = User.user_id > bindparam("after", type_=BigInteger)
_IDS = select(User.user_id).where(_AFTER).order_by(User.user_id).limit(bindparam("many", type_=BigInteger))


def _stretch(condition: ColumnElement[bool]) -> Select[Any]:
    # CASE: the second type is looked up only if the first has none.
    first, second = (_has(kind, condition, User.user_id) for kind in TYPES)
    found = case((first, true()), (second, true()), else_=false())
    users = select(User.user_id, User.legal_hold, found.label("found"))
    return users.where(_AFTER, User.user_id <= bindparam("last", type_=BigInteger)).order_by(User.user_id)


def _users_after(connection: Connection, statement: Select[Any], after: int, many: int, before: int) -> Sequence[Any]:
    # In two steps, since Citus cannot look up what belongs to the users of a page while it makes the page.
    ids = connection.execute(_IDS, {"after": after, "many": many}).scalars().all()
    if not ids:
        return ()
    return connection.execute(statement, {"after": after, "last": ids[-1], "before": before}).all()


_OLD, _NEW = _stretch(UserAction.time < _BEFORE), _stretch(UserAction.time >= _BEFORE)
_COUNT_USERS = select(func.count()).select_from(User)


def count_users(connection: Connection) -> int:
    """How many users there are."""
    return int(connection.execute(_COUNT_USERS).scalar_one())


def stretch_of_users(connection: Connection, after: int, many: int, before: int) -> UsersToPrune:
    """The next `many` users after the id `after`, and who of them has actions with `time` before `before`."""
    rows = _users_after(connection, _OLD, after, many, before)
    return UsersToPrune(
        users=len(rows),
        last=rows[-1].user_id if rows else after,
        old=[row.user_id for row in rows if row.found and not row.legal_hold],
        held=[row.user_id for row in rows if row.found and row.legal_hold],
    )


def has_newer(connection: Connection, before: int, many: int) -> bool:
    """Whether any action has `time` of `before` or later; `many` users are looked at in one statement."""
    after = 0
    while rows := _users_after(connection, _NEW, after, many, before):
        if any(row.found for row in rows):
            return True
        after = rows[-1].user_id
    return False


_SURVEY = select(
    select(func.count()).where(_OLD_ACTIONS).scalar_subquery(),
    select(func.count()).where(_OLD_ALERTS, ~Alert.shadow).scalar_subquery(),
    select(func.count()).where(_OLD_ALERTS, ~Alert.shadow, Alert.status == "open").scalar_subquery(),
)


def survey_user(connection: Connection, user_id: int, before: int) -> Removal:
    """What `prune_user` would remove in the end."""
    actions, alerts, open_alerts = connection.execute(_SURVEY, {"user": user_id, "before": before}).one()
    return Removal(actions=actions, alerts=alerts, open_alerts=open_alerts)


_MAY_REMOVE = text(
    "SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE NOT has_table_privilege(to_regclass(name), 'DELETE')"
)


def rights_lacking(connection: Connection) -> list[str]:
    """The rights to remove rows that the role lacks; the service needs none of them, so its role may well have none."""
    tables = [model.__tablename__ for model in (AlertChange, Alert, LateOffset, UserAction)]
    return [f"DELETE on {name}" for name in connection.execute(_MAY_REMOVE, {"names": tables}).scalars()]
