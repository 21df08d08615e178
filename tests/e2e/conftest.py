"""Tests of a service that may be in use already."""

import os
import threading
from collections.abc import Iterator

import pytest
import requests

from tests.e2e.faulty import FaultyServer


def pytest_sessionstart(session: pytest.Session) -> None:
    """Without a service at BASE_URL there is nothing to test, and one line says so."""
    address = os.environ.get("BASE_URL")
    if address is None or hasattr(session.config, "workerinput"):
        return
    try:
        requests.get(f"{address.rstrip('/')}/healthz", timeout=30)
    except requests.RequestException:
        pytest.exit(f"No service answers at {address}: start one with make run, or set BASE_URL.", returncode=2)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """A server that fails, running."""
    with FaultyServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
