"""`POST /alerts/{id}/verify`: whether what is stored of one user follows from the user's actions."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from sqlalchemy import text

from rules.hindsight import verify_user
from rules.hindsight.verify_user import UserVerifier
from rules.model import Event
from rules.registry import DEFAULT_CODES
from rules.service import Service as Judging
from tests.contract.helpers import Sessions, an_event, problem
from tests.integration.test_hindsight import TAMPERED, Live, forget_rules, places, record
from tests.integration.test_hindsight import short_stretches as short_stretches  # used by pytest
from tests.postgres import transaction
from tests.service import Service
from tests.waiting import PATIENCE

LOUD = an_event(type="withdraw", amount="150.00", user_id=7)


def post_loud(client: FlaskClient, count: int = 3) -> None:
    """Withdrawals of one user, each of which raises an alert."""
    for time in range(count):
        assert client.post("/event", json=LOUD | {"time": 10 + time}).status_code == 200


def verified(client: FlaskClient, alert: str = "7-1-1100") -> dict[str, Any]:
    """What verifying an alert answers."""
    answer = client.post(f"/alerts/{alert}/verify")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def test_the_same(client: FlaskClient) -> None:
    """Everything follows: the answer says from how many actions."""
    post_loud(client)
    assert verified(client) == {"same": True, "derived_from": 3, "differences": []}


def test_after_late_events_and_changes(client: FlaskClient) -> None:
    """Alerts that were superseded, raised late, and raised by other settings still follow."""
    post_loud(client)
    client.patch("/users/7", json={"risk": "high", "overrides": {"1100": {"threshold": "5.00"}}})
    for event in (LOUD | {"amount": "6.00", "time": 5}, LOUD | {"type": "deposit", "time": 11}):
        client.post("/event", json=event)
    client.put("/rules/1100", json={"status": "off"})
    alerts = client.get("/alerts?user_id=7").get_json()["alerts"]
    assert {alert["superseded"] for alert in alerts} == {True, False}
    for alert in alerts:
        assert verified(client, alert["id"]) == {"same": True, "derived_from": 5, "differences": []}


def test_what_a_difference_says(client: FlaskClient, sessions: Sessions) -> None:
    """Which alert or action, which field, what is stored and what follows; also of the user's other alerts."""
    post_loud(client)
    with transaction(sessions) as session:
        session.execute(text("UPDATE alerts SET late = true WHERE user_id = 7 AND seq = 2"))
        session.execute(text("UPDATE user_actions SET alert_codes = '{30}' WHERE user_id = 7 AND seq = 1"))
        session.execute(text("UPDATE users SET net = 0 WHERE user_id = 7"))
    late = "its own action raised it, and it is marked late"
    expected = [
        (None, None, None, "totals", {"count": 3, "sum": "0.00"}, {"count": 3, "sum": "-450.00"}),
        (None, 1, None, "alert_codes", [30], [1100]),
        ("7-2-1100", 2, 1100, "late", True, False),
    ]
    found = verified(client)
    assert (found["same"], found["derived_from"]) == (False, 3)
    assert [tuple(one.values())[:6] for one in found["differences"]] == expected
    assert found["differences"][2]["detail"] == late


def test_unknown(client: FlaskClient) -> None:
    """An alert that is not there is a 404, whether its user is there or not."""
    post_loud(client, 1)
    for alert in ("7-1-30", "7-2-1100", "8-1-1100"):
        assert problem(client.post(f"/alerts/{alert}/verify"), 404)["type"] == "urn:problem:unknown-alert"


def test_it_finds_what_was_altered(sessions: Sessions, database_url: str, subtests: pytest.Subtests) -> None:
    """Whatever the verification of all users finds, that of the altered user finds; others' stay the same."""
    verifier = UserVerifier(database_url)
    for what, (statement, expected) in TAMPERED.items():
        with subtests.test(what):
            forget_rules(sessions)
            live = Live(sessions, DEFAULT_CODES)
            record(live)
            with transaction(sessions) as session:
                session.execute(text(statement.format(**places(live.users))))
            there = "SELECT DISTINCT ON (user_id) user_id, seq, code FROM alerts WHERE user_id BETWEEN :first AND :last"
            for user_id, seq, code in live.rows(f"{there} ORDER BY user_id, seq, code"):
                report = verifier.verify(user_id, seq, code)
                assert report is not None
                found = [(one.user_id - live.first, *one[1:4]) for one in report.differences]
                assert sorted(found, key=str) == sorted(
                    (one for one in expected if one[0] == user_id - live.first), key=str
                )


def test_too_many_actions(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with more actions than may be judged again is a 422."""
    monkeypatch.setattr(verify_user, "MOST_ACTIONS", 3)
    post_loud(client)
    assert verified(client)["same"] is True
    post_loud(client, 1)
    assert problem(client.post("/alerts/7-1-1100/verify"), 422)["type"] == "urn:problem:too-many-actions"


def test_it_takes_too_long(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does one that is not done in time, and its place is free again."""
    monkeypatch.setattr(verify_user, "STRETCH", 1)
    post_loud(client)
    monkeypatch.setattr(verify_user, "WORK", 0.0)
    for _ in range(verify_user.AT_ONCE + 1):
        assert problem(client.post("/alerts/7-1-1100/verify"), 422)["type"] == "urn:problem:takes-too-long"


def test_too_many_at_once(client: FlaskClient) -> None:
    """If as many are under way as may be, it is a 503."""
    post_loud(client, 1)
    own = Judging.of(client.application.extensions).verifier
    for _ in range(verify_user.AT_ONCE):
        own._places.acquire()
    assert problem(client.post("/alerts/7-1-1100/verify"), 503)["type"] == "urn:problem:overloaded"
    own._places.release()
    assert verified(client)["same"] is True


def test_it_rests_in_between(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each stretch of actions, and within a repair too, it sleeps for as long as that has worked."""
    rests: list[float] = []
    monkeypatch.setattr("rules.hindsight.verify_user.sleep", rests.append)
    monkeypatch.setattr(verify_user, "STRETCH", 2)
    post_loud(client, 10)
    assert verified(client)["same"] is True
    assert (len(rests), min(rests) >= 0) == (5, True)
    client.post("/event", json=LOUD | {"time": 1})
    rests.clear()
    assert verified(client)["same"] is True
    assert len(rests) > 16  # in time, as they came, and those that the late one reaches


def test_while_events_come(start_service: Callable[..., Service]) -> None:
    """It sees one state of the database: whatever is stored meanwhile, late events too, there is no difference."""
    service = start_service(WORKERS="1")
    session = requests.Session()

    def post(number: int) -> None:
        time = number if number % 3 else 1000 - number
        requests.post(f"{service.url}/event", json=LOUD | {"time": time}, timeout=PATIENCE).raise_for_status()

    post(1)
    with ThreadPoolExecutor(4) as threads:
        posting = [threads.submit(post, number) for number in range(2, 150)]
        counts = []
        while not all(one.done() for one in posting):
            found = session.post(f"{service.url}/alerts/7-1-1100/verify", timeout=PATIENCE).json()
            assert (found["same"], found["differences"]) == (True, [])
            counts.append(found["derived_from"])
        for one in posting:
            one.result()
    assert counts == sorted(counts)


def test_a_user_with_nothing_but_late_events(sessions: Sessions, database_url: str) -> None:
    """Each is judged again with those before it: what the repairs raised and took away follows."""
    live = Live(sessions, DEFAULT_CODES)
    for time in range(60, 0, -1):
        live.post([Event(live.first + 1, "withdraw", Decimal("150.00"), time)])
    report = UserVerifier(database_url).verify(live.first + 1, 1, 1100)
    assert report is not None
    assert (report.differences, report.actions) == ([], 60)
    assert report.alerts > 100
