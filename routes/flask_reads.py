"""Reads have few threads of their own, which rest in between: however many callers read, events go on.

Python runs one thread of a process at a time, so each read takes time from the threads that judge events. The reads of
a process have READ_THREADS threads, and after a read its thread rests for as long as that took. Further reads wait in a
bounded queue; beyond it, or after too long a wait, the answer is a 503 (docs/decisions/reads-rest.md).
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from a2wsgi.wsgi import build_environ

from routes.http.problems import READS_FULL
from routes.http.server_messages import Scope, Send

Wsgi = Callable[[Any, Any], Iterable[bytes]]

# Reads of one process that may wait for a thread, and for how many seconds. A wait longer than this helps nobody: who
# asked has given up by then, and others have come.
MOST_WAITING, PATIENCE = 128, 5.0
# They say whether the process and the database are well, to callers who draw conclusions from an answer that is late or
# refused. So each has a thread that does not rest, and room for more than anybody needs: either takes a fraction of a
# millisecond.
PROBES, MOST_PROBES = ("/healthz", "/readyz"), 2_000


class _Written(NamedTuple):
    """A whole answer of Flask, as it is sent to the server."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class FlaskReads:
    """Runs the reads of a WSGI application in at most `threads` threads at once."""

    def __init__(self, wsgi: Wsgi, threads: int) -> None:
        self._reads = _Lane(wsgi, "reads", threads, waiting=MOST_WAITING, rests=True)
        self._probes = {path: _Lane(wsgi, path[1:], 1, waiting=MOST_PROBES, rests=False) for path in PROBES}

    def takes(self, scope: Scope) -> bool:
        """Whether this is a read."""
        return scope["method"] in ("GET", "HEAD")

    async def __call__(self, scope: Scope, send: Send) -> None:
        """Answer a read. Raises Problem 503 if too many wait already or this one has waited for too long."""
        written = await self._probes.get(scope["path"], self._reads).run(scope)
        await send({"type": "http.response.start", "status": written.status, "headers": written.headers})
        await send({"type": "http.response.body", "body": written.body})


class _Lane:
    """A few threads that run the application, and a bounded queue for them."""

    def __init__(self, wsgi: Wsgi, name: str, threads: int, *, waiting: int, rests: bool) -> None:
        self._wsgi = wsgi
        self._threads = ThreadPoolExecutor(threads, name)
        self._most = threads + waiting
        self._rests = rests
        self._in_hand = 0
        self._thread = threading.local()

    async def run(self, scope: Scope) -> _Written:
        if self._in_hand >= self._most:
            raise READS_FULL.anew()
        self._in_hand += 1
        try:
            latest = time.monotonic() + PATIENCE
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._take_turn, scope, latest)
        finally:
            self._in_hand -= 1

    def _take_turn(self, scope: Scope, latest: float) -> _Written:
        # The rest comes before the next read, not after the last, whose caller would have to wait for it.
        time.sleep(max(0.0, getattr(self._thread, "rests_until", 0.0) - time.monotonic()))
        began = time.monotonic()
        if began > latest:
            raise READS_FULL.anew()
        try:
            return self._answer(scope)
        finally:
            now = time.monotonic()
            self._thread.rests_until = now + (now - began) if self._rests else 0.0

    def _answer(self, scope: Scope) -> _Written:
        environ: Any = build_environ(scope, None)  # type: ignore[arg-type] # the application has the body
        started: list[tuple[str, list[tuple[str, str]]]] = []
        chunks = self._wsgi(environ, lambda status, headers, _=None: started.append((status, headers)))
        try:
            body = b"".join(chunks)
        finally:
            getattr(chunks, "close", lambda: None)()
        status, headers = started[-1]
        named = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return _Written(int(status.partition(" ")[0]), named, body)
