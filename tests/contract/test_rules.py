"""Rules: what they are set to, setting them to something else, and what that does to the events that follow."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from app import make_service
from config_loader import load_settings
from database import rule_versions
from database.session import begin
from routes import rules as views
from rules import rule_settings
from rules.catalogue import deposit_velocity
from rules.registry import DEFAULT_CODES, REGISTRY
from tests.conftest import ClientMaker
from tests.contract.helpers import JSON, Sessions, an_event, codes, pointers, problem, without
from tests.waiting import PATIENCE, wait_until

LARGEST = 2**63 - 1


@pytest.fixture(autouse=True)
def figures_of_this_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are counted for each answer."""
    monkeypatch.setattr(views, "FIGURES_SECONDS", 0)


def put(client: FlaskClient, code: Any, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    """Set a rule and return it as answered."""
    answer = client.put(f"/rules/{code}", json=fields or {"author": "anonymous"}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def rule(client: FlaskClient, code: Any) -> Any:
    """A rule as it is set now."""
    answer = client.get(f"/rules/{code}")
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def versions(client: FlaskClient, code: Any, query: Any = "") -> Any:
    """One page of all that a rule was ever set to."""
    answer = client.get(f"/rules/{code}/versions{query}")
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def etag(client: FlaskClient, path: Any) -> Any:
    """The ETag of what is there."""
    return client.get(path).headers["ETag"]


def alert_ids(client: FlaskClient, query: Any = "") -> list[Any]:
    """The id of each alert on one page."""
    return [alert["id"] for alert in client.get(f"/alerts{query}").get_json()["alerts"]]


# Reading


def test_all_rules_are_listed(client: FlaskClient) -> None:
    """All rules are listed in the order of the registry, the default ones active and all others off."""
    listed = client.get("/rules").get_json()["rules"]
    assert [one["code"] for one in listed] == list(REGISTRY)
    assert {one["code"] for one in listed if one["status"] == "active"} == set(DEFAULT_CODES)
    assert {one["status"] for one in listed if one["code"] not in DEFAULT_CODES} == {"off"}
    assert listed == [rule(client, code) for code in REGISTRY]


def test_the_setting_rules_is_what_holds_at_first(make_client: ClientMaker) -> None:
    """Until somebody sets a rule, the codes of RULES are the active ones."""
    listed = make_client(rules="500,30").get("/rules").get_json()["rules"]
    assert [one["code"] for one in listed if one["status"] == "active"] == [30, 500]


def test_a_rule(client: FlaskClient) -> None:
    """A rule is answered with what it is set to, what its parameters take, who set it, and its figures."""
    found = rule(client, 123)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found["created_at"])
    assert abs(datetime.now(UTC) - datetime.fromisoformat(found["created_at"])) < timedelta(hours=1)
    threshold, window = deposit_velocity.RULE.declared
    assert without(found, "created_at") == {
        "code": 123,
        "title": "Deposits over 200.00 in 30 s",
        "status": "active",
        "version": 1,
        "parameters": {"threshold": "200.00", "window": 30},
        "by_risk": {},
        "author": None,
        "note": None,
        "fires_on": "deposit",
        "declared": [
            {
                "name": "threshold",
                "unit": "money",
                "default": "200.00",
                "least": "0.00",
                "most": "999999999999.99",
                "scaled": True,
                "why": threshold.why,
            },
            {
                "name": "window",
                "unit": "seconds",
                "default": 30,
                "least": window.least,
                "most": window.most,
                "scaled": False,
                "why": window.why,
            },
        ],
        "figures": {"alerts": 0, "shadow_alerts": 0, "among": 100_000},
    }


UNKNOWN = [1, 7, 124, 2**31, LARGEST]
ODD = ["x", "0", "-1", "0123", "123.0", "%20123", "1_0", str(2**63), "9" * 5000, "%00", "١"]


@pytest.mark.parametrize("path", ["/rules/{}", "/rules/{}/versions"])
def test_an_unknown_rule(client: FlaskClient, path: str) -> None:
    """A code that no rule has is a 404 of its own type; what cannot be a code is one like any unknown path."""
    for code in UNKNOWN:
        document = problem(client.get(path.format(code)), 404)
        assert (document["type"], document["detail"]) == ("urn:problem:unknown-rule", f"There is no rule {code}.")
    for odd in ODD:
        assert (odd, problem(client.get(path.format(odd)), 404)["type"]) == (odd, "about:blank")


def test_an_unknown_rule_cannot_be_set(client: FlaskClient) -> None:
    """A code that no rule has cannot be set, whatever the body says."""
    assert problem(client.put("/rules/7", json={"status": "off"}), 404)["type"] == "urn:problem:unknown-rule"


def test_figures(client: FlaskClient) -> None:
    """The figures count the alerts not superseded, those in shadow separately."""
    put(client, 500, status="shadow", parameters={"count": 1})
    for time in (10, 20, 30):
        codes(client, type="withdraw", amount="150.00", time=time)
    figures = {one["code"]: without(one["figures"], "among") for one in client.get("/rules").get_json()["rules"]}
    assert figures[1100] == {"alerts": 3, "shadow_alerts": 0}
    assert figures[30] == {"alerts": 1, "shadow_alerts": 0}
    assert figures[500] == {"alerts": 0, "shadow_alerts": 2}
    codes(client, amount="1.00", time=25)  # late: no longer three in a row
    assert rule(client, 30)["figures"]["alerts"] == 0


def test_figures_are_bounded(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures look only at the newest alerts, however many there are."""
    monkeypatch.setattr(views, "COUNTED", 2)
    for time in (10, 20, 30):
        codes(client, type="withdraw", amount="150.00", time=time)
    figures = [rule(client, code)["figures"] for code in (1100, 30)]
    assert figures == [{"alerts": 1, "shadow_alerts": 0, "among": 2}] * 2


def test_figures_are_kept_for_a_while(make_client: ClientMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the rules are read and set, their alerts are counted once in a while."""
    monkeypatch.setattr(views, "FIGURES_SECONDS", 3600)
    client = make_client()
    codes(client, type="withdraw", amount="150.00", time=10)
    before = [rule(client, code)["figures"] for code in (1100, 30)]
    codes(client, type="withdraw", amount="150.00", time=20)
    listed = {one["code"]: one["figures"] for one in client.get("/rules").get_json()["rules"]}
    assert [listed[1100], put(client, 30, note="again")["figures"]] == before
    assert before[0]["alerts"] == 1


# Setting


def test_a_rule_is_set(client: FlaskClient) -> None:
    """A rule is set to all that is sent, and answered and read like that."""
    sent: dict[str, Any] = {
        "status": "shadow",
        "parameters": {"threshold": "150.00", "window": 60},
        "by_risk": {"high": {"threshold": "80.00"}, "low": {"window": 10}},
        "note": "Tried out.",
        "author": "anonymous",
    }
    changed = put(client, 123, **sent)
    assert {name: changed[name] for name in sent} == sent
    assert (changed["version"], changed["title"]) == (2, "Deposits over 150.00 in 1 minute")
    assert rule(client, 123) == changed
    assert without(rule(client, 1100), "created_at")["version"] == 1


def test_what_is_left_out_stays(client: FlaskClient) -> None:
    """What is left out of a change stays as it is, a parameter too; values by rating are replaced as a whole."""
    put(client, 123, status="shadow", parameters={"window": 60}, by_risk={"high": {"window": 90}}, note="a")
    changed = put(client, 123, parameters={"threshold": "150.00"})
    assert changed["parameters"] == {"threshold": "150.00", "window": 60}
    assert (changed["status"], changed["by_risk"], changed["version"]) == ("shadow", {"high": {"window": 90}}, 3)
    assert (changed["author"], changed["note"]) == ("anonymous", None)
    assert put(client, 123, by_risk={"low": {"window": 5}})["by_risk"] == {"low": {"window": 5}}
    assert put(client, 123, by_risk={"low": {}, "high": {}})["by_risk"] == {}
    changed = put(client, 123)
    assert (changed["version"], changed["parameters"]) == (6, {"threshold": "150.00", "window": 60})


def test_what_was_read_can_be_sent_back(client: FlaskClient) -> None:
    """Of a rule as it was read, what cannot be set is named as such; the rest is a body that changes nothing else."""
    before = rule(client, 123)
    errors = problem(client.put("/rules/123", json=before), 400)["errors"]
    read_only = ("code", "title", "version", "created_at", "fires_on", "declared", "figures")
    assert {e["pointer"]: e["detail"] for e in errors} == {
        f"/{name}": "is read-only: it cannot be set" for name in read_only
    }
    after = client.put("/rules/123", json=without(before, *read_only)).get_json()
    changing = ("version", "created_at", "author")
    assert without(after, *changing) == without(before, *changing)
    assert (after["version"], after["author"]) == (2, "anonymous")


def test_a_change_that_names_nothing(client: FlaskClient) -> None:
    """An empty change of a rule or of a user is a 400 that stores nothing; a note alone is a change."""
    client.post("/users", json={"user_id": 1})
    for method, path in (("PUT", "/rules/30"), ("PATCH", "/users/1")):
        (error,) = problem(client.open(path, method=method, json={}), 400)["errors"]
        assert error == {"pointer": "", "detail": "must name something to change"}
    assert rule(client, 30)["version"] == 1
    assert put(client, 30, note="Looked at.")["version"] == 2


MEANT = [
    ("PUT", "/rules/30", {"parameter": {"count": 9}, "state": "off"}, {"/parameter": "parameters", "/state": "status"}),
    ("PUT", "/rules/30", {"parameters": {"Count": 9}}, {"/parameters/Count": "count"}),
    (
        "PUT",
        "/rules/123",
        {"by_risk": {"High": {}, "low": {"windows": 1}}},
        {
            "/by_risk/High": "high",
            "/by_risk/low/windows": "window",
        },
    ),
    ("PUT", "/rules/30", {"Status": "off", "by-risk": {}}, {"/Status": "status", "/by-risk": "by_risk"}),
    ("PATCH", "/users/1", {"riks": "low"}, {"/riks": "risk"}),
    ("PATCH", "/users/1", {"override": {}, "risk": "low"}, {"/override": "overrides"}),
    ("PATCH", "/users/1", {"overrides": {"110": {}}}, {"/overrides/110": "1100"}),
    ("PATCH", "/users/1", {"overrides": {"1100": {"treshold": 1}}}, {"/overrides/1100/treshold": "threshold"}),
    ("POST", "/users", {"totl": "5", "id": 3}, {"/totl": "total", "/id": "user_id"}),
    ("POST", "/backtests", {"rule": 123}, {"/rule": "rules"}),
    ("POST", "/backtests", {"rules": {"123": {"parameter": {}}}}, {"/rules/123/parameter": "parameters"}),
    (
        "POST",
        "/backtests",
        {"sweep": {"rule": 123, "parameter": "window", "value": [1], "values": [1]}},
        {
            "/sweep/value": "values",
        },
    ),
    (
        "POST",
        "/backtests",
        {"rules": {"123": {"by_risk": {"low": {"windo": 1}}}}},
        {
            "/rules/123/by_risk/low/windo": "window",
        },
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "meant"), MEANT)
def test_an_unknown_member(client: FlaskClient, method: str, path: str, body: Any, meant: dict[str, str]) -> None:
    """An unknown member of a body is a 400 that names it, and the one that was meant; nothing is done."""
    client.post("/users", json={"user_id": 1})
    errors = problem(client.open(path, method=method, json=body), 400)["errors"]
    assert {e["pointer"]: e["detail"] for e in errors} == {
        pointer: f'is unknown: did you mean "{name}"?' for pointer, name in meant.items()
    }
    assert rule(client, 30)["version"] == rule(client, 123)["version"] == 1
    assert "overrides" not in client.get("/users/1").get_json()
    assert client.get("/backtests").get_json()["backtests"] == []


def test_an_unknown_member_like_no_other(client: FlaskClient) -> None:
    """If no name is near, the answer lists those that there are; very long names and many are bounded."""
    (error,) = problem(client.put("/rules/30", json={"zzz": None}), 400)["errors"]
    assert error["detail"] == "is unknown: there are only status, parameters, by_risk, note and author"
    (error,) = problem(client.put("/rules/30", json={"parameters": {"zzz": 1}}), 400)["errors"]
    assert error["detail"] == "is unknown: there is only count"
    assert len(problem(client.put("/rules/30", json={"x" * 60_000: 1}), 400)["errors"]) == 1
    assert len(problem(client.put("/rules/30", json={f"n{n}": 1 for n in range(5_000)}), 400)["errors"]) == 100


def test_a_member_that_stands_twice(client: FlaskClient) -> None:
    """Everywhere but in events, a name that stands twice in an object is a 400 that names it along with the rest."""
    body = b'{"status": "off", "status": "on", "parameters": {"count": 4, "count": 5, "x": [{"y": 1, "y": 2}]}}'
    assert pointers(client.put("/rules/30", data=body, content_type=JSON)) == [
        "/parameters/count",
        "/parameters/x",
        "/status",
        "/status",
    ]
    body = b'{"user_id": 7, "user_id": 7}'
    assert pointers(client.post("/users", data=body, content_type=JSON)) == ["/user_id"]
    body = b'{"by_risk": {"high": {"count": 4, "count": 5}}}'
    assert pointers(client.put("/rules/30", data=body, content_type=JSON)) == ["/by_risk/high/count"]
    assert rule(client, 30)["version"] == 1


def test_the_setting_rules_gives_way(make_client: ClientMaker, database_url: str) -> None:
    """Setting a rule has the last word: RULES changes nothing about it, even after a restart."""
    first = make_client(rules="1100")
    put(first, 1100, status="off")
    put(first, 30, status="active")
    entering = make_service(load_settings(None, rules="1100,300"), database_url)
    entering.enter_rules()  # as the start of the service does
    entering.dispose()
    listed = make_client().get("/rules").get_json()["rules"]
    assert [one["code"] for one in listed if one["status"] == "active"] == [30, 300]


ACCEPTED: dict[int, dict[str, str | int]] = {
    123: {
        '{"threshold": "0"}': "0.00",
        '{"threshold": "0.00"}': "0.00",
        '{"threshold": "50"}': "50.00",
        '{"threshold": "50.5"}': "50.50",
        '{"threshold": "999999999999.99"}': "999999999999.99",
        '{"threshold": 50}': "50.00",
        '{"threshold": 50.5}': "50.50",
        '{"threshold": 0.29}': "0.29",
        '{"threshold": 999999999999.99}': "999999999999.99",
        '{"window": 0}': 0,
        '{"window": 3600}': 3600,
    },
    30: {'{"count": 1}': 1, '{"count": 100}': 100},
}


@pytest.mark.parametrize("code", ACCEPTED)
def test_an_accepted_value(client: FlaskClient, code: Any) -> None:
    """Money may be text or a plain number and is kept to the cent; bounds are included."""
    for raw, expected in ACCEPTED[code].items():
        (name,) = json.loads(raw)
        body = f'{{"parameters": {raw}, "by_risk": {{"high": {raw}}}}}'
        answer = client.put(f"/rules/{code}", data=body, content_type=JSON)
        assert answer.status_code == 200, answer.text
        assert (raw, answer.get_json()["parameters"][name]) == (raw, expected)
        assert answer.get_json()["by_risk"] == {"high": {name: expected}}


REFUSED_VALUES = {
    (123, "threshold"): [
        *("null", "true", "[]", "{}", '""', '"x"', '"NaN"', '"1e3"', '" 1 "', '"1_0"', '"1."', '".5"', '"-0.01"'),
        *('"0.001"', '"1000000000000"', '"\\u0661"', "-1", "1e3", "1.000", "0.001", "1000000000000", "1" * 5000),
    ],
    (123, "window"): ["null", "true", "[]", "{}", '""', '"30"', "30.0", "3e1", "-1", "3601", str(2**63), "1" * 5000],
    (30, "count"): ["null", "false", '"3"', "3.0", "0", "101"],
    (300, "count"): ["1"],
}


@pytest.mark.parametrize(("code", "name"), REFUSED_VALUES)
def test_a_refused_value(client: FlaskClient, code: Any, name: Any) -> None:
    """A value of the wrong type or out of bounds is a 400 that names it wherever it is, and nothing is stored."""
    for raw in REFUSED_VALUES[code, name]:
        body = f'{{"parameters": {{"{name}": {raw}}}, "by_risk": {{"low": {{"{name}": {raw}}}}}}}'
        answer = client.put(f"/rules/{code}", data=body, content_type=JSON)
        assert (raw, pointers(answer)) == (raw, [f"/by_risk/low/{name}", f"/parameters/{name}"])
    assert rule(client, code)["version"] == 1


REFUSED_FIELDS = {
    "status": ["null", "true", '""', '"on"', '"Active"', "[]"],
    "parameters": ["null", "true", "[]", '"x"', "1"],
    "by_risk": ["null", "true", "[]", '"x"', "1"],
    "note": ["true", "1", "[]", json.dumps("x" * 2001), '"\\u0000"', '"\\ud800"'],
    "author": ["true", "1", "[]", '""', json.dumps("x" * 201), '"\\u0000"', '"\\ud800"'],
}


@pytest.mark.parametrize("field", REFUSED_FIELDS)
def test_a_refused_field(client: FlaskClient, field: Any) -> None:
    """Every value that a field cannot have is a 400 that names the field, and nothing is stored."""
    for raw in REFUSED_FIELDS[field]:
        answer = client.put("/rules/123", data=f'{{"{field}": {raw}}}', content_type=JSON)
        assert (raw, pointers(answer)) == (raw, [f"/{field}"])
    assert rule(client, 123)["version"] == 1


def test_everything_bad_is_named_at_once(client: FlaskClient) -> None:
    """One answer names all that is wrong: unknown parameters, ratings and status, and bad values."""
    body = {
        "status": "on",
        "parameters": {"threshold": "x", "count": 3, "a/b~c": 1},
        "by_risk": {"medium": {}, "high": {"window": "30", "count": 3}, "low": []},
        "note": 1,
        "unknown": None,
    }
    assert pointers(client.put("/rules/123", json=body)) == [
        "/by_risk/high/count",
        "/by_risk/high/window",
        "/by_risk/low",
        "/by_risk/medium",
        "/note",
        "/parameters/a~1b~0c",
        "/parameters/count",
        "/parameters/threshold",
        "/status",
        "/unknown",
    ]
    detail = {e["pointer"]: e["detail"] for e in client.put("/rules/123", json=body).get_json()["errors"]}
    assert detail["/parameters/threshold"] == 'must be money such as "42.00", 0.00 to 999999999999.99'


def test_a_body_that_is_none(client: FlaskClient) -> None:
    """A body that is not a JSON object, or of another type, is refused as everywhere."""
    for body in (b"", b"[]", b"null", b"{"):
        problem(client.put("/rules/123", data=body, content_type=JSON), 400)
    problem(client.put("/rules/123", data=b"{}"), 415)
    problem(client.put("/rules/123", data=b" " * 65537, content_type=JSON), 413)


# Versions


def test_versions(client: FlaskClient) -> None:
    """All that a rule was ever set to is listed, newest first, with who, when and why."""
    put(client, 123, status="shadow", note="Tried out.")
    put(client, 1100, status="off")
    put(client, 123, parameters={"threshold": "150.00"}, by_risk={"high": {"window": 60}})
    page = versions(client, 123)
    assert page["next"] is None
    assert [without(one, "created_at") for one in page["versions"]] == [
        {
            "status": "shadow",
            "version": 3,
            "parameters": {"threshold": "150.00", "window": 30},
            "by_risk": {"high": {"window": 60}},
            "author": "anonymous",
            "note": None,
        },
        {
            "status": "shadow",
            "version": 2,
            "parameters": {"threshold": "200.00", "window": 30},
            "by_risk": {},
            "author": "anonymous",
            "note": "Tried out.",
        },
        {
            "status": "active",
            "version": 1,
            "parameters": {"threshold": "200.00", "window": 30},
            "by_risk": {},
            "author": None,
            "note": None,
        },
    ]
    moments = [one["created_at"] for one in page["versions"]]
    assert moments == sorted(moments, reverse=True)


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6, 500])
def test_pages_of_versions(client: FlaskClient, limit: int) -> None:
    """Following `next` gives every version once, newest first, however long the page."""
    for _ in range(4):
        put(client, 123)
    found, query = [], f"?limit={limit}"
    while query:
        page = versions(client, 123, query)
        assert 1 <= len(page["versions"]) <= limit
        found += [one["version"] for one in page["versions"]]
        query = f"?limit={limit}&cursor={page['next']}" if page["next"] else ""
    assert found == [5, 4, 3, 2, 1]


def test_a_bad_query_of_versions(client: FlaskClient) -> None:
    """Parameters that cannot be read are named."""
    assert pointers(client.get("/rules/123/versions?limit=0&cursor=x")) == ["/cursor", "/limit"]
    assert versions(client, 123, f"?cursor={'9' * 19}")["versions"] != []


# Two writers


def test_tags(client: FlaskClient) -> None:
    """A rule is answered with an ETag: a reader that has it gets a 304, until something about the rule has changed."""
    tag = etag(client, "/rules/1100")
    again = client.get("/rules/1100", headers={"If-None-Match": f'"x", W/{tag}'})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    codes(client, type="withdraw", amount="150.00")
    moved = client.get("/rules/1100", headers={"If-None-Match": tag})
    assert (moved.status_code, moved.get_json()["figures"]["alerts"]) == (200, 1)
    answer = client.put("/rules/1100", json={"status": "off"}, headers={"If-Match": tag})
    assert answer.status_code == 200, "the figures moved, the setting did not"
    assert answer.headers["ETag"] == etag(client, "/rules/1100") != tag


def test_a_change_of_something_else(client: FlaskClient) -> None:
    """With the ETag of an outdated setting a change is a 412, and nothing is stored."""
    tag = etag(client, "/rules/123")
    put(client, 30, status="off")
    put(client, 123, {"If-Match": tag}, parameters={"window": 60})
    document = problem(client.put("/rules/123", json={"status": "off"}, headers={"If-Match": tag}), 412)
    assert document["type"] == "urn:problem:changed"
    assert rule(client, 123)["version"] == 2
    for wrong in ("", "x", "2", '""', '"x"', f"W/{etag(client, '/rules/123')}", '"20-0"', '"02"', "\u00a0"):
        problem(client.put("/rules/123", json={"note": "a"}, headers={"If-Match": wrong}), 412)
    for right in ("*", '"x", "3"', etag(client, "/rules/123").replace("2-", "4-")):
        put(client, 123, {"If-Match": right})
    assert rule(client, 123)["version"] == 5


def at_once(jobs: Any) -> list[Any]:
    """The results of the jobs, each run in a thread of its own, all started at the same moment."""
    barrier = Barrier(len(jobs))

    def wait_and(job: Any) -> Any:
        barrier.wait(PATIENCE)
        return job()

    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(wait_and, jobs))


def writer(client: FlaskClient, windows: Any, headers: dict[str, str] | None = None) -> Any:
    """A job that sets windows one after the other and returns the statuses of the answers."""
    own = client.application.test_client()

    def write() -> list[Any]:
        answers = [own.put("/rules/123", json={"parameters": {"window": w}}, headers=headers) for w in windows]
        return [answer.status_code for answer in answers]

    return write


def test_writers_at_once(make_client: ClientMaker) -> None:
    """Writers that send no tag all succeed, one after the other, and the versions show each of them."""
    clients = [make_client(), make_client()]
    jobs = [writer(clients[at % 2], range(100 * at, 100 * at + 5)) for at in range(4)]
    assert at_once(jobs) == [[200] * 5] * 4
    found = versions(clients[0], 123)["versions"]
    assert [one["version"] for one in found] == list(range(21, 0, -1))
    windows = [one["parameters"]["window"] for one in found]
    assert sorted(windows[:-1]) == sorted(w for at in range(4) for w in range(100 * at, 100 * at + 5))
    assert rule(clients[1], 123)["parameters"]["window"] == windows[0]


def test_of_two_writers_with_a_tag_one_wins(make_client: ClientMaker) -> None:
    """Of writers that have read the same setting, in one application or two, exactly one succeeds."""
    clients = [make_client(), make_client()]
    for version in range(1, 6):
        headers = {"If-Match": etag(clients[0], "/rules/123")}
        found = at_once([writer(clients[at % 2], [at], headers) for at in range(4)])
        assert sorted(found) == [[200], [412], [412], [412]]
        assert rule(clients[0], 123)["version"] == version + 1


# From the next event on


def test_it_holds_from_the_next_event_on(make_client: ClientMaker) -> None:
    """A change holds from the next event on, also in another application on the same database; the past stays."""
    first, second = make_client(), make_client()
    assert codes(second, type="withdraw", amount="60.00", user_id=1) == []
    put(first, 1100, parameters={"threshold": "50.00"})
    assert codes(second, type="withdraw", amount="60.00", user_id=2) == [1100]
    assert codes(first, type="withdraw", amount="60.00", user_id=3) == [1100]
    put(second, 1100, status="off")
    assert codes(first, type="withdraw", amount="60.00", user_id=4) == []
    assert codes(second, type="withdraw", amount="60.00", user_id=5) == []
    found = first.get("/alerts/2-1-1100").get_json()
    assert (found["title"], found["evidence"]["rule_version"]) == ("Withdrawal over 50.00", 2)
    assert alert_ids(second) == ["3-1-1100", "2-1-1100"]


def test_a_longer_look_back_finds_what_was_before(make_client: ClientMaker) -> None:
    """A rule that is set to look further back sees what happened before that change, in both applications."""
    first, second = make_client(), make_client()
    codes(second, amount="150.00", time=0)
    put(first, 123, parameters={"window": 3000})
    assert codes(second, amount="100.00", time=2000) == [123]
    put(second, 30, parameters={"count": 5})
    assert [codes(first, type="withdraw", amount="1.00", time=3000 + at) for at in range(5)] == [[]] * 4 + [[30]]


def test_many_events_and_a_change(client: FlaskClient) -> None:
    """Many events at once are judged by the new setting too."""
    put(client, 1100, parameters={"threshold": "50.00"})
    answer = client.post("/events", json=[an_event(type="withdraw", amount="60.00", user_id=at) for at in (1, 2)])
    assert [one["alert_codes"] for one in answer.get_json()["results"]] == [[1100], [1100]]


PRECEDENCE = [
    ({}, "100.00", "default"),
    ({"risk": "low"}, "200.00", "risk"),
    ({"risk": "high"}, "50.00", "risk"),
    ({"by_risk": {"high": {"threshold": "70.00"}}}, "100.00", "default"),
    ({"by_risk": {"high": {"threshold": "70.00"}}, "risk": "high"}, "70.00", "by_risk"),
    ({"by_risk": {"normal": {"threshold": "70.00"}}}, "70.00", "by_risk"),
    ({"parameters": {"threshold": "80.00"}, "risk": "high"}, "40.00", "risk"),
    (
        {"parameters": {"threshold": "80.00"}, "risk": "low", "by_risk": {"high": {"threshold": "1.00"}}},
        "160.00",
        "risk",
    ),
    ({"overrides": "30.00"}, "30.00", "override"),
    ({"overrides": "30.00", "risk": "high"}, "30.00", "override"),
    ({"overrides": "30.00", "risk": "high", "by_risk": {"high": {"threshold": "70.00"}}}, "30.00", "override"),
    ({"parameters": {"threshold": "0.01"}, "risk": "high"}, "0.00", "risk"),
]


@pytest.mark.parametrize(("settings", "threshold", "origin"), PRECEDENCE)
def test_the_parameter_in_force(client: FlaskClient, settings: Any, threshold: Any, origin: Any) -> None:
    """The user's override counts first, then the value for the rating, then the scaled default, then the default."""
    client.post("/users", json={"user_id": 1})
    put(client, 1100, **{name: settings[name] for name in ("parameters", "by_risk") if name in settings})
    changes = {"risk": settings.get("risk", "normal")}
    if "overrides" in settings:
        changes["overrides"] = {"1100": {"threshold": settings["overrides"]}}
    assert client.patch("/users/1", json=changes).status_code == 200

    listed = {one["code"]: one for one in client.get("/users/1/rules").get_json()["rules"]}
    assert listed[1100]["parameters"] == {"threshold": {"value": threshold, "origin": origin}}
    assert listed[1100]["title"] == f"Withdrawal over {threshold}"
    euros, cents = threshold.split(".")
    over = f"{euros}.{int(cents) + 1:02}"
    if threshold != "0.00":
        assert codes(client, type="withdraw", amount=threshold, time=0) == []
    assert codes(client, type="withdraw", amount=over, time=1) == [1100]
    (alert,) = client.get("/alerts?code=1100").get_json()["alerts"]
    assert alert["evidence"]["parameters"] == {"threshold": threshold}
    assert alert["evidence"]["origin"] == {"threshold": origin}
    assert alert["title"] == f"Withdrawal over {threshold}"


# Shadow


def test_a_rule_in_shadow(client: FlaskClient) -> None:
    """A rule in shadow is judged and its alerts are stored, but neither answered nor listed among the others."""
    put(client, 1100, status="shadow")
    answer = client.post("/event", json=an_event(type="withdraw", amount="150.00", event_id="a"))
    assert answer.get_json() == {"alert": False, "alert_codes": [], "user_id": 1}
    assert client.post("/event", json=an_event(type="withdraw", amount="150.00", event_id="a")).data == answer.data
    assert codes(client, amount="250.00", time=20) == [123]
    assert alert_ids(client) == ["1-2-123"] == alert_ids(client, "?shadow=false")
    assert alert_ids(client, "?shadow=true") == ["1-1-1100"]
    assert alert_ids(client, "?shadow=true&code=123") == []
    found = client.get("/alerts/1-1-1100").get_json()
    assert (found["shadow"], found["evidence"]["measured"]) == (True, "150.00")
    assert "shadow" not in client.get("/alerts/1-2-123").get_json()
    for wrong in ("1", "True", "", "null"):
        assert pointers(client.get(f"/alerts?shadow={wrong}")) == ["/shadow"]


def test_out_of_shadow_and_off(client: FlaskClient) -> None:
    """Once a rule is active it alerts, and off it does neither; what was stored before stays as it was."""
    put(client, 1100, status="shadow")
    codes(client, type="withdraw", amount="150.00", user_id=1)
    put(client, 1100, status="active")
    assert codes(client, type="withdraw", amount="150.00", user_id=2) == [1100]
    put(client, 1100, status="off")
    assert codes(client, type="withdraw", amount="150.00", user_id=3) == []
    assert alert_ids(client) == ["2-1-1100"]
    assert alert_ids(client, "?shadow=true") == ["1-1-1100"]


def test_a_late_event_and_a_rule_in_shadow(client: FlaskClient) -> None:
    """A late event raises and supersedes alerts in shadow among their own kind, even when the rule is active by now."""
    put(client, 123, status="shadow")
    codes(client, amount="150.00", time=20)
    put(client, 123, status="active")
    assert codes(client, amount="100.00", time=10) == []
    assert alert_ids(client) == []
    assert alert_ids(client, "?shadow=true&late=true") == ["1-1-123"]


# Late events


def test_a_late_event_after_a_change(client: FlaskClient) -> None:
    """Later actions are judged again by what first judged them, and the late event by what holds now."""
    codes(client, user_id=1, amount="150.00", time=20)
    codes(client, user_id=2, amount="60.00", time=20)
    put(client, 123, parameters={"threshold": "100.00"})
    assert codes(client, user_id=2, amount="60.00", time=10) == []
    assert alert_ids(client) == [], "120.00 is over today's 100.00, but not over the 200.00 of that time"
    put(client, 123, parameters={"threshold": "500.00"})
    assert codes(client, user_id=1, amount="100.00", time=10) == []
    (late,) = client.get("/alerts").get_json()["alerts"]
    assert (late["id"], late["late"], late["evidence"]["rule_version"]) == ("1-1-123", True, 1)
    assert late["title"] == "Deposits over 200.00 in 30 s"
    put(client, 123, status="off")
    assert codes(client, user_id=1, amount="1.00", time=15) == []
    assert codes(client, user_id=1, amount="600.00", time=16) == []
    assert alert_ids(client, "?superseded=false") == ["1-1-123"]


def test_a_late_event_after_a_change_of_the_user(client: FlaskClient) -> None:
    """Later actions are judged again by the rating and the overrides that the user had then."""
    client.post("/users", json={"user_id": 1, "risk": "high"})
    codes(client, amount="60.00", time=20)
    client.patch("/users/1", json={"risk": "low", "overrides": {"123": {"threshold": "1000.00"}}})
    assert codes(client, amount="60.00", time=50) == []
    assert codes(client, amount="60.00", time=10) == []
    (late,) = client.get("/alerts").get_json()["alerts"]
    assert (late["id"], late["evidence"]["origin"]["threshold"]) == ("1-1-123", "risk")
    assert late["evidence"]["parameters"]["threshold"] == "100.00"


# Under load


def test_a_change_under_load(make_client: ClientMaker) -> None:
    """While events pour into two applications rules can be set: no request is lost, none judged by what held before.

    Every withdrawal alerts, and its evidence names the version that judged it.
    """
    clients = [make_client(), make_client()]
    put(clients[0], 1100, parameters={"threshold": "0.00"})
    answered, done, posted, answers = [2], Event(), [], list[int]()

    def post(at: Any) -> None:
        client, own = clients[at % 2].application.test_client(), list[Any]()
        while not (own and done.is_set()):
            least = answered[0]
            event = an_event(type="withdraw", amount="1.00", user_id=at + 1, time=len(own))
            answer = client.post("/event", json=event)
            own.append((answer.status_code, least))
            answers.append(least)
            assert answer.status_code != 200 or 1100 in answer.get_json()["alert_codes"]
        posted.append((at + 1, own))

    threads = [Thread(target=post, args=(at,)) for at in range(6)]
    for thread in threads:
        thread.start()
    for version in range(3, 13):
        before = len(answers)
        answered[0] = put(clients[version % 2], 1100, note=f"version {version}")["version"]
        wait_until(lambda: len(answers) > before or not any(thread.is_alive() for thread in threads))  # noqa: B023
    done.set()
    for thread in threads:
        thread.join(PATIENCE)

    assert [user_id for user_id, _ in sorted(posted)] == [1, 2, 3, 4, 5, 6]
    assert {status for _, own in posted for status, *_ in own} == {200}
    reading = clients[0]
    for user_id, own in posted:
        judged_by: dict[int, int] = {}
        cursor: str | None = ""
        while cursor is not None:
            page = reading.get(f"/alerts?user_id={user_id}&code=1100&limit=500{cursor}").get_json()
            judged_by |= {alert["seq"]: alert["evidence"]["rule_version"] for alert in page["alerts"]}
            cursor = page["next"] and f"&cursor={page['next']}"
        assert len(judged_by) == len(own)
        order = [judged_by[seq] for seq in sorted(judged_by)]
        assert order == sorted(order)
        assert all(used >= least for used, (_, least) in zip(order, own, strict=True))
    assert len({least for _, own in posted for _, least in own}) > 5, "events were posted all the while"


@pytest.fixture
def judging(client: FlaskClient, sessions: Sessions) -> Iterator[Any]:
    """A transaction that judges by the present rules and does not end."""
    rule(client, 123)  # once the rules are entered
    with sessions() as session:
        begin(session)
        session.execute(text("LOCK TABLE rule_versions IN ROW SHARE MODE"))
        yield session


def test_a_change_that_cannot_wait(client: FlaskClient, judging: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While something judges without end a change is a 503 that stores nothing, and events are served meanwhile."""
    monkeypatch.setattr(rule_settings, "PATIENCE", 0.5)
    changed = []
    change = Thread(
        target=lambda: changed.append(client.application.test_client().put("/rules/123", json={"note": "a"}))
    )
    change.start()
    times = 0
    while change.is_alive() or times < 4:
        codes(client, time=times, amount="1.00")
        times += 1
    (answer,) = changed
    problem(answer, 503)
    assert answer.headers["Retry-After"] == "1"
    judging.rollback()
    assert put(client, 123)["version"] == 2


def test_a_change_waits_for_who_judges(client: FlaskClient, judging: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change tries more than once to get its turn."""
    monkeypatch.setattr(rule_versions, "ASKS", (0.05,))
    with ThreadPoolExecutor(1) as threads:
        changing = threads.submit(lambda: client.application.test_client().put("/rules/123", json={"note": "a"}))
        with pytest.raises(TimeoutError):
            changing.result(0.25)
        judging.rollback()
        assert changing.result(PATIENCE).status_code == 200


def test_reading_the_rules_changes_none(make_client: ClientMaker) -> None:
    """What RULES says is entered when the service starts: others that read its database change nothing."""
    running = make_client(rules="1100")
    assert codes(running, type="withdraw", amount="101.00") == [1100]
    other = make_client()
    other.get("/rules")
    codes(other, user_id=2)
    assert [codes(running, type="withdraw", amount="1.00") for _ in range(3)] == [[], [], []]


# Parameters that bound one another


def test_parameters_that_contradict_each_other(client: FlaskClient) -> None:
    """What could never fire is a 400 that names what was sent, wherever the other value comes from."""
    client.post("/users", json={"user_id": 1, "risk": "high"})
    sent = [
        ("PUT", "/rules/670", {"parameters": {"count": 100, "among": 2}}, "/parameters/count"),
        ("PUT", "/rules/670", {"parameters": {"among": 5}}, "/parameters/among"),
        ("PUT", "/rules/670", {"by_risk": {"low": {"count": 20}}}, "/by_risk/low/count"),
        ("PUT", "/rules/600", {"parameters": {"margin": "0.00"}}, "/parameters/margin"),
        ("PUT", "/rules/600", {"parameters": {"threshold": "500.00"}}, "/parameters/threshold"),
        ("PATCH", "/users/1", {"overrides": {"670": {"count": 20}}}, "/overrides/670/count"),
        ("POST", "/backtests", {"rules": {"670": {"parameters": {"count": 20}}}}, "/rules/670/parameters/count"),
        (
            "POST",
            "/backtests",
            {"rules": {"670": {"by_risk": {"low": {"among": 3}}}}},
            "/rules/670/by_risk/low/among",
        ),
        ("POST", "/backtests", {"sweep": {"rule": 670, "parameter": "among", "values": [9, 4]}}, "/sweep"),
    ]
    for method, path, body, pointer in sent:
        assert pointers(client.open(path, method=method, json=body)) == [pointer], body
    assert rule(client, 670)["version"] == rule(client, 600)["version"] == 1
    assert client.get("/backtests").get_json()["backtests"] == []


def test_values_that_only_those_by_risk_made_possible(client: FlaskClient) -> None:
    """Taking away what made other values possible is a 400 that names it; another rating's may go."""
    put(client, 670, parameters={"among": 5}, by_risk={risk: {"count": 3} for risk in ("low", "normal", "high")})
    left = {"by_risk": {"low": {"count": 3}, "normal": {"count": 4}, "high": {"window": 60}}}
    (error,) = problem(client.put("/rules/670", json=left), 400)["errors"]
    assert error == {"pointer": "/by_risk/high/count", "detail": "must be less than among, which is 5"}
    assert client.put("/rules/670", json=left | {"parameters": {"among": 6}}).status_code == 200
    assert client.put("/rules/670", json={"by_risk": {}}).status_code == 200


def test_a_rule_that_comes_to_contradict_overrides(client: FlaskClient) -> None:
    """Overrides count beside the values for the user's rating; what a later change contradicts is shown."""
    put(client, 670, by_risk={"high": {"among": 6}})
    client.post("/users", json={"user_id": 1})
    own = {"overrides": {"670": {"count": 6}}}
    assert pointers(client.patch("/users/1", json=own | {"risk": "high"})) == ["/overrides/670/count"]
    assert client.patch("/users/1", json=own).status_code == 200

    def shown() -> Any:
        return next(one for one in client.get("/users/1/rules").get_json()["rules"] if one["code"] == 670)

    assert "contradiction" not in shown()
    put(client, 670, parameters={"among": 6})
    assert shown()["contradiction"] == "count must be less than among, which is 6"
