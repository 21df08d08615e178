"""Reading bodies on the event loop: within a time, a number of bytes, and few large ones at once.

A body is read before its request gets a thread. So a caller that stalls holds a connection, and nobody waits for it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from routes.http.bodies import MAX_BODY
from routes.http.problems import BODIES_FULL, INCOMPLETE, LARGE_BODIES_FULL, LATE_BODY
from routes.http.server_messages import Message, Receive

# What one worker keeps of bodies that are not complete yet. Large bodies have a share of their own, so that four of the
# largest leave room for small ones, and a thousand small ones leave room for large ones.
MAX_UNFINISHED = 64 * 1024 * 1024  # bytes, of either kind
# Large bodies that one worker has in hand at once, from the last byte to the answer: each becomes objects of many times
# its size and keeps Python busy for long. 10,000 ordinary events, of 100 to 200 bytes each, are no large body.
LARGE_BODY, LARGE_AT_ONCE = 2 * 1024 * 1024, 2
# A body that nobody wants is thrown away before the answer, as long as something comes within so many seconds: if the
# server closed a connection on which more comes, the caller would often see that instead of the answer. Whoever sends
# more, stalls, or takes longer than a body may, is answered at once, and the connection ends.
LINGER_SECONDS, LINGER_BYTES = 2.0, 32 * 1024 * 1024


class Intake:
    """Reads the bodies of all requests of one worker, each within `seconds`. To be used on one event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._time_limit = _TimeLimit(seconds)
        self._small, self._large = _Share(MAX_UNFINISHED), _Share(MAX_UNFINISHED)
        self._turns = LARGE_AT_ONCE

    async def read(self, receive: Receive, length: int | None, limit: int = MAX_BODY) -> bytes:
        """A body that was announced as `length` bytes (None: as any number), or its first `limit` + 1 bytes.

        Raises Problem: 400 if it breaks off, 408 if it takes too long, 503 if too much is being received already, or if
        it is large and has to wait for its turn.
        """
        expected = limit + 1 if length is None else length
        with self._time_limit:
            message = await receive()
            body: bytes = message.get("body", b"")
            # Do not wait for the server to say that there is no more: that message costs as much as the body itself.
            if len(body) >= expected or _is_last(message):
                return body
            with self._share_of(limit, length).part() as part:
                part.add(body)
                while len(part.body) < expected:
                    if len(part.body) > LARGE_BODY:
                        self.check_turns()
                    message = await receive()
                    part.add(message.get("body", b""))
                    if _is_last(message):
                        break
                return bytes(part.body[: limit + 1])

    async def throw_away(self, receive: Receive) -> bool:
        """Read on for a while, and keep nothing. Returns whether that was all of the body."""
        clock, size = asyncio.get_running_loop().time, 0
        end = clock() + self._seconds
        with suppress(TimeoutError):
            while size <= LINGER_BYTES:
                async with asyncio.timeout_at(min(end, clock() + LINGER_SECONDS)):
                    message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return True
        return False

    def _share_of(self, limit: int, length: int | None) -> "_Share":
        return self._large if limit > MAX_BODY and (length is None or length > MAX_BODY) else self._small

    def check_turns(self) -> None:
        """Raises Problem 503 if no large body could have its turn now."""
        if not self._turns:
            raise LARGE_BODIES_FULL.anew()

    @contextmanager
    def turn(self, is_large: bool) -> Iterator[None]:
        """The time during which a body, read and perhaps large, is in hand. Raises Problem as `check_turns` does."""
        if is_large:
            self.check_turns()
        self._turns -= is_large
        try:
            yield
        finally:
            self._turns += is_large


def _is_last(message: Message) -> bool:
    """Whether the body ends with this part. Raises Problem 400 if it breaks off: the caller hung up, or sent no chunk
    where one had to be.

    A body in chunks may look complete where it breaks off: as fewer lines, of which none would be missed.
    """
    if message["type"] == "http.disconnect":
        raise INCOMPLETE.anew()
    return not message.get("more_body", False)


class _Share:
    """How many bytes of unfinished bodies there may be."""

    def __init__(self, most: int) -> None:
        self.left = most

    @contextmanager
    def part(self) -> Iterator["_Part"]:
        part = _Part(self)
        try:
            yield part
        finally:
            self.left += len(part.body)


class _Part:
    """One unfinished body."""

    def __init__(self, share: _Share) -> None:
        self._share = share
        self.body = bytearray()

    def add(self, more: bytes) -> None:
        """Raises Problem 503 if there is no room for it."""
        if len(more) > self._share.left:
            raise BODIES_FULL.anew()
        self._share.left -= len(more)
        self.body += more


class _TimeLimit:
    """Ends what takes longer than `seconds`: in the `with` block of a task that is late, Problem 408 is raised.

    One timer serves all tasks: one for each would cost several percent of an event.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[asyncio.Task[Any], float] = {}  # the earliest first, since all have the same time
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        self._until[task] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._end_late, loop)

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        del self._until[task]
        if task in self._late:
            self._late.remove(task)
            task.uncancel()
            if kind is asyncio.CancelledError:
                raise LATE_BODY.anew() from None

    def _end_late(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._timer = None
        for task, until in self._until.items():
            if until > now:
                self._timer = loop.call_at(until, self._end_late, loop)
                break
            if task not in self._late:
                self._late.add(task)
                task.cancel()
