"""All alerts as CSV: the same as the list, by the real service; what breaks off; and the log of exports."""

import csv
import http.client
import os
import socket
from contextlib import ExitStack, closing
from io import BytesIO, StringIO
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from sqlalchemy import select, text

from database.models import LogEntry
from routes import alert_lists as view
from routes.http import csv_answer
from routes.schemas.alert_csv import EXAMPLE
from tests.contract.helpers import Sessions, codes, problem
from tests.postgres import engine_on
from tests.service import Service
from tests.waiting import PATIENCE, wait_until


def rows(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(answer.text, newline="")))


@pytest.fixture
def worked(client: FlaskClient) -> FlaskClient:
    """A client after some alerts, of which one is closed by somebody with the name of a formula."""
    for time in range(1, 8):
        codes(client, type="withdraw", amount="150.00", time=time)
    answer = client.patch("/alerts/1-2-1100", json={"assignee": "=HYPERLINK(1)"})
    assert answer.status_code == 200, answer.text
    close = {"status": "closed", "outcome": "true_positive"}
    assert client.patch("/alerts/1-3-1100", json=close).status_code == 200
    return client


@pytest.mark.parametrize("page", [1, 2, 1_000])
@pytest.mark.parametrize(
    "query", ["", "sort=oldest", "code=30", "status=closed", "from=2&to=5&sort=oldest", "user_id=2"]
)
def test_it_is_the_list(query: str, page: int, worked: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same alerts with the same values in the same order, whatever the size of its pages."""
    monkeypatch.setattr(view, "PAGE", page)
    answer = worked.get(f"/alerts.csv?{query}")
    assert (answer.status_code, answer.content_type) == (200, csv_answer.CSV)
    assert ".csv" in answer.headers["Content-Disposition"]
    found = rows(answer)
    listed = worked.get(f"/alerts?limit=500&{query}").get_json()["alerts"]
    assert [row["id"] for row in found] == [alert["id"] for alert in listed]
    for row, alert in zip(found, listed, strict=True):
        for name in ("status", "outcome", "title", "amount", "created_at", "touched_at"):
            assert row[name] == (alert[name] or "")
        assert (row["late"], row["user_id"]) == (str(alert["late"]).lower(), str(alert["user_id"]))
        assert (row["sentence"], row["measured"]) == (alert["evidence"]["sentence"], str(alert["evidence"]["measured"]))


def test_a_formula_is_text(worked: FlaskClient) -> None:
    """What somebody can choose is not run by a spreadsheet."""
    (row,) = rows(worked.get("/alerts.csv?from=2&to=2"))
    assert row["assignee"] == "'=HYPERLINK(1)"


def test_the_example_is_true(worked: FlaskClient) -> None:
    """The document shows the columns that there are."""
    assert worked.get("/alerts.csv?user_id=2").text.splitlines() == EXAMPLE.splitlines()[:1]


@pytest.mark.parametrize("name", ["limit", "cursor"])
def test_it_has_no_pages(name: str, client: FlaskClient) -> None:
    """What belongs to pages is refused."""
    document = problem(client.get(f"/alerts.csv?{name}=1"), 400)
    assert [error["pointer"] for error in document["errors"]] == [f"/{name}"]


def test_exports_are_in_the_log(worked: FlaskClient, sessions: Sessions) -> None:
    """When one begins and when it ends: who, which filters, and how many rows. HEAD exports nothing."""
    assert worked.head("/alerts.csv").status_code == 200
    with worked.get("/alerts.csv?code=1100&sort=oldest") as answer:
        assert len(rows(answer)) == 7
    with sessions() as session:
        entries = session.scalars(select(LogEntry).order_by(LogEntry.entry_id)).all()
    filters = {"code": 1100, "sort": "oldest"}
    assert [(one.who, one.kind, one.subject, one.what, one.after) for one in entries] == [
        ("anonymous", "export", "alerts", "began", {"filters": filters}),
        ("anonymous", "export", "alerts", "ended", {"filters": filters, "rows": 7}),
    ]


# By the real service


MANY = """
INSERT INTO users (user_id, last_seq) VALUES (1, 30000);
INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version, ordinal,
    running_total) SELECT 1, s, 'withdraw', 150, s, '{}', 1, 0, s, s FROM generate_series(1, 30000) AS s;
INSERT INTO alerts (user_id, seq, code, time, evidence) SELECT 1, s, 1100, s,
    ('{"sentence": "' || repeat('x', 900) || '", "parameters": {"threshold": "100.00"}}')::jsonb
FROM generate_series(1, 30000) AS s
"""


@pytest.fixture(scope="module")
def service(shared_database_url: str, shared_service: Service) -> Service:
    """The real service with 30 MB of alerts: more than the system keeps for a caller that does not read."""
    with engine_on(shared_database_url) as engine, engine.connect() as connection:
        for statement in MANY.split(";"):
            connection.execute(text(statement))
    return shared_service


def ended(url: str) -> list[Any]:
    """What the ends of exports in the log say."""
    with engine_on(url) as engine, engine.connect() as connection:
        ends = select(LogEntry.what, LogEntry.after).where(LogEntry.kind == "export", LogEntry.what != "began")
        return [(what, after["rows"]) for what, after in connection.execute(ends.order_by(LogEntry.entry_id))]


def test_all_of_many(service: Service) -> None:
    """Each of them is there, in pieces of a size that nobody has announced."""
    answer = requests.get(f"{service.url}/alerts.csv", timeout=PATIENCE)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert [row["seq"] for row in rows(answer)] == [str(seq) for seq in range(30_000, 0, -1)]


def asks(service: Service, stack: ExitStack) -> socket.socket:
    """A caller who asks for all alerts and reads nothing, with little room for what comes."""
    caller = stack.enter_context(closing(socket.socket()))
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.settimeout(PATIENCE)
    caller.connect(("127.0.0.1", service.port))
    caller.sendall(b"GET /alerts.csv HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    return caller


def test_callers_that_do_not_read(service: Service, shared_database_url: str) -> None:
    """They keep their places, and nobody else's: once all are taken, a further one is a 503, while reads go on. Those
    who go away free their places, and the log says that they have not had all.
    """
    places = 2 * int(os.environ.get("WORKERS", "2"))
    before = len(ended(shared_database_url))
    with ExitStack() as stack:
        callers = []
        while True:
            caller = asks(service, stack)
            status = caller.recv(12)
            if status == b"HTTP/1.1 503":
                break
            assert status == b"HTTP/1.1 200"
            callers.append(caller)
            assert len(callers) <= places
        assert requests.get(f"{service.url}/alerts?limit=1", timeout=PATIENCE).status_code == 200
    wait_until(lambda: len(ended(shared_database_url)) == before + len(callers))
    assert {what for what, _ in ended(shared_database_url)[before:]} == {"broke off"}
    assert all(number < 30_000 for _, number in ended(shared_database_url)[before:])
    wait_until(lambda: requests.head(f"{service.url}/alerts.csv", timeout=PATIENCE).status_code == 200)
    assert len(rows(requests.get(f"{service.url}/alerts.csv?from=29991", timeout=PATIENCE))) == 10


def test_a_part_does_not_look_like_the_whole(service: Service, shared_database_url: str) -> None:
    """The database is lost in the middle: the connection is cut, and the caller sees that something is missing."""
    with ExitStack() as stack:
        caller = asks(service, stack)
        assert caller.recv(12) == b"HTTP/1.1 200"
        with engine_on(shared_database_url) as engine, engine.connect() as connection:
            connection.execute(text("ALTER TABLE alerts RENAME TO alerts_away"))
            try:
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                answer = http.client.HTTPResponse(_Rest(caller, b"HTTP/1.1 200"))  # type: ignore[arg-type]
                answer.begin()
                with pytest.raises(http.client.IncompleteRead):
                    answer.read()
            finally:
                connection.execute(text("ALTER TABLE alerts_away RENAME TO alerts"))


class _Rest:
    """A connection of which the beginning was read already."""

    def __init__(self, caller: socket.socket, begin: bytes) -> None:
        self._caller, self._begin = caller, begin

    def makefile(self, mode: str) -> Any:
        del mode
        whole = [self._begin]
        while piece := self._caller.recv(1 << 20):
            whole.append(piece)
        return BytesIO(b"".join(whole))


def test_http_1_0(service: Service) -> None:
    """It is refused, and the connection goes on to be used by others."""
    with closing(socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)) as caller:
        caller.sendall(b"GET /alerts.csv HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        assert caller.recv(12)[9:] == b"505"
