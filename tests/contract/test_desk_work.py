"""Working one alert from pages: what forms do, where they lead, what was first, and the way back."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.contract.helpers import Sessions, codes
from tests.keys import add_key, bearer, look
from tests.postgres import transaction

HTMX = {"HX-Request": "true", "HX-Target": "main#main"}


@pytest.fixture
def alerts(client: FlaskClient) -> FlaskClient:
    """A client of a service where users 1 to 4 have an alert 1100 each, at the times 10 to 40."""
    for user_id in range(1, 5):
        codes(client, type="withdraw", amount="150.00", user_id=user_id, time=10 * user_id)
    return client


def work(client: FlaskClient, user_id: int = 1, headers: dict[str, str] | None = None, **fields: Any) -> TestResponse:
    """The answer to a form about the alert of a user."""
    return client.post(f"/desk/alerts/{user_id}-1-1100/work", data={"etag": 0} | fields, headers=headers)


def state(client: FlaskClient, user_id: int = 1) -> Any:
    """The alert of a user."""
    return client.get(f"/alerts/{user_id}-1-1100").get_json()


def leads_to(answer: TestResponse) -> tuple[str, dict[str, str]]:
    """Where an answer leads: the path, and the query by name."""
    assert answer.status_code == 303, answer.text
    to = urlsplit(answer.headers["Location"])
    return to.path, {name: values[0] for name, values in parse_qs(to.query).items()}


ACTS: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({"outcome": "true_positive"}, {"status": "closed", "outcome": "true_positive"}),
    ({"do": "take"}, {"status": "acknowledged", "assignee": "anonymous"}),
    ({"do": "assign", "assignee": "Grace"}, {"status": "open", "assignee": "Grace"}),
    ({"do": "mine", "assignee": "typed"}, {"status": "open", "assignee": "anonymous"}),
    ({"do": "snooze", "until": "2999-01-31T12:00"}, {"snoozed_until": "2999-01-31T12:00:00.000000Z"}),
    ({"until": "2999-01-31T12:00:00+02:00"}, {"snoozed_until": "2999-01-31T10:00:00.000000Z"}),
)


def test_what_a_form_does(client: FlaskClient, sessions: Sessions) -> None:
    """It is stored with the note, and the page that follows says what was done; also of alerts that are superseded."""
    for user_id, (fields, becomes) in enumerate(ACTS, 1):
        codes(client, type="withdraw", amount="150.00", user_id=user_id)
        with transaction(sessions) as session:
            session.execute(text("UPDATE alerts SET superseded = user_id < 3, late = user_id > 2"))
        typed: dict[str, Any] = {"note": "Called.\r\nTwice.", "list": "tab=mine&size=25", "then": "stay"}
        path, query = leads_to(work(client, user_id, **fields, **typed))
        assert (path, query["list"]) == (f"/desk/alerts/{user_id}-1-1100", "tab=mine&size=25")
        found = state(client, user_id)
        assert {name: found[name] for name in becomes} == becomes
        assert query["done"] == f"{user_id}-1-1100@1-{len(found['history'])}"
        assert found["history"][0]["note"] == "Called.\nTwice."


def test_there_and_back(alerts: FlaskClient) -> None:
    """What was assigned is given back, what was snoozed is woken, what was closed is opened again."""
    acts: list[dict[str, Any]] = [{"do": "mine"}, {"do": "drop"}, {"until": "4h"}, {"do": "wake"}]
    for at, fields in enumerate([*acts, {"outcome": "inconclusive"}]):
        work(alerts, etag=at, **fields)
    work(alerts, do="open", etag=6)
    found = state(alerts)
    assert [found[name] for name in ("status", "outcome", "assignee", "snoozed_until")] == ["open", None, None, None]
    assert len(found["history"]) == 8


def test_a_note_alone(alerts: FlaskClient) -> None:
    """It is a line of the history; it does not lead on to the next alert, and cannot be undone."""
    path, query = leads_to(work(alerts, do="note", note="<b>bold</b>", then="next"))
    assert (path, query) == ("/desk/alerts/1-1-1100", {"done": "1-1-1100@1-1"})
    shown = alerts.get(f"{path}?done={query['done']}").text
    assert toast_of(shown) == "1-1-1100 noted"


def toast_of(html: str) -> str:
    """What the line about the last change says."""
    found = re.search(r'<div id="toast"[^>]*>(.*?)</div>', html, re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", found[1]).split()) if found else ""


def undo_of(html: str) -> dict[str, Any]:
    """The fields of the form that undoes the last change."""
    found = re.search(r"<form[^>]*data-undo.*?</form>", html, re.DOTALL)
    assert found is not None
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', found[0]))


def test_undo(alerts: FlaskClient) -> None:
    """Everything is as before: the status, the outcome, who has it and the snooze that closing has ended."""
    work(alerts, do="take", note="Mine.")
    work(alerts, etag=2, until="2999-01-31T12:00")
    before = state(alerts)
    close: dict[str, Any] = {"outcome": "false_positive", "note": "A mistake.", "then": "list", "list": "size=25"}
    path, query = leads_to(work(alerts, etag=3, **close))
    shown = alerts.get(path, query_string=query).text
    assert (path, query["size"], toast_of(shown)) == ("/desk/", "25", "1-1-1100 closed as false Undo z")
    fields = undo_of(shown)
    assert (fields["then"], fields["list"]) == ("list", "size=25")
    path, query = leads_to(work(alerts, **fields))
    assert (path, query) == ("/desk/", {"size": "25", "done": "1-1-1100@7-9"})
    after = state(alerts)
    changes = ("history", "etag", "touched_at")
    assert {name: after[name] for name in after if name not in changes} == {
        name: before[name] for name in before if name not in changes
    }
    # What was undone can be done again; and what was done before that can be undone as well.
    assert undo_of(alerts.get(path, query_string=query).text)["first"] == "7"
    leads_to(work(alerts, do="undo", first=1, last=2, etag=9))
    assert (state(alerts)["status"], state(alerts)["assignee"]) == ("open", None)


def test_closing_leads_on(alerts: FlaskClient) -> None:
    """To the next alert of the list one came from, in its order; at its end to the one before; then to the list."""
    of_list: dict[str, Any] = {"list": "sort=oldest", "then": "next"}
    path, query = leads_to(work(alerts, 3, outcome="true_positive", **of_list))
    assert (path, query) == ("/desk/alerts/4-1-1100", {"list": "sort=oldest", "done": "3-1-1100@1-2"})
    shown = alerts.get(path, query_string=query).text
    assert undo_of(shown)["list"] == "sort=oldest"
    assert leads_to(work(alerts, 4, until="week", **of_list))[0] == "/desk/alerts/2-1-1100"
    assert leads_to(work(alerts, 1, do="mine", **of_list))[0] == "/desk/alerts/1-1-1100"
    of_user: dict[str, Any] = {"list": "user_id=1&nonsense=1", "then": "next"}
    path, query = leads_to(work(alerts, 1, etag=1, outcome="true_positive", **of_user))
    assert (path, query) == ("/desk/", {"user_id": "1", "done": "1-1-1100@2-3"})


def test_undoing_after_others(alerts: FlaskClient, sessions: Sessions) -> None:
    """It is refused, and says who did what; nobody undoes what others did."""
    ada, grace = (bearer(add_key(sessions, name)) for name in ("Ada", "Grace"))
    look(alerts.application)
    work(alerts, headers=ada, outcome="false_positive")
    assert work(alerts, headers=grace, do="undo", first=1, last=2, etag=2).status_code == 412
    change = {"note": "I doubt it.", "outcome": "true_positive"}
    assert alerts.patch("/alerts/1-1-1100", json=change, headers=grace).status_code == 200
    for etag in (2, 3):
        answer = work(alerts, headers=ada, do="undo", first=1, last=2, etag=etag)
        assert answer.status_code == 412
        assert "<strong>Grace</strong> outcome changed to true" in answer.text
        assert "I doubt it." in answer.text
    found = alerts.get("/alerts/1-1-1100", headers=ada).get_json()
    assert (found["outcome"], len(found["history"])) == ("true_positive", 3)


def test_somebody_was_quicker(alerts: FlaskClient) -> None:
    """Nothing is stored; the answer says whose change came first, and has what was typed, to send it all the same."""
    alerts.patch("/alerts/1-1-1100", json={"status": "closed", "outcome": "true_positive", "note": "Stolen."})
    typed: dict[str, Any] = {
        "outcome": "false_positive",
        "note": "</textarea><i>Salary</i>",
        "list": "tab=mine",
        "then": "next",
    }
    answer = work(alerts, **typed)
    assert answer.status_code == 412
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert "<strong>anonymous</strong> closed as true" in answer.text
    assert "&lt;/textarea&gt;&lt;i&gt;Salary&lt;/i&gt;</textarea>" in answer.text
    assert state(alerts)["outcome"] == "true_positive"
    again: dict[str, Any] = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', answer.text))
    assert again == {"outcome": "false_positive", "list": "tab=mine", "then": "next", "etag": "2"}
    leads_to(work(alerts, **again, note=typed["note"]))
    assert state(alerts)["history"][-1]["note"] == typed["note"]


def test_a_part_of_a_page_keeps_its_form(alerts: FlaskClient) -> None:
    """For a script the same is a card with a place of its own, and the row as it is now if it was one of a list."""
    alerts.patch("/alerts/1-1-1100", json={"assignee": "Grace"})
    answer = work(alerts, headers=HTMX, do="take")
    assert (answer.status_code, answer.headers["HX-Retarget"]) == (412, "#notices")
    assert "alert-1-1-1100" not in answer.text
    assert "<main" not in answer.text
    assert "hx-partial" in work(alerts, headers=HTMX, do="take", then="row").text


def test_a_row(alerts: FlaskClient) -> None:
    """A script that shows a list gets the row as it is now, with its marks, and the way to undo it."""
    alerts.put("/users/1/mutes/1100", json={"until": (datetime.now(UTC) + timedelta(days=1)).isoformat()})
    answer = work(alerts, headers=HTMX, outcome="true_positive", then="row")
    assert answer.status_code == 200
    assert "Its user is muted for this rule" in answer.text
    assert 'data-etag="2"' in answer.text
    assert undo_of(answer.text) == {"do": "undo", "first": "1", "last": "2", "etag": "2", "then": "row"}


def test_what_is_so_already(alerts: FlaskClient) -> None:
    """It is no change, so that there is nothing to undo."""
    path, query = leads_to(work(alerts, do="open"))
    assert (path, query) == ("/desk/alerts/1-1-1100", {})


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"do": "close"}, "Say with which outcome."),
    ({"do": "assign"}, "Say to whom."),
    ({"do": "snooze"}, "Say until when."),
    ({"until": "2026-02-30T12:00"}, "must be a moment"),
    ({"until": "2020-01-31T12:00"}, "must be in the future"),
    ({"do": "assign", "assignee": "Ada\nGrace"}, "must be printable"),
)


def test_what_cannot_be_done(alerts: FlaskClient) -> None:
    """The answer says why, and what was typed is still there."""
    for fields, why in REFUSED:
        answer = work(alerts, **fields, note="Kept.")
        assert answer.status_code == 400
        assert why in answer.text
        assert "Kept.</textarea>" in answer.text
    assert work(alerts, do="undo", first=10**19, last=10**19).status_code == 400
    for nothing in ("note", ""):
        assert "There is no note." in work(alerts, do=nothing).text
    assert state(alerts)["history"] == []


def test_a_closed_one_is_not_taken(alerts: FlaskClient) -> None:
    """To take an alert is not to open it again, which is a thing of its own."""
    work(alerts, outcome="true_positive")
    answer = work(alerts, do="take", etag=2)
    assert answer.status_code == 400
    assert "status is closed: reopen the alert to take it." in answer.text
    assert (state(alerts)["status"], state(alerts)["outcome"]) == ("closed", "true_positive")
    work(alerts, do="open", etag=2)
    work(alerts, do="take", etag=4)
    assert (state(alerts)["status"], state(alerts)["assignee"]) == ("acknowledged", "anonymous")


def test_what_was_done_by_others_is_not_told(alerts: FlaskClient, sessions: Sessions) -> None:
    """A link that somebody sends says nothing of what its reader has done, and has nothing to undo."""
    work(alerts, outcome="true_positive")
    assert toast_of(alerts.get("/desk/?done=1-1-1100@1-2").text).startswith("1-1-1100 closed")
    none = ("1-1-1100@1-3", "2-1-1100@1-1", "1-1-1100@2-1", "1-1-1100@1-9", "9223372036854775808-1-1100@1-2", "<b>")
    for other in none:
        assert toast_of(alerts.get("/desk/", query_string={"done": other}).text) == ""
    key = add_key(sessions, "Grace")
    look(alerts.application)
    shown = alerts.get("/desk/?done=1-1-1100@1-2", headers=bearer(key))
    assert toast_of(shown.text) == ""


def test_who_may(alerts: FlaskClient, sessions: Sessions) -> None:
    """A reader works nothing."""
    key = add_key(sessions, "Reader", ["read"])
    look(alerts.application)
    assert work(alerts, headers=bearer(key), outcome="true_positive").status_code == 403
    assert alerts.post("/desk/alerts/9-9-9/work", data={"etag": 0}, headers=bearer(key)).status_code == 403


def test_no_alert(alerts: FlaskClient) -> None:
    """There is nothing to work."""
    assert work(alerts, 9, outcome="true_positive").status_code == 404
    assert work(alerts, 9, outcome="no").status_code == 404
