"""What the server calls: `POST /event` without Flask in between, everything else in Flask, in threads.

`POST /event` is nearly all of the traffic. Here its plain form costs one turn of the event loop and holds no thread;
all that is unusual about a request is left to Flask, so that each rule of the contract stands in one place.
"""

import asyncio
import string
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import quote

from a2wsgi import WSGIMiddleware
from flask import Flask

from routes.context import context
from routes.events import PATHS, answer_with, read_event
from routes.http.answers import Answer
from routes.http.bodies import MAX_BODY, whole
from routes.http.exchange import REQUEST_ID, finish, id_for
from routes.http.problems import answer_to

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = dict[bytes, bytes]

_JSON = (b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8")
_REQUEST_ID = REQUEST_ID.lower().encode()


def application(app: Flask, threads: int) -> Application:
    """`app` as an ASGI application, with at most `threads` requests at once in Flask."""
    flask = _InThreads(app, threads)
    with app.app_context():
        made = context()

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        headers = _plain(scope)
        if headers is None:
            await flask(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = id_for(headers.get(_REQUEST_ID, b"").decode("latin-1"))
        try:
            key = headers.get(b"idempotency-key")
            body = await _read(receive, int(headers[b"content-length"]))
            event = read_event(body, None if key is None else key.decode("latin-1"))
            answer = answer_with(await made.submit_soon(event))
        except Exception as error:
            answer = answer_to(error, request_id)
        seconds = time.perf_counter() - started
        try:
            await _send(send, answer, request_id)
        finally:  # the caller need not wait for it
            finish(made.done, scope["path"], "POST", answer.status, seconds, request_id)

    return serve


def _plain(scope: Scope) -> Headers | None:
    """The headers of a `POST /event` about which nothing is unusual; None for every other request."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in PATHS:
        return None
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(pairs)
    length = headers.get(b"content-length", b"")
    if (
        len(headers) == len(pairs)  # none is given twice
        and headers.get(b"content-type") in _JSON
        and b"content-encoding" not in headers
        and b"transfer-encoding" not in headers
        and length.isdigit()
        and int(length) <= MAX_BODY
        and b"_" not in b"".join(headers)  # WSGI does not tell it from "-"
    ):
        return headers
    return None


async def _read(receive: Receive, length: int) -> bytes:
    body = b""
    more = True
    # Not until the server says that there is no more: to be told that costs as much as the body itself.
    while more and len(body) < length:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return whole(body, length)


async def _send(send: Send, answer: Answer, request_id: str) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    headers += [(b"content-length", b"%d" % len(answer.body)), (_REQUEST_ID, request_id.encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


class _InThreads:
    """A Flask application as an ASGI application: at most `threads` requests at once, each in a thread."""

    def __init__(self, app: Flask, threads: int) -> None:
        def wsgi(environ: Any, start_response: Any) -> Iterable[bytes]:
            # Without this, Flask takes a body without a Content-Length for an empty one.
            environ["wsgi.input_terminated"] = True
            return app(environ, start_response)

        self._middleware: Any = WSGIMiddleware(wsgi, workers=threads)
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] == "http" and not scope["query_string"].isascii():
            # A query should not have such bytes, and the middleware cannot read them.
            query = quote(scope["query_string"], safe=string.punctuation).encode()
            scope = {**scope, "query_string": query}

        async def message() -> Message:  # the middleware takes nothing but a coroutine, which the server's is not
            return await receive()

        self._under_way += 1
        try:
            await self._middleware(scope, message, send)
        finally:
            self._under_way -= 1

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # The server is told to stop, and has sent all answers. The threads behind them may not know it yet: without
        # this event loop they would wait for ever, and the process for them.
        while self._under_way:
            await asyncio.sleep(0.01)
        await send({"type": "lifespan.shutdown.complete"})
