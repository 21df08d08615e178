"""One exchange of request and answer: its id and its clock at the beginning, its count and log line at the end.

Both doors begin and end every exchange here: Flask by its hooks, `routes/asgi.py` by itself.
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
    """A request that is being answered."""

    __slots__ = ("_started", "request_id", "seconds", "status")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self._started = time.perf_counter()

    def answered(self, status: int) -> tuple[str, str]:
        """Stop the clock: the answer is there. Returns the header that names the request."""
        self.status, self.seconds = status, time.perf_counter() - self._started
        return REQUEST_ID, self.request_id


def begin(given: str) -> Exchange:
    """The exchange for a request whose caller gave it this id ("" for none)."""
    # What the caller sends goes into logs and headers, so it is taken only in a harmless form.
    return Exchange(given if _HARMLESS.fullmatch(given) else uuid.uuid4().hex)


def end(exchange: Exchange, *, route: str | None, method: str) -> None:
    """Count and log an exchange that is answered. `route` is the rule, never the path; None where no rule fits."""
    status, seconds = exchange.status, exchange.seconds
    metrics.request_done(route, method, status, seconds)
    # Prometheus reads the metrics every few seconds: that is nothing to tell.
    if route != "/metrics":
        # No amounts and no names: the rule, never the path or the body.
        log.info(
            "request",
            method=method,
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 2),
            request_id=exchange.request_id,
        )
