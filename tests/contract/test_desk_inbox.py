"""The inbox: its tabs, filters and pages, the views saved of it, users instead of alerts, and what stands there if
nothing does.
"""

import functools
import operator
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from database import alert_counts, alert_lists
from database.models import Mute
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, codes
from tests.keys import add_key, bearer, look
from tests.postgres import transaction

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def inbox(client: FlaskClient, sessions: Sessions) -> FlaskClient:
    """Alerts of every kind: of four users, in order of time, and two of a rule in shadow."""
    client.post("/users", json={"user_id": 3, "name": SCRIPT, "risk": "high"})
    for user_id, time in ((1, 10), (2, 20), (3, 30), (4, 40)):
        for more in (0, 1, 2):
            codes(client, type="withdraw", amount="150.00", user_id=user_id, time=time + more)
    with transaction(sessions) as session:
        for change in (
            "status = 'acknowledged', assignee = 'anonymous' WHERE user_id = 1 AND seq = 1",
            "status = 'closed', outcome = 'true_positive' WHERE user_id = 1 AND seq = 2",
            "snoozed_until = now() + interval '1 day' WHERE user_id = 2 AND seq = 1",
            "superseded = true WHERE user_id = 2 AND seq = 2",
            "shadow = true WHERE user_id = 4 AND seq < 3",
            "assignee = '<b>Bob</b>', late = true WHERE user_id = 4 AND seq = 3",
        ):
            session.execute(text(f"UPDATE alerts SET {change}"))
    return client


def shown(answer: TestResponse) -> list[str]:
    """The ids of the rows of a page, in their order."""
    assert answer.status_code == 200, answer.text
    return re.findall(r'<tr id="alert-([0-9-]+)"', answer.text)


def rows(client: FlaskClient, query: str = "") -> list[str]:
    """The same of the inbox with this query."""
    return shown(client.get(f"/desk/?{query}" if query else "/desk/"))


def links(client: FlaskClient, text: str, query: str = "") -> list[str]:
    """Where the links of a page with this text lead: their queries."""
    page = client.get(f"/desk/?{query}" if query else "/desk/").text
    found = re.findall(r'<a [^>]*?href="([^"]*)"[^>]*>(.*?)</a>', page, re.S)
    wanted = [unescape(to) for to, said in found if re.sub(r"<[^>]*>|\s+", " ", said).strip().startswith(text)]
    return [urlsplit(to).query for to in wanted]


TABS = {
    "": [
        "4-3-1100",
        "4-3-30",
        "3-3-1100",
        "3-3-30",
        "3-2-1100",
        "3-1-1100",
        "2-3-1100",
        "2-3-30",
        "1-3-1100",
        "1-3-30",
        "1-1-1100",
    ],
    "tab=mine": ["1-1-1100"],
    "tab=unassigned": ["3-3-1100", "3-3-30", "3-2-1100", "3-1-1100", "2-3-1100", "2-3-30", "1-3-1100", "1-3-30"],
    "tab=snoozed": ["2-1-1100"],
    "tab=closed": ["1-2-1100"],
    "tab=shadow": ["4-2-1100", "4-1-1100"],
    "code=30": ["4-3-30", "3-3-30", "2-3-30", "1-3-30"],
    "user_id=2&superseded=any": ["2-3-1100", "2-3-30", "2-2-1100"],
    "superseded=true": ["2-2-1100"],
    "risk=high&code=30": ["3-3-30"],
    "late=true": ["4-3-1100", "4-3-30"],
    "status=acknowledged": ["1-1-1100"],
    "assignee=%3Cb%3EBob%3C%2Fb%3E": ["4-3-1100", "4-3-30"],
    "from=31&to=41": ["3-3-1100", "3-3-30", "3-2-1100"],
    "tab=all&user_id=1": ["1-3-1100", "1-3-30", "1-2-1100", "1-1-1100"],
    "tab=closed&outcome=false_positive": [],
    "user_id=1&sort=oldest": ["1-1-1100", "1-3-30", "1-3-1100"],
}


def test_tabs_and_filters(inbox: FlaskClient, subtests: pytest.Subtests) -> None:
    """Each lists what it says; the inbox by itself leaves out what is closed, superseded, snoozed or in shadow."""
    for query, expected in TABS.items():
        with subtests.test(query=query):
            assert rows(inbox, query) == expected


def test_counts(inbox: FlaskClient) -> None:
    """Tabs and the rail say how many they have, and facets how many there would be; with a filter, of what fits."""
    page = inbox.get("/desk/").text
    counted = dict(re.findall(r'>(\w+) <span class="count">([\d,+]+)</span></a>', page))
    # The status of the name of a tab comes after it: of the tab "Open" there is one more, which is acknowledged.
    assert counted == {
        "Open": "10",
        "Mine": "1",
        "Unassigned": "8",
        "Snoozed": "1",
        "Closed": "1",
        "Shadow": "2",
        "Acknowledged": "1",
        "1100": "7",
        "30": "4",
    }
    assert re.findall(r'id="count-(\w+)" data-count="\w+">([^<]*)<', page) == [("open", "11"), ("mine", "1")]
    filtered = inbox.get("/desk/?code=30").text
    assert dict(re.findall(r'>(\w+) <span class="count">([\d,+]+)</span></a>', filtered))["Unassigned"] == "3"


def test_counts_end(inbox: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a number; then there may be more."""
    monkeypatch.setattr(alert_counts, "COUNTED", 3)
    assert ">3+<" in inbox.get("/desk/").text


def test_a_form_leads_to_a_short_address(inbox: FlaskClient) -> None:
    """Fields left empty do not stand in it, and days become seconds; what is no day is left out."""
    answer = inbox.get("/desk/?code=30&user_id=&risk=&from_day=1970-01-02&to_day=1970-01-02&size=50")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/desk/?code=30&from=86400&to=172799")
    assert inbox.get("/desk/?from_day=soon&code=").headers["Location"] == "/desk/"
    assert inbox.get("/desk/?from_day=1960-01-01").headers["Location"] == "/desk/"
    assert inbox.get("/desk/?to_day=9999-12-31").headers["Location"] == "/desk/?to=253402300799"


def test_a_filter_that_cannot_be(inbox: FlaskClient) -> None:
    """It is refused by name, and what is no filter is left alone."""
    answer = inbox.get("/desk/?size=7", headers={"Accept": "text/html"})
    assert answer.status_code == 400
    assert "size" in answer.text
    assert "one of 25, 50, 100" in answer.text
    assert rows(inbox, "done=what&code=30") == TABS["code=30"]


def test_chips_take_filters_away(inbox: FlaskClient) -> None:
    """Each alone, or all at once; the tab stays."""
    query = "tab=all&code=30&late=true&assignee=%3Cb%3EBob%3C%2Fb%3E"
    assert links(inbox, "Rule 30", query) == ["tab=all&assignee=%3Cb%3EBob%3C%2Fb%3E&late=true"]
    assert links(inbox, "Only late", query) == ["tab=all&code=30&assignee=%3Cb%3EBob%3C%2Fb%3E"]
    assert links(inbox, "Clear", query) == ["tab=all"]
    assert links(inbox, "Clear") == []


def test_pages(inbox: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next page has what follows, and the last one no next; from each one leads back to the first."""
    monkeypatch.setattr("routes.desk.inbox_query.SIZES", (4, 25, 50))
    found, query = [], "size=4"
    while True:
        found.append(rows(inbox, query))
        following = links(inbox, "Next", query)
        if not following:
            break
        (query,) = following
    assert functools.reduce(operator.iadd, found, []) == TABS[""]
    assert [len(one) for one in found] == [4, 4, 3]
    assert links(inbox, "First page", query) == ["size=4"]
    listed = parse_qs(urlsplit(links_of_rows(inbox, query)[0]).query)["list"]
    assert listed == [query], "the page of an alert leads back to the page of the list"


def links_of_rows(client: FlaskClient, query: str) -> list[str]:
    """Where the rows of the inbox with this query lead."""
    return [unescape(one) for one in re.findall(r'<a class="open" href="([^"]*)"', client.get(f"/desk/?{query}").text)]


def test_a_search_that_breaks_off_goes_on(inbox: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where few of many fit, a page says how far it has looked, and the next one goes on there."""
    monkeypatch.setattr(alert_lists, "LOOKED_AT", 3)
    found, query, pages = [], "user_id=1&code=30&sort=oldest&tab=all", 0
    while True:
        page = inbox.get(f"/desk/?{query}")
        found += shown(page)
        pages += 1
        following = links(inbox, "Go on looking", query) + links(inbox, "Next", query)
        if not following:
            break
        assert "there are more" in page.text
        (query,) = following
    assert (found, pages) == (["1-3-30"], 2)


def test_marks(inbox: FlaskClient, sessions: Sessions) -> None:
    """What is odd about an alert stands on its row, also that its user is muted for the rule."""
    with transaction(sessions) as session:
        session.add(Mute(user_id=1, code=30, until=datetime.now(UTC) + timedelta(days=9), who="ada"))
    row = dict(re.findall(r'<tr id="alert-([0-9-]+)"(.*?)</tr>', inbox.get("/desk/?tab=all").text, re.S))
    for alert, mark in {
        "1-3-30": "muted",
        "4-3-30": "late",
        "2-2-1100": "superseded",
        "2-1-1100": "snoozed until",
    }.items():
        assert f">{mark}" in re.sub(r"<svg.*?</svg>", "", row[alert]), alert
    assert "High" in row["3-1-1100"]
    assert "High" not in row["1-1-1100"]


def test_views_are_saved_opened_and_deleted(inbox: FlaskClient) -> None:
    """A view of the page opens it again, over the API it lists the same, and those saved there open here."""
    query = "tab=mine&code=1100&sort=oldest"
    answer = inbox.post("/desk/views", data={"name": SCRIPT, "shared": "true", "list": query})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/desk/?{query}")
    (saved,) = inbox.get("/views").get_json()["views"]
    assert saved["query"] == {
        "assignee": "anonymous",
        "code": 1100,
        "closed": False,
        "superseded": False,
        "sort": "oldest",
    }
    assert saved["shared"]
    asked = {name: str(value).lower() if value is False else value for name, value in saved["query"].items()}
    assert [one["id"] for one in inbox.get("/alerts", query_string=asked).get_json()["alerts"]] == rows(inbox, query)
    page = inbox.get("/desk/").text
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page
    inbox.post("/views", json={"name": "Late ones", "query": {"late": True}})
    assert links(inbox, "Late ones") == ["tab=all&late=true&snoozed=false&muted=false"]
    gone = inbox.post(f"/desk/views/{saved['id']}/delete", data={"list": query})
    assert (gone.status_code, gone.headers["Location"]) == (303, f"/desk/?{query}")
    assert [view["name"] for view in inbox.get("/views").get_json()["views"]] == ["Late ones"]
    assert inbox.post(f"/desk/views/{saved['id']}/delete", data={"list": ""}).status_code == 404


def test_no_more_views_than_fit_are_listed(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest ones are."""
    monkeypatch.setattr("routes.desk.inbox.VIEWS_SHOWN", 2)
    for name in ("First", "Second", "Third"):
        client.post("/views", json={"name": name, "query": {}})
    assert [len(links(client, name)) for name in ("First", "Second", "Third")] == [0, 1, 1]


def test_a_name_that_cannot_be(inbox: FlaskClient) -> None:
    """It is said on the page that one was on, and what was entered stays."""
    inbox.post("/desk/views", data={"name": "Taken"})
    for name, status in (("", 400), ("x" * 101, 400), ("Taken", 409)):
        answer = inbox.post("/desk/views", data={"name": name, "list": "code=30"})
        assert answer.status_code == status
        assert 'id="name-fault"' in answer.text
        assert f'value="{name}"' in answer.text
        assert re.findall(r'<tr id="alert-([0-9-]+)"', answer.text) == TABS["code=30"]


def test_by_user(inbox: FlaskClient) -> None:
    """A row a user: those rated high first, then those with the most alerts; a link to the alerts of each."""
    page = inbox.get("/desk/?by=user").text
    table = re.sub(r"<details.*?</details>", "", page[page.index('<table class="by-user">') :], flags=re.S)
    found = [re.sub(r"<[^>]*>|\s+", " ", row) for row in re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.S)[1:]]
    assert [re.sub(r"\s+", " ", unescape(one)).strip() for one in found] == [
        f"High 3 {SCRIPT} 4 30 1100 now",
        "1 3 30 1100 now",
        "2 2 30 1100 now",
        "4 2 30 1100 now",
    ]
    assert "4 users with 11 alerts" in re.sub(r"\s+", " ", page)
    assert links(inbox, "3", "by=user&code=30")[-1:] == ["code=30&user_id=3"]
    assert SCRIPT not in page


def test_by_user_looks_at_so_many(inbox: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users are those of the newest alerts; then numbers are those that were seen."""
    monkeypatch.setattr("database.inbox.LOOKED_AT", 4)
    page = re.sub(r"\s+", " ", inbox.get("/desk/?by=user&tab=all").text)
    assert "2 users with the newest 4 alerts; there are more" in page


def test_nothing_at_all(client: FlaskClient) -> None:
    """Before the first alert, the page says how to send an event."""
    page = client.get("/desk/").text
    assert "No alerts yet" in page
    assert "curl -X POST http://localhost/event" in page
    assert 'href="/desk/send"' in page


def test_nothing_fits(inbox: FlaskClient) -> None:
    """The filters stand there, each to be taken away."""
    page = inbox.get("/desk/?user_id=9").text
    assert "Nothing fits" in page
    assert page.count("User 9") >= 2
    assert "There are no more alerts here" in inbox.get("/desk/?cursor=0-0-0-0").text


def test_all_done(client: FlaskClient) -> None:
    """How many were closed lately, and how long that took."""
    codes(client, type="withdraw", amount="150.00")
    assert "Nothing is yours" in client.get("/desk/?tab=mine").text
    client.patch("/alerts/1-1-1100", json={"status": "closed", "outcome": "false_positive"})
    page = re.sub(r"\s+", " ", client.get("/desk/").text)
    assert "All done" in page
    assert "1 closed in the last 24 hours, half of them within a minute" in page


def test_who_may_read_alone(make_client: ClientMaker, sessions: Sessions) -> None:
    """Sees no boxes to select and no form to save a view, and is refused if one is sent."""
    client = make_client()
    codes(client, type="withdraw", amount="150.00")
    reader, worker = (add_key(sessions, scopes=scopes, name=name) for name, scopes in READERS.items())
    look(client.application)
    page = client.get("/desk/", headers=bearer(reader)).text
    assert "alert-1-1-1100" in page
    assert 'name="id"' not in page
    assert "Save view" not in page
    assert client.post("/desk/views", data={"name": "x"}, headers=bearer(reader)).status_code == 403
    assert 'name="id"' in client.get("/desk/", headers=bearer(worker)).text
    assert client.get("/desk/").status_code == 401


READERS: dict[str, Any] = {"Reader": ["read"], "Worker": ["read", "work"]}
