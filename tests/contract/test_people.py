"""People over HTTP: closing and holding an account, asking for erasure, and handing out all there is."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from database import person
from database.models import Delivery, LogEntry, Webhook
from routes.http import person_file
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, an_event, pointers, problem, valid
from tests.keys import add_key, bearer
from tests.postgres import transaction
from tests.waiting import wait_until

PAST, WRITTEN = "2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00.000000Z"
EXPORTS = "FROM pg_stat_activity WHERE application_name LIKE '% history' AND datname = current_database()"
UNTIL = "2031-01-31T12:00:00.000000Z"


@pytest.fixture
def ada(client: FlaskClient) -> FlaskClient:
    """A client of a service that knows user 7, Ada."""
    assert client.post("/users", json={"user_id": 7, "name": "Ada"}).status_code == 201
    return client


def the_log(client: FlaskClient, kind: str = "user") -> list[tuple[Any, ...]]:
    """What was done, oldest first, and what it was and is."""
    lines = client.get(f"/log?kind={kind}").get_json()["log"]
    return [(one["what"], one["from"], one["to"]) for one in reversed(lines)]


def test_closing_and_holding(ada: FlaskClient) -> None:
    """It shows, in the log too, makes no version of how the user is judged, and can be taken back."""
    plain = ada.get("/users/7").get_json()
    closed = ada.patch("/users/7", json={"closed_at": PAST, "note": "Left."})
    assert closed.get_json() == plain | {"overrides": {}, "closed_at": WRITTEN, "retained_until": UNTIL}
    assert closed.headers["ETag"].startswith('"0-')
    assert ada.get("/users/7").get_json() == plain | {"closed_at": WRITTEN, "retained_until": UNTIL}
    held = ada.patch("/users/7", json={"legal_hold": True}).get_json()
    assert held == plain | {"overrides": {}, "closed_at": WRITTEN, "legal_hold": True}
    both = ada.patch("/users/7", json={"closed_at": None, "legal_hold": False, "risk": "high"})
    assert both.get_json() == plain | {"overrides": {}, "risk": "high"}
    assert both.headers["ETag"].startswith('"1-')
    judged = {"version": 0, "risk": "normal", "overrides": {}}
    assert the_log(ada) == [
        ("changed", judged, judged | {"closed_at": WRITTEN}),
        ("changed", judged | {"closed_at": WRITTEN}, judged | {"closed_at": WRITTEN, "legal_hold": True}),
        (
            "changed",
            judged | {"closed_at": WRITTEN, "legal_hold": True},
            judged | {"version": 1, "risk": "high"},
        ),
    ]


def test_bad_changes(ada: FlaskClient) -> None:
    """A moment in the future, or what is none, and what is no truth value; nothing is changed."""
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"closed_at": ahead, "legal_hold": "yes", "erasure_requested": 1}
    assert pointers(ada.patch("/users/7", json=body)) == ["/closed_at", "/erasure_requested", "/legal_hold"]
    assert pointers(ada.patch("/users/7", json={"closed_at": "2026-01-31", "legal_hold": None})) == [
        "/closed_at",
        "/legal_hold",
    ]
    assert pointers(ada.patch("/users/7", json={"retained_until": PAST})) == ["/retained_until"]
    assert the_log(ada) == []


def test_who_may(make_client: ClientMaker, sessions: Sessions) -> None:
    """What keeps the data needs admin besides tune; erasing and exporting need admin."""
    tune, admin, both = (add_key(sessions, name, name.split("+")) for name in ("tune", "admin", "tune+admin"))
    client = make_client()
    with transaction(sessions) as session:
        session.execute(text("INSERT INTO users (user_id) VALUES (7)"))
    for body in ({"closed_at": PAST}, {"legal_hold": True}, {"erasure_requested": False}):
        for key in (tune, admin):
            assert problem(client.patch("/users/7", json=body, headers=bearer(key)), 403)["type"] == "urn:problem:scope"
        assert client.patch("/users/7", json=body, headers=bearer(both)).status_code == 200
    assert client.patch("/users/7", json={"risk": "low"}, headers=bearer(tune)).status_code == 200
    assert problem(client.get("/users/7/export", headers=bearer(tune)), 403)["type"] == "urn:problem:scope"
    assert problem(client.delete("/users/7", headers=bearer(tune)), 403)["type"] == "urn:problem:scope"
    assert client.delete("/users/7", headers=bearer(admin)).status_code == 409  # held, and open
    assert json.loads(client.get("/users/7/export", headers=bearer(admin)).text)["log"][-1]["who"] == "admin"


def test_what_is_kept_is_marked(ada: FlaskClient) -> None:
    """A 409 says until when and marks the user once, whoever asks again; the mark can be taken back."""
    document = ada.delete("/users/7").get_json()
    assert (document["type"], document["retained_until"], document["legal_hold"]) == ("urn:problem:kept", None, False)
    since = ada.get("/users/7").get_json()["erasure_requested_at"]
    ada.patch("/users/7", json={"closed_at": PAST})
    document = ada.delete("/users/7").get_json()
    assert (document["status"], document["retained_until"], document["legal_hold"]) == (409, UNTIL, False)
    ada.patch("/users/7", json={"legal_hold": True})
    for query in ("", "?override=No+bank."):
        document = ada.delete(f"/users/7{query}").get_json()
        assert (document["status"], document["retained_until"], document["legal_hold"]) == (409, None, True)
    assert ada.get("/users/7").get_json()["erasure_requested_at"] == since
    assert [one[0] for one in the_log(ada)] == ["erasure requested", "changed", "changed"]
    assert "erasure_requested_at" not in ada.patch("/users/7", json={"erasure_requested": False}).get_json()
    assert "erasure_requested_at" in ada.patch("/users/7", json={"erasure_requested": True}).get_json()
    assert ada.get("/users/7").get_json()["name"] == "Ada"


def test_an_override(ada: FlaskClient) -> None:
    """It erases an open account, for a reason that is kept and must not name the person."""
    for bad in ("", "%20%20", "x" * 501, "%00", "ada+asked", "As+Ada+asked."):
        assert pointers(ada.delete(f"/users/7?override={bad}")) == ["/override"]
    assert "erasure_requested_at" not in ada.get("/users/7").get_json()
    assert ada.delete("/users/7?override=No+bank.").status_code == 204
    erased = ada.get("/users/7").get_json()
    assert (erased["name"], set(erased)) == (None, {"id", "name", "total", "balance", "risk", "erased_at"})
    assert the_log(ada) == [("erased", None, {"erased_at": erased["erased_at"], "override": "No bank."})]
    assert problem(ada.delete("/users/8"), 404)["type"] == "urn:problem:unknown-user"
    assert problem(ada.get("/users/8/export"), 404)["type"] == "urn:problem:unknown-user"


def test_retention_years(make_client: ClientMaker) -> None:
    """The setting says how long."""
    client = make_client(retention_years=10)
    client.post("/users", json={"user_id": 7})
    answer = client.patch("/users/7", json={"closed_at": PAST}).get_json()
    assert answer["retained_until"] == "2036-01-31T12:00:00.000000Z"


# The file


def test_everything_is_in_the_file(ada: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row of the user's is there once, however many pages it takes, as it is described; and nobody else's."""
    monkeypatch.setattr(person_file, "PAGE", 2)
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for user_id in (7, 70):
        for number in range(5):
            ada.post("/event", json=an_event(user_id=user_id, type="withdraw", amount="150.00", event_id=f"{number}"))
        ada.patch(f"/users/{user_id}", json={"risk": "high", "note": "Why."})
        ada.put(f"/users/{user_id}/mutes/30", json={"until": until})
        for number in range(1, 4):
            ada.post(f"/alerts/{user_id}-{number}-1100/notes", json={"note": f"Note {number}"})
    with transaction(sessions) as session:
        hook = {"url": "https://hooks.example/in?token=hidden", "events": [], "secret": b"hidden", "created_by": "x"}
        webhook_id = session.execute(insert(Webhook).values(hook).returning(Webhook.webhook_id)).scalar_one()
        for user_id in (7, 70, 7, 7):
            of = {"user_id": user_id, "seq": 1, "code": 1100, "body": '{"type":"alert.created"}'}
            sent = {"message_id": "m", "event": "alert.created", "status": "delivered"}
            session.execute(insert(Delivery).values(webhook_id=webhook_id, **of, **sent))
    assert ada.get("/users/7/export", buffered=True).get_data()
    answer = ada.get("/users/7/export", buffered=True)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="user-7.json"'
    assert (answer.content_type, answer.text.endswith("}\n")) == ("application/json", True)
    found = json.loads(answer.text)
    document = ada.get("/openapi.json").get_json()
    assert valid(document, document["components"]["schemas"]["PersonAnswer"], found)
    assert {name: len(value) for name, value in found.items() if isinstance(value, list)} == {
        "settings": 1,
        "actions": 5,
        "alerts": 8,
        "alert_history": 3,
        "mutes": 1,
        "log": 5,  # the change, the mute, the beginning and end of the first file, and the beginning of this one
        "deliveries": 3,
        "checkpoints": 0,
        "erasures": 0,
    }
    assert found["user"] == ada.get("/users/7").get_json()
    assert [one["event_id"] for one in found["actions"]] == ["0", "1", "2", "3", "4"]
    assert {one["id"] for one in found["alerts"]} == {
        one["id"] for one in ada.get("/alerts?user_id=7&muted=any").get_json()["alerts"]
    }
    assert found["alerts"][0]["evidence"] == ada.get("/alerts/7-1-1100").get_json()["evidence"]
    assert [(one["alert_id"], one["note"]) for one in found["alert_history"]] == [
        (f"7-{number}-1100", f"Note {number}") for number in range(1, 4)
    ]
    assert found["deliveries"][0]["host"] == "hooks.example"
    assert "hidden" not in answer.text


def test_each_export_is_in_the_log(ada: FlaskClient, sessions: Sessions) -> None:
    """Its beginning and its end, with how much it was; not what HEAD asks for."""
    head = ada.head("/users/7/export")
    assert (head.status_code, head.headers["Content-Type"]) == (200, "application/json")
    assert ada.get("/users/7/export", buffered=True).get_data()
    with sessions() as session:
        entries = session.scalars(select(LogEntry).order_by(LogEntry.entry_id)).all()
    assert [(one.kind, one.subject, one.what, one.after) for one in entries] == [
        ("export", "users/7", "began", {"filters": {}}),
        ("export", "users/7", "ended", {"filters": {}, "rows": 1}),
    ]


def test_it_shows_one_moment(ada: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored after it has begun is not in it, however late that part of the file is read."""
    monkeypatch.setattr(person_file, "PAGE", 2)
    for number in range(4):
        ada.post("/event", json=an_event(user_id=7, time=number))
    pieces: Iterator[Any] = iter(ada.get("/users/7/export").response)
    parts = [next(pieces)]
    ada.application.test_client().post("/event", json=an_event(user_id=7, time=9))
    found = json.loads(b"".join([*parts, *pieces]))
    assert ([one["seq"] for one in found["actions"]], found["user"]["balance"]) == ([1, 2, 3, 4], "168.00")


def test_what_breaks_off_is_no_json(ada: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a page cannot be read, the answer breaks off, which the log says, and nobody can take it for a whole one."""

    def broken(*_: Any) -> Any:
        raise RuntimeError("lost")

    monkeypatch.setattr(person, "mutes_of", broken)
    answer = ada.get("/users/7/export")
    parts: list[Any] = []
    with pytest.raises(RuntimeError):
        parts.extend(answer.response)
    answer.close()
    with pytest.raises(json.JSONDecodeError):
        json.loads(b"".join(parts))
    with sessions() as session:
        last = session.scalars(select(LogEntry.what).order_by(LogEntry.entry_id.desc()).limit(1)).one()
    assert last == "broke off"


def test_an_export_that_takes_too_long_is_cut_off(
    ada: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL keeps what it sees for no longer than that, whatever its caller does."""
    monkeypatch.setattr(person_file, "WAIT", 1.0)
    pieces: Iterator[Any] = iter(ada.get("/users/7/export").response)
    next(pieces)

    def is_there() -> Any:
        with sessions() as session:
            return session.scalar(text(f"SELECT count(*) {EXPORTS}"))

    assert is_there()
    wait_until(lambda: not is_there())
    with pytest.raises(DBAPIError):
        list(pieces)
