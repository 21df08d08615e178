"""One exchange of request and answer: its id and its clock at the beginning, its count and log line at the end.

Both doors begin and end every exchange here: Flask in its hooks, `routes/asgi.py` directly.
"""

import asyncio
import random
import re
import time
from typing import TYPE_CHECKING, Any

import logs
import metrics
import traces

if TYPE_CHECKING:
    from opentelemetry.trace import Span

REQUEST_ID, TRACEPARENT = "X-Request-ID", "traceparent"

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
    # An id need not be a secret, and to ask the system for that many random bits takes longer.
    made = asked if asked and _HARMLESS.fullmatch(asked) else f"{random.getrandbits(128):032x}"
    return Exchange(made, traces.begin(traceparent))


def end(exchange: Exchange, *, route: str | None, method: str) -> None:
    """Count and log an answered exchange. `route` is a template, never the path; None if none matches."""
    metrics.requests_done(route, method, exchange.status, [exchange.seconds])
    exchange.enter()
    # Prometheus reads the metrics every few seconds: not worth a log line.
    if route != "/metrics":
        logs.log.info("request", **_said(exchange, route, method))
    if exchange.span is not None:
        traces.end(exchange.span, route=route, method=method, status=exchange.status)
        traces.enter(None)


class Endings:
    """Ends exchanges of one event loop as `end` does, but all that end in one of its turns together."""

    def __init__(self) -> None:
        self._of_this_turn: list[tuple[Exchange, str, str]] = []

    def add(self, exchange: Exchange, *, route: str, method: str) -> None:
        """End an answered exchange when this turn of the loop ends."""
        if exchange.span is not None:
            end(exchange, route=route, method=method)
            return
        if not self._of_this_turn:
            asyncio.get_running_loop().call_soon(self._end_all)
        self._of_this_turn.append((exchange, route, method))

    def _end_all(self) -> None:
        ended, self._of_this_turn = self._of_this_turn, []
        alike: dict[tuple[str, str, int], list[float]] = {}
        for exchange, route, method in ended:
            alike.setdefault((route, method, exchange.status), []).append(exchange.seconds)
        for (route, method, status), seconds in alike.items():
            metrics.requests_done(route, method, status, seconds)
        logs.info_all("request", [_said(*each) for each in ended])


def _said(exchange: Exchange, route: str | None, method: str) -> dict[str, Any]:
    # No amounts and no names: the template of the path, never the path or the body.
    return {
        "method": method[:20],  # a caller may send any word, of any length
        "route": route,
        "status": exchange.status,
        "milliseconds": round(exchange.seconds * 1000, 2),
        "who": exchange.who,
        "request_id": exchange.request_id,
    }
