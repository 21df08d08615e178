"""The page of an alert: why it was raised, how it came late, what stands around it, and whether it would be today."""

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from markupsafe import Markup
from sqlalchemy import text
from werkzeug.test import TestResponse

from app import create_app
from config_loader import load_settings
from database import alert_evidence
from database.session import make_sessions
from rules.hindsight import verify_user
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, codes
from tests.keys import add_key, look
from tests.postgres import engine_on, transaction
from tests.service import PATIENT


@pytest.fixture(scope="module")
def shared(shared_database_url: str) -> Iterator[FlaskClient]:
    """A client for tests that change no rule: each has users of its own."""
    app = create_app(load_settings(None, **(PATIENT | {"database_url": shared_database_url})))
    yield app.test_client()
    app.extensions["transaction-alerts"].dispose()


@pytest.fixture(scope="module")
def shared_sessions(shared_database_url: str) -> Iterator[Sessions]:
    """Sessions on its database."""
    with engine_on(shared_database_url) as engine:
        yield make_sessions(engine)


HTML = {"Accept": "text/html"}
PART = {"HX-Request": "true"}
HOSTILE = "<script>alert('x')</script>"


def page_of(client: FlaskClient, path: str, **headers: str) -> str:
    """The HTML of a page below those of alerts."""
    answer = client.get(f"/desk/alerts/{path}", headers=HTML | headers)
    assert answer.status_code == 200, answer.text
    return answer.text


def words_of(html: str) -> str:
    """What a page says, without its tags."""
    return unescape(Markup(re.sub(r"<[^>]*>", " ", html)).striptags())


def said(client: FlaskClient, path: str) -> str:
    """What a page says."""
    return words_of(page_of(client, path))


def links(html: str, attribute: str) -> list[str]:
    """Where the links with an attribute lead."""
    return [unescape(found) for found in re.findall(rf'<a [^>]*{attribute}[^>]*href="([^"]*)"', html)]


def withdraw(client: FlaskClient, user_id: int, amount: str, time: int) -> None:
    """A withdrawal."""
    codes(client, type="withdraw", user_id=user_id, amount=amount, time=time)


def late_and_superseded(client: FlaskClient, user_id: int) -> None:
    """Makes two alerts of a user: 2-123, which event #3 raised late, and 6-30, which the late event #7 took away."""
    for amount, time in (("120.00", 100), ("60.00", 125), ("50.00", 110)):
        codes(client, user_id=user_id, amount=amount, time=time)
    for time in (200, 210, 220):
        withdraw(client, user_id, "10.00", time)
    codes(client, user_id=user_id, amount="5.00", time=215)


def test_figures_and_their_origin(client: FlaskClient) -> None:
    """What was measured against what, and where each parameter came from, by the rating of that moment."""
    client.post("/users", json={"user_id": 7, "name": "Ada", "risk": "high"})
    client.patch("/users/7", json={"overrides": {"30": {"count": 2}}})
    client.put("/rules/300", json={"by_risk": {"high": {"count": 2}}, "note": "sooner"})
    withdraw(client, 7, "60.00", 10)
    withdraw(client, 7, "20.00", 20)
    codes(client, user_id=7, amount="1.00", time=30)
    codes(client, user_id=7, amount="2.00", time=40)
    client.patch("/users/7", json={"risk": "low"})
    found = said(client, "7-1-1100")
    assert "Measured 60.00 Threshold 50.00 Difference 10.00 over (20 %)" in found
    assert "threshold 50.00 scaled by the rating high (times 0.5)" in found
    assert "The user was rated high" in found
    assert "count 2 this user's override" in said(client, "7-2-30")
    by_risk = said(client, "7-4-300")
    assert "count 2 the rule's value for users rated high" in by_risk
    assert re.search(r"version 2 , set .* by anonymous", by_risk)
    assert 'href="/desk/rules/300?before=3#version-2"' in page_of(client, "7-4-300")


def test_the_chart_and_the_table_agree(shared: FlaskClient) -> None:
    """The actions behind the alert are marked in the one and listed in the other, with the balance after each."""
    for amount, time in (("20.00", 0), ("90.00", 100), ("70.00", 112), ("60.00", 118), ("5.00", 121)):
        codes(shared, user_id=2, amount=amount, time=time)
    html = page_of(shared, "2-4-123")
    assert re.findall(r'<g class="action deposit counts"><title>#(\d+)', html) == ["2", "3", "4"]
    assert re.findall(r'<g class="action deposit"><title>#(\d+)', html) == ["5"]
    assert "#3 112 Deposit 70.00 180.00" in words_of(html)
    assert re.search(r'role="img" aria-label="4 actions from .*shaded: window of 30 s\."', html)


def test_actions_that_are_not_listed(client: FlaskClient) -> None:
    """Those of a sum are found by what the rule looks back at: exactly as many as the alert says."""
    client.put("/rules/660", json={"status": "active", "parameters": {"threshold": "100.00"}})
    codes(client, user_id=3, amount="500.00", time=5)
    for time in (10, 20, 30):
        withdraw(client, 3, "40.00", time)
    html = page_of(client, "3-4-660")
    assert re.findall(r'counts"><title>#(\d+)', html) == ["2", "3", "4"]
    assert "The alert names 1 of 3 actions." in words_of(html)
    assert "left out" not in words_of(html)


def test_many_actions_are_summed_up(shared: FlaskClient) -> None:
    """A crowd is drawn in columns, whose sums are exact, and what is not listed is counted."""
    events = [{"type": "deposit", "amount": "1.00", "user_id": 4, "time": 1_000 + at // 20} for at in range(600)]
    late = {"type": "deposit", "amount": "7.00", "user_id": 4, "time": 1_001}
    assert shared.post("/events", json=[*events, late]).get_json()["accepted"] == 601
    html = page_of(shared, "4-600-123")
    assert "601 actions: each column is the sum of 1 s." in words_of(html)
    assert html.count('class="column') < 150
    assert "21 deposits of 27.00 from 1001 to 1001" in html
    assert "500 older are not listed." in words_of(html)


def test_raised_late(shared: FlaskClient) -> None:
    """The story names the event that raised the alert."""
    late_and_superseded(shared, 61)
    found = said(shared, "61-2-123")
    assert "Event #2 at 125 did not raise this alert when it came, so the alert is not in the answer to it." in found
    assert "It was raised when event #3 (a deposit of 50.00 at 110) arrived" in found
    assert "its time is 15 s before that of event #2" in found


def test_superseded(shared: FlaskClient) -> None:
    """The story names the one event that can have taken it away, and work on the alert changes nothing of that."""
    late_and_superseded(shared, 62)
    shared.post("/alerts/62-6-30/notes", json={"note": "Looked at."})
    found = said(shared, "62-6-30")
    assert "It no longer holds since event #7 (a deposit of 5.00 at 215) arrived" in found
    assert "that belongs before event #6" in found


def test_a_late_event_among_very_many(shared: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not all that arrived later is looked at, less is said."""
    late_and_superseded(shared, 63)
    monkeypatch.setattr(alert_evidence, "ARRIVALS_SEEN", 0)
    assert "It was raised when a late event, which belongs before it, arrived" in said(shared, "63-2-123")
    assert "a late event changed what came before event #6" in said(shared, "63-6-30")


def test_shadow_snoozed_and_muted(client: FlaskClient) -> None:
    """What keeps an alert out of the answer, and of lists, is said."""
    client.put("/rules/1100", json={"status": "shadow"})
    withdraw(client, 5, "150.00", 10)
    client.patch("/alerts/5-1-1100", json={"snoozed_until": "2999-01-01T00:00:00Z"})
    assert "Rule 1100 was in shadow when it judged this event" in said(client, "5-1-1100")
    assert "Snoozed: lists leave it out until 2999-01-01 00:00:00 UTC" in said(client, "5-1-1100")
    withdraw(client, 5, "1.00", 20)
    withdraw(client, 5, "1.00", 30)
    mute = {"until": "2026-12-31T00:00:00Z", "note": "A test account."}
    answer = client.put("/users/5/mutes/30", json=mute)
    if answer.status_code == 400:  # the clock is past that
        return
    assert "Muted by anonymous" in said(client, "5-3-30")
    assert "A test account." in said(client, "5-3-30")


def test_other_alerts(shared: FlaskClient) -> None:
    """Those of the same event, and of the same user: open ones first, a bounded number."""
    for time in range(14):
        withdraw(shared, 8, "150.00", 10 + time)
    shared.patch("/alerts/8-14-30", json={"status": "closed", "outcome": "true_positive"})
    html = page_of(shared, "8-13-1100")
    others = re.findall(r'<ul class="others">(.*?)</ul>', html, re.DOTALL)
    assert re.findall(r"/desk/alerts/([-\d]+)", others[0]) == ["8-13-30"]
    of_user = re.findall(r"/desk/alerts/([-\d]+)", others[1])
    assert of_user[:2] == ["8-14-1100", "8-12-1100"]
    assert len(of_user) == 8
    assert "8-14-30" not in of_user
    assert "All alerts of user 8" in words_of(html)


def test_around_in_the_list(shared: FlaskClient) -> None:
    """Previous and next are those of the list one came from, and so is the way back, to the very row."""
    for time in (10, 20, 30):
        withdraw(shared, 9, "150.00", time)
    shared.patch("/alerts/9-2-1100", json={"status": "acknowledged"})
    written = "code=1100&user_id=9&sort=oldest"
    html = page_of(shared, f"9-2-1100?list={quote(written)}")
    with_list = f"?list={quote(written, safe='')}"
    assert links(html, 'rel="prev"') == [f"/desk/alerts/9-1-1100{with_list}"]
    assert links(html, 'rel="next"') == [f"/desk/alerts/9-3-1100{with_list}"]
    assert links(html, 'data-do="back"') == [f"/desk/?{written}#alert-9-2-1100"]
    last = page_of(shared, f"9-3-1100?list={quote(written)}")
    assert links(last, 'rel="next"') == []
    assert links(page_of(shared, "9-2-1100?list=code%3Dnonsense"), 'data-do="back"') == ["/desk/#alert-9-2-1100"]


def test_history_and_older_lines(shared: FlaskClient) -> None:
    """Oldest to newest, with who, from what to what and the note; a hundred lines, and a link to those before."""
    withdraw(shared, 101, "150.00", 10)
    shared.patch("/alerts/101-1-1100", json={"status": "acknowledged", "assignee": "Ada", "note": HOSTILE})
    found = page_of(shared, "101-1-1100")
    assert "anonymous status open → acknowledged" in re.sub(r"\s+", " ", words_of(found))
    assert HOSTILE not in found
    assert HOSTILE in words_of(found)
    for number in range(105):
        shared.post("/alerts/101-1-1100/notes", json={"note": f"note {number:03}"})
    found = page_of(shared, "101-1-1100")
    assert ("note 104" in found, "note 004" in found, "Older lines (7)" in found) == (True, False, True)
    older = re.search(r'href="/desk/alerts/(101-1-1100/history[^"]*)"', found)
    assert older is not None
    first = said(shared, older[1])
    assert ("note 004" in first, "note 005" in first, "open → acknowledged" in first) == (True, False, True)


def test_today(client: FlaskClient) -> None:
    """Whether the rule as it is set now would fire, and what has changed: by itself, and as a part of the page."""
    withdraw(client, 1, "150.00", 10)
    assert 'hx-get="/desk/alerts/1-1-1100/today" hx-trigger="load"' in page_of(client, "1-1-1100")
    same = said(client, "1-1-1100/today")
    assert "Under today's version 1 this would fire." in same
    assert "This user's parameters are the same as then." in same
    client.put("/rules/1100", json={"parameters": {"threshold": "200.00"}, "note": "less noise"})
    part = page_of(client, "1-1-1100/today", **PART)
    assert "<html" not in part
    assert "Under today's version 2 this would not fire." in words_of(part)
    assert "threshold 100.00 200.00 default" in words_of(part)
    client.patch("/users/1", json={"risk": "high"})
    assert "would fire." in said(client, "1-1-1100/today")
    client.patch("/users/1", json={"overrides": {"1100": {"threshold": "150.00"}}})
    found = said(client, "1-1-1100/today")
    assert "would not fire." in found
    assert "threshold 100.00 150.00 this user's override" in found
    client.put("/rules/1100", json={"status": "off"})
    assert "Rule 1100 is off today, so it would not fire." in said(client, "1-1-1100/today")


def test_today_after_a_late_event(shared: FlaskClient) -> None:
    """The history is that of now: what took an alert away keeps it from being raised."""
    late_and_superseded(shared, 64)
    assert "would not fire." in said(shared, "64-6-30/today")
    assert "would fire." in said(shared, "64-2-123/today")


def test_a_rule_that_is_gone(shared: FlaskClient, shared_sessions: Sessions) -> None:
    """Its alerts are still shown, with all that is stored of them."""
    withdraw(shared, 102, "150.00", 10)
    with transaction(shared_sessions) as session:
        session.execute(text("UPDATE alerts SET code = 99 WHERE user_id = 102"))
    html = page_of(shared, "102-1-99")
    assert "/desk/rules/" not in html.split("<main", 1)[1]
    found = words_of(html)
    assert "A withdrawal of 150.00 is over 100.00." in found
    assert "threshold 100.00 default" in found
    assert "Rule 99 is gone from the service" in said(shared, "102-1-99/today")
    assert "Rule 99" in said(shared, "102-1-99/proof")


def test_evidence_that_lacks_everything(shared: FlaskClient, shared_sessions: Sessions) -> None:
    """Even of an alert that somebody has emptied there is a page."""
    withdraw(shared, 103, "150.00", 10)
    with transaction(shared_sessions) as session:
        session.execute(text("UPDATE alerts SET evidence = '{}' WHERE user_id = 103"))
    for path in ("103-1-1100", "103-1-1100/today", "103-1-1100/proof"):
        page_of(shared, path)


@pytest.mark.parametrize("path", ["", "/today", "/history", "/proof"])
def test_unknown(shared: FlaskClient, path: str) -> None:
    """An alert that is not there is a page that says so."""
    answer = shared.get(f"/desk/alerts/9-9-9{path}", headers=HTML)
    assert (answer.status_code, "There is no alert 9-9-9." in answer.text) == (404, True)


def verified(client: FlaskClient, alert: str, **headers: str) -> TestResponse:
    """The answer to verifying an alert."""
    return client.post(f"/desk/alerts/{alert}/verify", data={}, headers=HTML | headers)


def test_verify(shared: FlaskClient, shared_sessions: Sessions) -> None:
    """The same, or different after somebody has altered a row: by itself, and as a part of the page."""
    withdraw(shared, 104, "150.00", 10)
    answer = verified(shared, "104-1-1100")
    assert (answer.status_code, "<html" in answer.text) == (200, True)
    assert "The same: everything stored of this user follows from 1 event." in words_of(answer.text)
    with transaction(shared_sessions) as session:
        session.execute(
            text("UPDATE alerts SET evidence = jsonb_set(evidence, '{measured}', '\"151.00\"') WHERE user_id = 104")
        )
    part = verified(shared, "104-1-1100", **PART)
    assert "<html" not in part.text
    assert "Different: 1 thing stored of this user does not follow from 1 event." in words_of(part.text)
    assert "its evidence is not what it was raised on" in part.text
    assert "151.00" in part.text


def test_verify_is_not_possible(shared: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why it was not done is said where the result would stand."""
    withdraw(shared, 105, "150.00", 10)
    monkeypatch.setattr(verify_user, "MOST_ACTIONS", 0)
    answer = verified(shared, "105-1-1100", **PART)
    assert (answer.status_code, "Not verified." in answer.text) == (200, True)
    assert "The command `verify` has no such bound." in answer.text
    assert shared.post("/desk/alerts/9-9-9/verify", headers=HTML).status_code == 404


def test_who_may(make_client: ClientMaker, sessions: Sessions) -> None:
    """Who may only read sees everything but the forms to work it, and may verify; others see nothing."""
    reader = add_key(sessions, "Rita", ["read"])
    worker = add_key(sessions, "Walt", ["read", "work", "ingest"])
    sender = add_key(sessions, "Sam", ["ingest"])
    client = make_client()
    look(client.application)
    event = {"type": "withdraw", "amount": "150.00", "user_id": 1, "time": 10}
    assert client.post("/event", json=event, headers=bearer(sender)).status_code == 200
    path = "/desk/alerts/1-1-1100"
    own, others = (client.get(path, headers=HTML | bearer(key)).text for key in (worker, reader))
    assert ("/1-1-1100/work" in own, "/1-1-1100/work" in others) == (True, False)
    assert "/1-1-1100/verify" in others
    assert client.post(f"{path}/verify", headers=HTML | bearer(reader)).status_code == 200
    for page in (path, f"{path}/today", f"{path}/proof", f"{path}/history"):
        assert client.get(page, headers=HTML | bearer(sender)).status_code == 403
    for action in (f"{path}/verify", f"{path}/proof"):
        assert client.post(action, headers=HTML | bearer(sender)).status_code == 403


def bearer(key: str) -> dict[str, str]:
    """The header that presents a key."""
    return {"Authorization": f"Bearer {key}"}
