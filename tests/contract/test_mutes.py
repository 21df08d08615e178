"""Mutes over HTTP: set, read, replaced and ended, and what lists show meanwhile."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from database.models import LogEntry, Mute
from tests.contract.helpers import Sessions, codes, pointers, problem

PATH = "/users/1/mutes/1100"


def days(number: float) -> str:
    """A moment so many days ahead."""
    return (datetime.now(UTC) + timedelta(days=number)).isoformat()


def ids(client: FlaskClient, query: str = "") -> list[str]:
    return [alert["id"] for alert in client.get(f"/alerts?{query}").get_json()["alerts"]]


def test_a_mute(client: FlaskClient, sessions: Sessions) -> None:
    """Its alerts, old and new, stay out of lists and counts while it lasts, and are stored and answered as ever."""
    assert codes(client, type="withdraw", amount="150.00", time=1) == [1100]
    answer = client.put(PATH, json={"until": days(10), "note": "Sells a house."})
    assert (answer.status_code, answer.headers["Location"]) == (201, "/users/1/mutes")
    assert codes(client, type="withdraw", amount="150.00", time=2) == [1100]
    assert codes(client, type="withdraw", amount="150.00", time=3) == [1100, 30]
    assert client.get("/users/1/mutes").get_json() == {"mutes": [answer.get_json()]}
    assert (ids(client), ids(client, "muted=true")) == (["1-3-30"], ["1-3-1100", "1-2-1100", "1-1-1100"])
    assert len(ids(client, "muted=any")) == 4
    assert client.get("/alerts/counts").get_json() == {"counts": [{"count": 1, "more": False}]}
    assert client.get("/alerts/1-3-30/around").get_json() == {"previous": None, "next": None}
    with sessions() as session:  # its time has come
        session.execute(update(Mute).values(until=datetime.now(UTC) - timedelta(seconds=1)))
        session.commit()
    assert len(ids(client)) == 4
    assert client.get("/users/1/mutes").get_json() == {"mutes": []}
    assert problem(client.delete(PATH), 404)["type"] == "urn:problem:not-muted"
    assert client.put(PATH, json={"until": days(1)}).status_code == 201


def test_changes_are_in_the_log(client: FlaskClient, sessions: Sessions) -> None:
    """Set, replaced and ended: who, what it was and is, and why."""
    client.post("/users", json={"user_id": 1})
    until = days(10)
    assert client.put(PATH, json={"until": until}).status_code == 201
    assert client.put(PATH, json={"until": until, "note": "Still."}).status_code == 200
    assert client.delete(PATH).get_json()["note"] == "Still."
    assert problem(client.delete(PATH), 404)["type"] == "urn:problem:not-muted"
    with sessions() as session:
        entries = session.scalars(select(LogEntry).order_by(LogEntry.entry_id)).all()
    assert [(one.who, one.kind, one.subject, one.what, one.note) for one in entries] == [
        ("anonymous", "mute", "1/1100", "set", None),
        ("anonymous", "mute", "1/1100", "set", "Still."),
        ("anonymous", "mute", "1/1100", "ended", "Still."),
    ]
    assert [(bool(one.before), bool(one.after)) for one in entries] == [(False, True), (True, True), (True, False)]


@pytest.mark.parametrize(
    "until", [days(-1), days(181), "2030-01-01", 5, None], ids=["past", "far", "date", "number", "null"]
)
def test_bad_moments(until: Any, client: FlaskClient, sessions: Sessions) -> None:
    """In the past, too far ahead, or no moment: nothing is stored."""
    client.post("/users", json={"user_id": 1})
    assert pointers(client.put(PATH, json={"until": until})) == ["/until"]
    with sessions() as session:
        assert session.scalars(select(Mute)).all() == []


def test_of_what_is_not_there(client: FlaskClient) -> None:
    """A user or rule that is not there is a 404."""
    body = {"until": days(1)}
    assert problem(client.put(PATH, json=body), 404)["type"] == "urn:problem:unknown-user"
    assert problem(client.put("/users/1/mutes/7", json=body), 404)["type"] == "urn:problem:unknown-rule"
    assert problem(client.get("/users/1/mutes"), 404)["type"] == "urn:problem:unknown-user"
