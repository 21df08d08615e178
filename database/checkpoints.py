"""Reading what is left of removed actions: see docs/decisions/checkpoints.md."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, any_, func, select
from sqlalchemy.orm import InstrumentedAttribute

from database.checkpoint_rows import StoredCheckpoint
from database.models import Checkpoint, User
from database.prepared import Planned, array, array_of

_COLUMNS = [getattr(User if name == User.pruned_before.key else Checkpoint, name) for name in StoredCheckpoint._fields]


def checkpoints_of(users: ColumnElement[bool]) -> Select[Any]:
    """A query for the checkpoints of some users; each row makes a StoredCheckpoint."""
    return select(*_COLUMNS).join_from(Checkpoint, User, User.user_id == Checkpoint.user_id).where(users)


def removed(column: InstrumentedAttribute[Any], user_id: Any, kind: Any) -> ColumnElement[Any]:
    """A number of a user's checkpoint of one type; 0 if none of these actions were removed.

    It is what the actions before the first that is stored come to.
    """
    own = select(column).where(Checkpoint.user_id == user_id, Checkpoint.type == kind)
    return func.coalesce(own.scalar_subquery(), 0)


_OF_USERS = Planned(checkpoints_of(Checkpoint.user_id == any_(array_of("user_id", Checkpoint.user_id.type))))


def read_checkpoints(connection: Connection, user_ids: Sequence[int]) -> list[StoredCheckpoint]:
    """What is left of the removed actions of these users, by type; nothing of those who have lost none."""
    return [StoredCheckpoint._make(row) for row in _OF_USERS.run(connection, {"user_id": array(user_ids)})]
