"""Reads do not get in the way of events, nor of what looks after the service."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from routes import openapi
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, an_event, problem
from tests.postgres import transaction, waiting
from tests.service import Service
from tests.waiting import PATIENCE, wait_until


@pytest.mark.parametrize("group_commit", ["on", "off"])
def test_events_do_not_wait_for_reads(
    start_service: Callable[..., Service], sessions: Sessions, group_commit: str
) -> None:
    """While more reads hang in the database than there are connections, events are stored and probes answered."""
    service = start_service(WORKERS="1", READ_THREADS="2", READ_TIMEOUT="60", GROUP_COMMIT=group_commit)
    with ThreadPoolExecutor(40) as threads:
        with transaction(sessions) as session:
            session.execute(text("LOCK TABLE backtests IN ACCESS EXCLUSIVE MODE"))
            hanging = [threads.submit(requests.get, f"{service.url}/backtests", timeout=PATIENCE) for _ in range(40)]
            wait_until(lambda: waiting(sessions) == 2)
            event = an_event(time=10)
            assert requests.post(f"{service.url}/event", json=event, timeout=PATIENCE).status_code == 200
            assert requests.post(f"{service.url}/events", json=[event], timeout=PATIENCE).status_code == 200
            for probe in ("healthz", "readyz"):  # its own limit of seconds may be too short on a busy machine
                wait_until(lambda: requests.get(f"{service.url}/{probe}", timeout=PATIENCE).status_code == 200)  # noqa: B023
            assert not any(read.done() for read in hanging)
        assert [read.result(PATIENCE).status_code for read in hanging] == [200] * 40


def test_a_read_that_takes_too_long(make_client: ClientMaker, sessions: Sessions) -> None:
    """It is a 503 after a time of its own, shorter than that of events."""
    client = make_client(read_timeout=0.2, db_timeout=60)
    assert client.get("/backtests").status_code == 200
    with transaction(sessions) as session:
        session.execute(text("LOCK TABLE backtests IN ACCESS EXCLUSIVE MODE"))
        problem(client.get("/backtests"), 503)


def test_the_document_is_made_once(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many read it, and whatever they call the host; who has it already gets a 304."""
    made = []
    build = openapi.build

    def counted(app: Flask, url: str) -> Any:
        made.append(url)
        return build(app, url)

    monkeypatch.setattr(openapi, "build", counted)
    first = client.get("/openapi.json")
    for host in ("127.0.0.1", "localhost:81"):
        answer = client.get("/openapi.json", headers={"Host": host})
        assert answer.get_json()["servers"][0]["url"] == f"http://{host}"
        assert answer.get_json() | {"servers": 0} == first.get_json() | {"servers": 0}
    assert len(made) == 1
    again = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
