"""Reading what it takes to judge an event that is not stored: nobody is locked, and nothing can be written.

See docs/decisions/dry-run.md.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Connection, Text, bindparam, cast, func, select

from database.judging import COUNT_AND_LOCK, DELTAS, HAS_ROOM, read_history
from database.models import Alert, RuleVersion, User
from database.offsets import LateOffsets
from database.prepared import Planned, in_transaction_with, run_directly
from database.records import Deltas, EventKey, LastN, LockedUser, NextN, StoredAction

_USERS = Planned(
    select(
        DELTAS.c.user_id,
        DELTAS.c.actions,
        DELTAS.c.net,
        User.last_seq,
        User.balance,
        User.risk,
        cast(User.overrides, Text),
        User.settings_version,
        User.has_late_offsets,
        User.pruned_before,
        HAS_ROOM,
        select(func.max(RuleVersion.number)).scalar_subquery(),
    ).select_from(DELTAS.table.outerjoin(User, User.user_id == DELTAS.c.user_id))
)
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n"


def begin_and_read(
    connection: Connection,
    *,
    deltas: Sequence[Deltas],
    create: bool,
    last: Sequence[LastN],
    following: Sequence[NextN],
    keys: Sequence[EventKey],
) -> tuple[list[LockedUser], list[StoredAction], LateOffsets]:
    """What `database.judging.begin_lock_and_read` would return, without a trace.

    Begins a transaction that sees one state of the database to its end.
    """

    def read(first: str) -> tuple[list[LockedUser], list[StoredAction], LateOffsets]:
        rows = run_directly(connection, _BEGIN + first + _USERS.text, DELTAS.arrays(deltas))
        users = [user for row in rows if (user := _as_if_counted(create, *row)) is not None]
        offsets = LateOffsets([user.user_id for user in users if user.has_late_offsets])
        return users, read_history(connection, last=last, following=following, keys=keys, offsets=offsets), offsets

    return in_transaction_with(connection, COUNT_AND_LOCK, read)


def _as_if_counted(
    create: bool,
    user_id: int,
    actions: int,
    net: Decimal,
    last_seq: int | None,
    balance: Decimal,
    risk: str,
    overrides: str,
    settings_version: int,
    has_late_offsets: bool,
    pruned_before: int | None,
    has_room: bool,
    rules_number: int | None,
) -> LockedUser | None:
    """The user with an event's count and net added; None if there is no such user, and none would be made."""
    is_new, is_full = last_seq is None, last_seq is not None and not has_room
    if is_new and not create:
        return None
    if is_full:
        actions, net = 0, Decimal(0)
    return LockedUser(
        user_id=user_id,
        last_seq=(last_seq or 0) + actions,
        # A new user's columns are what the table has for one of whom no more than the id is known.
        risk="normal" if is_new else risk,
        balance=(Decimal(0) if is_new else balance) + net,
        is_new=is_new,
        is_full=is_full,
        overrides="{}" if is_new else overrides,
        settings_version=0 if is_new else settings_version,
        rules_number=rules_number or 0,
        has_late_offsets=not is_new and has_late_offsets,
        pruned_before=pruned_before,
    )


_EVIDENCE = select(Alert.code, Alert.evidence).where(
    Alert.user_id == bindparam("user", type_=BigInteger), Alert.seq == bindparam("seq", type_=BigInteger)
)


def evidence(connection: Connection, user_id: int, seq: int) -> dict[int, dict[str, Any]]:
    """The evidence of the stored alerts of an action, by code."""
    return {row.code: row.evidence for row in connection.execute(_EVIDENCE, {"user": user_id, "seq": seq})}
