"""Traces for OpenTelemetry: a span for each request, and one for each transaction that judges events, with its stages.

They are off unless a collector is named (OTEL_EXPORTER_OTLP_ENDPOINT): then no package of OpenTelemetry is imported.
They are started in each worker, after the fork, since sending has a thread of its own. No caller waits for it: spans
wait in a bounded queue, and those that find no room are lost.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import structlog

from rules.judging.observer import Observer, Stage
from version import VERSION

if TYPE_CHECKING:
    from opentelemetry.trace import Span

log = structlog.get_logger()

SPANS_WAITING = 2_048  # of each process: a few hundred requests
AT_ONCE = 512  # spans in one message to the collector
SEND_SECONDS = 5.0  # for one message
EVERY = 1.0  # seconds between messages, while there are fewer spans than AT_ONCE
STOP_SECONDS = 1.0  # for the last message of a process that ends
MOST_LINKS = 256  # of a span: as many as GROUP_COMMIT_MAX by default
SAY_EVERY = 60.0  # seconds between lines of the log which say that spans were not sent

# Any other method has one name, since a caller may send any word.
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

# The span of the request that is being answered here, if there are traces.
_current: "ContextVar[Span | None]" = ContextVar("span", default=None)
_tracing: "_Tracing | None" = None


def start(endpoint: str | None, ratio: float) -> None:
    """From now on, send the spans of this process to the collector at `endpoint`; with None, there are none.

    `ratio` (0 to 1) is the share of requests that are recorded of those whose callers have not decided it.
    """
    global _tracing
    if endpoint is not None:
        _tracing = _Tracing(endpoint, ratio)


def stop() -> None:
    """Send what waits, for STOP_SECONDS at most."""
    if _tracing is not None:
        last = threading.Thread(target=_tracing.provider.shutdown, daemon=True)
        last.start()
        last.join(STOP_SECONDS)


def begin(traceparent: str) -> "Span | None":
    """The span of a request that begins, as a part of the caller's trace if it names one; None if there are none."""
    return None if _tracing is None else _tracing.begin(traceparent)


def enter(span: "Span | None") -> None:
    """What follows here until the next call belongs to the request with this span."""
    _current.set(span)


def end(span: "Span", *, route: str | None, method: str, status: int) -> None:
    """End the span of an answered request. `route` is a template, never the path; None if none matches."""
    assert _tracing is not None
    _tracing.end(span, route, method, status)


def in_log_line() -> Mapping[str, str]:
    """What a line of the log says of the trace that it belongs to."""
    span = _current.get()
    return {} if span is None else {"trace_id": f"{span.get_span_context().trace_id:032x}"}


def observed(observer: Observer) -> Observer:
    """An observer that records the transactions that judge as spans, and passes everything on to `observer`.

    If there are no traces, `observer` itself.
    """
    return observer if _tracing is None else TransactionSpans(_tracing, observer)


class TransactionSpans(Observer):
    """A span for each transaction, with a child for each stage.

    Its parent is the first request of the transaction that is recorded. A span has one parent, and the others are
    linked with it in both directions, so that each of them leads to what was done for it.
    """

    def __init__(self, tracing: "_Tracing", observer: Observer) -> None:
        self._tracing, self._observer = tracing, observer
        self._of_thread = threading.local()

    def queued(self) -> object:
        self._observer.queued()
        return _recorded(_current.get())

    def taken(self, waits: Sequence[float]) -> None:
        self._observer.taken(waits)

    def together(self, marks: Sequence[object]) -> None:
        self._of_thread.requests = marks

    def begun(self, events: int) -> None:
        self._observer.begun(events)
        # Many events of one request are judged in its own thread, without a queue.
        waiting: Sequence[Any] = getattr(self._of_thread, "requests", None) or [_current.get()]
        requests = [span for span in waiting if _recorded(span)]
        self._of_thread.span = self._tracing.begin_transaction(requests, events) if requests else None

    def read(self, kept: int, full: int) -> None:
        self._observer.read(kept, full)

    def done(self, stage: Stage, seconds: float) -> None:
        self._observer.done(stage, seconds)
        if span := self._of_thread.span:
            self._tracing.add_stage(span, stage, seconds)

    def raised(self, codes: Iterable[int]) -> None:
        alerts = list(codes)
        self._observer.raised(alerts)
        if span := self._of_thread.span:
            span.set_attribute("transaction_alerts.alerts", len(alerts))

    def ended(self, error: BaseException | None) -> None:
        self._observer.ended(error)
        if span := self._of_thread.span:
            self._of_thread.span = None
            self._tracing.end_transaction(span, error)


def _recorded(span: "Span | None") -> "Span | None":
    return span if span is not None and span.is_recording() else None


class _Tracing:
    """What makes spans and sends them."""

    def __init__(self, endpoint: str, ratio: float) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace, self._of_nobody = trace, Context()
        self._extract = TraceContextTextMapPropagator().extract
        library = logging.getLogger("opentelemetry")
        library.propagate = False
        library.handlers = [_Complaints(logging.WARNING)]
        self.provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource.create({"service.name": "transaction-alerts", "service.version": VERSION}),
            span_limits=SpanLimits(max_links=MOST_LINKS),
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_SECONDS),
                max_queue_size=SPANS_WAITING,
                schedule_delay_millis=EVERY * 1000,
                max_export_batch_size=AT_ONCE,
            )
        )
        self._tracer = self.provider.get_tracer("transaction-alerts", VERSION)

    def begin(self, traceparent: str) -> "Span":
        parent = self._of_nobody
        if traceparent:
            parent = self._extract({"traceparent": traceparent}, context=parent)
        return self._tracer.start_span("HTTP", context=parent, kind=self._trace.SpanKind.SERVER)

    def end(self, span: "Span", route: str | None, method: str, status: int) -> None:
        if span.is_recording():
            known = method in _METHODS
            attributes: dict[str, Any] = {
                "http.request.method": method if known else "_OTHER",
                "http.response.status_code": status,
                "url.scheme": "http",
            }
            # No `url.path`: it has the ids of users.
            if route is not None:
                attributes["http.route"] = route
            if status >= 500:
                attributes["error.type"] = str(status)
                span.set_status(self._trace.StatusCode.ERROR)
            span.set_attributes(attributes)
            span.update_name(" ".join(filter(None, (method if known else "HTTP", route))))
        span.end()

    def begin_transaction(self, requests: "Sequence[Span]", events: int) -> "Span":
        first, *others = requests
        links = [self._trace.Link(other.get_span_context()) for other in others[:MOST_LINKS]]
        attributes = {"transaction_alerts.events": events}
        span = self._tracer.start_span("judge events", context=self._within(first), links=links, attributes=attributes)
        for other in others[:MOST_LINKS]:
            if other.is_recording():
                other.add_link(span.get_span_context())
        return span

    def add_stage(self, span: Any, stage: Stage, seconds: float) -> None:
        now = time.time_ns()
        began = max(span.start_time, now - int(seconds * 1e9))
        self._tracer.start_span(stage, context=self._within(span), start_time=began).end(max(began, now))

    def end_transaction(self, span: "Span", error: BaseException | None) -> None:
        if error is not None:
            # Its message can contain values.
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()

    def _within(self, span: "Span") -> Any:
        return self._trace.set_span_in_context(span, self._of_nobody)


class _Complaints(logging.Handler):
    """Says in the log, now and then, what the library says of spans that it could not send."""

    _said: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if self._said is None or now > self._said + SAY_EVERY:
            self._said = now
            log.warning("traces_not_sent", reason=record.getMessage()[:200])
