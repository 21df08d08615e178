"""Around every request: its id in, out and in the log, and one log line at its end."""

import re
import time
import uuid
from collections.abc import Callable
from functools import partial

import structlog
from flask import Flask, Response, g, request

REQUEST_ID = "X-Request-ID"

log = structlog.get_logger()

_HARMLESS = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

Done = Callable[[str | None, str, int, float], None]


def register(app: Flask, done: Done) -> None:
    """Give every request of `app` an id and a log line, and tell `done` its route, method, status and seconds."""
    app.before_request(_begin)
    app.after_request(partial(_end, done))


def id_for(given: str) -> str:
    """The id of a request whose caller gave it this one ("" for none)."""
    # What the caller sends goes into logs and headers, so it is taken only in a harmless form.
    return given if _HARMLESS.fullmatch(given) else uuid.uuid4().hex


def finish(done: Done, route: str | None, method: str, status: int, seconds: float, request_id: str) -> None:
    """Count and log a request that has taken so long to answer."""
    done(route, method, status, seconds)
    # Prometheus reads the metrics every few seconds: that is nothing to tell.
    if route != "/metrics":
        # No amounts and no names: the rule, never the path or the body.
        milliseconds = round(seconds * 1000, 2)
        log.info("request", method=method, route=route, status=status, milliseconds=milliseconds, request_id=request_id)


def _begin() -> None:
    g.started = time.perf_counter()
    g.request_id = id_for(request.headers.get(REQUEST_ID, ""))


def _end(done: Done, response: Response) -> Response:
    response.headers[REQUEST_ID] = g.request_id
    route = request.url_rule.rule if request.url_rule else None
    finish(done, route, request.method, response.status_code, time.perf_counter() - g.started, g.request_id)
    return response
