"""Closing connections on which the database gives no answer at all.

PostgreSQL's own timeouts end a statement that is slow, but they live in the server: one that hangs (a stopped
process, a stalled disk, a network that drops everything) leaves its clients waiting forever. So a connection that has
been out of the pool for too long has its socket shut down from here; the thread that waits on it gets a lost
connection, which is a 503 like any other, and the pool makes a new one.
"""

import os
import socket
import threading
import time
import weakref
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine, event

POLL = 0.5  # seconds
IDLE = 5.0  # seconds after which the thread checks whether its engine still exists


class _Watch:
    """The connections of one engine that are in use, and since when."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[Any, float] = {}
        self._awake = threading.Event()

    def taken(self, connection: Any, *_: object) -> None:
        self._since[connection] = time.monotonic()
        self._awake.set()

    def returned(self, connection: Any, *_: object) -> None:
        self._since.pop(connection, None)

    def check(self) -> None:
        """Shut down the connections that have been in use for too long; with none in use, wait for one."""
        self._awake.wait(IDLE)
        time.sleep(POLL)
        self._awake.clear()
        overdue = time.monotonic() - self._seconds
        for connection, since in list(self._since.items()):
            if since < overdue and self._since.pop(connection, None) is not None:
                _shut_down(connection)
        if self._since:
            self._awake.set()


def watch(engine: Engine, seconds: float) -> None:
    """From now on, a connection of `engine` that is out of its pool for over `seconds` loses its socket."""
    watch = _Watch(seconds)
    event.listen(engine, "connect", watch.taken, insert=True)  # what is asked of a new one takes time too
    event.listen(engine, "checkout", watch.taken)
    event.listen(engine, "checkin", watch.returned)
    threading.Thread(target=_run, args=(weakref.ref(engine), watch), daemon=True, name="database-watchdog").start()


def _run(engine: "weakref.ref[Engine]", watch: _Watch) -> None:
    while engine() is not None:
        watch.check()


def _shut_down(connection: Any) -> None:
    # It may have been closed in the meantime.
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)
