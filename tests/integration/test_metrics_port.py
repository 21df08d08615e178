"""METRICS_PORT: the metrics on a port of their own."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest
import requests

from routes import metrics_port
from tests.service import PATIENT_ENVIRONMENT, ROOT, Service, free_port, with_constants
from tests.waiting import PATIENCE, kill, wait_until

COUNTED = 'transaction_alerts_http_requests_total{method="POST",route="/users",status="201"} 1.0\n'


class Apart(Service):
    """A service whose metrics have a port of their own; a call there may take as long as a test."""

    def __init__(self, environment: dict[str, str], seconds: float = PATIENCE) -> None:
        self.metrics_port = free_port()
        super().__init__(
            PATIENT_ENVIRONMENT | {"WORKERS": "2", "METRICS_PORT": str(self.metrics_port)} | environment,
            with_constants(f"routes.metrics_port.SECONDS = {seconds}"),
        )

    @property
    def metrics(self) -> str:
        """The address of the metrics."""
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    def ask(self, method: str = "GET", path: str = "/metrics", **headers: str) -> requests.Response:
        """A call to the port of the metrics."""
        address = self.metrics.removesuffix("/metrics") + path
        return requests.request(method, address, headers=headers, timeout=PATIENCE)

    def caller(self) -> socket.socket:
        """A connection to the port of the metrics."""
        return socket.create_connection(("127.0.0.1", self.metrics_port), timeout=PATIENCE)


@pytest.fixture
def apart(database_url: str) -> Iterator[Apart]:
    with Apart({"DATABASE_URL": database_url}) as service:
        yield service


def test_metrics_on_a_port_of_their_own(apart: Apart) -> None:
    """All workers' metrics are there without a key, and nothing else; on the port of the service they are not."""
    made = requests.post(f"{apart.url}/users", json={}, timeout=PATIENCE)
    assert made.status_code == 201
    wait_until(lambda: COUNTED in apart.ask().text)
    for _ in range(10):  # whichever worker answers
        found = apart.ask()
        assert (found.status_code, COUNTED in found.text) == (200, True)
        assert found.headers["Content-Type"].startswith("text/plain; version=")
        assert found.headers["Cache-Control"] == "no-store"
    assert apart.ask("HEAD").text == ""
    assert requests.get(f"{apart.url}/metrics", timeout=PATIENCE).status_code == 404

    refused: list[tuple[int, dict[str, Any]]] = [
        (404, {"path": "/"}),
        (404, {"path": "/readyz"}),
        (404, {"path": "/metrics?a=1"}),
        (405, {"method": "POST"}),
        (403, {"Host": "elsewhere.example"}),
        (431, {"X-Long": "a" * metrics_port.MAX_HEAD}),
        (200, {"Host": f"10.1.2.3:{apart.metrics_port}"}),
    ]
    assert [(apart.ask(**asked).status_code, asked) for _, asked in refused] == refused
    for head in (b"metrics\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"):
        with closing(apart.caller()) as caller:
            caller.sendall(head)
            assert caller.recv(100).startswith(b"HTTP/1.1 400 Bad Request\r\n")

    before = apart.workers()
    kill(before[0])
    assert COUNTED in apart.ask().text  # by the other one, or whoever takes its place
    wait_until(lambda: len(set(apart.workers()) - set(before)) == 1)
    assert COUNTED in apart.ask().text

    apart.stop()
    with pytest.raises(ConnectionRefusedError):
        apart.caller()


def test_callers_that_stall_leave_the_port_to_others(database_url: str) -> None:
    """A call has its time, however slowly its bytes come; those who wait come after it."""
    with Apart({"DATABASE_URL": database_url, "WORKERS": "1"}, seconds=0.5) as service, ExitStack() as stack:
        for _ in range(2 * metrics_port.AT_ONCE):
            silent = stack.enter_context(closing(service.caller()))
            silent.sendall(b"GET /metrics HTTP/1.1\r\n")

        def is_answered() -> bool:
            with suppress(requests.ConnectionError):  # this one had no more time either
                return service.ask().status_code == 200
            return False

        wait_until(is_answered)


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"])
def test_a_port_that_cannot_be_had(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error that names the setting, before anything else is begun."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name, value in {"METRICS_HOST": host, "METRICS_PORT": str(port), "BACKEND_PORT": str(free_port())}.items():
            monkeypatch.setenv(name, value)
        ended = subprocess.run([sys.executable, "app.py"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    names = "METRICS_PORT" if host == "127.0.0.1" else "METRICS_HOST, METRICS_PORT"
    assert (ended.returncode, f"{names}: cannot listen on {host}:{port}: " in ended.stderr) == (2, True)


def test_in_development_mode(database_url: str) -> None:
    """The worker, which is not forked there, listens by itself."""
    with Apart({"DATABASE_URL": database_url, "GLOBAL_TEST_FLAG": "true"}) as service:
        assert "transaction_alerts_build_info" in service.ask().text
