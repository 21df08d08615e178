"""What callers and people see of a user whose old actions have been removed."""

from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy.orm import Session, sessionmaker

from database.alert_evidence import Numbers, actions_by_seq, numbers_at
from database.pruning import prune_user
from database.user_timeline import reached
from tests.contract.helpers import an_event, problem
from tests.postgres import transaction

CUT = 100
# Four withdrawals before the last are behind each alert of rule 30 here.
AMOUNTS = {10: "150.00", 20: "1.00", 30: "1.00", 100: "150.00", 110: "1.00", 120: "1.00"}
PROVED, UNPROVED, GONE = "7-6-30", "7-4-30", "7-1-1100"


def an_old_one(time: int) -> dict[str, Any]:
    return an_event(type="withdraw", user_id=7, time=time, amount=AMOUNTS[time], event_id=f"at {time}")


@pytest.fixture
def sessions_before(sessions: sessionmaker[Session], client: FlaskClient) -> sessionmaker[Session]:
    """A user with six withdrawals, none of them removed yet."""
    assert client.post("/users", json={"user_id": 7, "total": "400.00"}).status_code == 201
    answered = [client.post("/event", json=an_old_one(time)).get_json()["alert_codes"] for time in AMOUNTS]
    assert answered == [[1100], [], [30], [1100, 30], [30], [30]]
    return sessions


@pytest.fixture
def pruned(client: FlaskClient, sessions_before: sessionmaker[Session]) -> FlaskClient:
    """A client of the application in which the first three are gone."""
    with transaction(sessions_before) as session:
        removed = prune_user(session.connection(), 7, CUT, 10)
    assert (removed.actions, removed.alerts, removed.open_alerts, removed.is_done) == (3, 2, 2, True)
    return client


def test_events_before_the_cut_are_refused(pruned: FlaskClient) -> None:
    """Alone, among others and as a dry run: new ones, and those that are sent again; from the cut on they are not."""
    refused = problem(pruned.post("/event", json=an_event(user_id=7, time=CUT - 1)), 409)
    assert refused["type"] == "urn:problem:pruned"
    assert refused["detail"] == "The user's actions before time 100 have been removed."
    assert problem(pruned.post("/event", json=an_old_one(30)), 409)["type"] == "urn:problem:pruned"
    assert problem(pruned.post("/event?dry_run=true", json=an_old_one(30)), 409)["type"] == "urn:problem:pruned"
    replayed = pruned.post("/event", json=an_old_one(100))
    assert (replayed.status_code, replayed.headers["Idempotent-Replayed"]) == (200, "true")
    events = [an_old_one(20), an_event(user_id=7, time=CUT), an_event(time=20)]
    answer = pruned.post("/events", json=events).get_json()
    assert (answer["accepted"], answer["rejected"]) == (2, 1)
    assert answer["results"][0]["problem"]["type"] == "urn:problem:pruned"


def test_what_is_left_is_listed(pruned: FlaskClient) -> None:
    """The balance is what it was; actions and alerts before the cut are gone."""
    user = pruned.get("/users/7").get_json()
    assert (user["balance"], user["pruned_before"]) == ("96.00", CUT)
    assert "pruned_before" not in pruned.post("/users", json={}).get_json()
    (left,) = pruned.get("/users/7/export").get_json()["checkpoints"]
    assert (left["type"], left["actions"], left["total"], left["first_time"]) == ("withdraw", 3, "152.00", 10)
    assert [one["seq"] for one in pruned.get("/users/7/actions").get_json()["actions"]] == [6, 5, 4]
    listed = [one["id"] for one in pruned.get("/alerts?user_id=7").get_json()["alerts"]]
    assert sorted(listed) == ["7-4-1100", "7-4-30", "7-5-30", "7-6-30"]
    problem(pruned.get(f"/alerts/{GONE}"), 404)


def test_what_cannot_be_proved_is_said(pruned: FlaskClient) -> None:
    """Whoever verifies an alert learns how many of its user's cannot be derived, and whether this one can."""
    for alert, is_unproved in ((PROVED, False), (UNPROVED, True)):
        answer = pruned.post(f"/alerts/{alert}/verify").get_json()
        unproved = {"alerts": 2, "this_alert": is_unproved}
        assert answer == {"same": True, "derived_from": 3, "differences": [], "unproved": unproved}
        page = pruned.post(f"/desk/alerts/{alert}/proof").text
        assert ("2 alerts of this user, this one among them, were raised with events" in page) == is_unproved
        assert ("2 alerts of this user were raised with events" in page) != is_unproved
        today = pruned.get(f"/desk/alerts/{alert}/today").text
        assert ("not known" in today, "would</strong> fire" in today) == (is_unproved, not is_unproved)
        assert pruned.get(f"/desk/alerts/{alert}").status_code == 200


def test_balances_and_numbers_are_what_they_were(sessions_before: sessionmaker[Session]) -> None:
    """Those after each action that is left, at each moment, and up to each time from the cut on."""

    def shown() -> list[Any]:
        with sessions_before() as session:
            placed = actions_by_seq(session, 7, [4, 5, 6])
            return [placed, numbers_at(session, 7, [CUT - 1, 110]), reached(session, 7, [CUT - 1, 105, 200])]

    before = shown()
    with transaction(sessions_before) as session:
        prune_user(session.connection(), 7, CUT, 10)
    assert shown() == before
    with transaction(sessions_before) as session:
        prune_user(session.connection(), 7, 1_000, 10)
    with sessions_before() as session:
        assert reached(session, 7, [2_000])[0].net == -304
        assert numbers_at(session, 7, [2_000])["withdraw", 2_000] == Numbers(6, Decimal("304.00"))


def test_the_page_of_a_user(pruned: FlaskClient, sessions: sessionmaker[Session]) -> None:
    """It has the balance as it is, and its pictures begin with what there was at the cut."""
    page = pruned.get("/desk/users/7")
    assert page.status_code == 200
    assert "96.00" in page.text
    assert "have been pruned. The balance goes on from them." in page.text
    with transaction(sessions) as session:
        prune_user(session.connection(), 7, 1_000, 10)
    assert "All actions have been pruned." in pruned.get("/desk/users/7").text
