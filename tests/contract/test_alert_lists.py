"""Lists of alerts over HTTP: parameters that are refused, cursors, counts, and what is around an alert."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.helpers import codes, pointers, problem

BAD = {
    "cursor": "/alerts?cursor=1-2-3",
    "limit": "/alerts/counts?limit=5",
    "by": "/alerts/counts?by=user_id",
    "snoozed": "/alerts?snoozed=yes",
    "muted": "/alerts.csv?muted=1",
    "outcome": "/alerts?outcome=good",
    "touched_from": "/alerts?touched_from=yesterday",
    "assignee": "/alerts?assignee=",
    "sort": "/alerts/1-1-1100/around?sort=up",
    "to": "/alerts.csv?from=5&to=4",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_parameters_are_named(name: str, client: FlaskClient) -> None:
    """Also those that only other calls have."""
    assert pointers(client.get(BAD[name])) == [f"/{name}"]


@pytest.fixture
def withdrawals(client: FlaskClient) -> FlaskClient:
    """A client after 5 large withdrawals of user 1, at 1 to 5; the last three raise 30 as well."""
    for time in range(1, 6):
        codes(client, type="withdraw", amount="150.00", time=time)
    return client


NEWEST_FIRST = ["1-5-1100", "1-5-30", "1-4-1100", "1-4-30", "1-3-1100", "1-3-30", "1-2-1100", "1-1-1100"]


def listed(client: FlaskClient, query: str) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    cursor = ""
    while True:
        answer = client.get(f"/alerts?{query}{cursor}")
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.get_json()
        found += [alert["id"] for alert in page["alerts"]]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


@pytest.mark.parametrize("limit", [1, 3, 8, 50])
def test_both_orders(limit: int, withdrawals: FlaskClient) -> None:
    """One is the other turned around, page by page."""
    assert listed(withdrawals, f"limit={limit}") == NEWEST_FIRST
    assert listed(withdrawals, f"limit={limit}&sort=newest") == NEWEST_FIRST
    assert listed(withdrawals, f"limit={limit}&sort=oldest") == NEWEST_FIRST[::-1]


def test_a_cursor_is_of_one_order(withdrawals: FlaskClient) -> None:
    """With the other it is refused, rather than read as a place from which to go the other way."""
    newest = withdrawals.get("/alerts?limit=2").get_json()["next"]
    oldest = withdrawals.get("/alerts?limit=2&sort=oldest").get_json()["next"]
    assert pointers(withdrawals.get(f"/alerts?limit=2&sort=oldest&cursor={newest}")) == ["/cursor"]
    assert pointers(withdrawals.get(f"/alerts?limit=2&cursor={oldest}")) == ["/cursor"]


def test_around(withdrawals: FlaskClient) -> None:
    """The neighbours are those of the list, whether the alert is in it or not; at the ends there is none."""

    def around(query: str) -> tuple[Any, Any]:
        answer = withdrawals.get(f"/alerts/1-4-30/around?{query}").get_json()
        assert set(answer) == {"previous", "next"}
        return answer["previous"], answer["next"]

    assert around("") == ("1-4-1100", "1-3-1100")
    assert around("sort=oldest") == ("1-3-1100", "1-4-1100")
    assert around("code=1100&to=4") == ("1-4-1100", "1-3-1100")
    assert around("code=30&from=5") == ("1-5-30", None)
    assert around("code=30&to=3") == (None, "1-3-30")
    assert around("user_id=2") == (None, None)


def test_around_what_is_not_there(withdrawals: FlaskClient) -> None:
    """An alert that is not there has no place in a list."""
    assert problem(withdrawals.get("/alerts/1-9-30/around"), 404)["type"] == "urn:problem:unknown-alert"


def test_counts(withdrawals: FlaskClient) -> None:
    """By status and code, by one of them, and in all; in the order of the registry."""
    assert withdrawals.patch("/alerts/1-1-1100", json={"status": "acknowledged"}).status_code == 200

    def counts(query: str) -> list[Any]:
        return list(withdrawals.get(f"/alerts/counts?{query}").get_json()["counts"])

    assert counts("") == [{"count": 8, "more": False}]
    assert counts("by=status") == [
        {"status": "open", "count": 7, "more": False},
        {"status": "acknowledged", "count": 1, "more": False},
    ]
    assert counts("by=code") == [{"code": 1100, "count": 5, "more": False}, {"code": 30, "count": 3, "more": False}]
    assert counts("by=code,status&from=1&to=3") == [
        {"status": "open", "code": 1100, "count": 2, "more": False},
        {"status": "open", "code": 30, "count": 1, "more": False},
        {"status": "acknowledged", "code": 1100, "count": 1, "more": False},
    ]
    assert counts("user_id=2&by=status,code") == []
