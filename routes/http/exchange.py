"""One exchange of request and answer: its id and its clock at the beginning, its count and log line at the end.

Both doors begin and end every exchange here: Flask in its hooks, `routes/asgi.py` directly.
"""

import re
import time
import uuid
from typing import TYPE_CHECKING

import structlog

import metrics
import traces

if TYPE_CHECKING:
    from opentelemetry.trace import Span

REQUEST_ID, TRACEPARENT = "X-Request-ID", "traceparent"

log = structlog.get_logger()

_HARMLESS = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class Exchange:
    """A request that is being answered; `who` is the name of its caller, once that is known."""

    __slots__ = ("_started", "request_id", "seconds", "span", "status", "who")

    def __init__(self, request_id: str, span: "Span | None") -> None:
        self.request_id, self.span = request_id, span
        self.who: str | None = None
        self._started = time.perf_counter()

    def answered(self, status: int) -> tuple[str, str]:
        """Stop the clock: the answer is ready. Returns the name and value of the header with the request's id."""
        self.status, self.seconds = status, time.perf_counter() - self._started
        return REQUEST_ID, self.request_id

    def enter(self) -> None:
        """What this thread does from here on is done for this request; a coroutine says so after each await."""
        if self.span is not None:
            traces.enter(self.span)


def begin(asked: str, traceparent: str) -> Exchange:
    """Start the exchange of a request to which the caller gave this id and this place in a trace ("" for none)."""
    # What the caller sends goes into logs and headers, so it is used only in a harmless form.
    return Exchange(asked if _HARMLESS.fullmatch(asked) else uuid.uuid4().hex, traces.begin(traceparent))


def end(exchange: Exchange, *, route: str | None, method: str) -> None:
    """Count and log an answered exchange. `route` is a template, never the path; None if none matches."""
    status, seconds = exchange.status, exchange.seconds
    metrics.request_done(route, method, status, seconds)
    exchange.enter()
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
    if exchange.span is not None:
        traces.end(exchange.span, route=route, method=method, status=status)
        traces.enter(None)
