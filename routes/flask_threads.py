"""The bridge from the server to Flask, which handles everything but a plain `POST /event`, one thread per request."""

import asyncio
import string
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from a2wsgi import WSGIMiddleware
from flask import Flask

from routes.flask_reads import FlaskReads
from routes.http.exchange import REQUEST_ID, begin, end
from routes.http.problems import Problem
from routes.http.server_messages import Message, Receive, Scope, Send, send_answer


class FlaskInThreads:
    """Runs a Flask application as an ASGI application, each request in a thread.

    At most `read_threads` reads are under way at once, and `threads` other requests.
    """

    def __init__(self, app: Flask, *, threads: int, read_threads: int) -> None:
        def wsgi(environ: Any, start_response: Any) -> Iterable[bytes]:
            # Without this, Flask takes a body without a Content-Length to be empty.
            environ["wsgi.input_terminated"] = True
            return app(environ, start_response)

        self._middleware: Any = WSGIMiddleware(wsgi, workers=threads)
        self._reads = FlaskReads(wsgi, read_threads)
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
            if scope["type"] == "http" and self._reads.takes(scope):
                await self._reads(scope, send)
            else:
                await self._middleware(scope, message, send)
        except Problem as problem:
            await _refuse(scope, problem, send)
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


async def _refuse(scope: Scope, problem: Problem, send: Send) -> None:
    named = dict(scope["headers"])
    exchange = begin(named.get(REQUEST_ID.lower().encode(), b"").decode("latin-1"))
    answer = problem.answer(exchange.request_id)
    try:
        await send_answer(send, answer, exchange.answered(answer.status))
    finally:
        end(exchange, route=None, method=scope["method"])
