"""Query parameters: one that is unknown, stands twice or contradicts another is a 400 that names it, on every path."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from tests.contract.helpers import NOTHING, Sessions, an_event, counts, problem
from tests.keys import app_without_database
from tests.service import Service
from tests.waiting import PATIENCE

PATHS = {
    "user_id": "7",
    "code": "30",
    "alert_id": "7-3-30",
    "key_id": "AbCdEf1",
    **dict.fromkeys(("backtest_id", "view_id", "webhook_id"), "1"),
}


def errors(answer: Any) -> dict[str, str]:
    """The parameters that a 400 names, and what it says of each."""
    document = problem(answer, 400)
    assert document["detail"] == "The query has bad parameters."
    return {error["pointer"]: error["detail"] for error in document["errors"]}


def calls() -> Iterator[tuple[str, str]]:
    """Every method and path of the service that is described."""
    app = app_without_database()
    for rule in app.url_map.iter_rules():
        if hasattr(app.view_functions[rule.endpoint], "operation"):
            with app.test_request_context():
                path = app.url_map.bind("").build(rule.endpoint, _parts(rule.arguments))
            for method in sorted((rule.methods or set()) - {"OPTIONS"}):
                yield method, path


def _parts(names: Any) -> dict[str, str]:
    return {name: PATHS[name] for name in names}


def test_an_unknown_parameter_of_every_call(client: FlaskClient, sessions: Sessions, subtests: pytest.Subtests) -> None:
    """Whatever the path and the method, a parameter that it does not have is a 400 that names it."""
    for method, path in calls():
        with subtests.test(method=method, path=path):
            answer = client.open(f"{path}?zz=1", method=method, json=an_event())
            if method == "HEAD":
                assert answer.status_code == 400
            else:
                assert errors(answer)["/zz"].startswith("is unknown: ")
    assert counts(sessions) == NOTHING


NEAR = [
    ("GET", "/alerts?userid=7", {"/userid": 'is unknown: did you mean "user_id"?'}),
    ("GET", "/alerts?Code=30", {"/Code": 'is unknown: did you mean "code"?'}),
    ("GET", "/alerts?start=3&end=4", {"/start": 'is unknown: did you mean "status"?'}),
    ("GET", "/users/7/actions?Limit=3", {"/Limit": 'is unknown: did you mean "limit"?'}),
    ("POST", "/events?Atomic=true", {"/Atomic": 'is unknown: did you mean "atomic"?'}),
    ("GET", "/backtests?page=2", {"/page": "is unknown: there are only limit and cursor"}),
    ("GET", "/rules?status=off", {"/status": "is unknown: nothing is taken here"}),
    ("POST", "/event?atomic=true", {"/atomic": "is unknown: there is only dry_run"}),
    ("GET", "/alerts?code=1100&code=30", {"/code": "appears more than once"}),
    ("GET", "/alerts?code=30&code=30", {"/code": "appears more than once"}),
    ("POST", "/events?atomic=true&atomic=false", {"/atomic": "appears more than once"}),
    ("POST", "/events?atomic=TRUE", {"/atomic": "must be true or false"}),
    ("POST", "/events?atomic=", {"/atomic": "must be true or false"}),
    ("POST", "/events?atomic", {"/atomic": "must be true or false"}),
    ("GET", "/alerts?limit=", {"/limit": "must be a whole number"}),
    ("GET", "/alerts?from=20&to=10", {"/to": "must not be before from"}),
    ("GET", "/users/7/actions?from=20&to=10", {"/to": "must not be before from"}),
    ("GET", "/alerts?cursor=abc", {"/cursor": "must be the `next` of an answer"}),
    ("GET", "/users/7/actions?cursor=", {"/cursor": "must be the `next` of an answer"}),
    ("GET", "/alerts?from=20&cursor=19-7-1-30", {"/cursor": "is of a list with another from or to"}),
    ("GET", "/alerts?to=20&cursor=21-7-1-30", {"/cursor": "is of a list with another from or to"}),
    ("GET", "/users/7/actions?to=20&cursor=21-7", {"/cursor": "is of a list with another from or to"}),
    ("GET", "/alerts?=5", {"/": "is unknown: there are only"}),
]


@pytest.mark.parametrize(("method", "path", "named"), NEAR)
def test_a_bad_parameter(
    client: FlaskClient, sessions: Sessions, method: str, path: str, named: dict[str, str]
) -> None:
    """What is wrong with a parameter is said, and which one was meant; nothing is stored."""
    found = errors(client.open(path, method=method, json=[an_event()] if "events" in path else an_event()))
    for pointer, detail in named.items():
        assert found[pointer].startswith(detail)
    assert counts(sessions) == NOTHING


def test_all_at_once(client: FlaskClient) -> None:
    """One answer names all that is wrong with a query, a hundred parameters at most."""
    found = errors(client.get("/alerts?limit=x&limit=2&from=9&to=8&late=maybe&zz=1"))
    assert set(found) == {"/limit", "/to", "/late", "/zz"}
    many = "&".join(f"p{n}=1" for n in range(900))
    assert len(errors(client.get(f"/alerts?{many}"))) == 100


def test_other_problems_stay_what_they_are(client: FlaskClient) -> None:
    """An unknown path, a wrong method and a preflight mind no query; nor does an empty query mean anything."""
    problem(client.get("/nowhere?zz=1"), 404)
    problem(client.delete("/rules?zz=1"), 405)
    assert client.options("/rules?zz=1").status_code == 200
    assert client.get("/rules?").status_code == 200


def test_a_query_of_an_event_at_either_door(start_service: Callable[..., Service], sessions: Sessions) -> None:
    """In the running service, too, an event with a query is refused, and stores nothing."""
    service = start_service()
    for path in ("/event", "/api/events"):
        for query in ("?dryrun=true", "?a=1&a=2", "?%00"):
            answer = requests.post(service.url + path + query, json=an_event(), timeout=PATIENCE)
            assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert requests.post(service.url + "/event?", json=an_event(), timeout=PATIENCE).status_code == 200
    assert counts(sessions)["user_actions"] == 1
