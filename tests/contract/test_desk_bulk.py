"""Working many alerts from pages: what is selected, all of a list, 500 at a time; and taking the next one."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.contract.helpers import Sessions, codes
from tests.keys import add_key, bearer, look
from tests.postgres import transaction
from work import bulk

HTMX = {"HX-Request": "true"}


@pytest.fixture
def alerts(client: FlaskClient) -> FlaskClient:
    """A client of a service where users 1 to 5 have an alert 1100 each, at the times 10 to 50."""
    for user_id in range(1, 6):
        codes(client, type="withdraw", amount="150.00", user_id=user_id, time=10 * user_id)
    return client


def work(client: FlaskClient, headers: dict[str, str] | None = None, **fields: Any) -> TestResponse:
    """The answer to a form about many alerts."""
    answer = client.post("/desk/alerts/bulk", data=fields, headers=headers)
    assert answer.status_code in (200, 400, 403), answer.text
    return answer


def selected(client: FlaskClient) -> list[str]:
    """What the inbox sends of each of its rows once it is selected, newest first."""
    return re.findall(r'name="id" value="([^"]*)"', client.get("/desk/").text)


def facts(html: str) -> dict[str, int]:
    """How many matched, were changed, and so on."""
    found = re.findall(r"<dt>([^<]*)</dt><dd>([0-9,]+)", html)
    return {name: int(number.replace(",", "")) for name, number in found}


def fields_of(html: str) -> dict[str, Any]:
    """The fields of the form to go on with."""
    form = re.search(r"<form[^>]*data-continue.*?</form>", html, re.DOTALL)
    assert form is not None
    fields: dict[str, Any] = {}
    for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form[0]):
        fields.setdefault(name, []).append(value)
    return fields


def statuses(client: FlaskClient) -> list[str]:
    """The status of the alert of each user."""
    return [client.get(f"/alerts/{user_id}-1-1100").get_json()["status"] for user_id in range(1, 6)]


def test_those_selected(alerts: FlaskClient, sessions: Sessions) -> None:
    """Each is changed if it is as its row was; of the others is said why not: missing, worked or superseded since."""
    five, four, three, two, one = selected(alerts)
    alerts.patch("/alerts/3-1-1100", json={"assignee": "Grace"})
    with transaction(sessions) as session:
        session.execute(text("UPDATE alerts SET superseded = true, touched_at = clock_timestamp() WHERE user_id = 4"))
    ids = [one, two, three, four, "9-9-9", "8-1-1100@2026-01-31", "<b>../x</b>"]
    answer = work(alerts, id=ids, outcome="true_positive", note="Stolen cards.")
    assert answer.status_code == 200
    assert facts(answer.text) == {"Matched": 4, "Changed": 2, "Refused": 5}
    found = re.findall(r"<h3>(.*?)</h3>\s*<ul>(.*?)</ul>", answer.text, re.DOTALL)
    assert {why: re.findall(r"<li>(.*?)</li>", alerts) for why, alerts in found} == {
        "There is no such alert": ["&lt;b&gt;../x&lt;/b&gt;", "9-9-9", "8-1-1100"],
        "It has changed since it was read": [
            f'<a href="/desk/alerts/{one}">{one}</a>' for one in ("3-1-1100", "4-1-1100")
        ],
    }
    assert statuses(alerts) == ["closed", "closed", "open", "open", "open"]
    assert alerts.get("/alerts/2-1-1100").get_json()["history"][0]["note"] == "Stolen cards."
    assert facts(work(alerts, id=five, do="take").text)["Changed"] == 1
    again = work(alerts, id=["1-1-1100", "5-1-1100"], until="1h")
    assert facts(again.text) == {"Matched": 2, "Changed": 1, "Refused": 1}
    assert "That does not fit an alert that is closed" in again.text


def test_closed_ones_are_not_taken(alerts: FlaskClient) -> None:
    """To take an alert is not to open it again."""
    work(alerts, id="1-1-1100", outcome="true_positive")
    answer = work(alerts, id=["1-1-1100", "2-1-1100"], do="take")
    assert facts(answer.text) == {"Matched": 2, "Changed": 1, "Refused": 1}
    assert "That does not fit an alert that is closed" in answer.text
    assert statuses(alerts) == ["closed", "acknowledged", "open", "open", "open"]


def test_nothing_to_do(alerts: FlaskClient) -> None:
    """Nothing is changed, and the answer says why."""
    assert "No alert is selected." in work(alerts, outcome="true_positive").text
    assert "Say to whom." in work(alerts, id=selected(alerts), do="assign", assignee="").text
    too_many = [f"1-{seq}-30" for seq in range(1, 502)]
    assert "More than 500 alerts are selected." in work(alerts, id=too_many, do="take").text
    assert statuses(alerts) == ["open"] * 5


def test_all_that_fit(alerts: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some at a time; the answer has a form to go on, counts all so far, and leaves alone what came after it began."""
    monkeypatch.setattr(bulk, "MOST", 2)
    alerts.patch("/alerts/2-1-1100", json={"assignee": "Ada"})
    answer = work(alerts, all="yes", list="sort=oldest", do="assign", assignee="Ada")
    assert (facts(answer.text), "Continue with the next 2" in answer.text) == ({"Matched": 2, "Changed": 2}, True)
    codes(alerts, type="withdraw", amount="150.00", user_id=7, time=25)
    alerts.patch("/alerts/1-1-1100", json={"note": "Wait."})
    answer = work(alerts, **fields_of(answer.text))
    answer = work(alerts, **fields_of(answer.text))
    assert facts(answer.text) == {"Matched": 4, "Changed": 3, "As wanted already": 1, "Left alone": 2}
    assert "data-continue" not in answer.text
    assert alerts.get("/alerts?assignee=Ada").get_json()["alerts"][0]["id"] == "5-1-1100"
    assert alerts.get("/alerts/1-1-1100").get_json()["assignee"] is None


def test_what_was_refused_stays_named(alerts: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going on does not forget it; beyond a number it is only counted."""
    monkeypatch.setattr(bulk, "MOST", 1)
    monkeypatch.setattr("routes.desk.alert_bulk.MOST_NAMED", 2)
    for user_id in range(1, 5):
        alerts.patch(f"/alerts/{user_id}-1-1100", json={"status": "closed", "outcome": "true_positive"})
    answer = work(alerts, all="yes", list="tab=closed", until="4h")
    while "data-continue" in answer.text:
        answer = work(alerts, **fields_of(answer.text))
    assert facts(answer.text) == {"Matched": 4, "Changed": 0, "Refused": 4}
    assert len(re.findall(r"<li><a [^>]*>[0-9]-1-1100<", answer.text)) == 2
    assert "And 2 more that were refused." in answer.text


def test_all_of_a_user(alerts: FlaskClient) -> None:
    """Its list is that of the user's open alerts; a script is told to show the page anew."""
    codes(alerts, type="withdraw", amount="150.00", user_id=1, time=90)
    answer = work(
        alerts, headers=HTMX, all="yes", list="user_id=1", outcome="false_positive", began="2999-01-31T12:00:00Z"
    )
    assert (facts(answer.text)["Changed"], answer.headers["HX-Trigger"]) == (2, "desk:changed")
    assert "<main" not in answer.text
    assert statuses(alerts) == ["closed", "open", "open", "open", "open"]


def test_the_next_one(alerts: FlaskClient) -> None:
    """It is the oldest of those that the list is narrowed down to, and it is the caller's; then there is none."""
    answer = alerts.post("/desk/next", data={"list": "tab=mine&user_id=3"})
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        "/desk/alerts/3-1-1100?list=tab%3Dmine%26user_id%3D3",
    )
    assert alerts.get("/alerts/3-1-1100").get_json()["assignee"] == "anonymous"
    answer = alerts.post("/desk/next", data={"list": "tab=mine&user_id=3"})
    assert answer.headers["Location"] == "/desk/?tab=mine&user_id=3&done=nothing-left"
    assert "Nothing is left that nobody has." in alerts.get(answer.headers["Location"]).text


def test_who_may(alerts: FlaskClient, sessions: Sessions) -> None:
    """A reader works nothing, takes nothing, and sees no box to select a row."""
    reader = bearer(add_key(sessions, "Reader", ["read"]))
    look(alerts.application)
    assert work(alerts, headers=reader, all="yes", outcome="true_positive").status_code == 403
    assert alerts.post("/desk/next", data={"list": ""}, headers=reader).status_code == 403
    shown = alerts.get("/desk/", headers=reader).text
    assert [word for word in ('name="id"', "/desk/next", "/desk/alerts/bulk", "note-dialog") if word in shown] == []
