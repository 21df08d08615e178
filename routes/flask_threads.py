"""The bridge from the server to Flask, which handles everything but a plain `POST /event`, one thread per request."""

import asyncio
import io
import string
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from a2wsgi import WSGIMiddleware
from a2wsgi.wsgi import build_environ
from flask import Flask
from werkzeug.exceptions import HTTPException

import traces
from access.caller import Caller
from access.keyring import Keyring
from routes.flask_reads import FlaskReads
from routes.flask_streams import FlaskStreams, streamed_paths
from routes.http.access import CALLER, Access
from routes.http.converters import template_of
from routes.http.exchange import REQUEST_ID, TRACEPARENT, begin, end
from routes.http.heads import check_head
from routes.http.intake import LARGE_BODY, LINGER_BYTES, Intake
from routes.http.operation import max_body_of
from routes.http.pages import shown
from routes.http.problems import REQUESTS_FULL, Problem
from routes.http.server_messages import CLOSE, Message, Receive, Scope, Send, send_answer

# Requests of one worker that may wait for a thread. Their bodies are small or few (see routes/http/intake.py), so they
# hold 64 MiB at most.
MOST_WAITING = 1_000


class FlaskInThreads:
    """Runs a Flask application as an ASGI application, each request in a thread.

    At most `read_threads` reads are under way at once, and `threads` other requests. Reads their bodies by `intake`
    first, and refuses what is out of bounds without a thread.
    """

    def __init__(self, app: Flask, *, threads: int, read_threads: int, intake: Intake) -> None:
        def wsgi(environ: Any, start_response: Any) -> Iterable[bytes]:
            environ["wsgi.input"] = io.BytesIO(environ["asgi.scope"]["body"])
            # Without this, Flask takes a body without a Content-Length to be empty.
            environ["wsgi.input_terminated"] = True
            environ["REQUEST_URI"] = environ["asgi.scope"]["raw_path"].decode("latin-1")
            environ[CALLER] = environ["asgi.scope"][CALLER]
            return app(environ, start_response)

        self._middleware: Any = WSGIMiddleware(wsgi, workers=threads)
        self._room = threads + MOST_WAITING
        self._reads = FlaskReads(wsgi, read_threads)
        self._streams = FlaskStreams(wsgi, streamed_paths(app))
        self._intake = intake
        self._app = app
        self._routes = app.url_map.bind("")
        self._access = Access.of(app.extensions)
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's start and stop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        request = _Request(scope, receive, self._intake)
        send = request.ending(send)
        self._under_way += 1
        try:
            self._admit(request)
            body = await self._body(request)
            with self._intake.turn(request.may_be_large), self._thread():
                await self._answer(request, body, send)
        except Problem as problem:
            if problem.status != 408:
                await request.throw_away()
            await _refuse(request, problem, send)
        finally:
            self._under_way -= 1

    def _admit(self, request: "_Request") -> None:
        """Find out who makes the request and what would answer it. Raises Problem if that caller may not make it."""
        scope = request.scope
        check_head(scope)
        try:
            rule, _ = self._routes.match(scope["path"], scope["method"], return_rule=True)
        except HTTPException:
            rule = None
        if rule is not None:
            request.route, request.view = template_of(rule.rule), self._app.view_functions[rule.endpoint]
        # WSGI cannot tell "_" from "-" in the name of a header, and a proxy may not watch for both.
        headers = [one for one in scope["headers"] if b"_" not in one[0]]
        environ: Any = build_environ({**scope, "headers": headers, "query_string": b""}, None)  # type: ignore[typeddict-item, arg-type]
        environ["QUERY_STRING"] = scope["query_string"].decode("latin-1")
        request.caller = self._access.admit(environ, request.view)

    async def _body(self, request: "_Request") -> bytes:
        if not request.has_body:
            return b""
        limit = max_body_of(request.view)
        # Flask gets no byte of what the view does not read, or refuses by its head.
        if limit is None or (request.length or 0) > limit + 1:
            await request.throw_away()
            return b""
        # What is packed counts as large, since it may be.
        request.may_be_large = limit > LARGE_BODY and (request.is_packed or (request.length or 0) > LARGE_BODY)
        if request.may_be_large:
            self._intake.check_turns()
        body = await self._intake.read(request.receive, request.length, limit)
        if len(body) > limit:
            await request.throw_away()
        request.may_be_large |= len(body) > LARGE_BODY
        return body

    @contextmanager
    def _thread(self) -> Iterator[None]:
        """The time during which a request has a thread, or waits for one. Raises Problem 503 if too many do."""
        if not self._room:
            raise REQUESTS_FULL.anew()
        self._room -= 1
        try:
            yield
        finally:
            self._room += 1

    async def _answer(self, request: "_Request", body: bytes, send: Send) -> None:
        scope = {**request.scope, "body": body, CALLER: request.caller}
        if not scope["query_string"].isascii():
            # A query should not have such bytes, and the middleware cannot read them.
            scope["query_string"] = quote(scope["query_string"], safe=string.punctuation).encode()

        if self._streams.takes(scope):
            await self._streams(scope, request.receive, send)
        elif self._reads.takes(scope):
            await self._reads(scope, send)
        else:
            await self._middleware(scope, request.receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # The server is stopping and has sent all answers, but their threads may not know that yet. Without this event
        # loop they would wait forever, and the process for them.
        while self._under_way:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(Keyring.of(self._app.extensions).close)
        await asyncio.to_thread(traces.stop)
        await send({"type": "lifespan.shutdown.complete"})


class _Request:
    """A request: what its head says of its body, and how much of that has come."""

    def __init__(self, scope: Scope, receive: Receive, intake: Intake) -> None:
        self.scope = scope
        self._receive, self._intake = receive, intake
        named: dict[bytes, bytes] = dict(scope["headers"])
        length = named.get(b"content-length")
        self.length = None if length is None else int(length)
        self.has_body = bool(self.length) or b"transfer-encoding" in named
        self.is_packed = b"content-encoding" in named
        self.request_id = named.get(REQUEST_ID.lower().encode(), b"").decode("latin-1")
        self.traceparent = named.get(TRACEPARENT.encode(), b"").decode("latin-1")
        # Of what WSGI calls its environ, what says which page it wants, if any.
        self.wants = {
            "PATH_INFO": scope.get("path", "").encode().decode("latin-1"),
            "REQUEST_METHOD": scope.get("method", ""),
            "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        } | {
            f"HTTP_{name.decode().upper().replace('-', '_')}": named[name].decode("latin-1")
            for name in (b"accept", b"hx-request", b"hx-history-restore-request")
            if name in named
        }
        self.route: str | None = None
        self.view: object | None = None
        self.caller: Caller | None = None
        self.may_be_large = False
        # Such a caller sends nothing before it is told to go on, which reading does, or sees an answer.
        self._waits = b"expect" in named
        self._arrived, self._has_ended = 0, not self.has_body

    async def receive(self) -> Message:
        """The next message of the server."""
        self._waits = False
        message = await self._receive()
        self._arrived += len(message.get("body", b""))
        # After a body of known length comes one more message that only says that this was all.
        # One that breaks off has no end: what follows on the connection is no request.
        is_last = message["type"] == "http.request" and not message.get("more_body", False)
        self._has_ended = is_last or self._arrived == self.length
        return message

    async def throw_away(self) -> None:
        """Read what is left of the body for a while, if the caller is sending any."""
        if not self._has_ended and not self._waits and (self.length or 0) <= LINGER_BYTES:
            await self._intake.throw_away(self.receive)

    def ending(self, send: Send) -> Send:
        """`send`, but an answer before the end of the body says that it is the last one on its connection.

        What is left of the body could come where the server expects the next request.
        """

        async def send_and_say_so(message: Message) -> None:
            if message["type"] == "http.response.start" and not self._has_ended:
                message["headers"] = [*(one for one in message["headers"] if one[0] != CLOSE[0]), CLOSE]
            await send(message)

        return send_and_say_so


async def _refuse(request: _Request, problem: Problem, send: Send) -> None:
    exchange = begin(request.request_id, request.traceparent)
    exchange.who = request.caller.name if request.caller else problem.who
    answer = shown(problem.answer(exchange.request_id), request.wants)
    if request.caller and request.caller.quota:
        answer = answer._replace(headers={**answer.headers, **request.caller.quota.headers()})
    try:
        await send_answer(send, answer, exchange.answered(answer.status))
    finally:
        end(exchange, route=request.route, method=request.scope["method"])
