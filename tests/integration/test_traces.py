"""Traces: what the real service sends to a collector, and that it never waits for one."""

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import requests

from tests.collector import Collector, attributes
from tests.service import PATIENT_ENVIRONMENT, ROOT, Service
from tests.waiting import PATIENCE, wait_until

STAGES = {"lock_and_read", "judge", "write_and_commit"}
SERVER = 2  # the kind of a span


def an_event(user_id: int, **more: Any) -> dict[str, Any]:
    return {"type": "withdraw", "amount": "150.37", "user_id": user_id, "time": 1} | more


class Caller:
    """Calls the service, as a part of a trace of its own each time."""

    def __init__(self, service: Service) -> None:
        self._service, self._traces = service, 0

    def call(self, method: str, path: str, body: Any = None, *, sampled: bool = True) -> tuple[int, str]:
        """The status of the answer, and the id of the trace."""
        self._traces += 1
        trace_id = f"{self._traces:032x}"
        headers = {"traceparent": f"00-{trace_id}-00000000000000ab-{'01' if sampled else '00'}"}
        answer = requests.request(method, self._service.url + path, json=body, headers=headers, timeout=PATIENCE)
        return answer.status_code, trace_id


def request_lines(service: Service) -> list[dict[str, Any]]:
    """The log's lines of requests."""
    whole = service.output().rpartition("\n")[0]
    lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "request"]


def test_traces_of_the_real_service(database_url: str) -> None:
    """Each request of either plane is a span in its caller's trace, and so is what its transaction did.

    Then the collector goes away, and one takes its place that never answers: callers and the end do not wait.
    """
    collector = Collector()
    environment = {"DATABASE_URL": database_url, "WORKERS": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": f"{collector.url}/"}
    with Service(PATIENT_ENVIRONMENT | environment) as service:
        with collector:
            look_at_both_planes(Caller(service), service, collector)
            look_at_shared_transactions(service, collector)
        look_without_a_collector(service, collector.port)


def look_at_both_planes(caller: Caller, service: Service, collector: Collector) -> None:
    """A span for each request, below the caller's; below that what judged its events, with its stages."""
    calls = {
        "POST /event": caller.call("POST", "/event", an_event(424242)),  # the data plane
        "POST /events": caller.call("POST", "/events", [an_event(424242, time=2), an_event(424242, time=3)]),
        "GET /users/{user_id}": caller.call("GET", "/users/424242"),
        "GET": caller.call("GET", "/no/such/path/424242"),
    }
    unsampled = caller.call("POST", "/event", an_event(1), sampled=False)
    assert [status for status, _ in calls.values()] == [200, 200, 200, 404]
    for name, (status, trace_id) in calls.items():
        wait_until(lambda name=name, trace_id=trace_id: collector.named(name, trace_id))  # type: ignore[misc]
        (span,) = collector.named(name, trace_id)
        assert (span.parent_span_id.hex(), span.kind) == ("00000000000000ab", SERVER)
        found = attributes(span)
        route = {"http.route": name.partition(" ")[2]} if " " in name else {}
        assert found == route | {
            "http.request.method": name.partition(" ")[0],
            "http.response.status_code": status,
            "url.scheme": "http",
        }
    for name, events in (("POST /event", 1), ("POST /events", 2)):
        trace_id = calls[name][1]
        (request,) = collector.named(name, trace_id)
        wait_until(lambda trace_id=trace_id: collector.named("judge events", trace_id))  # type: ignore[misc]
        (transaction,) = collector.named("judge events", trace_id)
        assert (transaction.parent_span_id, list(transaction.links)) == (request.span_id, [])
        counts = {"transaction_alerts.events": events, "transaction_alerts.alerts": events + (events > 1)}
        assert attributes(transaction) == counts
        stages = [one for one in collector.spans() if one.parent_span_id == transaction.span_id]
        assert {stage.name for stage in stages} == STAGES
        for stage in stages:
            assert transaction.start_time_unix_nano <= stage.start_time_unix_nano <= stage.end_time_unix_nano

    # What callers ask not to be recorded is not; no user is in any span; the log's lines lead to the traces.
    assert unsampled[0] == 200
    assert [one.name for one in collector.spans() if one.trace_id.hex() == unsampled[1]] == []
    assert [body for body in collector.bodies if b"424242" in body or b"150.37" in body] == []
    wait_until(lambda: len([line for line in request_lines(service) if line["route"] != "/readyz"]) == 5)
    logged = [line["trace_id"] for line in request_lines(service) if line["route"] != "/readyz"]
    assert sorted(logged) == sorted(trace_id for _, trace_id in (*calls.values(), unsampled))


def look_at_shared_transactions(service: Service, collector: Collector) -> None:
    """A transaction of several requests is a child of one, and linked with each of the others."""
    address = f"{service.url}/event"

    def shared() -> list[Any]:
        with ThreadPoolExecutor(8) as threads:
            posts = [
                threads.submit(requests.post, address, json=an_event(user_id), timeout=PATIENCE)
                for user_id in range(1, 33)
            ]
            assert {post.result().status_code for post in posts} == {200}
        return [one for one in collector.named("judge events") if one.links]

    wait_until(shared)

    def requests_by_id() -> dict[bytes, Any]:
        return {one.span_id: one for one in collector.named("POST /event")}

    for transaction in shared():
        linked = [link.span_id for link in transaction.links]
        wait_until(lambda ids=[*linked, transaction.parent_span_id]: requests_by_id().keys() >= set(ids))  # type: ignore[misc]
        found = requests_by_id()
        for span_id in linked:
            (link,) = found[span_id].links
            assert link.span_id == transaction.span_id
        assert found[transaction.parent_span_id].trace_id == transaction.trace_id
        assert attributes(transaction)["transaction_alerts.events"] == len(linked) + 1


def look_without_a_collector(service: Service, port: int) -> None:
    """The log says once that spans are lost. Nobody waits for a collector that is away, or that never answers."""

    def post() -> None:
        answer = requests.post(f"{service.url}/event", json=an_event(1), timeout=PATIENCE)
        assert answer.status_code == 200

    post()
    wait_until(lambda: '"traces_not_sent"' in service.output())
    with socket.create_server(("127.0.0.1", port)) as silent:
        silent.settimeout(0.1)
        held = None
        while held is None:
            post()
            with suppress(TimeoutError):
                held, _ = silent.accept()
        with held:
            for _ in range(20):
                post()
            service.stop()
    assert service.output().count('"traces_not_sent"') == 1
    assert service.process is not None
    assert (service.process.returncode, "Killing" in service.output()) == (0, False)


OFF = """
import sys, app, config_loader
from routes.http import exchange
settings = config_loader.load_settings(None, database_url="postgresql://nobody@127.0.0.1:1/none")
app.create_app(settings)
one = exchange.begin("", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
one.answered(200)
exchange.end(one, route="/event", method="POST")
assert one.span is None
sys.exit(any(name.startswith("opentelemetry") for name in sys.modules))
"""


def test_without_a_collector_nothing_of_it_is_loaded() -> None:
    """They are off by default: no package of OpenTelemetry is imported, and no span is made."""
    ended = subprocess.run([sys.executable, "-c", OFF], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, "trace_id" in ended.stdout, '"request"' in ended.stdout) == (0, False, True), ended.stderr
