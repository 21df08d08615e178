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


Done = Callable[[str | None, str, int, float], None]


def register(app: Flask, done: Done) -> None:
    """Give every request of `app` an id and a log line, and tell `done` its route, method, status and seconds."""
    app.before_request(_begin)
    app.after_request(partial(_end, done))


def _begin() -> None:
    g.started = time.perf_counter()
    given = request.headers.get(REQUEST_ID, "")
    # What the caller sends goes into logs and headers, so it is taken only in a harmless form.
    g.request_id = given if re.fullmatch(r"[A-Za-z0-9._:/+=-]{1,128}", given) else uuid.uuid4().hex


def _end(done: Done, response: Response) -> Response:
    response.headers[REQUEST_ID] = g.request_id
    seconds = time.perf_counter() - g.started
    route = request.url_rule.rule if request.url_rule else None
    done(route, request.method, response.status_code, seconds)
    # Prometheus reads the metrics every few seconds: that is nothing to tell.
    if request.endpoint != "metrics.metrics":
        # No amounts and no names: the rule, never the path or the body.
        log.info(
            "request",
            method=request.method,
            route=route,
            status=response.status_code,
            milliseconds=round(seconds * 1000, 2),
            request_id=g.request_id,
        )
    return response
