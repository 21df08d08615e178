"""What changes where a pooler such as PgBouncer passes server connections from one transaction to the next.

The settings that a connection asks for as it is opened then do not reach PostgreSQL, and would be lost with the first
transaction if they did. So one of them only shows whether they do (ARRIVED), and each new connection is asked for it.
Where it has not arrived, every transaction begins by making the settings its own, in the message that begins it:
SET LOCAL lasts to the end of the transaction, and leaves nothing behind. See docs/decisions/poolers.md.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from psycopg2.extensions import TRANSACTION_STATUS_IDLE, cursor
from sqlalchemy import Connection, Engine, event

from database import citus

ARRIVED = "transaction_alerts.arrived"  # a setting without any effect
_ASK = f"SELECT current_setting('{ARRIVED}', true), {citus.HAS_EXTENSION}"
_SHARED = "is_shared"

# The connection is lost, whatever it looks like: a pooler says so and closes it, or there is none to a server.
_LOST_CLASS, _INTERNAL = "08", "XX000"

# How transactions begin that are not told otherwise: SET LOCAL comes too late for one that has begun.
_ISOLATION = "default_transaction_isolation"
_READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;\n"
# Lists of names, written as they are: as a text they would be one name.
_LISTS = {"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"}


def is_shared(connection: Connection) -> bool:
    """Whether other clients use the server connection between the transactions of this one."""
    return bool(connection.info.get(_SHARED))


def is_lost(error: BaseException | None) -> bool:
    """Whether the driver's `error` says that the connection is lost: by PostgreSQL's code, or as Citus says it."""
    code = getattr(error, "pgcode", None) or ""
    return code.startswith(_LOST_CLASS) or (code == _INTERNAL and citus.SERVER_IS_GONE in str(error))


def adapt(engine: Engine, settings: Mapping[str, object], *, one_by_one: bool = False) -> None:
    """Make `settings` those of each transaction of `engine` wherever they cannot be those of a connection.

    With `one_by_one` only of transactions that consist of several messages: some statements must be alone in theirs.
    """
    bounded, distributed = (_cursor_with(each, one_by_one) for each in (settings, {**settings, **citus.SETTINGS}))

    def look(connection: Any, record: Any) -> None:
        has_arrived, has_citus = _asked(connection)
        is_distributed = has_citus and citus.set_up(connection, record.info, settings, is_own=has_arrived)
        if not has_arrived:
            record.info[_SHARED] = True
            connection.cursor_factory = distributed if is_distributed else bounded

    event.listen(engine, "connect", look)
    event.listen(engine, "handle_error", _notice_loss)


def _cursor_with(settings: Mapping[str, object], one_by_one: bool) -> type["_Cursor"]:
    local = "".join(f"SET LOCAL {name} = {_value(name, value)};\n" for name, value in settings.items() if _may_be(name))
    return type("_CursorOfEngine", (_Cursor,), {"settings": local.encode(), "is_for_messages": not one_by_one})


def _may_be(name: str) -> bool:
    return name not in (_ISOLATION, ARRIVED)


def _value(name: str, value: object) -> str:
    return str(value) if name.lower() in _LISTS else "'" + str(value).replace("'", "''") + "'"


def _asked(connection: Any) -> tuple[bool, bool]:
    """Whether our settings have arrived, and whether the database has Citus."""
    with closing(connection.cursor()) as asking:
        asking.execute(_ASK)
        found, has_citus = asking.fetchone()
    if not connection.autocommit:
        connection.rollback()
    return found == "on", bool(has_citus)


def _notice_loss(context: Any) -> None:
    context.is_disconnect = context.is_disconnect or is_lost(context.original_exception)


class _Cursor(cursor):  # type: ignore[misc]
    """A cursor whose first message of each transaction begins with `settings`."""

    settings = b""
    is_for_messages = True  # for transactions that are one message, or begin and end in messages of the caller's

    def execute(self, query: Any, vars: Any = None) -> None:
        if not self._is_first():
            super().execute(query, vars)
        elif self.name is not None:  # its statement has to be alone
            self._begin()
            super().execute(query, vars)
        elif not self.connection.autocommit:
            super().execute(self.settings + self.mogrify(query, vars))
        elif self.is_for_messages:
            super().execute(_READ_COMMITTED.encode() + self.settings + self.mogrify(query, vars))
        else:
            super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Sequence[Any]) -> None:
        if self.connection.autocommit:
            for values in vars_list:
                self.execute(query, values)
        else:
            self._begin()
            super().executemany(query, vars_list)

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        self._begin()
        super().copy_expert(sql, file, size)

    def _is_first(self) -> bool:
        return bool(self.connection.get_transaction_status() == TRANSACTION_STATUS_IDLE)

    def _begin(self) -> None:
        if self._is_first() and not self.connection.autocommit:
            with closing(cursor(self.connection)) as first:
                first.execute(self.settings)
