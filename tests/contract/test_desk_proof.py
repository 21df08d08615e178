"""The proof page of an alert: everything that proves it, on one sheet."""

import re
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from app import create_app
from config_loader import load_settings
from tests.contract.helpers import Sessions
from tests.contract.test_desk_alert import HOSTILE, HTML, page_of, said, words_of
from tests.postgres import transaction
from tests.service import PATIENT


@pytest.fixture
def dated(database_url: str) -> Iterator[FlaskClient]:
    """A client of a service whose times are seconds since 1970."""
    app = create_app(load_settings(None, **(PATIENT | {"database_url": database_url, "time_is_epoch": True})))
    yield app.test_client()
    app.extensions["transaction-alerts"].dispose()


def prove(client: FlaskClient) -> None:
    """Makes 7-2-1100, with all that a proof can have."""
    client.post("/users", json={"user_id": 7, "name": HOSTILE})
    client.patch("/users/7", json={"risk": "high", "overrides": {"30": {"count": 2}}, "note": f"watched {HOSTILE}"})
    client.put("/rules/1100", json={"parameters": {"threshold": "120.00"}, "note": f"as agreed {HOSTILE}"})
    event = {"type": "withdraw", "user_id": 7, "amount": "150.00"}
    for number, event_id in enumerate(("first", f"{HOSTILE}&", "third")):
        answer = client.post("/event", json=event | {"event_id": event_id, "time": 1_790_000_000 + number})
        assert answer.status_code == 200
    note = f"{HOSTILE}\n" + "long " * 700
    change = {"status": "closed", "outcome": "true_positive", "note": note}
    assert client.patch("/alerts/7-2-1100", json=change).status_code == 200
    for number in range(103):
        client.post("/alerts/7-2-1100/notes", json={"note": f"line {number:03}"})


def test_it_is_complete(dated: FlaskClient) -> None:
    """Ids, evidence, actions, the rule and its author, the user's settings, the answer, all of the history."""
    prove(dated)
    html = page_of(dated, "7-2-1100/proof")
    found = words_of(html)
    assert HOSTILE not in html
    for expected in (
        "Proof of alert 7-2-1100",
        "A withdrawal of 150.00 is over 60.00.",
        "#2: withdrawal of 150.00 at 2026-09-21",
        "(1790000001)",
        f"Event id {HOSTILE}&",
        "The event was answered 1100, 30",
        "Measured 150.00; threshold 60.00",
        "threshold 60.00 (scaled by the rating high (times 0.5))",
        '"rule_version": 2',
        '"actions": [2],',
        "Rule 1100, version 2 (active)",
        "Author anonymous",
        f"Note as agreed {HOSTILE}",
        '{"threshold": "120.00"}',
        "version 1: rated high, set",
        f"Note watched {HOSTILE}",
        'Overrides {"30": {"count": 2}}',
        "anonymous status open → closed",
        "line 000",
        "line 102",
        "curl -X POST http://localhost/alerts/7-2-1100/verify",
    ):
        assert expected in found, expected
    assert 'href="/alerts/7-2-1100"' in html
    assert 'hx-post="/desk/alerts/7-2-1100/verify" hx-trigger="load"' in html
    csv = dated.get("/alerts.csv?user_id=7&code=1100&from=1790000001&to=1790000001&snoozed=any&muted=any")
    assert len(csv.text.strip().splitlines()) == 2


def test_a_very_long_history(dated: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest lines are on it, and which is the first of them."""
    monkeypatch.setattr("routes.desk.alert_proof.MOST_LINES", 50)
    prove(dated)
    found = said(dated, "7-2-1100/proof")
    assert re.findall(r"line \d{3}", found) == [f"line {number:03}" for number in range(53, 103)]
    assert "are left out" in found


def test_it_says_whether_all_is_the_same(client: FlaskClient, sessions: Sessions) -> None:
    """Without a script, the page with its verification is one form away."""
    client.post("/event", json={"type": "withdraw", "user_id": 1, "amount": "150.00", "time": 10})
    assert "Verify now" in said(client, "1-1-1100/proof")

    def verification() -> str:
        answer = client.post("/desk/alerts/1-1-1100/proof", data={}, headers=HTML)
        assert answer.status_code == 200
        return words_of(answer.text)

    assert "The same: everything stored of this user follows from 1 event." in verification()
    with transaction(sessions) as session:
        session.execute(text("UPDATE user_actions SET alert_codes = '{30}'"))
    assert "it was answered with {30}, and raises {1100}" in verification()
    assert "The event was answered 30 : without 1100" in verification()


def test_late_shadow_and_superseded(client: FlaskClient) -> None:
    """The marks are on it, and why the alert is not in the answer."""
    client.put("/rules/500", json={"status": "shadow", "parameters": {"count": 1}})
    for amount, time in (("120.00", 100), ("60.00", 125), ("50.00", 110)):
        client.post("/event", json={"type": "deposit", "user_id": 6, "amount": amount, "time": time})
    late = said(client, "6-2-123/proof")
    assert "The event was answered no alert codes" in late
    assert "Marks late" in late
    assert "It was raised when event #3 (a deposit of 50.00 at 110) arrived" in late
    assert "Marks shadow" in said(client, "6-2-500/proof")
    assert client.post("/desk/alerts/9-9-9/proof", data={}, headers=HTML).status_code == 404
