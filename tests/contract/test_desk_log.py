"""The page of the log: every change with who, when, what, before and after; filters, pages and the same as CSV."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from flask.testing import FlaskClient

from database.log_entries import add_log_entry
from routes.desk.log import ROWS
from routes.desk.log_rows import KINDS, ChangedPart, differences_of
from routes.schemas.log import LogKind
from rules.values import written_moment
from tests.contract.helpers import Sessions, codes
from tests.postgres import transaction

UNTIL = written_moment(datetime.now(UTC) + timedelta(days=100))
EVIL = "<script>alert(1)</script>"


def rows(client: FlaskClient, query: str = "") -> list[str]:
    """The text of each row of a page, with one space between its parts."""
    page = client.get(f"/desk/log{query}")
    assert page.status_code == 200, page.text
    assert "<script>alert" not in page.text
    body = page.text.partition("<tbody>")[2].partition("</tbody>")[0]
    texts = [re.sub(r"<[^>]*>", " ", one) for one in body.split("</tr>")[:-1]]
    return [html.unescape(" ".join(text.split())) for text in texts]


def links(client: FlaskClient, query: str = "") -> set[str]:
    """Where the page leads."""
    return {html.unescape(one) for one in re.findall(r'href="([^"]*)"', client.get(f"/desk/log{query}").text)}


@pytest.fixture
def worked(client: FlaskClient, sessions: Sessions) -> FlaskClient:
    """A client of a service where something was changed, and a backtest started."""
    assert codes(client, type="withdraw", amount="150.00", user_id=7) == [1100]
    for method, path, body in (
        ("PATCH", "/alerts/7-1-1100", {"status": "closed", "outcome": "true_positive", "note": EVIL}),
        ("PUT", "/rules/123", {"parameters": {"threshold": "150.00"}, "note": "Too quiet."}),
        ("PATCH", "/users/7", {"risk": "high"}),
        ("PUT", "/users/7/mutes/30", {"until": UNTIL, "note": "Known."}),
        ("POST", "/views", {"name": EVIL, "query": {"code": 30}, "shared": True}),
    ):
        answer = client.open(path, method=method, json=body)
        assert answer.status_code in (200, 201), answer.text
    asked = {"rules": [{"code": 123, "parameters": {"threshold": "100.00"}}]}
    with transaction(sessions) as session:
        add_log_entry(session, who="anonymous", kind="backtest", subject="1", what="started", after=asked)
    return client


def test_every_change(worked: FlaskClient) -> None:
    """Each is a row, the newest first, with what it was about and what differs."""
    backtest, view, mute, user, rule, outcome, status = rows(worked)
    assert "Backtest 1 started" in backtest
    assert "rules 1.code 123" in backtest
    assert f"View {EVIL} (1) made" in view
    assert "query.code 30" in view
    assert f"Mute rule 30 for user 7 set until {UNTIL} Known." in mute
    assert mute.count("Known.") == 1
    assert "User 7 changed version 0 → 1 risk normal → high" in user
    assert "Rule 123 set version 1 → 2 parameters.threshold 200.00 → 150.00 Too quiet." in rule
    assert "Alert 7-1-1100 outcome True" in outcome
    assert f"Alert 7-1-1100 status Open → Closed {EVIL}" in status
    assert all("anonymous" in row for row in (backtest, view, mute, user, rule, outcome, status))


def test_where_it_leads(worked: FlaskClient) -> None:
    """To the page of what was changed, to the same list as CSV, and to what one person did."""
    wanted = {"/desk/alerts/7-1-1100", "/desk/rules/123", "/desk/users/7", "/log.csv"}
    found = links(worked)
    assert found >= {*wanted, "/desk/log?who=anonymous"}
    assert any(path.startswith("/desk/?") and "code=30" in path for path in found)  # what the view lists


def test_the_same_as_csv(worked: FlaskClient) -> None:
    """The link has the filters of the page, in the terms of the call: whole days."""
    query = "?who=anonymous&kind=rule&from=2026-01-01&to=2999-12-31"
    (path,) = (one for one in links(worked, query) if one.startswith("/log.csv"))
    with worked.get(path) as file:
        assert file.status_code == 200
        assert len(file.get_data(as_text=True).splitlines()) == 1 + len(rows(worked, query)) == 2


COUNTS = {
    "?kind=alert": 2,
    "?kind=rule": 1,
    "?who=anonymous": 7,
    "?who=anonymou": 0,
    "?from=2999-01-01": 0,
    "?to=2020-01-01": 0,
    "?from=2020-01-01&to=2999-01-01&kind=mute": 1,
    "?who=&kind=&from=&to=": 7,
    # Wherever a page begins, it is a page.
    "?cursor=0-0-0": 0,
    "?cursor=9999999999999999999-1-9-9-9-9": 7,
    "?cursor=1769860800000000-0-17": 0,
}


def test_filters(worked: FlaskClient) -> None:
    """Those in force are chips, each of which can be taken away; without any change the page says so."""
    for query, count in COUNTS.items():
        assert len(rows(worked, query)) == count, query
        page = worked.get(f"/desk/log{query}").text
        assert ("No change fits" in page) == (count == 0), query
        assert page.count('class="chip"') == len(re.findall("=[^&]", query)), query


@pytest.mark.parametrize(
    "query", ["?kind=nothing", "?from=yesterday", "?from=2026-02-01&to=2026-01-01", "?cursor=x", "?who=%00", "?to=0001"]
)
def test_filters_that_cannot_be(client: FlaskClient, query: str) -> None:
    """They are refused, and none is a defect."""
    assert client.get(f"/desk/log{query}").status_code == 400


def test_the_first_and_the_last_day(client: FlaskClient) -> None:
    """A filter may name any day there is."""
    assert rows(client, "?from=0001-01-01&to=9999-12-31") == []


def test_pages(client: FlaskClient, sessions: Sessions) -> None:
    """Each change is on one page; from the last one there is no way on."""
    assert "Nothing was changed yet" in client.get("/desk/log").text
    with transaction(sessions) as session:
        for number in range(2 * ROWS + 1):
            add_log_entry(session, who="Ada", kind="key", subject=f"k{number}", what="made")
    found, query = [], ""
    while True:
        found += [re.findall(r"k(\d+)", row)[0] for row in rows(client, query)]
        older = [one for one in links(client, query) if "cursor=" in one]
        if not older:
            break
        query = older[0].removeprefix("/desk/log")
        assert "Newest" in client.get(f"/desk/log{query}").text
    assert found == [str(number) for number in reversed(range(2 * ROWS + 1))]


def test_every_kind_has_a_name() -> None:
    """Also one that is new."""
    assert tuple(KINDS) == get_args(LogKind)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, []),
        (None, {"a": 1}, [("a", None, "1")]),
        ({"a": 1}, None, [("a", "1", None)]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [("a.c", "2", "3")]),
        ({"a": True}, {"a": False}, [("a", "yes", "no")]),
        ({"a": ["x"]}, {"a": []}, [("a", "x", "none")]),
        ([{"a": 1}], [{"a": 1}, {"a": 2}], [("2.a", None, "2")]),
        ("x", "y", [("", "x", "y")]),
        ({"a": 1, "b": None}, {"b": 2}, [("b", None, "2"), ("a", "1", None)]),
    ],
)
def test_differences(before: Any, after: Any, expected: list[tuple[str, str | None, str | None]]) -> None:
    """Only what differs is shown, by its name."""
    assert list(differences_of(before, after)) == [ChangedPart(*one) for one in expected]
