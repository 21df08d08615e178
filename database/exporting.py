"""Reading whole tables for an export, as CSV in order of users: by COPY, however much there is.

The names here are those of the export's files, which others read: they stay when a column is renamed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, cast, func, select, text
from sqlalchemy.orm import InstrumentedAttribute

from database.checkpoint_rows import StoredCheckpoint
from database.models import Alert, Checkpoint, User, UserAction, UserSettings
from database.records import Users

Column = InstrumentedAttribute[Any] | ColumnElement[Any]


@dataclass(frozen=True, kw_only=True)
class ExportedTable:
    """What an export has of a table: its columns by their names there, all rows, and their order.

    The order begins with the user.
    """

    columns: Mapping[str, Column]
    rows: Select[Any]
    order: Sequence[InstrumentedAttribute[Any]]


def _exported(
    columns: Mapping[str, Column], order: Sequence[InstrumentedAttribute[Any]], rows: Select[Any] | None = None
) -> ExportedTable:
    return ExportedTable(columns=columns, rows=select(*columns.values()) if rows is None else rows, order=order)


def _named(*columns: InstrumentedAttribute[Any]) -> dict[str, Column]:
    return {column.key: column for column in columns}


def _as_text(column: InstrumentedAttribute[Any]) -> dict[str, Column]:
    return {column.key: cast(column, Text)}


_OF_CHECKPOINT: dict[str, Column] = {
    name: getattr(User if name == User.pruned_before.key else Checkpoint, name) for name in StoredCheckpoint._fields
}

# Without ids and notes that others gave, names of people and of staff: docs/decisions/spark.md.
TABLES: Mapping[str, ExportedTable] = {
    "actions": _exported(
        _named(
            UserAction.user_id,
            UserAction.time,
            UserAction.seq,
            UserAction.type,
            UserAction.amount,
            UserAction.settings_version,
            UserAction.rules_number,
        ),
        (UserAction.user_id, UserAction.time, UserAction.seq),
    ),
    "alerts": _exported(
        _named(
            Alert.user_id,
            Alert.time,
            Alert.seq,
            Alert.code,
            Alert.status,
            Alert.outcome,
            Alert.late,
            Alert.superseded,
            Alert.shadow,
        )
        | _as_text(Alert.evidence),
        (Alert.user_id, Alert.time, Alert.seq, Alert.code),
    ),
    "settings": _exported(
        _named(UserSettings.user_id, UserSettings.version, UserSettings.risk) | _as_text(UserSettings.overrides),
        (UserSettings.user_id, UserSettings.version),
    ),
    "checkpoints": _exported(
        _OF_CHECKPOINT,
        (Checkpoint.user_id, Checkpoint.type),
        select(*_OF_CHECKPOINT.values()).join_from(Checkpoint, User, User.user_id == Checkpoint.user_id),
    ),
}


class _InPieces:
    """Takes the lines of a COPY, and hands them on in pieces of whole lines."""

    def __init__(self, size: int, take: Callable[[bytes], None]) -> None:
        self._size, self._take = size, take
        self._lines: list[bytes] = []
        self._length = 0

    def write(self, line: bytes) -> None:
        """Called by the driver with one line at a time."""
        self._lines.append(line)
        self._length += len(line)
        if self._length >= self._size:
            self.flush()

    def flush(self) -> None:
        """Hand on what there is."""
        if self._lines:
            self._take(b"".join(self._lines))
            self._lines.clear()
            self._length = 0


def copy_table(
    connection: Connection, table: ExportedTable, users: Users, size: int, take: Callable[[bytes], None]
) -> None:
    """Read all rows of `users` in order, as CSV without a head, and call `take` with pieces of whole lines.

    A piece has `size` bytes and the rest of a line; only one is in memory at a time.
    """
    rows = table.rows.where(table.order[0].between(users.first, users.last)).order_by(*table.order)
    # COPY takes no parameters.
    statement = rows.compile(connection, compile_kwargs={"literal_binds": True})
    pieces = _InPieces(size, take)
    cursor: Any = connection.connection.cursor()
    cursor.copy_expert(f"COPY ({statement}) TO STDOUT WITH (FORMAT csv)", pieces)
    cursor.close()
    pieces.flush()


def moment(connection: Connection) -> datetime:
    """When the transaction of `connection` began: its snapshot has all that was committed before.

    Read from a replica, it may lack what was committed in the ten seconds before.
    """
    found: datetime = connection.execute(select(func.now())).scalar_one()
    return found


def schema_version(connection: Connection) -> str:
    """The newest migration of the database that `connection` sees."""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
