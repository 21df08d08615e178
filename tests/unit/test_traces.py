"""What is recorded as a span, and the bounds of what waits to be sent."""

import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import trace_exporter

import traces
from routes.http.exchange import begin, end
from rules.judging.observer import Observer
from tests.waiting import PATIENCE

SAMPLED = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a collector that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(autouse=True)
def _end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test has started ends with it: it sends nothing more, and so has nothing to try again in another test."""
    exporters = []

    class Exporter(trace_exporter.OTLPSpanExporter):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            exporters.append(self)

    monkeypatch.setattr(trace_exporter, "OTLPSpanExporter", Exporter)
    monkeypatch.setattr(traces, "_tracing", None)
    monkeypatch.setattr(traces, "STOP_SECONDS", PATIENCE)
    yield
    for exporter in exporters:
        exporter.shutdown()  # type: ignore[no-untyped-call]
    traces.stop()
    traces.enter(None)
    logging.getLogger("opentelemetry").handlers = [logging.NullHandler()]  # its last words are no other test's


def test_the_ratio_holds_for_callers_who_have_not_decided(silent: str) -> None:
    """A caller's decision is followed, either way; whatever a header is, it does no harm."""
    traces.start(silent, 0.0)
    asked = {
        "": False,
        SAMPLED: True,
        SAMPLED.removesuffix("1") + "0": False,
        "00-00000000000000000000000000000000-0123456789abcdef-01": False,
        "01": False,
        "\x00é" * 1000: False,
    }
    found = {}
    for traceparent in asked:
        span = traces.begin(traceparent)
        assert span is not None
        found[traceparent] = span.is_recording()
        traces.end(span, route=None, method="GET", status=200)
    assert found == asked


class Log:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def warning(self, event: str, *, reason: str) -> None:
        """Keep a line."""
        self.lines.append((event, reason))


def test_more_spans_than_may_wait(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a collector that does not answer: what finds no room is lost, and the log says so."""
    monkeypatch.setattr(traces, "log", log := Log())
    monkeypatch.setattr(traces, "SAY_EVERY", -1.0)
    traces.start(silent, 1.0)
    for _ in range(traces.SPANS_WAITING + traces.AT_ONCE + 2):
        span = traces.begin("")
        assert span is not None
        traces.end(span, route="/event", method="POST", status=200)
    assert ("traces_not_sent", "Queue full, dropping Span.") in log.lines


def test_more_requests_than_links(silent: str) -> None:
    """A transaction is linked with so many of its requests, and counts all events."""
    traces.start(silent, 1.0)
    observer = traces.observed(Observer())
    marks, spans = [], []
    for _ in range(traces.MOST_LINKS + 3):
        span = traces.begin("")
        assert span is not None
        traces.enter(span)
        spans.append(span)
        marks.append(observer.queued())
    assert marks == spans
    observer.together(marks)
    observer.begun(len(marks))
    observer.ended(None)
    assert [len(getattr(span, "links")) for span in spans] == [0] + [1] * traces.MOST_LINKS + [0, 0]  # noqa: B009


def test_what_callers_cannot_put_into_a_span(silent: str) -> None:
    """An odd method has one name, and a failed transaction has the error's type without its message."""
    traces.start(silent, 1.0)
    span = traces.begin("")
    assert span is not None
    traces.enter(span)
    observer = traces.observed(Observer())
    observer.begun(1)
    transaction = observer._of_thread.span  # type: ignore[attr-defined]
    observer.ended(ValueError("151.37"))
    assert transaction.attributes["error.type"] == "ValueError"
    assert "151.37" not in transaction.to_json()
    traces.end(span, route=None, method="BREW", status=500)
    shown = span.to_json()  # type: ignore[attr-defined]
    assert ("BREW" in shown, '"name": "HTTP"' in shown, '"error.type": "500"' in shown) == (False, True, True)


def test_lines_of_the_log_name_their_trace(silent: str) -> None:
    """Those that are logged while a request is in hand, of whatever kind."""
    traces.start(silent, 1.0)
    exchange = begin("", SAMPLED)
    assert traces.in_log_line() == {}
    exchange.enter()
    assert traces.in_log_line() == {"trace_id": "0123456789abcdef0123456789abcdef"}
    exchange.answered(200)
    end(exchange, route="/event", method="POST")
    assert traces.in_log_line() == {}
