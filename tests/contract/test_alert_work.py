"""Working alerts one by one: changes, notes, the history, and what guards against overwriting somebody else's work."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.contract.helpers import Sessions, codes, pointers, problem
from tests.postgres import transaction

ID = "1-1-1100"
LATER = "2999-01-31T12:00:00.000000Z"


@pytest.fixture
def alert(client: FlaskClient) -> FlaskClient:
    """A client of a service with the alert ID."""
    assert codes(client, type="withdraw", amount="150.00") == [1100]
    return client


def change(client: FlaskClient, etag: str | None = None, **fields: Any) -> Any:
    """The alert after a change."""
    headers = {} if etag is None else {"If-Match": etag}
    answer = client.patch(f"/alerts/{ID}", json=fields, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def story(alert: Any) -> list[tuple[Any, ...]]:
    """The history of an alert: who, what, from, to, note."""
    assert [line["n"] for line in alert["history"]] == list(range(1, len(alert["history"]) + 1))
    return [tuple(line[name] for name in ("what", "from", "to", "note")) for line in alert["history"]]


def test_an_alert_is_taken_closed_and_opened_again(alert: FlaskClient) -> None:
    """Each field that changes is a line, with the note on the first; what is left out stays as it is."""
    taken = change(alert, status="acknowledged", assignee="Ada", note="Called the customer.")
    assert (taken["status"], taken["assignee"], taken["outcome"]) == ("acknowledged", "Ada", None)
    closed = change(alert, status="closed", outcome="false_positive")
    assert (closed["status"], closed["assignee"], closed["outcome"]) == ("closed", "Ada", "false_positive")
    opened = change(alert, status="open", note="Not so fast.")
    assert (opened["status"], opened["outcome"]) == ("open", None)
    assert story(opened) == [
        ("status", "open", "acknowledged", "Called the customer."),
        ("assignee", None, "Ada", None),
        ("status", "acknowledged", "closed", None),
        ("outcome", None, "false_positive", None),
        ("status", "closed", "open", "Not so fast."),
        ("outcome", "false_positive", None, None),
    ]
    assert {line["who"] for line in opened["history"]} == {"anonymous"}
    assert opened == alert.get(f"/alerts/{ID}").get_json()
    (listed,) = alert.get("/alerts").get_json()["alerts"]
    assert listed == {name: value for name, value in opened.items() if name != "history"}


def test_a_snooze_ends_with_the_alert(alert: FlaskClient) -> None:
    """It is shown in UTC, whatever its zone was, and closing ends it."""
    snoozed = change(alert, snoozed_until="2999-01-31T14:00:00+02:00")
    assert snoozed["snoozed_until"] == LATER
    closed = change(alert, status="closed", outcome="inconclusive")
    assert closed["snoozed_until"] is None
    assert story(closed)[-1] == ("snoozed_until", LATER, None, None)


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "closing without an outcome": ({"status": "closed"}, ["/outcome"]),
    "an outcome of an open alert": ({"outcome": "true_positive"}, ["/outcome"]),
    "an outcome of one that is acknowledged": ({"status": "acknowledged", "outcome": "true_positive"}, ["/outcome"]),
    "closed and snoozed": (
        {"status": "closed", "outcome": "inconclusive", "snoozed_until": LATER},
        ["/snoozed_until"],
    ),
    "a snooze in the past": ({"snoozed_until": "2020-01-31T12:00:00Z"}, ["/snoozed_until"]),
    "a snooze without a zone": ({"snoozed_until": "2999-01-31T12:00:00"}, ["/snoozed_until"]),
    "a moment as a number": ({"snoozed_until": 32503680000}, ["/snoozed_until"]),
    "no outcome at all": ({"status": "closed", "outcome": None}, ["/outcome"]),
    "no status at all": ({"status": None}, ["/status"]),
    "another status": ({"status": "Closed"}, ["/status"]),
    "nobody's name": ({"assignee": ""}, ["/assignee"]),
    "nobody by name": ({"assignee": "none"}, ["/assignee"]),
    "a name of two lines": ({"assignee": "Ada\nGrace"}, ["/assignee"]),
    "a name with space around it": ({"assignee": " Ada"}, ["/assignee"]),
    "a long name": ({"assignee": "a" * 65}, ["/assignee"]),
    "an empty note": ({"note": ""}, ["/note"]),
    "a long note": ({"note": "n" * 4001}, ["/note"]),
    "a null character": ({"note": "\0"}, ["/note"]),
    "nothing": ({}, [""]),
    "what cannot be set": ({"late": True, "evidence": {}}, ["/evidence", "/late"]),
    "what is unknown": ({"stat": "open"}, ["/stat"]),
}


@pytest.mark.parametrize(("fields", "faults"), REFUSED.values(), ids=REFUSED)
def test_a_change_that_does_not_fit(alert: FlaskClient, fields: dict[str, Any], faults: list[str]) -> None:
    """It names every bad field and changes nothing."""
    before = alert.get(f"/alerts/{ID}").get_json()
    assert pointers(alert.patch(f"/alerts/{ID}", json=fields)) == faults
    assert alert.get(f"/alerts/{ID}").get_json() == before


def test_the_longest_texts(alert: FlaskClient) -> None:
    """A name of 64 characters and a note of 4,000, of any script."""
    found = change(alert, assignee="ä" * 64, note="字" * 4000)
    assert story(found) == [("assignee", None, "ä" * 64, "字" * 4000)]


def test_what_is_so_already_is_no_change(alert: FlaskClient) -> None:
    """It makes no line and no other ETag."""
    change(alert, status="closed", outcome="false_positive")
    before = alert.get(f"/alerts/{ID}")
    again = alert.patch(f"/alerts/{ID}", json={"status": "closed", "outcome": "false_positive", "assignee": None})
    assert (again.get_json(), again.headers["ETag"]) == (before.get_json(), before.headers["ETag"])
    assert len(change(alert, outcome="true_positive")["history"]) == 3


def test_notes(alert: FlaskClient) -> None:
    """A note is a line of its own, of a closed alert too; a change that only has a note is the same."""
    answer = alert.post(f"/alerts/{ID}/notes", json={"note": "First."})
    assert answer.status_code == 200
    change(alert, status="closed", outcome="true_positive")
    found = change(alert, note="Last.")
    assert answer.get_json()["history"] == found["history"][:1]
    assert story(found)[0] == ("note", None, None, "First.")
    assert story(found)[-1] == ("note", None, None, "Last.")
    for bad, pointer in (
        ({}, "/note"),
        ({"note": ""}, "/note"),
        ({"note": None}, "/note"),
        ({"note": "n", "by": 1}, "/by"),
    ):
        assert pointers(alert.post(f"/alerts/{ID}/notes", json=bad)) == [pointer]


def test_if_match(alert: FlaskClient) -> None:
    """A change on the basis of an older state is a 412 with the present alert, and loses nothing."""
    first = alert.get(f"/alerts/{ID}")
    tag, member = first.headers["ETag"], first.get_json()["etag"]
    ours = change(alert, tag, assignee="Ada")
    for etag in (tag, member, '"99"', 'W/"1"', "nonsense"):
        document = alert.patch(f"/alerts/{ID}", json={"assignee": "Grace"}, headers={"If-Match": etag})
        assert document.status_code == 412
        assert document.get_json()["type"] == "urn:problem:changed"
        assert document.get_json()["current"] == ours
    for etag in ("*", '"77", {}', "{}"):
        ours = change(alert, etag.format(ours["etag"]), note="Mine.")
    assert ours["assignee"] == "Ada"
    answer = alert.post(f"/alerts/{ID}/notes", json={"note": "Late."}, headers={"If-Match": tag})
    assert answer.status_code == 412


def test_the_etag_counts_work_alone(alert: FlaskClient, sessions: Sessions) -> None:
    """A late event that supersedes the alert changes the answer and not the tag, by which nobody is told: unchanged."""
    for time in (20, 30):
        codes(alert, type="withdraw", amount="1.00", time=time)
    read = alert.get("/alerts/1-3-30")
    assert read.headers["ETag"] == read.get_json()["etag"] == '"0"'
    codes(alert, amount="1.00", time=25)
    again = alert.get("/alerts/1-3-30", headers={"If-None-Match": read.headers["ETag"]})
    assert (again.status_code, again.headers["ETag"], again.get_json()["superseded"]) == (200, '"0"', True)
    assert again.get_json()["touched_at"] > read.get_json()["touched_at"]
    worked = alert.patch("/alerts/1-3-30", json={"assignee": "Ada"}, headers={"If-Match": read.headers["ETag"]})
    assert (worked.status_code, worked.headers["ETag"], worked.get_json()["superseded"]) == (200, '"1"', True)


def test_shadow_alerts_can_be_worked(client: FlaskClient) -> None:
    """Like all others."""
    assert client.put("/rules/1100", json={"status": "shadow"}).status_code == 200
    assert codes(client, type="withdraw", amount="150.00") == []
    assert change(client, status="acknowledged")["shadow"]


def test_an_alert_that_is_not_there(client: FlaskClient) -> None:
    """A 404 of its own type, for each call."""
    answers = [
        client.patch(f"/alerts/{ID}", json={"status": "open"}),
        client.post(f"/alerts/{ID}/notes", json={"note": "n"}),
        client.get(f"/alerts/{ID}/history"),
    ]
    assert {problem(answer, 404)["type"] for answer in answers} == {"urn:problem:unknown-alert"}


def test_a_long_history(alert: FlaskClient, sessions: Sessions) -> None:
    """The alert comes with its newest 100 lines, oldest first; all of them are listed page by page, newest first."""
    with transaction(sessions) as session:
        session.execute(
            text(
                "INSERT INTO alert_history (user_id, seq, code, n, at, who, what, note) "
                "SELECT 1, 1, 1100, n, now(), 'Ada', 'note', n FROM generate_series(1, 249) AS n"
            )
        )
        session.execute(text("UPDATE alerts SET work_version = 249"))
    found = change(alert, assignee="Grace")
    assert [line["n"] for line in found["history"]] == list(range(151, 251))
    listed, cursor = [], ""
    while cursor is not None:
        page = alert.get(f"/alerts/{ID}/history?limit=100{cursor}").get_json()
        listed += page["history"]
        cursor = page["next"] and f"&cursor={page['next']}"
    assert [line["n"] for line in listed] == list(range(250, 0, -1))
    assert listed[:100] == found["history"][::-1]


def test_when_it_was_done(alert: FlaskClient) -> None:
    """A line has the moment of the change, as the alert has it as the moment of its last touch."""
    found = change(alert, assignee="Ada")
    (line,) = found["history"]
    assert line["at"] == found["touched_at"] > found["created_at"]
    assert abs(datetime.now(UTC) - datetime.fromisoformat(line["at"])) < timedelta(hours=1)
