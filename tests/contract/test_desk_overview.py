"""The overview: it shows what was counted and how far that is, and each number leads to the alerts that it counts."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, codes
from tests.keys import add_key, bearer, look
from tests.postgres import transaction
from work.figures_job import fill_figures

PATH = "/desk/overview"
DAY = timedelta(days=1)


def shown(client: FlaskClient, path: str = PATH) -> str:
    """The page."""
    answer = client.get(path)
    assert answer.status_code == 200
    return unescape(answer.text)


def moved(sessions: Sessions, user_id: int, days: int) -> None:
    """Let all of a user have arrived, and been worked, some days earlier."""
    with transaction(sessions) as session:
        for table, column in (("user_actions", "created_at"), ("alerts", "created_at"), ("alert_history", "at")):
            earlier = f"UPDATE {table} SET {column} = {column} - make_interval(days => :days) WHERE user_id = :user"
            session.execute(text(earlier), {"days": days, "user": user_id})


@pytest.fixture
def counted(make_client: ClientMaker, sessions: Sessions, database_url: str) -> FlaskClient:
    """A service whose users 1 to 4 have raised alerts of 1100: today, and 5, 20 and 40 days ago; some are closed."""
    client = make_client(time_is_epoch=True)
    now = int(datetime.now(UTC).timestamp())
    for user_id, days in ((1, 0), (2, 5), (3, 20), (4, 40)):
        for number in range(user_id):
            time = now - days * 86_400 + number
            assert codes(client, type="withdraw", amount="150.00", user_id=user_id, time=time)[:1] == [1100]
    for seq in (1, 2):
        change = {"status": "closed", "outcome": "false_positive"}
        assert client.patch(f"/alerts/4-{seq}-1100", json=change).status_code == 200
    for user_id, days in ((2, 5), (3, 20), (4, 40)):
        moved(sessions, user_id, days)
    fill_figures(database_url, anew=True)
    return client


def test_a_new_service(client: FlaskClient, database_url: str) -> None:
    """Before anything is counted it says so; before anything has arrived, how to begin."""
    assert "Nothing has been counted yet" in shown(client)
    fill_figures(database_url)
    page = shown(client)
    assert "Nothing has arrived in these days" in page
    assert 'href="/desk/send"' in page
    assert "As of" in page


def test_what_is_counted(counted: FlaskClient) -> None:
    """Events and alerts by day, alerts by age and outcome, users; as of a moment, for 14 or 56 days."""
    page = shown(counted)
    assert "As of <time" in page
    assert "still being counted" not in page
    assert 'aria-label="Withdrawals by day. In all 3, most at' in page
    assert 'aria-label="Alerts of 1100 by day. In all 3, most at' in page
    longer = shown(counted, f"{PATH}?days=56")
    assert 'aria-label="Alerts of 1100 by day. In all 10, most at' in longer
    ages = re.findall(r'<td class="nowrap">([^<]*days)</td>.*?<a href="([^"]*)">(\d+)</a>', page)
    by_age = {name: int(number) for name, _, number in ages}
    # User 4 has four of 1100 and two of 30, of which two are closed; user 3 has one of 30.
    assert by_age == {"0 to 2 days": 1, "3 to 10 days": 2, "11 to 30 days": 4, "over 30 days": 4}
    for _, path, number in ages:
        assert counted.get(path).text.count("data-alert=") == int(number)


def test_outcomes(counted: FlaskClient, database_url: str) -> None:
    """What the alerts of a rule were closed as; the share of false ones only from enough decisions on."""
    page = shown(counted, f"{PATH}?days=56")
    row = next(one for one in page.split("<tr>") if 'href="/desk/rules/1100"' in one)
    assert 'href="/desk/?tab=closed&code=1100&outcome=false_positive">2</a>' in row
    assert "100 %" not in row
    for number in range(20):
        user = {"type": "withdraw", "amount": "150.00", "user_id": 100 + number, "time": 1}
        assert codes(counted, **user) == [1100]
        change = {"status": "closed", "outcome": "false_positive"}
        assert counted.patch(f"/alerts/{100 + number}-1-1100", json=change).status_code == 200
    fill_figures(database_url)
    row = next(one for one in shown(counted).split("<tr>") if 'href="/desk/rules/1100"' in one)
    assert "100 %" in row
    assert 'href="/desk/?tab=closed&code=1100">22</a>' in row


def test_users_with_open_alerts(counted: FlaskClient) -> None:
    """Those with the most come first, each with a link to the alerts."""
    users = re.findall(r'<a href="/desk/\?user_id=(\d)">(\d)</a>', shown(counted))
    assert users == [("3", "4"), ("4", "4"), ("2", "2"), ("1", "1")]


def test_figures_that_have_not_caught_up(client: FlaskClient, sessions: Sessions, database_url: str) -> None:
    """It says how far they have come."""
    fill_figures(database_url)
    with transaction(sessions) as session:
        session.execute(text("UPDATE figures_progress SET as_of = as_of - interval '3 days'"))
    page = shown(client)
    assert "still being counted. They have come as far as <time" in page


def test_the_page_for_htmx_and_bad_days(client: FlaskClient) -> None:
    """The switch swaps the main part; other numbers of days are refused."""
    part = client.get(f"{PATH}?days=56", headers={"HX-Request": "true", "HX-Target": "main#main"})
    assert part.status_code == 200
    assert "<!doctype" not in part.text
    assert part.headers["HX-Push-Url"] == f"{PATH}?days=56"
    assert client.get(f"{PATH}?days=15").status_code == 400


def test_who_may_read_it(make_client: ClientMaker, sessions: Sessions) -> None:
    """A key for reading is enough, and needed."""
    client = make_client()
    reading, ingesting = add_key(sessions, "Ada", ["read"]), add_key(sessions, "shop", ["ingest"])
    look(client.application)
    assert client.get(PATH, headers=bearer(reading)).status_code == 200
    assert client.get(PATH, headers=bearer(ingesting)).status_code == 403
