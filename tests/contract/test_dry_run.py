"""`POST /event?dry_run=true`: the answer and the evidence, without a trace."""

from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from database.judging import read_history
from rules import service
from tests.conftest import ClientMaker
from tests.contract.helpers import NOTHING, Sessions, an_event, counts, pointers, problem
from tests.integration.test_dry_run import everything
from tests.keys import add_key, bearer, look
from tests.postgres import transaction
from tests.service import Service

DRY = "/event?dry_run=true"
LOUD = an_event(type="withdraw", amount="150.00")


def dry(client: FlaskClient, **fields: Any) -> TestResponse:
    """What a dry run of a valid event overlaid with `fields` answers."""
    return client.post(DRY, json=an_event(**fields))


def test_the_answer(client: FlaskClient, sessions: Sessions) -> None:
    """It is that of the event with `dry_run` and, for each code in order, the title and evidence of its alert."""
    for time in (10, 20):
        client.post("/event", json=LOUD | {"time": time})
    before = everything(sessions)
    answer = client.post(DRY, json=LOUD | {"time": 30})
    assert answer.status_code == 200
    assert everything(sessions) == before
    found = answer.get_json()
    assert list(found) == ["alert", "alert_codes", "user_id", "dry_run", "alerts"]
    stored = client.post("/event", json=LOUD | {"time": 30}).get_json()
    assert stored == {"alert": True, "alert_codes": [1100, 30], "user_id": 1}
    assert found == stored | {"dry_run": True, "alerts": found["alerts"]}
    listed = {one["code"]: one for one in client.get("/alerts?user_id=1&from=30").get_json()["alerts"]}
    assert [one["code"] for one in found["alerts"]] == [1100, 30]
    for one in found["alerts"]:
        assert one == {name: listed[one["code"]][name] for name in ("code", "title", "evidence")}


def test_without_an_alert(client: FlaskClient, sessions: Sessions) -> None:
    """An unknown user is not made, and the answer is as short as can be."""
    answer = dry(client)
    assert answer.text == '{"alert":false,"alert_codes":[],"user_id":1,"dry_run":true,"alerts":[]}\n'
    assert counts(sessions) == NOTHING


@pytest.mark.parametrize("path", ["/event", "/api/events"])
def test_false_is_an_event_like_any_other(client: FlaskClient, sessions: Sessions, path: str) -> None:
    """It is stored, at both paths; with true, at neither."""
    assert client.post(f"{path}?dry_run=true", json=LOUD).get_json()["dry_run"] is True
    assert counts(sessions) == NOTHING
    answer = client.post(f"{path}?dry_run=false", json=LOUD)
    assert answer.get_json() == {"alert": True, "alert_codes": [1100], "user_id": 1}
    assert counts(sessions)["user_actions"] == 1


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("dry_run=yes", "/dry_run"),
        ("dry_run=", "/dry_run"),
        ("dry_run=True", "/dry_run"),
        ("dry_run=true&dry_run=true", "/dry_run"),
        ("dryrun=true", "/dryrun"),
        ("dry_run=true&limit=1", "/limit"),
    ],
)
def test_another_query_is_refused(client: FlaskClient, sessions: Sessions, query: str, named: str) -> None:
    """And nothing is stored: somebody who misspells the parameter does not want that."""
    assert named in pointers(client.post(f"/event?{query}", json=LOUD))
    assert counts(sessions) == NOTHING


def test_a_bad_body_is_refused_as_ever(client: FlaskClient) -> None:
    """The same fields are named."""
    bad = an_event(amount="-1", time="x")
    assert pointers(client.post(DRY, json=bad)) == pointers(client.post("/event", json=bad)) == ["/amount", "/time"]


@pytest.mark.parametrize(
    ("settings", "fields", "status"),
    [
        ({"unknown_users": "reject"}, {"user_id": 2}, 404),
        ({"overdraft": "reject"}, {"type": "withdraw", "amount": "500.00"}, 409),
        ({"out_of_order": "reject"}, {"time": 5}, 409),
        ({"late_limit": 0}, {"time": 5}, 409),
        ({"time_is_epoch": True, "max_ahead": 60}, {"time": 2**40}, 409),
        ({}, {"event_id": "a", "amount": "1.00"}, 409),
    ],
)
def test_refusals_are_those_of_the_event(
    make_client: ClientMaker, sessions: Sessions, settings: dict[str, Any], fields: dict[str, Any], status: int
) -> None:
    """Under every policy: the same problem, but for the id of the request."""
    with transaction(sessions) as session:
        session.execute(text("INSERT INTO users (user_id) VALUES (1)"))
    client = make_client(**settings)
    assert client.post("/event", json=an_event(event_id="a")).status_code == 200
    before = everything(sessions)
    refused = problem(dry(client, **fields), status)
    assert everything(sessions) == before
    expected = problem(client.post("/event", json=an_event(**fields)), status)
    assert refused | {"request_id": ""} == expected | {"request_id": ""}


def test_a_replay(client: FlaskClient) -> None:
    """The first answer again, with its header and the evidence that is stored."""
    client.post("/event", json=LOUD | {"event_id": "a"})
    again = client.post(DRY, json=LOUD | {"event_id": "a"})
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.get_json()["alerts"][0]["evidence"]["actions"] == [1]
    assert "Idempotent-Replayed" not in dry(client).headers


def test_it_waits_for_nobody_and_nobody_for_it(make_client: ClientMaker, sessions: Sessions) -> None:
    """Another transaction has the user's row and the rules: the answer is what was committed before."""
    client = make_client(db_timeout=2.0)
    client.post("/event", json=LOUD)
    with transaction(sessions) as session:
        session.execute(text("UPDATE users SET risk = 'low' WHERE user_id = 1"))
        session.execute(text("LOCK TABLE rule_versions IN EXCLUSIVE MODE"))
        assert client.post(DRY, json=LOUD | {"time": 20}).get_json()["alert_codes"] == [1100]


def test_it_holds_nothing_to_its_end(client: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read-only for the database too, and locks no table in a way that a change of a rule would wait for."""
    modes: list[str] = []

    def look(connection: Any, **asked: Any) -> Any:
        held = "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation IS NOT NULL"
        modes.extend(connection.exec_driver_sql(held).scalars())
        modes.append(connection.exec_driver_sql("SHOW transaction_read_only").scalar_one())
        assert connection.exec_driver_sql("SELECT pg_current_xact_id_if_assigned()").scalar_one() is None
        return read_history(connection, **asked)

    monkeypatch.setattr("database.dry_run.read_history", look)
    assert dry(client).status_code == 200
    assert set(modes) == {"AccessShareLock", "on"}


def test_nothing_is_counted(shared_service: Service) -> None:
    """Over the real server: no batch, no event and no alert in the metrics, and no user."""
    counted = ("transaction_alerts_alerts_raised_total", "transaction_alerts_batch", "transaction_alerts_stage")

    def numbers() -> list[str]:
        lines = requests.get(f"{shared_service.url}/metrics", timeout=60).text.splitlines()
        return [line for line in lines if line.startswith(counted)]

    before = numbers()
    answer = requests.post(f"{shared_service.url}{DRY}", json=LOUD, timeout=60)
    assert answer.json()["alert_codes"] == [1100]
    assert numbers() == before
    assert requests.get(f"{shared_service.url}/users/1", timeout=60).status_code == 404


def test_too_many_at_once(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no place within its time is a 503; events go on."""
    monkeypatch.setattr(service, "DRY_RUN_WAIT", 0.01)
    own = service.Service.of(client.application.extensions)
    for _ in range(service.DRY_RUNS):
        own._dry_runs.acquire()
    assert problem(dry(client), 503)["type"] == "urn:problem:overloaded"
    assert client.post("/event", json=LOUD).status_code == 200
    for _ in range(service.DRY_RUNS):
        own._dry_runs.release()
    assert dry(client).status_code == 200


def test_it_takes_the_scope_read(client: FlaskClient, sessions: Sessions) -> None:
    """To judge and store takes `ingest`, to judge alone takes `read`; neither scope is enough for the other."""
    keys = {scope: bearer(add_key(sessions, scope, [scope])) for scope in ("read", "ingest")}
    look(client.application)
    found = {
        (scope, query): client.post(f"/event{query}", json=LOUD, headers=headers).status_code
        for scope, headers in keys.items()
        for query in ("?dry_run=true", "?dry_run=false", "", "?dry_run=false&dry_run=true")
    }
    assert found == {
        ("read", "?dry_run=true"): 200,
        ("read", "?dry_run=false"): 403,
        ("read", ""): 403,
        ("read", "?dry_run=false&dry_run=true"): 403,
        ("ingest", "?dry_run=true"): 403,
        ("ingest", "?dry_run=false"): 200,
        ("ingest", ""): 200,
        ("ingest", "?dry_run=false&dry_run=true"): 400,
    }
