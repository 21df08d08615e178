"""Making one thing that engines send to PostgreSQL fail, whatever it is: it is found by counting, not by name."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg2
import psycopg2.extensions
from sqlalchemy import Engine, event

END = ";\n"  # between two statements of one message


def _raised(code: str) -> str:
    return f"DO $fault$ BEGIN RAISE EXCEPTION 'a fault' USING ERRCODE = '{code}'; END $fault$"


# What is sent in front of a statement, so that the server fails there.
AT_THE_SERVER = {
    "a defect": _raised("22012"),
    "a deadlock": _raised("40P01"),
    "a cancel": "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(0)",
    "an ended backend": "SELECT pg_terminate_backend(pg_backend_pid(), 1000)",
}
LOST_BEFORE, LOST_BEHIND = "lost before the server has it", "lost when the server has done it"
KINDS = (*AT_THE_SERVER, LOST_BEFORE, LOST_BEHIND)


class Place(NamedTuple):
    """A statement among all that are sent: the message, and the statement in it. Both count from 0."""

    message: int
    statement: int


@dataclass
class Faults:
    """Everything that the connections of some engines send; one statement of it can be made to fail, once.

    `sent` has the number of statements of each message since `count` began.
    """

    sent: list[int] = field(default_factory=list)
    prepares: set[int] = field(default_factory=set)
    counting: bool = False
    wanted: tuple[Place, str] | None = None
    happened: bool = False

    def count(self) -> None:
        """Count from here on; nothing fails."""
        self.sent, self.prepares, self.counting, self.wanted, self.happened = [], set(), True, None, False

    def let_fail(self, place: Place, kind: str) -> None:
        """Count from here on; what is at `place` fails."""
        self.count()
        self.wanted = (place, kind)

    def stop(self) -> None:
        """Nothing is counted and nothing fails any more."""
        self.counting = False

    def places(self, *, preparing: bool) -> list[tuple[Place, str]]:
        """Every statement that was counted, with each kind of fault that can meet it.

        With `preparing` those too by which a new connection prepares the statements of a batch.
        """
        found = []
        for message, statements in enumerate(self.sent):
            if message in self.prepares and not preparing:
                continue
            found += [(Place(message, 0), kind) for kind in (LOST_BEFORE, LOST_BEHIND)]
            found += [(Place(message, number), kind) for number in range(statements) for kind in AT_THE_SERVER]
            # Behind its last statement too: what has been committed by then stays.
            found.append((Place(message, statements), "an ended backend"))
        return found

    def send(self, connection: Any, statement: str, do: Callable[[str], None]) -> None:
        """Send a message by `do`, unless it is to fail."""
        parts = [part for part in statement.split(END) if part.strip()]
        message, fault = len(self.sent), None
        if self.counting:
            self.sent.append(len(parts))
            if "DEALLOCATE" in statement:
                self.prepares.add(message)
            if self.wanted is not None and self.wanted[0].message == message:
                place, fault = self.wanted
                self.happened = True
        if fault is None:
            do(statement)
        elif fault == LOST_BEFORE:
            _shut_down(connection)
            do(statement)
        elif fault == LOST_BEHIND:
            do(statement)
            _shut_down(connection)
            do("SELECT 1")
        else:
            do(END.join([*parts[: place.statement], AT_THE_SERVER[fault], *parts[place.statement :]]))


def _shut_down(connection: Any) -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)


def listen(*engines: Engine) -> Faults:
    """The faults of these engines, whose connections are opened anew."""
    faults = Faults()

    class Cursor(psycopg2.extensions.cursor):  # type: ignore[misc]
        def execute(self, query: Any, vars: Any = None) -> None:
            faults.send(self.connection, query, lambda statement: super(Cursor, self).execute(statement, vars))

        def copy_expert(self, query: Any, file: Any, size: int = 8192) -> None:
            def do(statement: str) -> None:
                if "COPY" in statement:
                    super(Cursor, self).copy_expert(statement, file, size)
                else:
                    super(Cursor, self).execute(statement)

            faults.send(self.connection, query, do)

    class Connection(psycopg2.extensions.connection):  # type: ignore[misc]
        def cursor(self, *args: Any, **kwargs: Any) -> Any:
            return super().cursor(*args, **({"cursor_factory": Cursor} | kwargs))

        def commit(self) -> None:
            def do(statement: str) -> None:
                if statement == "COMMIT":
                    super(Connection, self).commit()
                else:
                    with super(Connection, self).cursor() as cursor:
                        cursor.execute(statement)

            faults.send(self, "COMMIT", do)

    def connect(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        parameters["connection_factory"] = Connection

    for engine in engines:
        event.listen(engine, "do_connect", connect)
        engine.dispose()
    return faults
