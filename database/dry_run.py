"""Reading what it takes to judge an event that is not stored: nobody is locked, and nothing can be written.

See docs/decisions/dry-run.md.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Connection, Text, any_, bindparam, cast, select

from database.judging import HAS_ROOM
from database.judging_forms import first_prepared, read_history
from database.locks import NEWEST_CHANGE
from database.models import Alert, User
from database.offsets import LateOffsets
from database.prepared import Planned, array, array_of, in_transaction_with, run_directly
from database.records import Deltas, EventKey, LastN, LockedUser, NextN, Since, StoredAction

_USERS = Planned(
    select(
        User.user_id,
        User.last_seq,
        User.balance,
        User.risk,
        cast(User.overrides, Text),
        User.settings_version,
        User.has_late_offsets,
        User.pruned_before,
        HAS_ROOM,
    ).where(User.user_id == any_(array_of("user_id", User.user_id.type)))
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
    since: Sequence[Since] = (),
) -> tuple[list[LockedUser], list[StoredAction], LateOffsets]:
    """What `database.judging.begin_lock_and_read` would return, without a trace.

    Begins a transaction that sees one state of the database to its end. Nothing is kept for it, so `since` is empty.
    """
    assert not since

    def read(first: str) -> tuple[list[LockedUser], list[StoredAction], LateOffsets]:
        ((rules_number,),) = run_directly(connection, _BEGIN + first + NEWEST_CHANGE.text, {})
        found = _USERS.run(connection, {"user_id": array([one.user_id for one in deltas])})
        stored = {row[0]: row[1:] for row in found}
        users = [
            _as_if_counted(one, int(rules_number), *stored.get(one.user_id, _UNKNOWN))
            for one in deltas
            if create or one.user_id in stored
        ]
        offsets = LateOffsets([user.user_id for user in users if user.has_late_offsets])
        return users, read_history(connection, last=last, following=following, keys=keys, offsets=offsets), offsets

    return in_transaction_with(connection, first_prepared(connection), read)


# A new user's columns: what the table has for one of whom no more than the id is known.
_UNKNOWN = (None, Decimal(0), "normal", "{}", 0, False, None, True)


def _as_if_counted(
    added: Deltas,
    rules_number: int,
    last_seq: int | None,
    balance: Decimal,
    risk: str,
    overrides: str,
    settings_version: int,
    has_late_offsets: bool,
    pruned_before: int | None,
    has_room: bool,
) -> LockedUser:
    """The user, or the one that would be made, with an event's count and net added."""
    if not has_room:
        added = Deltas(user_id=added.user_id, actions=0, net=Decimal(0))
    return LockedUser(
        user_id=added.user_id,
        last_seq=(last_seq or 0) + added.actions,
        risk=risk,
        balance=balance + added.net,
        is_new=last_seq is None,
        is_full=not has_room,
        overrides=overrides,
        settings_version=settings_version,
        rules_number=rules_number,
        has_late_offsets=has_late_offsets,
        pruned_before=pruned_before,
    )


_EVIDENCE = select(Alert.code, Alert.evidence).where(
    Alert.user_id == bindparam("user", type_=BigInteger), Alert.seq == bindparam("seq", type_=BigInteger)
)


def evidence(connection: Connection, user_id: int, seq: int) -> dict[int, dict[str, Any]]:
    """The evidence of the stored alerts of an action, by code."""
    return {row.code: row.evidence for row in connection.execute(_EVIDENCE, {"user": user_id, "seq": seq})}
