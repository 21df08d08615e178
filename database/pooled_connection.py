"""A connection out of the pool for one batch of events: what a session is for all other work.

A session costs a third of all that Python does for a batch of one event, and a batch uses nothing of it but its
connection.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session


class PooledConnection:
    """Takes a connection when it is first asked for one, and gives it back at the end of its `with` block."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def connection(self) -> Connection:
        """The connection. Raises what the pool raises if there is none to be had."""
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def invalidate(self) -> None:
        """Give it back as one that nobody else may get."""
        if self._connection is not None:
            self._connection.invalidate()
            self.close()

    def session(self) -> Session:
        """A session on the same database, with a connection of its own."""
        self.close()  # first, or both would be taken from a pool of one
        return Session(self._engine)


def pooled_connections(engine: Engine) -> Callable[[], PooledConnection]:
    """Makes connections out of the pool of `engine`, for `run`."""
    return lambda: PooledConnection(engine)
