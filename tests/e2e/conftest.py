"""Tests of a service that may be in use already."""

import os

import pytest
import requests


def pytest_sessionstart(session: pytest.Session) -> None:
    """Without a service at BASE_URL there is nothing to test, and one line says so."""
    address = os.environ.get("BASE_URL")
    if address is None or hasattr(session.config, "workerinput"):
        return
    try:
        requests.get(f"{address.rstrip('/')}/healthz", timeout=30)
    except requests.RequestException:
        pytest.exit(f"No service answers at {address}: start one with make run, or set BASE_URL.", returncode=2)
