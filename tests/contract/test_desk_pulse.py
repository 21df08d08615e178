"""The pulse: what a page of the inbox learns of its list while it is open."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.event import listen

from rules.service import Service
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, codes
from tests.keys import add_key, bearer, look
from tests.postgres import transaction


@pytest.fixture
def inbox(client: FlaskClient, sessions: Sessions) -> FlaskClient:
    """Three alerts that were raised long before."""
    for time in (10, 30, 50):
        assert codes(client, type="withdraw", amount="150.00", user_id=1, time=time)[0] == 1100
    with transaction(sessions) as session:
        session.execute(text("DELETE FROM alerts WHERE code <> 1100"))
        session.execute(text("UPDATE alerts SET touched_at = now() - interval '1 day'"))
    return client


def tag_of(client: FlaskClient) -> str:
    """The tag of a pulse now."""
    answer = client.get("/desk/pulse")
    assert (answer.status_code, answer.text) == (204, "")
    return answer.headers["Pulse-Tag"]


def pulse(client: FlaskClient, **query: Any) -> dict[str, Any] | None:
    """What a pulse of the inbox says; None if it has nothing to say."""
    answer = client.get("/desk/pulse", query_string=query)
    assert datetime.fromisoformat(answer.headers["Pulse-Tag"]).tzinfo is not None
    assert answer.headers["Cache-Control"] == "private, no-store"
    if answer.status_code == 204:
        return None
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


SHOWN = "1-3-1100,1-2-1100,1-1-1100"


def test_nothing_new(inbox: FlaskClient) -> None:
    """A 204, again and again; each tag is later than the one before."""
    first = tag_of(inbox)
    again = inbox.get("/desk/pulse", query_string={"since": first, "shown": SHOWN})
    assert again.status_code == 204
    assert datetime.fromisoformat(again.headers["Pulse-Tag"]) > datetime.fromisoformat(first)


def test_a_new_alert_and_one_that_changed(inbox: FlaskClient, sessions: Sessions) -> None:
    """Which is new and which has changed, with the numbers of the rail; what is shown already is not new."""
    tag = tag_of(inbox)
    codes(inbox, type="withdraw", amount="150.00", user_id=2, time=60)
    inbox.patch("/alerts/1-1-1100", json={"status": "closed", "outcome": "false_positive"})
    found = pulse(inbox, since=tag, shown=SHOWN)
    assert found is not None
    assert (found["new"], found["gone"], [*found["changed"]]) == (["2-1-1100"], [], ["1-1-1100"])
    assert found["rail"] == {"open": "3", "mine": "0"}
    assert not found["more"]
    found = pulse(inbox, since=tag, shown=f"2-1-1100,{SHOWN}")
    assert found is not None
    assert (found["new"], {*found["changed"]}) == ([], {"2-1-1100", "1-1-1100"})
    with transaction(sessions) as session:
        stored = session.execute(text("SELECT touched_at FROM alerts WHERE seq = 1 AND user_id = 1")).scalar_one()
    assert found["changed"]["1-1-1100"] == stored.isoformat()


def test_it_asks_from_before_its_tag(inbox: FlaskClient, sessions: Sessions) -> None:
    """A transaction that touched an alert before the tag may be seen only after it."""
    tag = datetime.fromisoformat(tag_of(inbox))
    for before, is_found in ((9, True), (11, False)):
        with transaction(sessions) as session:
            touch = text("UPDATE alerts SET touched_at = :at WHERE seq = 2")
            session.execute(touch, {"at": tag - timedelta(seconds=before)})
        assert (pulse(inbox, since=tag.isoformat(), shown=SHOWN) is not None) == is_found


def test_only_what_fits_the_list_is_new(inbox: FlaskClient) -> None:
    """Others that were touched do not fit, or not any more."""
    tag = tag_of(inbox)
    codes(inbox, type="withdraw", amount="150.00", user_id=2, time=60)
    for query, new in (({"code": 1100}, True), ({"code": 30}, False), ({"user_id": 1}, False), ({"from": 61}, False)):
        found = pulse(inbox, since=tag, shown=SHOWN, **query)
        assert found is not None
        assert (found["new"], found["gone"]) == ((["2-1-1100"], []) if new else ([], ["2-1-1100"])), query
    assert pulse(inbox, since=tag, tab="shadow") is None


def test_a_late_event_lands_in_the_middle(inbox: FlaskClient) -> None:
    """Its alert is new on the page on which it stands, and on no other one."""
    tag = tag_of(inbox)
    codes(inbox, type="withdraw", amount="150.00", user_id=2, time=40)
    pages: list[tuple[dict[str, str], bool]] = [
        ({"shown": "1-3-1100", "ends": "50-1-3-1100"}, False),
        ({"shown": "1-3-1100,1-2-1100", "ends": "30-1-2-1100"}, True),
        ({"shown": "1-2-1100,1-1-1100", "cursor": "50-1-3-1100"}, True),
        ({"shown": "1-1-1100", "cursor": "30-1-2-1100"}, False),
        ({"shown": "1-1-1100,1-2-1100", "sort": "oldest", "ends": "30-1-2-1100"}, False),
        ({"shown": "1-3-1100", "sort": "oldest", "cursor": "30-1-2-1100"}, True),
    ]
    for query, is_new in pages:
        found = pulse(inbox, since=tag, **query)
        assert (found["new"] if found else []) == (["2-1-1100"] if is_new else []), query


def test_a_superseded_alert(client: FlaskClient) -> None:
    """A late event that proves an alert wrong changes its row."""
    for time, amount in ((10, "10.00"), (20, "20.00"), (30, "30.00")):
        codes(client, amount=amount, time=time)
    tag = tag_of(client)
    codes(client, amount="15.00", time=25)
    found = pulse(client, since=tag, shown="1-3-300")
    assert found is not None
    assert [*found["changed"]] == ["1-3-300"]
    row = client.get("/desk/rows", query_string={"ids": "1-3-300", "list": "code=300"}).text
    assert 'hx-target="#alert-1-3-300"' in row
    assert "superseded" in row
    assert 'href="/desk/alerts/1-3-300?list=code%3D300"' in row


def test_very_many_at_once(inbox: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the new ones the newest are named; whichever of those shown has changed is named in any case."""
    monkeypatch.setattr("routes.desk.pulse.MOST_TOUCHED", 2)
    tag = tag_of(inbox)
    inbox.post("/alerts/1-1-1100/notes", json={"note": "before the others"})
    for user_id in (2, 3, 4):
        codes(inbox, type="withdraw", amount="150.00", user_id=user_id, time=60)
    found = pulse(inbox, since=tag, shown=SHOWN)
    assert found is not None
    assert (found["new"], [*found["changed"]], found["more"]) == (["4-1-1100", "3-1-1100"], ["1-1-1100"], True)


@pytest.mark.parametrize(
    "query", ["since=yesterday", "shown=1-1", "ends=1-2", "code=x", "shown=" + ",".join(["1-1-1"] * 101)]
)
def test_a_question_that_cannot_be(client: FlaskClient, query: str) -> None:
    """It is refused."""
    assert client.get(f"/desk/pulse?{query}").status_code == 400


def test_alerts_that_cannot_be(inbox: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is not asked for them: for numbers that are too large for its columns it would read every alert."""
    monkeypatch.setattr("routes.desk.pulse.MOST_TOUCHED", 1)
    asked: list[str] = []
    for engine in Service.of(inbox.application.extensions).engines.all:
        listen(engine, "before_cursor_execute", lambda *call: asked.append(str(call[2:4])))
    ids = "1-1-1100,9223372036854775808-1-30,1-9999999999999999999-30,1-1-2147483648"
    assert 'data-alert="1-1-1100"' in inbox.get(f"/desk/rows?ids={ids}").text
    found = pulse(inbox, since="0001-01-01T00:00:00Z", shown=ids)
    assert found is not None
    assert [*found["changed"]] == ["1-1-1100"]
    assert not [one for one in asked if re.search("9223372036854775808|9999999999|2147483648", one)]


def test_it_takes_a_key_that_may_read(make_client: ClientMaker, sessions: Sessions) -> None:
    """A page whose session has ended is told so; one row is read like another."""
    client = make_client()
    key = add_key(sessions, scopes=["ingest"])
    look(client.application)
    for path in ("/desk/pulse", "/desk/rows?ids=1-1-1100"):
        assert client.get(path, headers={"Accept": "application/json"}).status_code == 401
        assert client.get(path, headers=bearer(key)).status_code == 403
