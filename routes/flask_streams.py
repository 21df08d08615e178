"""Long answers, such as exports, go to their callers piece by piece: a worker never has more than one of each in hand.

The next piece is made when the caller has taken the last one. Python runs one thread of a process at a time, so after
each piece the thread rests for as long as the piece took, as reads do (docs/decisions/exports.md). What breaks off is
never ended as HTTP ends an answer: the connection is cut, so that nobody takes a part for the whole.
"""

import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from a2wsgi.wsgi import build_environ
from flask import Flask

from routes.flask_reads import Wsgi
from routes.http.converters import template_of
from routes.http.exchange import REQUEST_ID
from routes.http.operation import Operation
from routes.http.problems import OLD_HTTP, STREAMS_FULL, answer_to
from routes.http.server_messages import Receive, Scope, Send

# Streams of one process at once. Each has a thread and a database connection, so that reads go on meanwhile.
AT_ONCE = 2
OK = 200
_OLD = ("1", "1.0")  # as the server writes HTTP/1.0, and as ASGI has it
# Seconds in which a caller must take a piece. On Linux those that hardly read are found sooner (slow_readers.py).
STALLED = 60.0


def streamed_paths(app: Flask) -> frozenset[str]:
    """The paths of `app` whose answers are sent piece by piece, such as `/users/{user_id}/export`."""
    operations = {name: getattr(view, "operation", None) for name, view in app.view_functions.items()}
    streamed = {name for name, one in operations.items() if isinstance(one, Operation) and one.streams}
    return frozenset(template_of(rule.rule) for rule in app.url_map.iter_rules() if rule.endpoint in streamed)


class FlaskStreams:
    """Sends the answers of a WSGI application at `paths` piece by piece, at most AT_ONCE of them at once."""

    def __init__(self, wsgi: Wsgi, paths: frozenset[str]) -> None:
        self._wsgi = wsgi
        # Whatever stands for a parameter: if it cannot be one, the answer is a short 404.
        self._paths = re.compile("|".join(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) for path in sorted(paths)))
        self._threads = ThreadPoolExecutor(AT_ONCE, "streams")
        self._room = AT_ONCE

    def takes(self, scope: Scope) -> bool:
        """Whether this is a request for such an answer."""
        return scope["method"] == "GET" and self._paths.fullmatch(scope["path"]) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Raises Problem: 503 if enough answers are being sent already, 505 for HTTP/1.0, which
        cannot tell an answer that breaks off from a whole one.
        """
        if scope["http_version"] in _OLD:
            raise OLD_HTTP.anew()
        if not self._room:
            raise STREAMS_FULL.anew()
        self._room -= 1
        gone = asyncio.create_task(_until_gone(receive))
        stream = _Stream(self._wsgi, scope)
        last = None
        try:
            last = await self._send(stream, gone, send)
        finally:
            gone.cancel()
            closed = asyncio.get_running_loop().run_in_executor(self._threads, stream.close)
            # Whatever ends this, and however often: the place is free when the thread has let go of it, and not before.
            closed.add_done_callback(lambda _: self._free_place())
            await asyncio.shield(closed)
        if last is not None:
            # After that, so that who has seen the end of one answer can ask for the next.
            await send({"type": "http.response.body", "body": last})
        # Else the server finds that the answer has no end, and closes the connection.

    def _free_place(self) -> None:
        self._room += 1

    async def _send(self, stream: "_Stream", gone: "asyncio.Task[None]", send: Send) -> bytes | None:
        """Send an answer but for its end, and return that; None if it broke off."""
        loop = asyncio.get_running_loop()
        piece = await loop.run_in_executor(self._threads, stream.next)
        await send({"type": "http.response.start", "status": stream.status, "headers": stream.headers})
        if stream.status != OK:  # it is short, and says how long it is: its only piece is its end
            return piece
        while piece is not None and not gone.done():
            sent = loop.time()
            try:
                async with asyncio.timeout(STALLED):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except TimeoutError:
                return None
            await asyncio.sleep(max(0.0, sent + stream.took - loop.time()))
            piece = await loop.run_in_executor(self._threads, stream.next)
        return b"" if stream.is_whole else None


class _Stream:
    """One answer. Its methods are called from threads, one after the other."""

    def __init__(self, wsgi: Wsgi, scope: Scope) -> None:
        self._wsgi, self._scope = wsgi, scope
        self._chunks: Any = None
        self._pieces: Iterator[bytes] = iter(())
        self.status, self.headers, self.is_whole, self.took = 0, [(b"", b"")], False, 0.0

    def next(self) -> bytes | None:
        """The next piece; None if there is none. Before the first, the application is called."""
        began = time.monotonic()
        try:
            if self._chunks is None:
                self._begin()
            return next(self._pieces)
        except StopIteration:
            self.is_whole = True
        except Exception as error:
            if not self.status:
                raise
            answer_to(error, dict(self.headers).get(REQUEST_ID.lower().encode(), b"").decode("latin-1"))  # logs it
        finally:
            self.took = time.monotonic() - began
        return None

    def _begin(self) -> None:
        environ: Any = build_environ(self._scope, None)  # type: ignore[arg-type] # the application has the body
        started: list[tuple[str, list[tuple[str, str]]]] = []
        self._chunks = self._wsgi(environ, lambda status, headers, _=None: started.append((status, headers)))
        self._pieces = iter(self._chunks)
        status, headers = started[-1]
        self.status = int(status.partition(" ")[0])
        self.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]

    def close(self) -> None:
        """Tell the application that no more is asked for."""
        getattr(self._chunks, "close", lambda: None)()


async def _until_gone(receive: Receive) -> None:
    """Returns when the caller has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
