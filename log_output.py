"""Standard output and standard error that never make anybody wait: what cannot be written is dropped and counted."""

import io
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import util
from queue import Empty, SimpleQueue
from typing import TextIO, cast

import orjson

MOST_WAITING = 1024 * 1024  # bytes that wait to be written, of each process and stream; further lines are dropped
FLUSH_SECONDS = 1.0  # how long a process that ends waits for its last lines to be written
GATHER_SECONDS = 0.01  # for which lines wait for others: waking the thread that writes them costs more than a line
_AT_ONCE = 4096  # bytes: a pipe takes so many in one piece, so that lines of several processes do not mix


def never_wait() -> None:
    """From now on, nothing that is printed in this process waits or fails: warnings and tracebacks too."""
    sys.stdout, sys.stderr = without_waiting(sys.stdout), without_waiting(sys.stderr)


def when_dropped(count: Callable[[int], None]) -> None:
    """Have `count` called with the number of lines whenever some are dropped, and now with those dropped so far."""
    _Output.count = count
    if dropped := sum(output.dropped for output in _outputs.values()):
        count(dropped)


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Wait until everything is written, but no longer than that. For a process that ends by `os._exit`."""
    end = time.monotonic() + seconds
    while any(output.is_waiting for output in _outputs.values()) and time.monotonic() < end:
        time.sleep(0.005)


class _Output(io.TextIOBase):
    """A stream to the file with the descriptor `fd` (None: there is none) that never waits and never raises.

    A thread of its own does the writing, since a pipe that nobody reads can block a write for ever, and a disk for
    seconds. The thread is started when there is something to write: a forked process has only the one that forked.
    """

    count: Callable[[int], None] | None = None  # of all outputs

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self.dropped = 0
        self._reported = 0
        self._is_torn = False  # whether the last that could be written is half a line
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what waits, and the thread: they are the parent's."""
        self._lock = threading.RLock()  # a signal's handler may print too
        self._waiting: SimpleQueue[bytes] = SimpleQueue()
        self._size = 0  # bytes that wait or are being written
        self._started = False

    @property
    def is_waiting(self) -> bool:
        """Whether anything is still to be written."""
        return self._size > 0

    def write(self, text: str) -> int:
        """Have `text` written, or drop it if too much waits already."""
        if not text:
            return 0
        data = text.encode(errors="backslashreplace")
        with self._lock:
            if self._fd is None or self._size + len(data) > MOST_WAITING or not self._has_thread():
                self._drop(data)
            else:
                self._size += len(data)
                self._waiting.put(data)
        return len(text)

    def flush(self) -> None:
        """Do nothing, since everything is on its way; a process that ends waits for it, for FLUSH_SECONDS at most."""
        if not threading.main_thread().is_alive():  # the error that ends a worker is printed as late as this
            flush()

    def fileno(self) -> int:
        """The descriptor. Raises OSError if there is none."""
        return super().fileno() if self._fd is None else self._fd

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._fd is not None and os.isatty(self._fd)

    def writable(self) -> bool:
        """It is."""
        return True

    def _has_thread(self) -> bool:
        if not self._started:
            with suppress(RuntimeError):  # the process is at its limits, or ending
                threading.Thread(target=self._write, args=(self._waiting,), name="log", daemon=True).start()
                util.Finalize(None, flush, exitpriority=-1000)  # after everything else, in forked processes too
                self._started = True
        return self._started

    def _drop(self, data: bytes) -> None:
        lines = data.count(b"\n") or 1
        with self._lock:
            self.dropped += lines
        if _Output.count is not None:
            _Output.count(lines)

    def _write(self, waiting: "SimpleQueue[bytes]") -> None:
        some = _with_others(waiting)
        while True:
            following = None
            with suppress(Empty):
                while len(following := waiting.get_nowait()) + len(some) <= _AT_ONCE:
                    some, following = some + following, None
            try:
                self._put(some)
            except OSError:
                self._drop(some)
            with self._lock:
                self._size -= len(some)
            some = following if following is not None else _with_others(waiting)

    def _put(self, data: bytes) -> None:
        # After half a line, for which there was no more room, the next one begins a line of its own.
        rest = data = b"\n" + data if self._is_torn else data
        try:
            while rest:
                rest = rest[self._put_some(_whole_lines(rest)) :]
        finally:
            if len(rest) < len(data):
                self._is_torn = bool(rest) and not data.endswith(b"\n", 0, len(data) - len(rest))
        if (missing := self.dropped - self._reported) > 0:
            self._reported = self.dropped
            line = {"event": "log_lines_dropped", "level": "warning", "lines": missing}
            self._put_some(orjson.dumps(line) + b"\n")

    def _put_some(self, data: bytes) -> int:
        assert self._fd is not None
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:  # whoever started this process wants to write to the same pipe without waiting
                select.select((), (self._fd,), ())


def _whole_lines(data: bytes) -> bytes:
    """As many whole lines from its beginning as a pipe takes in one piece; one, however long, at least."""
    if len(data) <= _AT_ONCE:
        return data
    return data[: data.rfind(b"\n", 0, _AT_ONCE) + 1 or data.find(b"\n") + 1 or len(data)]


def _with_others(waiting: "SimpleQueue[bytes]") -> bytes:
    first = waiting.get()
    time.sleep(GATHER_SECONDS)
    return first


_outputs: dict[int | None, _Output] = {}


def without_waiting(stream: TextIO | None) -> TextIO:
    """A stream to where `stream` leads that never waits and never raises; `stream` itself if it is in memory."""
    try:
        fd = None if stream is None else stream.fileno()  # None: it was closed when the process began
    except (OSError, ValueError):
        return cast(TextIO, stream)  # in memory
    return cast(TextIO, _outputs.setdefault(fd, _Output(fd)))


def _begin_anew() -> None:
    for output in _outputs.values():
        output.begin_anew()


os.register_at_fork(after_in_child=_begin_anew)
