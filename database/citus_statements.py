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
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, any_, func, literal_column, null, select, union_all, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.elements import Grouping

from database import citus, judging, storing
from database.judging import DELTAS, FOLLOWING, HAS_ROOM, KEYS, LAST, lay_actions, lay_users
from database.late_offsets import corrected
from database.locks import AT_ONCE, NEWEST_CHANGE, Waits
from database.models import User
from database.offsets import LateOffsets
from database.prepared import Prepared, array, array_of, in_transaction_with, run_directly
from database.records import Deltas, EventKey, LastN, LockedUser, NextN, StoredAction
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


def _add_all() -> Any:
    users = select(DELTAS.c.user_id, DELTAS.c.actions, DELTAS.c.net).order_by(DELTAS.c.user_id)
    added = insert(User).from_select([User.user_id, User.last_seq, User.net], users)
    last_seq, net = (added.excluded.corresponding_column(User.__mapper__.c[name]) for name in ("last_seq", "net"))
    return added.on_conflict_do_update(
        index_elements=[User.user_id],
        set_={User.last_seq: User.last_seq + last_seq, User.net: User.net + net},
        where=HAS_ROOM,
    )


# Not counted up by this transaction (-1); of those that were, a row that _ADD_ALL has made has no earlier version (1).
_COUNTED: ColumnElement[int] = literal_column(
    "CASE WHEN xmin <> CAST(pg_current_xact_id() AS xid) THEN -1 WHEN xmax = 0 THEN 1 ELSE 0 END", Integer
)
_LAST, _FOLLOWING, _KEYS = UserRecords(LAST), UserRecords(FOLLOWING), UserRecords(KEYS)
_USERS = array_of("user_ids", User.user_id.type)
_RECENT = [lay_users(_USERS, made=_COUNTED, rules_number=null()), lay_actions(judging.last_of(_LAST))]
_READ_RECENT = Prepared("read_recent", union_all(*_RECENT))
_READ_HISTORY = Prepared(
    "read_history",
    union_all(
        *_RECENT, lay_actions(judging.following_of(_FOLLOWING)), lay_actions(judging.of_keys(_KEYS), answers=True)
    ),
)
_ADD_ALL = Prepared("add_all", _add_all())
# The first of a transaction: if it is known, so is all that can follow.
COUNT_KNOWN = Prepared("count_known", _count_known(), after=(_READ_RECENT, _READ_HISTORY, _ADD_ALL, *storing.PREPARED))


# Users are locked in the order of the index, so that two batches that share users meet at the first of them.
_BY_INDEX = "SET LOCAL enable_seqscan = off;\nSET LOCAL enable_bitmapscan = off;\n"


def begin_lock_and_read(
    connection: Connection,
    *,
    deltas: Sequence[Deltas],
    create: bool,
    last: Sequence[LastN],
    following: Sequence[NextN],
    keys: Sequence[EventKey],
    waits: Waits = AT_ONCE,
) -> tuple[list[LockedUser], list[StoredAction], LateOffsets]:
    """As `judging.begin_lock_and_read`, which see.

    It takes two messages, and three more if some of the users are new or full.
    """
    limit = citus.lock_timeout(connection)
    if waits.lock is None and isinstance(limit, int):
        waits = replace(waits, lock=limit / 1000)

    def begin(count: Prepared, first: str = "") -> tuple[list[LockedUser], list[StoredAction]]:
        begun = waits.around(first + count.execute, on_workers=_BY_INDEX) + NEWEST_CHANGE.text
        ((rules_number,),) = run_directly(connection, begun, DELTAS.arrays(deltas))
        users, actions = _read([one.user_id for one in deltas], connection, last, following, keys)
        return [user._replace(rules_number=int(rules_number)) for user in users], actions

    users, actions = in_transaction_with(connection, COUNT_KNOWN, partial(begin, COUNT_KNOWN))
    counted = {user.user_id for user in users if not user.is_full}
    known = {user.user_id for user in users}
    if any((create or one.user_id in known) and one.user_id not in counted for one in deltas):
        # New, or full, or made by another transaction after our first statement. Those that are locked already are
        # locked again, since whoever adds some users while it has others can deadlock.
        connection.exec_driver_sql("ROLLBACK")
        users, actions = begin(_ADD_ALL if create else COUNT_KNOWN)
        made = create
    else:
        made = False
    users = [user._replace(is_new=user.is_new and made) for user in users]
    offsets = LateOffsets([user.user_id for user in users if user.has_late_offsets])
    return users, corrected(connection, actions, offsets), offsets


def _read(
    user_ids: Sequence[int],
    connection: Connection,
    last: Sequence[LastN],
    following: Sequence[NextN],
    keys: Sequence[EventKey],
) -> tuple[list[LockedUser], list[StoredAction]]:
    read, values = _READ_RECENT, _LAST.arrays(last)
    if following or keys:
        read, values = _READ_HISTORY, arguments((_LAST, _FOLLOWING, _KEYS), (last, following, keys))
    laid = run_directly(connection, read.execute, values | {"user_ids": array(user_ids)})
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
    _, actions = _read((), connection, last, following, keys)
    return corrected(connection, actions, offsets)
