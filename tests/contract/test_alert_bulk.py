"""Many alerts at once, by ids and by query; and the next alert to work, which is claimed for a while."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from database import alert_work
from tests.contract.helpers import Sessions, codes, pointers, problem
from tests.postgres import transaction

LATER = "2999-01-31T12:00:00Z"
CLOSED = {"status": "closed", "outcome": "false_positive"}


@pytest.fixture
def alerts(client: FlaskClient) -> FlaskClient:
    """A client of a service where users 1 to 4 have an alert 1100 each, at the times 10 to 40."""
    for user_id in range(1, 5):
        codes(client, type="withdraw", amount="150.00", user_id=user_id, time=10 * user_id)
    return client


def bulk(client: FlaskClient, **body: Any) -> Any:
    """The answer to a bulk change."""
    answer = client.post("/alerts/bulk", json=body)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def named(*user_ids: int) -> list[str]:
    """The ids of the alerts of these users."""
    return [f"{user_id}-1-1100" for user_id in user_ids]


def state(client: FlaskClient, user_id: int = 1) -> Any:
    """The alert of a user."""
    return client.get(f"/alerts/{user_id}-1-1100").get_json()


# By ids


def test_nothing_goes_back_in_time(alerts: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is older than the one before it, and an alert's last touch stays if a late event was later."""
    read_work, untold = alert_work.read_work, [True]

    def read_after_another(*args: Any) -> Any:
        if untold.pop():
            untold.append(False)
            alerts.patch("/alerts/1-1-1100", json={"note": "Quicker."})
            with transaction(sessions) as session:
                session.execute(text("UPDATE alerts SET touched_at = touched_at + interval '1 hour' WHERE user_id = 2"))
        return read_work(*args)

    monkeypatch.setattr(alert_work, "read_work", read_after_another)
    before = state(alerts, 2)["touched_at"]
    assert bulk(alerts, ids=named(1, 2), set={"assignee": "Ada"})["changed"] == 2
    quicker, ours = state(alerts)["history"]
    assert quicker["at"] < ours["at"]
    assert state(alerts, 2)["touched_at"] > max(before, state(alerts, 2)["history"][0]["at"])


def test_ids(alerts: FlaskClient) -> None:
    """All that exist are changed, each with its own line and note; the results are in the order of the ids."""
    found = bulk(alerts, ids=["9-9-9", *named(3, 1)], set=CLOSED, note="Twice.")
    assert found == {
        "matched": 2,
        "changed": 2,
        "results": [
            {"id": "9-9-9", "status": 404, "detail": "There is no such alert."},
            {"id": "3-1-1100", "status": 200, "etag": '"2"'},
            {"id": "1-1-1100", "status": 200, "etag": '"2"'},
        ],
        "next": None,
    }
    assert [(one["what"], one["note"]) for one in state(alerts, 3)["history"]] == [
        ("status", "Twice."),
        ("outcome", None),
    ]
    assert [state(alerts, user_id)["status"] for user_id in (1, 2, 3)] == ["closed", "open", "closed"]
    again = bulk(alerts, ids=named(1, 2), set=CLOSED)
    assert (again["matched"], again["changed"]) == (2, 1)


def test_what_does_not_fit_one_of_them(alerts: FlaskClient) -> None:
    """It stays as it is, and the others are changed; so is one that has changed since its tag was read."""
    bulk(alerts, ids=named(1, 2), set=CLOSED)
    found = bulk(alerts, ids=named(1, 2, 3), set={"outcome": "true_positive"}, etags={"2-1-1100": '"1-abc"'})
    assert [one["status"] for one in found["results"]] == [200, 412, 409]
    assert [one["etag"] for one in found["results"]] == ['"3"', '"2"', '"0"']
    assert found["results"][2]["detail"] == "outcome is for an alert that is closed."
    assert (state(alerts, 2)["outcome"], state(alerts, 3)["outcome"]) == ("false_positive", None)


def test_five_hundred(client: FlaskClient, sessions: Sessions) -> None:
    """The most there can be: some are missing, of rules and users that are not there, superseded or in shadow."""
    for user_id in range(1, 4):
        for time in range(100):
            codes(client, type="withdraw", amount="150.00", user_id=user_id, time=time)
    with transaction(sessions) as session:
        session.execute(text("UPDATE alerts SET superseded = true WHERE user_id = 2"))
        session.execute(text("UPDATE alerts SET shadow = true WHERE user_id = 3"))
    ids = [f"{user_id}-{seq}-1100" for user_id in (3, 2, 1) for seq in range(1, 101)]
    largest = "9999999999999999999-1-1100"
    missing = [largest, "1-1-9999999999", *(f"{user_id}-{n}-1100" for user_id in (1, 77) for n in range(101, 200))]
    found = bulk(client, ids=[*ids, *missing], set={"assignee": "Ada", "snoozed_until": LATER})
    assert [one["status"] for one in found["results"]] == [200] * 300 + [404] * 200
    assert (found["matched"], found["changed"]) == (300, 300)
    assert {one["etag"] for one in found["results"][:300]} == {'"2"'}


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, ["/set"]),
    "neither ids nor a query": ({"set": CLOSED}, [""]),
    "both": ({"ids": named(1), "query": {}, "touched_before": LATER, "set": CLOSED}, [""]),
    "no ids": ({"ids": [], "set": CLOSED}, ["/ids"]),
    "too many": ({"ids": [f"1-{seq}-30" for seq in range(1, 502)], "set": CLOSED}, ["/ids"]),
    "one twice": ({"ids": named(1, 1), "set": CLOSED}, ["/ids"]),
    "what is no id": ({"ids": ["1-1"], "set": CLOSED}, ["/ids/0"]),
    "nothing to set": ({"ids": named(1), "set": {}}, ["/set"]),
    "closing without an outcome": ({"ids": named(1), "set": {"status": "closed"}}, ["/set/outcome"]),
    "a snooze in the past": (
        {"ids": named(1), "set": {"snoozed_until": "2020-01-31T12:00:00Z"}},
        ["/set/snoozed_until"],
    ),
    "a note where it does not belong": ({"ids": named(1), "set": {"note": "n"}}, ["/set/note"]),
    "tags of others": ({"ids": named(1), "set": CLOSED, "etags": {"2-1-1100": '"1"'}}, ["/etags"]),
    "a bound of a query": ({"ids": named(1), "set": CLOSED, "touched_before": LATER}, [""]),
    "tags with a query": ({"query": {}, "touched_before": LATER, "set": CLOSED, "etags": {}}, [""]),
    "an unknown filter": ({"query": {"stat": "open"}, "touched_before": LATER, "set": CLOSED}, ["/query/stat"]),
    "a number as text": ({"query": {"user_id": "1"}, "touched_before": LATER, "set": CLOSED}, ["/query"]),
    "true as text": ({"query": {"late": "true"}, "touched_before": LATER, "set": CLOSED}, ["/query"]),
    "a word as true": ({"query": {"muted": True}, "touched_before": LATER, "set": CLOSED}, ["/query"]),
    "null for a filter": ({"query": {"status": None}, "touched_before": LATER, "set": CLOSED}, ["/query"]),
    "no ids at all": ({"ids": None, "set": CLOSED}, [""]),
    "a number as true": ({"query": {"shadow": 0}, "touched_before": LATER, "set": CLOSED}, ["/query"]),
    "too many expected": ({"query": {}, "touched_before": LATER, "set": CLOSED, "expect": 501}, ["/expect"]),
}


@pytest.mark.parametrize(("body", "faults"), REFUSED.values(), ids=REFUSED)
def test_a_bad_request_changes_nothing(alerts: FlaskClient, body: dict[str, Any], faults: list[str]) -> None:
    """Every bad member is named."""
    assert pointers(alerts.post("/alerts/bulk", json=body)) == faults
    assert {one["etag"] for one in alerts.get("/alerts").get_json()["alerts"]} == {'"0"'}


# By query


def test_a_query(alerts: FlaskClient) -> None:
    """Those that match now are changed, newest first, but none that was touched at or after the moment given."""
    touched = state(alerts, 3)["touched_at"]
    body = {"query": {"code": 1100, "from": 20}, "touched_before": touched, "set": CLOSED}
    found = bulk(alerts, **body)
    assert [one["id"] for one in found["results"]] == named(2)
    found = bulk(alerts, **body | {"touched_before": LATER, "query": {"status": "open"}})
    assert [one["id"] for one in found["results"]] == named(4, 3, 1)
    assert found["next"] is None
    assert bulk(alerts, **body | {"touched_before": LATER, "query": {"status": "open"}})["matched"] == 0
    assert bulk(alerts, query={"status": "closed"}, set=CLOSED)["matched"] == 4  # whenever they were touched


def test_another_number_than_expected(alerts: FlaskClient) -> None:
    """Nothing is done."""
    body = {"query": {}, "touched_before": LATER, "set": CLOSED}
    document = alerts.post("/alerts/bulk", json=body | {"expect": 3}).get_json()
    assert (document["status"], document["type"], document["matched"]) == (409, "urn:problem:other-number", 4)
    assert state(alerts)["etag"] == '"0"'
    assert bulk(alerts, **body, expect=4)["changed"] == 4


def test_a_query_goes_on(alerts: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `next` as the cursor, whatever was changed and whatever was refused, until there are no more."""
    monkeypatch.setattr("work.bulk.MOST", 3)
    body = {"query": {}, "touched_before": LATER, "set": {"outcome": "true_positive"}}
    first = bulk(alerts, **body)
    assert [one["status"] for one in first["results"]] == [409] * 3
    rest = bulk(alerts, **body, cursor=first["next"])
    assert ([one["id"] for one in rest["results"]], rest["next"]) == (named(1), None)
    behind = bulk(alerts, **body, cursor="-".join(["9" * 19] * 4))
    assert behind["matched"] == 3


# The next one


def claim(client: FlaskClient, **query: Any) -> str | None:
    """The id of the next alert, if there is one."""
    answer = client.post("/alerts/next", json={"query": query} if query else {})
    assert answer.status_code in (200, 204), answer.text
    if answer.status_code == 204:
        return None
    assert answer.headers["ETag"] == answer.get_json()["etag"]
    return str(answer.get_json()["id"])


def test_the_most_urgent_comes_first(alerts: FlaskClient) -> None:
    """High risk first, then the oldest; what has been claimed is claimed, and then there is none."""
    alerts.patch("/users/3", json={"risk": "high"})
    assert [claim(alerts) for _ in range(5)] == [*named(3, 1, 2, 4), None]
    found = state(alerts)
    assert (found["assignee"], found["status"], found["etag"]) == ("anonymous", "open", '"1"')
    assert [(one["what"], one["who"], one["to"]) for one in found["history"]] == [
        ("assignee", "anonymous", "anonymous")
    ]
    assert "claim_lapses_at" in found


def test_what_is_not_in_the_queue(alerts: FlaskClient, sessions: Sessions) -> None:
    """Alerts that are acknowledged, closed, somebody's, snoozed, muted, superseded or in shadow."""
    for user_id in range(5, 9):
        codes(alerts, type="withdraw", amount="150.00", user_id=user_id)
    changes = [{"status": "acknowledged"}, CLOSED, {"assignee": "Ada"}, {"snoozed_until": LATER}]
    for user_id, change in enumerate(changes, 1):
        bulk(alerts, ids=named(user_id), set=change)
    with transaction(sessions) as session:
        session.execute(text("UPDATE alerts SET superseded = true WHERE user_id = 5"))
        session.execute(text("UPDATE alerts SET shadow = true WHERE user_id = 6"))
        session.execute(text("INSERT INTO mutes VALUES (7, 1100, now() + interval '1 hour', null, 'Ada')"))
        session.execute(text("INSERT INTO mutes VALUES (8, 1100, now() - interval '1 hour', null, 'Ada')"))
        session.execute(text("UPDATE alerts SET snoozed_until = now() - interval '1 hour' WHERE user_id = 8"))
    assert [claim(alerts) for _ in range(2)] == [*named(8), None]


def test_the_queue_holds_nothing_else(alerts: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever others have, or have closed, is not looked at."""
    bulk(alerts, ids=named(1, 2), set={"assignee": "Ada"})
    bulk(alerts, ids=named(3), set=CLOSED)
    monkeypatch.setattr("database.alert_lists.LOOKED_AT", 2)
    monkeypatch.setattr("work.tries.PATIENCE", 0)  # a search that broke off would not go on
    assert claim(alerts) == "4-1-1100"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"user_id": 2}, "2-1-1100"),
        ({"user_id": 9}, None),
        ({"code": 30}, None),
        ({"from": 25, "to": 35}, "3-1-1100"),
        ({"risk": "normal"}, "1-1-1100"),
        ({"risk": "high"}, None),
        ({"status": "open", "assignee": "none", "snoozed": "any", "muted": "any"}, "1-1-1100"),
        ({"status": "closed"}, None),
        ({"assignee": "Ada"}, None),
        ({"superseded": True}, None),
        ({"shadow": True}, None),
        ({"snoozed": "true"}, None),
        ({"outcome": "true_positive"}, None),
    ],
    ids=str,
)
def test_the_next_that_matches(alerts: FlaskClient, query: dict[str, Any], expected: str | None) -> None:
    """The filters are those of the list; nothing matches one for what is not in the queue."""
    assert claim(alerts, **query) == expected


def lapse(sessions: Sessions) -> None:
    """Move the end of every claim into the past."""
    with transaction(sessions) as session:
        session.execute(
            text("UPDATE alerts SET claim_lapses_at = now() - interval '1 second' WHERE claim_lapses_at IS NOT NULL")
        )


def test_a_claim_lapses(alerts: FlaskClient, sessions: Sessions) -> None:
    """An alert that was never worked is nobody's at once, and can be claimed again; the history says what happened."""
    assert claim(alerts) == "1-1-1100"
    assert claim(alerts, user_id=2) == "2-1-1100"
    assert alerts.post("/alerts/2-1-1100/notes", json={"note": "I am at it."}).status_code == 200
    lapse(sessions)
    found = state(alerts)
    assert (found["assignee"], "claim_lapses_at" in found, len(found["history"])) == (None, False, 1)
    assert state(alerts, 2)["assignee"] == "anonymous"  # worked, so it is theirs for good
    assert [one["id"] for one in alerts.get("/alerts?assignee=none").get_json()["alerts"]] == named(4, 3, 1)
    assert claim(alerts) == "1-1-1100"
    assert [(one["who"], one["from"], one["to"], one["note"]) for one in state(alerts)["history"]] == [
        ("anonymous", None, "anonymous", None),
        ("service", "anonymous", None, "claim lapsed"),
        ("anonymous", None, "anonymous", None),
    ]


def test_a_change_settles_a_lapsed_claim(alerts: FlaskClient, sessions: Sessions) -> None:
    """It is a line before the lines of the change, whoever makes it, one by one or many at once."""
    assert [claim(alerts), claim(alerts)] == named(1, 2)
    lapse(sessions)
    etag = state(alerts)["etag"]
    found = alerts.patch("/alerts/1-1-1100", json={"status": "acknowledged"}, headers={"If-Match": etag}).get_json()
    assert [(one["what"], one["note"]) for one in found["history"][1:]] == [
        ("assignee", "claim lapsed"),
        ("status", None),
    ]
    assert found["assignee"] is None
    assert bulk(alerts, ids=named(2), set={"assignee": "Ada"})["results"] == [
        {"id": "2-1-1100", "status": 200, "etag": '"3"'}
    ]


def test_more_lapsed_claims_than_are_settled_at_once(
    alerts: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told that there is none while some are left."""
    monkeypatch.setattr("work.queue.CANDIDATES", 1)
    assert [claim(alerts) for _ in range(4)] == named(1, 2, 3, 4)
    lapse(sessions)
    assert claim(alerts, user_id=4) == "4-1-1100"


def test_bad_requests(alerts: FlaskClient) -> None:
    """An unknown filter or member is named; nothing is claimed."""
    assert pointers(alerts.post("/alerts/next", json={"query": {"stat": "open"}})) == ["/query/stat"]
    assert pointers(alerts.post("/alerts/next", json={"filters": {}})) == ["/filters"]
    problem(alerts.post("/alerts/next", data="{}"), 415)
    assert state(alerts)["etag"] == '"0"'


def test_no_body(alerts: FlaskClient) -> None:
    """All alerts are in question."""
    assert alerts.post("/alerts/next").get_json()["id"] == "1-1-1100"
