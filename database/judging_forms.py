"""The statements that judge a batch, in the form that the database of a connection needs.

There are two: that of `judging.py`, and one for databases whose users are spread over several servers, that of
`citus_statements.py`.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from database import citus, citus_statements, judging
from database.locks import AT_ONCE, Waits
from database.offsets import LateOffsets
from database.prepared import Prepared
from database.records import Deltas, EventKey, LastN, LockedUser, NextN, Since, StoredAction


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
    """As `judging.begin_lock_and_read`, which see."""
    form = citus_statements.begin_lock_and_read if citus.is_distributed(connection) else judging.begin_lock_and_read
    return form(
        connection,
        deltas=deltas,
        create=create,
        last=last,
        following=following,
        keys=keys,
        since=since,
        waits=waits,
    )


def read_history(
    connection: Connection,
    *,
    last: Sequence[LastN],
    following: Sequence[NextN],
    keys: Sequence[EventKey] = (),
    offsets: LateOffsets,
) -> list[StoredAction]:
    """As `judging.read_history`, which see."""
    read = citus_statements.read_history if citus.is_distributed(connection) else judging.read_history
    return read(connection, last=last, following=following, keys=keys, offsets=offsets)


def first_prepared(connection: Connection) -> Prepared:
    """The statement after which all those of a batch are prepared."""
    return citus_statements.COUNT_KNOWN if citus.is_distributed(connection) else judging.COUNT_AND_LOCK
