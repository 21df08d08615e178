"""Ctrl+C while PostgreSQL works: by itself the driver would wait for the statement's end, which can be hours away."""

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2.extensions import POLL_OK, POLL_READ, set_wait_callback
from sqlalchemy.exc import DBAPIError


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Within the block, an exception that a signal's handler raises cancels the statement that runs, and leaves it.

    What the statement has done is undone, as after any error. Yields a function that raises the exception if the
    statement was done before it could be cancelled: to be called between statements. Only the main thread gets signals,
    so in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield _nothing
        return
    kept: list[BaseException] = []

    def wait(connection: Any) -> None:
        while True:
            try:
                state = connection.poll()
                if state == POLL_OK:
                    return
                ready = select.poll()  # unlike select.select, it takes any number of a file
                ready.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
                ready.poll()
            except (KeyboardInterrupt, SystemExit) as error:
                kept.append(error)
                connection.cancel()  # the loop ends by the server's error

    def check() -> None:
        if kept:
            raise kept[0]

    set_wait_callback(wait)
    try:
        yield check
    except DBAPIError:
        check()
        raise
    finally:
        set_wait_callback(None)
    check()


def _nothing() -> None:
    """Nothing was interrupted."""
