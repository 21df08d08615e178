"""People over the real server: who is due is erased by itself, and a file breaks off where it can be seen."""

import http.client
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import text

from tests.contract.test_people import EXPORTS
from tests.postgres import Databases, engine_on
from tests.service import PATIENT_ENVIRONMENT, Service
from tests.waiting import PATIENCE, wait_until

MANY = 25_000  # actions, of some 7 MB: more than fits between the server and a caller that reads nothing

PEOPLE = f"""
    INSERT INTO users (user_id, name, closed_at, erasure_requested_at, erasure_requested_by, last_seq) VALUES
        (7, 'Ada', '2001-01-01', now(), 'ada', 0), (8, 'Grace', NULL, NULL, NULL, {MANY});
    INSERT INTO user_actions (user_id, seq, type, amount, time, event_id, alert_codes, rules_number, settings_version,
        ordinal, running_total)
    SELECT 8, n, 'deposit', 1, n, lpad(n::text, 128, '0'), '{{}}', 0, 0, n, n FROM generate_series(1, {MANY}) AS n
"""


@pytest.fixture(scope="module")
def url(databases: Databases, template: str) -> Iterator[str]:
    """A database with somebody who is to be erased, and somebody with many actions."""
    with databases.new(template) as name:
        with engine_on(databases.url(name)) as engine, engine.connect() as connection:
            connection.execute(text(PEOPLE))
        yield databases.url(name)


@pytest.fixture(scope="module")
def served(url: str) -> Iterator[Service]:
    """The service on it."""
    with Service(PATIENT_ENVIRONMENT | {"DATABASE_URL": url, "WORKERS": "1"}) as service:
        yield service


def test_who_is_due_is_erased_by_itself(served: Service) -> None:
    """Nobody has to ask again."""
    wait_until(lambda: "erased_at" in requests.get(f"{served.url}/users/7", timeout=PATIENCE).json())
    assert requests.get(f"{served.url}/users/7", timeout=PATIENCE).json()["name"] is None


def test_a_large_file_is_whole(served: Service) -> None:
    """It has every action once, in order, and what comes after them."""
    answer = requests.get(f"{served.url}/users/8/export", timeout=PATIENCE)
    assert (answer.status_code, answer.headers["Transfer-Encoding"]) == (200, "chunked")
    found = answer.json()
    assert [one["seq"] for one in found["actions"]] == list(range(1, MANY + 1))
    assert list(found)[-1] == "erasures"


def begun(served: Service) -> http.client.HTTPResponse:
    """An export that is under way: its caller takes hardly anything."""
    address = urlsplit(served.url)
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.connect((address.hostname, address.port))
    caller.sendall(f"GET /users/8/export HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
    answer = http.client.HTTPResponse(caller, method="GET")
    caller.close()  # which the answer still reads from
    answer.begin()
    assert answer.read(100).startswith(b'{"exported_at":')
    return answer


def test_a_file_that_breaks_off_shows(served: Service, url: str) -> None:
    """At most two at a time; when the database is lost the answer has no end, and its places are free again."""
    two = [begun(served) for _ in range(2)]
    full = requests.get(f"{served.url}/users/8/export", timeout=PATIENCE)
    assert (full.status_code, full.json()["type"]) == (503, "urn:problem:exports-full")
    with engine_on(url) as engine, engine.connect() as connection:
        assert connection.execute(text(f"SELECT count(*) {EXPORTS}")).scalar_one() == 2
        connection.execute(text(f"SELECT pg_terminate_backend(pid) {EXPORTS}"))
    for answer in two:
        with pytest.raises(http.client.IncompleteRead) as broken:
            answer.read()
        with pytest.raises(json.JSONDecodeError):
            json.loads(broken.value.partial)
        answer.close()
    wait_until(lambda: requests.head(f"{served.url}/users/8/export", timeout=PATIENCE).status_code == 200)
    lines = requests.get(f"{served.url}/log?kind=export", timeout=PATIENCE).json()["log"]
    assert [one["what"] for one in lines] == ["broke off", "broke off", "began", "began", "ended", "began"]
