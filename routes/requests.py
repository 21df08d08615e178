"""Around every request: its id in, out and in the log, and one log line at its end."""

import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request

REQUEST_ID = "X-Request-ID"

log = structlog.get_logger()


def register(app: Flask) -> None:
    """Give every request of `app` an id and a log line."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.started = time.perf_counter()
    given = request.headers.get(REQUEST_ID, "")
    # What the caller sends goes into logs and headers, so it is taken only in a harmless form.
    g.request_id = given if re.fullmatch(r"[A-Za-z0-9._:/+=-]{1,128}", given) else uuid.uuid4().hex


def _end(response: Response) -> Response:
    response.headers[REQUEST_ID] = g.request_id
    # No amounts and no names: the rule, never the path or the body.
    log.info(
        "request",
        method=request.method,
        route=str(request.url_rule) if request.url_rule else None,
        status=response.status_code,
        milliseconds=round((time.perf_counter() - g.started) * 1000, 2),
        request_id=g.request_id,
    )
    return response
