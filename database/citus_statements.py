"""The second form of the statements that judge a batch, for databases whose users are spread over several servers.

They do what those of `judging.py` do, whose parts they are made of, but as Citus can spread them:

- Known users are counted up by an UPDATE that takes their values out of the arrays, which goes to the shards as it is.
  An INSERT ... SELECT is carried out by the coordinator, through files, and takes many times as long: it is for batches
  with new users.
- The number of the rules' newest change is asked by itself, where the rules are: within the statement that reads users
  it would be sent to every worker that is asked.
- Requests come out of the rows of their users (`user_records.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, any_, func, literal_column, null, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.elements import Grouping

from database import citus, judging, storing
from database.judging import DELTAS, HAS_ROOM, RECORDS, Asked, lay_users, read_for, reads
from database.late_offsets import corrected
from database.locks import AT_ONCE, NEWEST_CHANGE, TURNS_OF_USERS, Waits
from database.models import User
from database.offsets import LateOffsets
from database.prepared import Planned, Prepared, array, array_of, in_transaction_with, run_directly
from database.records import Deltas, EventKey, LastN, LockedUser, NextN, Since, StoredAction
from database.user_records import UserRecords, arguments


def _count_known() -> Any:
    """Like the first form, it locks each shard's users in order of id: that of the index."""
    user_ids = DELTAS.parameters["user_id"]
    place = func.array_position(user_ids, User.user_id)
    actions, net = (Grouping(DELTAS.parameters[name])[place] for name in ("actions", "net"))
    return (
        update(User)
        .where(User.user_id == any_(user_ids), HAS_ROOM)
        .values({User.last_seq: User.last_seq + actions, User.net: User.net + net})
    )


def _add() -> Any:
    users = select(DELTAS.c.user_id, DELTAS.c.actions, DELTAS.c.net).order_by(DELTAS.c.user_id)
    added = insert(User).from_select([User.user_id, User.last_seq, User.net], users)
    last_seq, net = (added.excluded.corresponding_column(User.__mapper__.c[name]) for name in ("last_seq", "net"))
    return added.on_conflict_do_update(
        index_elements=[User.user_id],
        set_={User.last_seq: User.last_seq + last_seq, User.net: User.net + net},
        where=HAS_ROOM,
    )


# Not counted up by this transaction (-1); of those that were, a row that _ADD has made has no earlier version (1).
_COUNTED: ColumnElement[int] = literal_column(
    "CASE WHEN xmin <> CAST(pg_current_xact_id() AS xid) THEN -1 WHEN xmax = 0 THEN 1 ELSE 0 END", Integer
)
_RECORDS = [UserRecords(each) for each in RECORDS]
_USERS = array_of("user_ids", User.user_id.type)
_READS = reads(lay_users(_USERS, made=_COUNTED, rules_number=null()), *_RECORDS)
_ADD = Prepared("add", _add())
# The first of a transaction: if it is known, so is all that can follow.
COUNT_KNOWN = Prepared("count_known", _count_known(), after=(*_READS, _ADD, *storing.PREPARED))


# Workers lock rows at the same time, so that two batches with several users in common could deadlock, which Citus finds
# out after two seconds. So batches of up to so many users meet on the coordinator first: fewer than would fill its
# table of locks. Nothing's correctness depends on it: these are advisory locks, by a number that users can share.
IN_TURN = 256
_ids = func.unnest(_USERS).column_valued("asked")
_numbers = select(func.hashint8(_ids).label("number")).distinct().order_by(literal_column("number")).subquery("numbers")
_IN_TURN = Planned(select(func.pg_advisory_xact_lock(literal_column(TURNS_OF_USERS), _numbers.c.number)))
# And of each worker's users, in the order of the index.
_BY_INDEX = "SET LOCAL enable_seqscan = off;\nSET LOCAL enable_bitmapscan = off;\n"


def begin_lock_and_read(
    connection: Connection,
    *,
    deltas: Sequence[Deltas],
    create: bool,
    last: Sequence[LastN],
    following: Sequence[NextN],
    keys: Sequence[EventKey],
    since: Sequence[Since] = (),
    waits: Waits = AT_ONCE,
) -> tuple[list[LockedUser], list[StoredAction], LateOffsets]:
    """As `judging.begin_lock_and_read`, which see.

    It takes two messages, and two more if some of the users are new or full.
    """
    limit = citus.lock_timeout(connection)
    if waits.lock is None and isinstance(limit, int):
        waits = replace(waits, lock=limit / 1000)

    order = f"{_IN_TURN.text};\n" if len(deltas) <= IN_TURN else ""
    ((rules_number,),) = in_transaction_with(
        connection,
        COUNT_KNOWN,
        lambda first: run_directly(
            connection,
            waits.around(first + order + COUNT_KNOWN.execute, on_workers=_BY_INDEX) + NEWEST_CHANGE.text,
            DELTAS.arrays(deltas) | {"user_ids": array([one.user_id for one in deltas])},
        ),
    )
    users, actions = _read([one.user_id for one in deltas], connection, (last, since, following, keys))
    # Who was not counted up is new, or full, or was made by another transaction after that statement.
    known = {user.user_id for user in users}
    left = {one.user_id for one in deltas if create or one.user_id in known}
    left -= {user.user_id for user in users if not user.is_full}
    users = [user._replace(is_new=False) for user in users if user.user_id not in left]
    if left:
        add = _ADD if create else COUNT_KNOWN
        run_directly(connection, add.execute, DELTAS.arrays([one for one in deltas if one.user_id in left]))
        more_users, more_actions = _read(
            sorted(left),
            connection,
            (
                [one for one in last if one.user_id in left],
                [one for one in since if one.user_id in left],
                [one for one in following if one.user_id in left],
                [one for one in keys if one.user_id in left],
            ),
        )
        users += [user._replace(is_new=user.is_new and create) for user in more_users]
        actions = [action for action in actions if action.user_id not in left] + more_actions
    users = [user._replace(rules_number=int(rules_number)) for user in users]
    offsets = LateOffsets([user.user_id for user in users if user.has_late_offsets])
    return users, corrected(connection, actions, offsets), offsets


def _read(user_ids: Sequence[int], connection: Connection, asked: Asked) -> tuple[list[LockedUser], list[StoredAction]]:
    values = arguments(_RECORDS, asked) | {"user_ids": array(user_ids)}
    laid = run_directly(connection, read_for(asked, _READS).execute, values)
    return judging.read_users(laid), judging.read_actions(laid)


def read_history(
    connection: Connection,
    *,
    last: Sequence[LastN],
    following: Sequence[NextN],
    keys: Sequence[EventKey] = (),
    offsets: LateOffsets,
) -> list[StoredAction]:
    """As `judging.read_history`."""
    _, actions = _read((), connection, (last, (), following, keys))
    return corrected(connection, actions, offsets)
