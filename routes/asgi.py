"""The data plane: a plain `POST /event` on the server's event loop, without Flask; all else goes to the control plane.

`POST /event` is nearly all of the traffic. In its plain form it costs one turn of the event loop and holds no thread.
Any unusual request is left to Flask, so that each rule of the contract is in one place.
"""

from collections.abc import Awaitable, Callable

from flask import Flask

from database.replica import Replica
from routes.flask_threads import FlaskInThreads
from routes.http import own_writes
from routes.http.access import Access
from routes.http.bodies import MAX_BODY
from routes.http.decisions import PATHS, answer_with
from routes.http.exchange import REQUEST_ID, TRACEPARENT, Endings, begin
from routes.http.heads import MAX_HEAD, MAX_HEADERS
from routes.http.intake import Intake
from routes.http.json_body import JSON
from routes.http.origins import TrustedHosts
from routes.http.problems import BODIES_FULL, Problem, answer_to
from routes.http.server_messages import Receive, Scope, Send, send_answer
from rules.payload import read_event
from rules.service import Service

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = dict[bytes, bytes]

_JSON = {JSON.encode() + parameter for parameter in (b"", b"; charset=utf-8", b";charset=utf-8")}
_REQUEST_ID, _TRACEPARENT = REQUEST_ID.lower().encode(), TRACEPARENT.encode()
_PATHS = {path.encode() for path in PATHS}


def application(app: Flask, *, threads: int, read_threads: int, body_timeout: float) -> Application:
    """`app` as an ASGI application: at most `threads` requests and `read_threads` reads at once in Flask.

    Each body is read within `body_timeout` seconds.
    """
    intake = Intake(body_timeout)
    flask = FlaskInThreads(app, threads=threads, read_threads=read_threads, intake=intake)
    service = Service.of(app.extensions)
    hosts, access = TrustedHosts.of(app.extensions), Access.of(app.extensions)
    replica, endings = Replica.of(app.extensions), Endings()

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        headers = _plain(scope, hosts)
        caller = None if headers is None else access.admit_plain(headers)
        if headers is None or caller is None:
            await flask(scope, receive, send)
            return
        exchange = begin(
            headers.get(_REQUEST_ID, b"").decode("latin-1"), headers.get(_TRACEPARENT, b"").decode("latin-1")
        )
        exchange.who = caller.name
        try:
            key = headers.get(b"idempotency-key")
            length = int(headers[b"content-length"])
            body = await intake.read(receive, length)
            event = read_event(body, None if key is None else key.decode("latin-1"))
            exchange.enter()
            answer = answer_with(await service.judge_soon(event))
        except Exception as error:
            if isinstance(error, Problem) and error.kind == BODIES_FULL.kind:
                await intake.throw_away(receive)  # or the caller might see no answer
            exchange.enter()
            answer = answer_to(error, exchange.request_id)
        if replica is not None:
            own_writes.note(caller.name)  # after an error, too: it may have been stored
        if caller.quota is not None:
            answer = answer._replace(headers={**answer.headers, **caller.quota.headers()})
        try:
            await send_answer(send, answer, exchange.answered(answer.status))
        finally:  # after the answer, so that the caller need not wait for it
            endings.add(exchange, route=scope["path"], method="POST")

    return serve


def _plain(scope: Scope, hosts: TrustedHosts) -> Headers | None:
    """The headers of a plain `POST /event` to a trusted host; None for every other request."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["raw_path"] not in _PATHS:
        return None
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(pairs)
    length = headers.get(b"content-length", b"")
    names = b"".join(headers)
    if (
        len(headers) == len(pairs) <= MAX_HEADERS  # and no header twice
        and len(names) + sum(map(len, headers.values())) <= MAX_HEAD
        and not scope["query_string"]
        and hosts.trusts(headers.get(b"host", b""))
        and b"origin" not in headers  # no browser
        and b"sec-fetch-site" not in headers
        and headers.get(b"content-type") in _JSON
        and b"content-encoding" not in headers
        and b"transfer-encoding" not in headers
        and length.isdigit()
        and int(length) <= MAX_BODY
        and b"_" not in names  # WSGI cannot tell it from "-"
    ):
        return headers
    return None
