"""The bridge from the server to Flask, which handles everything but a plain `POST /event`, one thread per request."""

import asyncio
import string
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import quote

from a2wsgi import WSGIMiddleware
from flask import Flask

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class FlaskInThreads:
    """Runs a Flask application as an ASGI application: at most `threads` requests at once, each in a thread."""

    def __init__(self, app: Flask, threads: int) -> None:
        def wsgi(environ: Any, start_response: Any) -> Iterable[bytes]:
            # Without this, Flask takes a body without a Content-Length to be empty.
            environ["wsgi.input_terminated"] = True
            environ["REQUEST_URI"] = environ["asgi.scope"]["raw_path"].decode("latin-1")
            return app(environ, start_response)

        self._middleware: Any = WSGIMiddleware(wsgi, workers=threads)
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's start and stop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] == "http" and not scope["query_string"].isascii():
            # A query should not have such bytes, and the middleware cannot read them.
            query = quote(scope["query_string"], safe=string.punctuation).encode()
            scope = {**scope, "query_string": query}

        async def message() -> Message:  # the middleware needs a coroutine function, which the server's is not
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
        # The server is stopping and has sent all answers, but their threads may not know that yet. Without this event
        # loop they would wait forever, and the process for them.
        while self._under_way:
            await asyncio.sleep(0.01)
        await send({"type": "lifespan.shutdown.complete"})
