"""One exchange of request and answer: its id and its clock at the beginning, its count and log line at the end.

Both doors begin and end every exchange here: Flask in its hooks, `routes/asgi.py` directly.
"""

import re
import time
import uuid

import structlog

import metrics

REQUEST_ID = "X-Request-ID"

log = structlog.get_logger()

_HARMLESS = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class Exchange:
    """A request that is being answered; `who` is the name of its caller, once that is known."""

    __slots__ = ("_started", "request_id", "seconds", "status", "who")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.who: str | None = None
        self._started = time.perf_counter()

    def answered(self, status: int) -> tuple[str, str]:
        """Stop the clock: the answer is ready. Returns the name and value of the header with the request's id."""
        self.status, self.seconds = status, time.perf_counter() - self._started
        return REQUEST_ID, self.request_id


def begin(asked: str) -> Exchange:
    """Start the exchange of a request to which the caller gave this id ("" for none)."""
    # What the caller sends goes into logs and headers, so it is used only in a harmless form.
    return Exchange(asked if _HARMLESS.fullmatch(asked) else uuid.uuid4().hex)


def end(exchange: Exchange, *, route: str | None, method: str) -> None:
    """Count and log an answered exchange. `route` is a template, never the path; None if none matches."""
    status, seconds = exchange.status, exchange.seconds
    metrics.request_done(route, method, status, seconds)
    # Prometheus reads the metrics every few seconds: not worth a log line.
    if route != "/metrics":
        # No amounts and no names: the template of the path, never the path or the body.
        log.info(
            "request",
            method=method[:20],  # a caller may send any word, of any length
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 2),
            who=exchange.who,
            request_id=exchange.request_id,
        )
