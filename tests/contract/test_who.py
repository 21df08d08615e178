"""Who did what: the name of the key, in versions, in settings and in the log of changes, whatever a body says."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from database.models import LogEntry
from tests.conftest import ClientMaker
from tests.contract.helpers import NOTHING, Sessions, counts, pointers, problem
from tests.keys import add_key, bearer
from tests.long_history import lasting


@pytest.fixture
def ada(make_client: ClientMaker, sessions: Sessions) -> FlaskClient:
    """A client that sends Ada's key with every request."""
    client = make_client()
    client.environ_base["HTTP_AUTHORIZATION"] = bearer(add_key(sessions))["Authorization"]
    return client


def log(sessions: Sessions) -> list[Any]:
    """All entries of the log, oldest first, as (who, kind, subject, what, before, after, note)."""
    with sessions() as session:
        rows = session.query(LogEntry).order_by(LogEntry.entry_id).all()
        return [(row.who, row.kind, row.subject, row.what, row.before, row.after, row.note) for row in rows]


def test_a_rule(ada: FlaskClient, sessions: Sessions) -> None:
    """A new version of a rule has the key's name, and an entry in the log."""
    changed = ada.put("/rules/30", json={"parameters": {"count": 4}, "author": "Ada", "note": "Why."}).get_json()
    assert (changed["author"], changed["note"]) == ("Ada", "Why.")
    before = {"version": 1, "status": "active", "parameters": {"count": 3}, "by_risk": {}}
    assert log(sessions) == [
        ("Ada", "rule", "30", "set", before, before | {"version": 2, "parameters": {"count": 4}}, "Why.")
    ]


def test_a_user(ada: FlaskClient, sessions: Sessions) -> None:
    """So does a change of how a user is judged; to make one is noted if it is not judged like all others."""
    ada.post("/users", json={"user_id": 1})
    ada.post("/users", json={"user_id": 2, "risk": "low"})
    ada.patch("/users/2", json={"risk": "high", "overrides": {"30": {"count": 4}}, "note": "Watched."})
    made = {"version": 1, "risk": "low", "overrides": {}}
    changed = {"version": 2, "risk": "high", "overrides": {"30": {"count": 4}}}
    assert log(sessions) == [
        ("Ada", "user", "2", "created", None, made, None),
        ("Ada", "user", "2", "changed", made, changed, "Watched."),
    ]
    with sessions() as session:
        assert session.scalars(text("SELECT author FROM user_settings WHERE version > 1")).all() == ["Ada"]


def test_a_backtest(ada: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who starts and who cancels a backtest is noted; cancelling one that has ended is nothing."""
    with lasting(tmp_path) as command:
        monkeypatch.setattr("rules.hindsight.start.COMMAND", command)
        assert ada.post("/backtests", json={"from": 5}).status_code == 202
        problem(ada.post("/backtests", json={}), 409)
        for _ in range(2):
            assert ada.delete("/backtests/1").status_code == 202
        problem(ada.delete("/backtests/2"), 404)
    found = log(sessions)
    assert [entry[:4] for entry in found] == [("Ada", "backtest", "1", what) for what in ("started", "cancelled")]
    assert found[0][5]["from"] == 5


@pytest.mark.parametrize(("method", "path"), [("PUT", "/rules/30"), ("PATCH", "/users/1")])
def test_an_author_who_is_not_the_caller(ada: FlaskClient, sessions: Sessions, method: str, path: str) -> None:
    """A body that names somebody else is a 400 that says so, and changes nothing."""
    ada.post("/users", json={"user_id": 1})
    for other in ("Bob", "ada", "anonymous", "Ada "):
        assert pointers(ada.open(path, method=method, json={"note": "x", "author": other})) == ["/author"]
    assert log(sessions) == []
    authors: tuple[str | None, ...] = ("Ada", None)
    for author in authors:
        assert ada.open(path, method=method, json={"note": "x", "author": author}).status_code == 200


def test_without_keys_it_is_anonymous(client: FlaskClient, sessions: Sessions) -> None:
    """Where there are no keys, changes are anonymous, and nobody can be named."""
    assert pointers(client.put("/rules/30", json={"author": "Ada"})) == ["/author"]
    assert client.put("/rules/30", json={"note": "x"}).get_json()["author"] == "anonymous"
    assert [entry[0] for entry in log(sessions)] == ["anonymous"]


def test_a_rating_needs_more_than_events(make_client: ClientMaker, sessions: Sessions) -> None:
    """A key for events makes users, but how they are judged needs the scope for tuning."""
    headers = bearer(add_key(sessions, scopes=["ingest"]))
    client = make_client()
    for risk in ("low", "high"):
        document = problem(client.post("/users", json={"user_id": 1, "risk": risk}, headers=headers), 403)
        assert "tune" in document["detail"]
    assert counts(sessions) == NOTHING
    assert client.post("/users", json={"user_id": 1, "risk": "normal"}, headers=headers).status_code == 201
    both = bearer(add_key(sessions, "Bob", scopes=["ingest", "tune"]))
    assert make_client().post("/users", json={"user_id": 2, "risk": "low"}, headers=both).status_code == 201
    assert [entry[:4] for entry in log(sessions)] == [("Bob", "user", "2", "created")]


def test_what_is_refused_is_not_noted(ada: FlaskClient, sessions: Sessions) -> None:
    """Only what has changed something stands in the log."""
    problem(ada.put("/rules/30", json={"parameters": {"count": 0}}), 400)
    problem(ada.put("/rules/30", json={"status": "off"}, headers={"If-Match": '"7-1"'}), 412)
    problem(ada.patch("/users/1", json={"risk": "high"}), 404)
    assert log(sessions) == []
