"""Alerts: listed with filters, page by page; read one by one; and what late events do to them."""

import json
import re
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text

from rules import registry
from rules.registry import REGISTRY
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, an_event, codes, pointers, problem
from tests.postgres import transaction

LARGEST = 2**63 - 1


def alerts(client: FlaskClient, query: Any = "") -> Any:
    """One page of alerts."""
    answer = client.get(f"/alerts{query}")
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def ids(client: FlaskClient, query: Any = "") -> list[Any]:
    """The id of each alert on one page."""
    return [alert["id"] for alert in alerts(client, query)["alerts"]]


def pages(client: FlaskClient, query: Any) -> Any:
    """The id of each alert on all pages, and the length of each page."""
    found, lengths, cursor = [], [], ""
    while cursor is not None:
        page = alerts(client, f"?{query}{cursor}")
        found += [alert["id"] for alert in page["alerts"]]
        lengths.append(len(page["alerts"]))
        cursor = page["next"] and f"&cursor={page['next']}"
    return found, lengths


# One alert


@pytest.fixture
def example(client: FlaskClient) -> Any:
    """A client whose user 7 withdrew, deposited 100.00 at 10 and 120.00 at 25."""
    codes(client, user_id=7, type="withdraw", amount="1.00", time=0)
    assert codes(client, user_id=7, amount="100.00", time=10) == []
    assert codes(client, user_id=7, amount="120.00", time=25) == [123]
    return client


EXAMPLE = {
    "id": "7-3-123",
    "user_id": 7,
    "seq": 3,
    "code": 123,
    "title": "Deposits over 200.00 in 30 s",
    "time": 25,
    "type": "deposit",
    "amount": "120.00",
    "status": "open",
    "outcome": None,
    "assignee": None,
    "snoozed_until": None,
    "late": False,
    "superseded": False,
    "evidence": {
        "rule_version": 1,
        "measured": "220.00",
        "parameters": {"threshold": "200.00", "window": 30},
        "origin": {"threshold": "default", "window": "default"},
        "actions": [2, 3],
        "sentence": "Deposits of 220.00 between 10 and 25 are over 200.00 in 30 s.",
    },
}


def test_an_alert(example: Any) -> None:
    """An alert is listed and read with all that the contract names; read by itself it has its history too."""
    (listed,) = alerts(example)["alerts"]
    more = {name: listed[name] for name in ("created_at", "touched_at")} | {"etag": '"0"'}
    assert listed == EXAMPLE | more
    assert example.get("/alerts/7-3-123").get_json() == EXAMPLE | more | {"history": []}


def test_fields_stand_in_the_order_of_the_contract(example: Any) -> None:
    """The fields come in the order in which the contract shows them."""
    fields = re.findall(r'"(\w+)":', example.get("/alerts/7-3-123").text.partition('"evidence"')[0])
    assert fields == [*list(EXAMPLE)[:-1], "created_at", "touched_at", "etag"]


def test_created_at(example: Any) -> None:
    """created_at is in UTC as in RFC 3339, whatever the time zone of the database."""
    found = example.get("/alerts/7-3-123").get_json()["created_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(found)) < timedelta(hours=1)


TITLES = {
    1100: ("Withdrawal over 100.00", [("withdraw", "100.01")]),
    30: ("3 withdrawals in a row", [("withdraw", "1.00")] * 3),
    300: ("3 increasing deposits", [("deposit", "1.00"), ("deposit", "2.00"), ("deposit", "3.00")]),
    123: ("Deposits over 200.00 in 30 s", [("deposit", "200.01")]),
    500: ("More than 5 actions in 1 minute", [("deposit", "1.00")] * 6),
}


@pytest.mark.parametrize("code", TITLES)
def test_titles(make_client: ClientMaker, code: Any) -> None:
    """The title names the rule with the parameters that were in force."""
    title, posted = TITLES[code]
    client = make_client(rules=str(code))
    for kind, amount in posted:
        codes(client, type=kind, amount=amount)
    assert client.get(f"/alerts/1-{len(posted)}-{code}").get_json()["title"] == title


def test_the_title_of_a_scaled_threshold(client: FlaskClient) -> None:
    """If a rating scales the threshold, title and evidence show the scaled one and its origin."""
    client.post("/users", json={"user_id": 1, "risk": "high"})
    codes(client, type="withdraw", amount="50.01")
    found = client.get("/alerts/1-1-1100").get_json()
    assert found["title"] == "Withdrawal over 50.00"
    assert found["evidence"]["origin"] == {"threshold": "risk"}


def test_the_largest_numbers(client: FlaskClient) -> None:
    """An alert of the largest user, time and amount can be listed, found by cursor and read."""
    for _ in range(2):
        codes(client, user_id=LARGEST, time=LARGEST, amount="999999999999.99")
    found = client.get(f"/alerts/{LARGEST}-1-123").get_json()
    assert (found["user_id"], found["time"], found["amount"]) == (LARGEST, LARGEST, "999999999999.99")
    assert pages(client, f"limit=1&user_id={LARGEST}&from={LARGEST}&to={LARGEST}") == (
        [f"{LARGEST}-2-123", f"{LARGEST}-1-123"],
        [1, 1],
    )


UNKNOWN = ["7-3-30", "7-2-123", "8-3-123", f"{LARGEST}-{LARGEST}-{2**31 - 1}"]
ODD = [
    *("x", "7", "7-3", "7-3-123-1", "7-3-", "-3-123", "7--123", "0-3-123", "7-0-123", "7-3-0", "07-3-123", "+7-3-123"),
    *("7-3-0123", " 7-3-123", "7-3-123%20", "7-3-123%0A", "7-3-123/", "7.0-3-123", "-7-3-123", "٧-3-123", "7_3_123"),
    *(f"{2**63}-3-123", f"7-{2**63}-123", f"7-3-{2**31}", "9" * 5000, "7-3-" + "9" * 5000, "%00", "7-3-123%00"),
]


@pytest.mark.parametrize("alert_id", UNKNOWN)
def test_an_unknown_alert(example: Any, alert_id: Any) -> None:
    """An id of the right shape that names no alert is a 404 of its own type."""
    document = problem(example.get(f"/alerts/{alert_id}"), 404)
    assert document["type"] == "urn:problem:unknown-alert"
    assert document["detail"] == f"There is no alert {alert_id}."


def test_an_id_of_another_shape(example: Any) -> None:
    """An id of another shape, or with an impossible number, is a 404 like any unknown path."""
    for alert_id in ODD:
        assert (alert_id, problem(example.get(f"/alerts/{alert_id}"), 404)["type"]) == (alert_id, "about:blank")


@pytest.mark.parametrize("path", ["/alerts", "/alerts/7-3-123"])
def test_other_methods(example: Any, path: str) -> None:
    """Alerts cannot be posted or deleted."""
    for method in ("POST", "PUT", "DELETE"):
        answer = example.open(path, method=method)
        problem(answer, 405)
        assert "GET" in answer.headers["Allow"]


# The list


@pytest.fixture
def busy(client: FlaskClient, sessions: Sessions) -> Any:
    """A client with alerts of three users of different ratings; user 2 has two codes on one action, three at time 20.

    One of user 1's is late, one of user 3's superseded; two are being worked on.
    """
    for user_id, risk in ((1, "low"), (2, "normal"), (3, "high")):
        client.post("/users", json={"user_id": user_id, "risk": risk})
    codes(client, user_id=1, amount="300.00", time=20)
    codes(client, user_id=1, amount="200.00", time=10)  # late: now the one at 20 fires
    codes(client, user_id=1, type="withdraw", amount="200.01", time=50)
    for time, amount in ((18, "1.00"), (19, "1.00"), (20, "100.01"), (20, "1.00"), (20, "1.00")):
        codes(client, user_id=2, type="withdraw", amount=amount, time=time)
    for time in (1, 2, 3):
        codes(client, user_id=3, type="withdraw", amount="1.00", time=time)
    codes(client, user_id=3, amount="1.00", time=2)  # late: no longer three in a row
    with transaction(sessions) as session:
        session.execute(text("UPDATE alerts SET status = 'acknowledged' WHERE (user_id, seq, code) = (2, 5, 30)"))
        closed = (
            "UPDATE alerts SET status = 'closed', outcome = 'inconclusive' WHERE (user_id, seq, code) = (1, 3, 1100)"
        )
        session.execute(text(closed))
    return client


NEWEST_FIRST = ["1-3-1100", "2-5-30", "2-4-30", "2-3-1100", "2-3-30", "1-1-123", "3-3-30"]


def test_no_alerts(client: FlaskClient) -> None:
    """Without alerts the list is empty."""
    codes(client)
    assert alerts(client) == {"alerts": [], "next": None}


def test_newest_first(busy: FlaskClient) -> None:
    """Alerts of all users are listed newest first by the time of the action, then by user, arrival and code."""
    assert alerts(busy)["next"] is None
    assert ids(busy) == NEWEST_FIRST


FILTERS = {
    "user_id=1": ["1-3-1100", "1-1-123"],
    "user_id=3": ["3-3-30"],
    "user_id=4": [],
    f"user_id={LARGEST}": [],
    "code=30": ["2-5-30", "2-4-30", "2-3-30", "3-3-30"],
    "code=1100": ["1-3-1100", "2-3-1100"],
    "code=500": [],
    f"code={2**31 - 1}": [],
    "status=open": ["2-4-30", "2-3-1100", "2-3-30", "1-1-123", "3-3-30"],
    "status=acknowledged": ["2-5-30"],
    "status=closed": ["1-3-1100"],
    "closed=true": ["1-3-1100"],
    "closed=false": ["2-5-30", "2-4-30", "2-3-1100", "2-3-30", "1-1-123", "3-3-30"],
    "closed=false&status=closed": [],
    "closed=false&code=30&risk=normal": ["2-5-30", "2-4-30", "2-3-30"],
    "risk=low": ["1-3-1100", "1-1-123"],
    "risk=normal": ["2-5-30", "2-4-30", "2-3-1100", "2-3-30"],
    "risk=high": ["3-3-30"],
    "late=true": ["1-1-123"],
    "late=false": ["1-3-1100", "2-5-30", "2-4-30", "2-3-1100", "2-3-30", "3-3-30"],
    "superseded=true": ["3-3-30"],
    "superseded=false": ["1-3-1100", "2-5-30", "2-4-30", "2-3-1100", "2-3-30", "1-1-123"],
    "from=20": ["1-3-1100", "2-5-30", "2-4-30", "2-3-1100", "2-3-30", "1-1-123"],
    "from=21": ["1-3-1100"],
    "to=20": ["2-5-30", "2-4-30", "2-3-1100", "2-3-30", "1-1-123", "3-3-30"],
    "to=19": ["3-3-30"],
    "from=3&to=3": ["3-3-30"],
    f"from=0&to={LARGEST}": NEWEST_FIRST,
    "user_id=2&code=30": ["2-5-30", "2-4-30", "2-3-30"],
    "user_id=2&code=30&status=open": ["2-4-30", "2-3-30"],
    "user_id=1&risk=high": [],
    "user_id=1&risk=low&late=true": ["1-1-123"],
    "risk=normal&from=20&to=20&status=open": ["2-4-30", "2-3-1100", "2-3-30"],
    "late=false&superseded=true&status=open&risk=high&code=30&user_id=3&from=3&to=3": ["3-3-30"],
    "late=true&superseded=true": [],
    "limit=2": ["1-3-1100", "2-5-30"],
    "cursor=20-2-4-30": ["2-3-1100", "2-3-30", "1-1-123", "3-3-30"],
    "cursor=20-2-3-1100": ["2-3-30", "1-1-123", "3-3-30"],
    "cursor=20-2-3-31&limit=1": ["2-3-30"],
    "cursor=30-9-9-9&limit=1": ["2-5-30"],
    "cursor=20-2-5-30&to=20&from=20": ["2-4-30", "2-3-1100", "2-3-30", "1-1-123"],
    "cursor=20-2-4-30&user_id=2": ["2-3-1100", "2-3-30"],
    "cursor=20-2-4-30&risk=low": ["1-1-123"],
    "cursor=0-0-0-0": [],
    f"cursor={'9' * 19}-1-1-1": NEWEST_FIRST,
    f"cursor={'-'.join(['9' * 19] * 4)}": NEWEST_FIRST,
}


def test_filters(busy: FlaskClient, subtests: pytest.Subtests) -> None:
    """Each filter, alone and with others, gives the alerts that fit all of them, in order."""
    for query, expected in FILTERS.items():
        with subtests.test(query=query):
            assert ids(busy, f"?{query}") == expected


def test_the_rating_is_that_of_now(busy: FlaskClient, sessions: Sessions) -> None:
    """`risk` goes by the rating that the user has now, not by the one that judged."""
    with transaction(sessions) as session:
        session.execute(text("UPDATE users SET risk = 'high' WHERE user_id = 1"))
    assert ids(busy, "?risk=high") == ["1-3-1100", "1-1-123", "3-3-30"]
    assert ids(busy, "?risk=low") == []


BAD_QUERIES = {
    "user_id": ["0", "-1", "x", "", "1.0", "%201", "+1", "1_0", "9223372036854775808", "9" * 5000, "%00", "١", "null"],
    "code": ["0", "-1", "x", "", "30.0", "2147483648", "9" * 5000, "%00", "30,123"],
    "status": ["Open", "x", "", "open,closed", "%00", "open%20"],
    "risk": ["High", "x", "", "medium", "%00"],
    "late": ["True", "1", "0", "yes", "on", "t", "", "null", "%00"],
    "superseded": ["False", "1", "0", "no", "off", "f", "", "null", "%00"],
    "closed": ["False", "1", "0", "no", "", "null", "%00"],
    "shadow": ["False", "1", "0", "no", "", "null", "%00"],
    "limit": ["0", "-1", "501", "x", "", "1.0", "1e1", "%201", "9" * 5000, "null"],
    "from": ["-1", "x", "", "1.0", "9223372036854775808", "9" * 5000, "%00"],
    "to": ["-1", "x", "", "1.0", "9223372036854775808", "9" * 5000, "%00"],
    "cursor": [
        *("x", "1", "1-2", "1-2-3", "1-2-3-4-5", "---", "1-2-3-", "-1-2-3-4", "a-2-3-4", "1.0-2-3-4", "%00"),
        *("1-2-3-%D9%A1", "1-2-3-4%0A", "9" * 20 + "-1-1-1", "1-1-1-" + "9" * 5000),
    ],
}


@pytest.mark.parametrize("name", BAD_QUERIES)
def test_a_bad_filter(client: FlaskClient, name: Any) -> None:
    """A filter that is unreadable or out of bounds is a 400 that names it."""
    for value in BAD_QUERIES[name]:
        assert (value, pointers(client.get(f"/alerts?{name}={value}"))) == (value, [f"/{name}"])


def test_every_bad_filter_is_named_at_once(client: FlaskClient) -> None:
    """One answer names all that is wrong with a query."""
    query = "&".join(f"{name}=x" for name in BAD_QUERIES)
    assert pointers(client.get(f"/alerts?{query}")) == sorted(f"/{name}" for name in BAD_QUERIES)


# Pages


@pytest.fixture
def crowded(client: FlaskClient) -> Any:
    """A client with 36 alerts at two moments, of three users with four actions at each, some with two codes."""
    for time in (10, 20):
        for user_id in (1, 2, 3):
            for amount in ("150.00", "1.00", "150.00", "150.00"):
                codes(client, user_id=user_id, type="withdraw", amount=amount, time=time)
    return client


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 35, 36, 37, 500])
def test_pages_have_no_gaps_and_no_doubles(crowded: Any, limit: int) -> None:
    """Following `next` gives every alert once, in order, however long the page and however many share a time."""
    everything = alerts(crowded)["alerts"]
    places = [(alert["time"], alert["user_id"], alert["seq"], alert["code"]) for alert in everything]
    assert len(set(places)) == len(places) == 36
    assert places == sorted(places, reverse=True)
    found, lengths = pages(crowded, f"limit={limit}")
    assert found == [alert["id"] for alert in everything]
    assert set(lengths[:-1]) <= {limit}
    assert lengths[-1] > 0


@pytest.mark.parametrize(
    "query", ["user_id=2", "code=30", "risk=normal", "from=20", "to=10", "from=10&to=10&user_id=3"]
)
def test_pages_of_a_filter(crowded: Any, query: str) -> None:
    """A filter and pages work together."""
    expected = ids(crowded, f"?{query}")
    assert len(expected) >= 4
    for limit in (1, 2, 3):
        assert pages(crowded, f"{query}&limit={limit}")[0] == expected


def test_pages_stay_in_place(busy: FlaskClient) -> None:
    """Alerts that arrive between two pages do not shift the second one."""
    first = alerts(busy, "?limit=3")
    codes(busy, user_id=9, amount="500.00", time=99)
    assert ids(busy, f"?cursor={first['next']}") == NEWEST_FIRST[3:]


def test_fifty_a_page(client: FlaskClient) -> None:
    """A page is fifty alerts long if no limit is asked for."""
    for user_id in range(1, 52):
        codes(client, user_id=user_id, amount="500.00")
    page = alerts(client)
    assert len(page["alerts"]) == 50
    assert ids(client, f"?cursor={page['next']}") == ["1-1-123"]
    assert len(ids(client, "?limit=51")) == 51


@pytest.mark.parametrize("path", ["/alerts", "/alerts?risk=low&limit=1", "/alerts/1-1-123"])
def test_one_statement(busy: FlaskClient, sessions: Sessions, path: str) -> None:
    """A page, and one alert, take one statement, however many alerts there are."""
    executed = []
    engine = busy.application.extensions["transaction-alerts"].engines.reads
    sqlalchemy_event.listen(engine, "before_cursor_execute", lambda *call: executed.append(call[2]))
    assert busy.get(path).status_code == 200
    assert [statement.split()[0] for statement in executed] == ["SELECT"]


# Late events


def test_a_late_alert(client: FlaskClient) -> None:
    """A code that fires because of a late event is listed as late; the answer to the action did not have it."""
    assert codes(client, amount="150.00", time=20) == []
    assert codes(client, amount="100.00", time=10) == []
    (late,) = alerts(client)["alerts"]
    assert (late["id"], late["late"], late["superseded"]) == ("1-1-123", True, False)
    assert (late["time"], late["amount"], late["evidence"]["actions"]) == (20, "150.00", [2, 1])
    assert ids(client, "?late=true") == ["1-1-123"]
    assert ids(client, "?late=false") == []


def test_a_superseded_alert(client: FlaskClient) -> None:
    """An alert that a late event proves wrong stays, with its evidence, and is marked superseded."""
    answers = [codes(client, type="withdraw", amount="1.00", time=time) for time in (10, 20, 30)]
    before = client.get("/alerts/1-3-30").get_json()
    codes(client, amount="1.00", time=25)
    assert answers == [[], [], [30]]
    after = client.get("/alerts/1-3-30").get_json()
    assert after == before | {"superseded": True, "touched_at": after["touched_at"]}
    assert ids(client, "?superseded=false") == []


def test_an_alert_that_stands_again(client: FlaskClient) -> None:
    """An alert that was superseded and holds again after another late event is the same alert."""
    for time, amount in ((10, "1.00"), (30, "2.00"), (40, "3.00")):
        codes(client, amount=amount, time=time)
    before = client.get("/alerts/1-3-300").get_json()
    codes(client, amount="2.00", time=35)
    superseded = client.get("/alerts/1-3-300").get_json()
    assert superseded == before | {"superseded": True, "touched_at": superseded["touched_at"]}
    codes(client, amount="2.50", time=37)
    again = client.get("/alerts/1-3-300").get_json()
    assert again == before | {"touched_at": again["touched_at"]}
    assert before["touched_at"] < superseded["touched_at"] < again["touched_at"]


@pytest.mark.parametrize("seed", range(8))
def test_standing_alerts_do_not_depend_on_the_order_of_arrival(client: FlaskClient, seed: Any) -> None:
    """Events posted in any order end with the valid alerts that they would have in order of time."""
    random = Random(seed)
    events = [
        an_event(
            type=random.choice(["deposit", "withdraw"]),
            amount=random.choice(["1.00", "60.00", "100.01", "150.00"]),
            time=time,
            event_id=f"event {time}",
        )
        for time in random.sample(range(150), 25)
    ]

    def standing(user_id: int, posted: Any) -> Any:
        for event in posted:
            codes(client, **event | {"user_id": user_id})
        actions = client.get(f"/users/{user_id}/actions").get_json()["actions"]
        names = {action["seq"]: action["event_id"] for action in actions}
        found = alerts(client, f"?user_id={user_id}&superseded=false&limit=500")["alerts"]
        return {(names[alert["seq"]], alert["code"], alert["title"]) for alert in found}

    in_order = standing(1, sorted(events, key=lambda event: event["time"]))
    assert in_order
    assert standing(2, events) == in_order
    assert standing(3, sorted(events, key=lambda event: -event["time"])) == in_order


# Rules that change


def test_the_title_keeps_its_parameters(client: FlaskClient) -> None:
    """The title shows the parameters that were in force, whatever the rule has been set to since."""
    codes(client, type="withdraw", amount="150.00")
    client.put("/rules/1100", json={"parameters": {"threshold": "999.00"}})
    assert client.get("/alerts/1-1-1100").get_json()["title"] == "Withdrawal over 100.00"


@pytest.mark.parametrize("change", ["the rule is gone", "the rule has other parameters"])
def test_a_rule_of_the_past(
    client: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """An alert of a rule that the service no longer knows, or no longer in that form, can be listed and read."""
    codes(client, type="withdraw", amount="150.00")
    if change == "the rule is gone":
        monkeypatch.setattr(registry, "REGISTRY", {code: rule for code, rule in REGISTRY.items() if code != 1100})
    else:
        with transaction(sessions) as session:
            session.execute(text("""UPDATE alerts SET evidence = jsonb_set(evidence, '{parameters}', '{"old": 1}')"""))
    assert [alert["title"] for alert in alerts(client)["alerts"]] == ["Rule 1100"]
    assert client.get("/alerts/1-1-1100").get_json()["title"] == "Rule 1100"


@pytest.mark.parametrize(
    "old", [{}, {"parameters": {"threshold": None}, "origin": {"threshold": "luck"}, "score": 0.5, "actions": "none"}]
)
def test_evidence_of_any_age(client: FlaskClient, sessions: Sessions, old: dict[str, Any]) -> None:
    """Evidence that is stored in another form than today's is answered as it is."""
    codes(client, type="withdraw", amount="150.00")
    with transaction(sessions) as session:
        session.execute(text("UPDATE alerts SET evidence = CAST(:old AS jsonb)"), {"old": json.dumps(old)})
    (listed,) = alerts(client)["alerts"]
    assert listed["evidence"] == old
    assert client.get("/alerts/1-1-1100").get_json() == listed | {"history": []}


def test_an_answer_to_the_byte(client: FlaskClient, sessions: Sessions) -> None:
    """The members of an alert in their order, without a space, everything but printable ASCII escaped, on one line."""
    codes(client, type="withdraw", amount="150.00", user_id=7)
    with transaction(sessions) as session:
        session.execute(
            text(
                "UPDATE alerts SET (created_at, touched_at) = (created, created) FROM "
                "CAST('2026-01-31 13:00:00+01' AS timestamptz) AS created"
            )
        )
        odd = json.dumps({"sentence": "\u00e9\x7f\U0001f600/\n"})
        session.execute(text("UPDATE alerts SET evidence = CAST(:odd AS jsonb)"), {"odd": odd})
    alert = (
        rb'{"id":"7-1-1100","user_id":7,"seq":1,"code":1100,"title":"Rule 1100","time":10,"type":"withdraw",'
        rb'"amount":"150.00","status":"open","outcome":null,"assignee":null,"snoozed_until":null,"late":false,'
        rb'"superseded":false,"created_at":"2026-01-31T12:00:00.000000Z","touched_at":"2026-01-31T12:00:00.000000Z",'
        rb'"etag":"\"0\"","evidence":{"sentence":"\u00e9\u007f\ud83d\ude00/\n"}'
    )
    assert client.get("/alerts").data == b'{"alerts":[' + alert + b'}],"next":null}\n'
    assert client.get("/alerts/7-1-1100").data == alert + b',"history":[]}\n'


def test_an_alert_in_shadow(client: FlaskClient) -> None:
    """An alert of a rule in shadow says so, right after whether it is superseded, and appears only in its own list."""
    client.put("/rules/1100", json={"status": "shadow"})
    codes(client, type="withdraw", amount="150.00", user_id=7)
    (found,) = alerts(client, "?shadow=true&user_id=7&superseded=false&risk=normal")["alerts"]
    assert found["shadow"] is True
    assert list(found).index("shadow") == list(found).index("superseded") + 1
    assert alerts(client, "?user_id=7")["alerts"] == []
    assert client.get("/alerts/7-1-1100").get_json() == found | {"history": []}


def test_pages_of_alerts_in_shadow(client: FlaskClient) -> None:
    """Alerts of rules in shadow and others are paged separately."""
    client.put("/rules/30", json={"status": "shadow"})
    for time in range(6):
        codes(client, type="withdraw", amount="150.00", time=time)
    assert pages(client, "limit=1&shadow=true")[0] == [f"1-{seq}-30" for seq in (6, 5, 4, 3)]
    assert pages(client, "limit=4")[0] == [f"1-{seq}-1100" for seq in (6, 5, 4, 3, 2, 1)]


def test_dates(make_client: ClientMaker) -> None:
    """With TIME_IS_EPOCH the sentence has dates, also of alerts from before; evidence keeps plain numbers."""
    client = make_client()
    client.post("/event", json=an_event(amount="250.00", time=1769860810))
    plain = alerts(client)["alerts"][0]["evidence"]
    assert plain["sentence"] == "A deposit of 250.00 at 1769860810 is over 200.00 in 30 s."
    dated = make_client(time_is_epoch=True)
    said = "A deposit of 250.00 at 2026-01-31 12:00:10 UTC is over 200.00 in 30 s."
    assert alerts(dated)["alerts"][0]["evidence"] == plain | {"sentence": said}
    assert dated.get("/alerts/1-1-123").get_json()["evidence"]["sentence"] == said
    assert dated.application.test_cli_runner().invoke(args=["verify"]).exit_code == 0
