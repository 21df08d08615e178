"""Connections to receivers of webhooks: to an address that was checked, within a time, and reading no more than may be.

The connection goes to the address, not to the name, which may lead elsewhere a moment later; but it is the name's
certificate that must be shown.
"""

import http.client
import io
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection

from work.webhook_addresses import Address, Target

MOST_READ = 4_096  # bytes of the body of an answer
MOST_HEAD = 16_384  # bytes of the rest of it
LOOKUPS = 4  # names of one endpoint that are looked up at once: what looks one up cannot be stopped

Resolve = Callable[[str, int], list[Address]]


class NotSent(Exception):
    """There was no answer; the text says why."""


def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a host, as the system finds them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(ip_address(str(one[4][0])) for one in found))


class NameLookups:
    """Looks up the names of one endpoint, LOOKUPS at once at most."""

    def __init__(self, look_up: Resolve) -> None:
        self._look_up = look_up
        self._free = threading.BoundedSemaphore(LOOKUPS)

    def addresses(self, target: Target, until: float) -> list[Address]:
        """The addresses of the target's host, if they are found before `until` (monotonic). Raises NotSent."""
        if target.address is not None:
            return [target.address]
        late = NotSent(f"the addresses of {target.host} were not found in time")
        if not self._free.acquire(timeout=max(0.0, until - time.monotonic())):
            raise late
        found: queue.SimpleQueue[list[Address] | OSError | UnicodeError] = queue.SimpleQueue()

        def run() -> None:
            try:
                found.put(self._look_up(target.host, target.port))
            except (OSError, UnicodeError) as error:
                found.put(error)
            finally:
                self._free.release()

        threading.Thread(target=run, name="lookup", daemon=True).start()
        try:
            result = found.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise late from None
        if isinstance(result, Exception):
            raise NotSent(f"{target.host} has no address: {getattr(result, 'strerror', None) or result}")
        return result


class Deadlines:
    """Cuts connections off when their time is over: one thread for all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[socket.socket, float] = {}
        self._has_ended = False
        threading.Thread(target=self._watch, name="deadlines", daemon=True).start()

    def add(self, handle: socket.socket, until: float) -> None:
        """Cut this connection off at that moment (monotonic)."""
        with self._lock:
            self._until[handle] = 0.0 if self._has_ended else until

    def remove(self, handle: socket.socket) -> None:
        """Let it be."""
        with self._lock:
            self._until.pop(handle, None)

    def has_cut(self, handle: socket.socket) -> bool:
        """Whether this connection was cut off: what has arrived may be half an answer."""
        with self._lock:
            return handle not in self._until

    def cut_all(self) -> None:
        """Cut all of them off, and those to come: the process ends."""
        with self._lock:
            self._has_ended = True
            self._until = dict.fromkeys(self._until, 0.0)
        self._cut()

    def _watch(self) -> None:
        while True:
            time.sleep(0.1)
            self._cut()

    def _cut(self) -> None:
        now = time.monotonic()
        with self._lock:
            for handle in [handle for handle, until in self._until.items() if until <= now]:
                del self._until[handle]
                with suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)


class _Limited(io.RawIOBase):
    """The bytes of an answer, up to a number of them."""

    def __init__(self, file: io.RawIOBase, most: int) -> None:
        self._file, self._left = file, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left <= 0:
            raise OSError("the answer is too long")
        count = self._file.readinto(memoryview(buffer)[: self._left])
        self._left -= count or 0
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer of which no more is read than may be, its head included."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        raw = _Limited(sock.makefile("rb", buffering=0), MOST_HEAD + MOST_READ)
        self.fp = io.BufferedReader(raw, 4096)

    def _read_status(self) -> tuple[str, int, str]:
        """The parts of the first line. What only says that the answer is still to come is passed over, as a 100 is."""
        version, status, reason = super()._read_status()  # type: ignore[misc]
        return version, 100 if status in (102, 103) else status, reason


class _Pinned:
    """Connects to an address, whatever the name of the host leads to."""

    pinned: Address
    until: float
    deadlines: Deadlines
    handle: socket.socket | None = None
    response_class = _Answer

    def _new_conn(self) -> socket.socket:
        left = max(0.001, self.until - time.monotonic())
        connected = socket.create_connection((str(self.pinned), self.port), timeout=left)  # type: ignore[attr-defined]
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Of its own, since the other becomes TLS's: so a handshake can be cut off as well.
        self.handle = connected.dup()
        self.deadlines.add(self.handle, self.until)
        return connected

    def end(self) -> None:
        """Close it."""
        if self.handle is not None:
            self.deadlines.remove(self.handle)
            self.handle.close()
            self.handle = None
        with suppress(OSError):
            self.close()  # type: ignore[attr-defined]


class Http(_Pinned, HTTPConnection):
    """A connection without TLS; `pinned`, `until` and `deadlines` are set before it connects."""

    response_class = _Answer


class Https(_Pinned, HTTPSConnection):
    """The same with TLS."""

    response_class = _Answer
