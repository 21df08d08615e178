"""Logs: one line per request that helps to find it, and nothing in it that is the users' business."""

import json
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
import structlog
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

import logs
from app import create_app
from config_loader import load_settings
from routes.http import problems
from rules.judging.engine import RuleEngine
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, an_event, post_raw
from tests.keys import keep_open
from tests.postgres import transaction
from tests.service import free_port

NAME = "Zebulon-Quux"
AMOUNT = "87654.32"
EVENT_ID = "evt-kzqx-5521"
PRIVATE = (NAME, AMOUNT, EVENT_ID, "kzqx", "Zebulon")


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the applications made by this test's fixtures print."""
    # A logger that was used before keeps writing to where it wrote first, so the applications here get new ones.
    for module in (problems, logs):
        monkeypatch.setattr(module, "log", structlog.get_logger())
    return StringIO()


@pytest.fixture
def make_client(output: Any, make_client: ClientMaker) -> Any:
    """Makes clients of applications that print to `output`."""

    def make(**overrides: Any) -> Any:
        with redirect_stdout(output):
            return make_client(**overrides)

    return make


@pytest.fixture
def lines(output: Any, caplog: pytest.LogCaptureFixture) -> Any:
    """All lines logged so far, each read as JSON, when called; and none of them may contain what is private."""

    def read() -> list[Any]:
        printed = output.getvalue()
        assert caplog.text == ""
        assert [word for word in PRIVATE if word in printed] == []
        return [json.loads(line) for line in printed.splitlines()]

    return read


REQUESTS = [
    ("POST", "/event", an_event(amount=AMOUNT, event_id=EVENT_ID), "/event", 200),
    ("POST", "/api/events", an_event(amount=AMOUNT, type=NAME), "/api/events", 400),
    ("POST", "/users", {"name": NAME, "total": AMOUNT}, "/users", 201),
    ("POST", "/users", {"name": NAME + "\x00", "total": "-" + AMOUNT}, "/users", 400),
    ("GET", "/users/77", None, "/users/{user_id}", 404),
    ("GET", f"/users/77/actions?cursor={EVENT_ID}", None, "/users/{user_id}/actions", 400),
    ("GET", "/healthz", None, "/healthz", 200),
    ("DELETE", "/event", None, None, 405),
    ("GET", f"/{NAME}", None, None, 404),
]


@pytest.mark.parametrize(("method", "path", "body", "route", "status"), REQUESTS)
def test_one_line_a_request(
    client: FlaskClient, lines: Any, method: Any, path: Any, body: Any, route: Any, status: Any
) -> None:
    """Every request is one line: its id, method, route rule (never the path), caller, status and milliseconds."""
    client.open(path, method=method, json=body, headers={"X-Request-ID": "find-me"})
    (line,) = lines()
    milliseconds = line.pop("milliseconds")
    assert isinstance(milliseconds, float)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "method": method,
        "route": route,
        "status": status,
        "who": "nobody" if path == "/healthz" else "anonymous",
        "request_id": "find-me",
    }


def test_the_id_in_the_log_is_the_one_in_the_answer(client: FlaskClient, lines: Any) -> None:
    """A request without an id of its own is logged under the one that it is answered with."""
    answer = client.post("/event", json=an_event())
    assert [line["request_id"] for line in lines()] == [answer.headers["X-Request-ID"]]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(an_event(amount=AMOUNT, event_id=EVENT_ID))[:-1].encode(),
        f'{{"{NAME}": "{AMOUNT}"'.encode(),
        f'{{"amount": "{AMOUNT}'.encode() + b"\xff",
        json.dumps([NAME, AMOUNT]).encode(),
        json.dumps({"type": NAME, "amount": [AMOUNT], "user_id": NAME, "time": AMOUNT, "event_id": 1}).encode(),
        (NAME * 10_000).encode(),
    ],
    ids=["truncated", "cut short", "no UTF-8", "no object", "all bad", "too large"],
)
def test_a_refused_body_is_not_logged(client: FlaskClient, lines: Any, body: Any) -> None:
    """Nothing of a refused body is in the log."""
    answer = post_raw(client, body, **{"X-Request-ID": "find-me"})
    assert [(line["status"], line["request_id"]) for line in lines()] == [(answer.status_code, "find-me")]


def test_a_conflict_is_not_logged_in_detail(lines: Any, make_client: ClientMaker) -> None:
    """Nothing of an event that a policy refuses is in the log."""
    client = make_client(overdraft="reject")
    client.post("/event", json=an_event(type="withdraw", amount=AMOUNT, event_id=EVENT_ID))
    assert [line["status"] for line in lines()] == [409]


def test_a_defect_is_logged(client: FlaskClient, lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect is logged as an error with the request id, its kind, and where in the code it happened."""

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(RuleEngine, "process", broken)
    client.post("/event", json=an_event(), headers={"X-Request-ID": "find-me"})
    defect, request = lines()
    assert (defect["event"], defect["level"], defect["error"]) == ("defect", "error", "ZeroDivisionError")
    assert (defect["request_id"], request["request_id"], request["status"]) == ("find-me", "find-me", 500)
    frames = [frame["name"] for exception in defect["exception"] for frame in exception["frames"]]
    assert frames[-1] == "broken"


def test_a_defect_does_not_log_the_values_at_hand(
    client: FlaskClient, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of a defect holds neither the body nor the values of the code's variables."""

    def broken(engine: Any, session: Session, posted: Any, **_: Any) -> Any:
        note = f"{AMOUNT} of {NAME}"
        return posted[0].amount / len(note[:0])

    monkeypatch.setattr(RuleEngine, "process", broken)
    client.post("/event", json=an_event(amount=AMOUNT, event_id=EVENT_ID))
    defect, _ = lines()
    assert (defect["event"], defect["error"]) == ("defect", "DivisionByZero")


def test_a_defect_after_a_database_error_does_not_log_its_values(
    client: FlaskClient, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of a defect has no traceback if that would lead to an error of the database, which quotes the row."""

    def broken(*_: Any, **__: Any) -> float:
        try:
            raise IntegrityError("INSERT", {}, Exception(f"the row has {AMOUNT}"))
        except IntegrityError:
            return 1 / 0

    monkeypatch.setattr(RuleEngine, "process", broken)
    client.post("/event", json=an_event(amount=AMOUNT, event_id=EVENT_ID))
    defect, _ = lines()
    assert (defect["event"], defect["error"]) == ("defect", "ZeroDivisionError")


def test_a_defect_in_making_a_user_does_not_log_the_user(
    client: FlaskClient, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of a defect contains neither name nor total."""
    monkeypatch.setattr("database.users.create_user", lambda *values: 1 / 0)
    client.post("/users", json={"name": NAME, "total": AMOUNT})
    assert [line["event"] for line in lines()] == ["defect", "request"]


def test_a_database_error_does_not_log_its_values(client: FlaskClient, lines: Any, sessions: Sessions) -> None:
    """An error of the database, whose message quotes the row, is logged with its kind and the request id alone."""
    with transaction(sessions) as session:
        session.execute(text("ALTER TABLE user_actions ADD CHECK (amount < 1), ADD CHECK (event_id IS NULL)"))
        session.execute(text("ALTER TABLE users ADD CHECK (name IS NULL)"))
    headers = {"X-Request-ID": "find-me"}
    client.post("/event", json=an_event(amount=AMOUNT, event_id=EVENT_ID), headers=headers)
    client.post("/users", json={"name": NAME, "total": AMOUNT}, headers=headers)
    logged = lines()
    assert [line["event"] for line in logged] == ["defect", "request"] * 2
    assert {line["request_id"] for line in logged} == {"find-me"}
    assert [line["error"] for line in logged[::2]] == ["CheckViolation"] * 2


def test_a_database_that_is_away_is_logged(output: Any, lines: Any) -> None:
    """A database that cannot be reached is a warning with the request id, without address or values."""
    url = f"postgresql://kzqx@127.0.0.1:{free_port()}/kzqx"
    with redirect_stdout(output):
        app = create_app(load_settings(None, database_url=url, db_timeout=0.5))
        keep_open(app)
    client = app.test_client()
    client.post("/event", json=an_event(amount=AMOUNT, event_id=EVENT_ID), headers={"X-Request-ID": "find-me"})
    warning, request = lines()
    assert (warning["event"], warning["level"]) == ("database_away", "warning")
    assert [line["request_id"] for line in (warning, request)] == ["find-me", "find-me"]
    assert request["status"] == 503


def test_reading_the_metrics_is_not_logged(client: FlaskClient, lines: Any) -> None:
    """Prometheus reads every few seconds: only other requests are logged."""
    client.get("/metrics")
    client.get("/healthz")
    assert [line["route"] for line in lines()] == ["/healthz"]


def test_readable_logs(output: Any, make_client: ClientMaker) -> None:
    """In development mode a request is one line of plain text."""
    make_client(global_test_flag=True).get("/healthz", headers={"X-Request-ID": "find-me"})
    (line,) = output.getvalue().splitlines()
    assert not line.startswith("{")
    assert [word for word in ("find-me", "GET", "/healthz", "200") if word not in line] == []
