"""Backtests over HTTP: asked for, read, listed, cancelled; one at a time, and none outlives the service."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from sqlalchemy import text

from rules.values import LAST_TIME
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, an_event, pointers, post_raw, problem
from tests.keys import app_without_database
from tests.long_history import LONG_SWEEP, alive, descendants, judges, make, wait_for
from tests.postgres import transaction
from tests.service import Service
from tests.waiting import PATIENCE

CANDIDATE = {"rules": {"123": {"parameters": {"threshold": "100.00"}}}}


@pytest.fixture
def run_is(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replaces the process of a run by something else."""
    return lambda *command: monkeypatch.setattr("rules.hindsight.start.COMMAND", command)


def done(client: FlaskClient, location: Any) -> Any:
    """The backtest when it has ended."""
    return wait_for(lambda: (found := client.get(location).get_json())["status"] != "running" and found)


def runs() -> Any:
    """The processes of runs that this process has started, and theirs."""
    found = {pid for pid, command in descendants(os.getpid()).items() if "hindsight.run" in command}
    return found.union(*map(descendants, found))


def enter(sessions: Sessions, silent: Any = 0) -> Any:
    """Store a running backtest that has given no sign for `silent` seconds; returns its id."""
    row = text("""
        INSERT INTO backtests (request, heartbeat_at) VALUES ('{"rules": [], "from": 0, "to": 1}',
            clock_timestamp() - make_interval(secs => :silent))
        RETURNING backtest_id
    """)
    with transaction(sessions) as session:
        return session.execute(row, {"silent": silent}).scalar_one()


# What comes out


def test_a_backtest_from_beginning_to_end(client: FlaskClient) -> None:
    """It is answered at once, runs in the background, and reports what the command reports."""
    for time, amount in ((10, "80.00"), (20, "80.00"), (30, "60.00")):
        assert client.post("/event", json=an_event(user_id=7, amount=amount, time=time)).status_code == 200
    wanted = CANDIDATE | {
        "sweep": {"rule": 123, "parameter": "threshold", "values": ["100", "220.00"]},
        "at_most_per_day": 0,
    }
    answer = client.post("/backtests", json=wanted)
    assert answer.status_code == 202, answer.text
    asked = answer.get_json()
    assert answer.headers["Location"] == f"/backtests/{asked['id']}"
    assert (asked["status"], asked["progress"], asked["error"], asked["finished_at"]) == ("running", 0.0, None, None)
    assert asked["request"] == {
        "rules": [{"code": 123, "version": 1, "parameters": {"threshold": "100.00", "window": 30}, "by_risk": {}}],
        "from": 0,
        "to": LAST_TIME,
        "sweep": {"rule": 123, "parameter": "threshold", "values": ["100.00", "220.00"]},
        "at_most_per_day": 0,
    }
    found = done(client, answer.headers["Location"])
    assert (found["status"], found["progress"]) == ("done", 1.0)
    assert found["finished_at"] > found["created_at"] == asked["created_at"]
    result = found["result"]
    assert (result["actions"], result["users"], result["from"], result["to"], result["days"]) == (3, 1, 10, 30, 1)
    one: dict[str, Any] = {
        "alerts": 1,
        "users": 1,
        "alerts_per_day": 1.0,
        "busiest_day": {"from": 0, "to": 86399, "alerts": 1},
    }
    assert result["then"] == one
    assert result["now"] == one | {
        "alerts": 2,
        "alerts_per_day": 2.0,
        "busiest_day": one["busiest_day"] | {"alerts": 2},
    }
    assert (result["added"], result["removed"], result["removed_alerts"]) == (1, 0, [])
    (added,) = result["added_alerts"]
    assert (added["id"], added["time"], added["evidence"]["measured"]) == ("7-2-123", 20, "160.00")
    none_closed = {"true_lost": 0, "false_spared": 0}
    nothing = {"alerts": 0, "users": 0, "alerts_per_day": 0.0, "added": 0, "removed": 1} | none_closed
    more = {"alerts": 2, "users": 1, "alerts_per_day": 2.0, "added": 1, "removed": 0} | none_closed
    assert result["sweep"] == [{"value": "100.00", **more}, {"value": "220.00", **nothing}]
    assert result["quiet_enough"] == "220.00"
    options = ["--set", "threshold=100", "--sweep", "threshold=100:220:120", "--at-most", "0", "--json"]
    command = client.application.test_cli_runner().invoke(args=["backtest", "--rule", "123", *options])
    assert list(json.loads(command.stdout).items()) == list(result.items())


def test_what_is_left_out_is_as_it_is_set(client: FlaskClient, run_is: Any) -> None:
    """Parameters and by_risk that are left out are the current ones, and without rules all active ones are tried."""
    run_is("true")
    client.put("/rules/123", json={"parameters": {"threshold": "300.00"}, "by_risk": {"low": {"window": 9}}})
    client.put("/rules/30", json={"status": "shadow"})

    def asked(**body: Any) -> Any:
        answer = client.post("/backtests", json=body)
        return answer.status_code == 202 and answer.get_json()["request"]["rules"]

    def one_after_the_other(**body: Any) -> Any:
        return wait_for(lambda: asked(**body))

    present = {
        "code": 123,
        "version": 2,
        "parameters": {"threshold": "300.00", "window": 30},
        "by_risk": {"low": {"window": 9}},
    }
    assert [rule["code"] for rule in one_after_the_other()] == [1100, 300, 123]
    assert one_after_the_other()[2] == present
    assert one_after_the_other(sweep={"rule": 123, "parameter": "window", "values": [1]}) == [present]
    changed = {"parameters": {"window": 5}, "by_risk": {"high": {"threshold": 1}}}
    assert one_after_the_other(rules={"123": changed, "30": {}}) == [
        {"code": 30, "version": 2, "parameters": {"count": 3}, "by_risk": {}},
        present | {"parameters": {"threshold": "300.00", "window": 5}, "by_risk": {"high": {"threshold": "1.00"}}},
    ]


def test_there_may_be_nothing_to_try(make_client: ClientMaker) -> None:
    """If no rule is active, one has to be named."""
    client = make_client(rules=())
    assert "No rule is active" in problem(client.post("/backtests", json={}), 400)["detail"]


SWEEP = {"rule": 123, "parameter": "threshold", "values": ["1.00"]}
BAD = [
    ({"rules": {}}, ["/rules"]),
    ({"rules": None}, ["/rules"]),
    ({"rules": {"7": {}}}, ["/rules/7"]),
    (
        {
            "rules": {
                "123": {"parameters": {"treshold": 1, "window": -1}, "by_risk": {"mid": {}}},
                "30": {"parameters": 3},
            },
            "from": -1,
            "to": "9",
            "at_most_per_day": 1.5,
        },
        [
            "/at_most_per_day",
            "/from",
            "/rules/123/by_risk/mid",
            "/rules/123/parameters/treshold",
            "/rules/123/parameters/window",
            "/rules/30/parameters",
            "/to",
        ],
    ),
    ({"from": 2, "to": 1}, ["/to"]),
    ({"at_most_per_day": 1}, ["/at_most_per_day"]),
    ({"sweep": None}, ["/sweep"]),
    ({"sweep": {}}, ["/sweep/parameter", "/sweep/rule"]),
    ({"sweep": SWEEP | {"rule": 7}}, ["/sweep/rule"]),
    ({"sweep": SWEEP | {"parameter": "count"}}, ["/sweep/parameter"]),
    ({"sweep": SWEEP | {"values": ["x", "1", -1]}}, ["/sweep/values/0", "/sweep/values/2"]),
    ({"sweep": SWEEP | {"values": []}}, ["/sweep/values"]),
    ({"sweep": SWEEP | {"values": [1] * 201}}, ["/sweep/values"]),
    ({"sweep": SWEEP | {"from": "1"}}, ["/sweep"]),
    ({"sweep": {"rule": 30, "parameter": "count", "from": 1, "to": 5}}, ["/sweep"]),
    (
        {"sweep": {"rule": 30, "parameter": "count", "from": 0, "to": 101, "step": 0}},
        ["/sweep/from", "/sweep/step", "/sweep/to"],
    ),
    ({"sweep": LONG_SWEEP | {"to": "200.01", "step": "0.99"}}, ["/sweep"]),
    ({"sweep": SWEEP, "rules": {"30": {}}}, ["/sweep"]),
]


@pytest.mark.parametrize(("body", "named"), BAD)
def test_bad_bodies_name_each_field(client: FlaskClient, sessions: Sessions, body: Any, named: Any) -> None:
    """What cannot be tried is a 400 that names every bad field, and nothing is started."""
    assert pointers(client.post("/backtests", json=body)) == named
    assert client.get("/backtests").get_json() == {"backtests": [], "next": None}


def test_numbers_count_as_written(client: FlaskClient, run_is: Any) -> None:
    """Money may be a number, and keeps its digits."""
    run_is("true")
    body = b'{"sweep": {"rule": 123, "parameter": "threshold", "from": 0.10, "to": 0.3, "step": 0.1}}'
    answer = post_raw(client, body, "/backtests").get_json()
    assert answer["request"]["sweep"]["values"] == ["0.10", "0.20", "0.30"]


# One at a time


def test_one_runs_at_a_time(client: FlaskClient, sessions: Sessions, run_is: Any) -> None:
    """A second one is refused with the name of the running one, until that gives no sign for 15 seconds."""
    run_is("true")
    first = enter(sessions)
    refused = problem(client.post("/backtests", json=CANDIDATE), 409)
    assert (refused["type"], f"Backtest {first} " in refused["detail"]) == ("urn:problem:backtest-running", True)
    with transaction(sessions) as session:
        session.execute(text("UPDATE backtests SET heartbeat_at = heartbeat_at - interval '16 seconds'"))
    assert client.get(f"/backtests/{first}").get_json()["status"] == "interrupted"
    assert client.get("/backtests").get_json()["backtests"][0]["status"] == "interrupted"
    assert client.post("/backtests", json=CANDIDATE).status_code == 202
    assert client.get(f"/backtests/{first}").get_json()["finished_at"] is not None


def left_behind(sessions: Sessions, backtest_id: Any) -> None:
    """Make it look as if processes of this backtest were left."""
    with transaction(sessions) as session:
        session.execute(text("UPDATE backtests SET has_processes = backtest_id = :id"), {"id": backtest_id})


def test_one_ends_before_the_next_begins(client: FlaskClient, sessions: Sessions, run_is: Any) -> None:
    """While processes of a cancelled one are left, another one is refused, for 15 seconds at most."""
    run_is("true")
    first = enter(sessions)
    left_behind(sessions, first)
    assert client.delete(f"/backtests/{first}").get_json()["status"] == "cancelled"
    refused = client.post("/backtests", json=CANDIDATE)
    assert problem(refused, 409)["type"] == "urn:problem:backtest-running"
    assert refused.get_json()["detail"].startswith(f"Backtest {first} has ended, but ")
    assert [one["id"] for one in client.get("/backtests").get_json()["backtests"]] == [first]
    with transaction(sessions) as session:
        session.execute(text("UPDATE backtests SET heartbeat_at = heartbeat_at - interval '16 seconds'"))
    assert client.post("/backtests", json=CANDIDATE).status_code == 202


def test_started_and_cancelled_again_and_again(client: FlaskClient, sessions: Sessions) -> None:
    """However quickly one is cancelled and the next one asked for, there are never processes of two."""
    client.get("/rules")
    make(sessions)
    started, most = 0, 0

    def again() -> bool:
        nonlocal started, most
        answer = client.post("/backtests", json={"sweep": LONG_SWEEP})
        assert answer.status_code in (202, 409), answer.text
        if answer.status_code == 202:
            started += 1
            assert client.delete(answer.headers["Location"]).status_code == 202
        # A run that has ended its processes, and said so, may itself still be there for a moment.
        found = [pid for pid, command in descendants(os.getpid()).items() if "hindsight.run" in command]
        most = max(most, sum(bool(judges(pid)) for pid in found))
        return started == 2

    wait_for(again)
    assert most <= 1
    wait_for(lambda: not runs())


def test_one_that_is_cancelled_leaves_no_process(client: FlaskClient, sessions: Sessions, started: Any) -> None:
    """The next one may begin as soon as every process of the last one has ended, and not before."""
    location, _ = started
    judging = judges(os.getpid())
    assert client.delete(location).status_code == 202

    def begun() -> Any:
        answer = client.post("/backtests", json=CANDIDATE)
        left = alive(judging)  # the run, and what it forks these from, end by themselves
        return answer.status_code == 202 and (answer.headers["Location"], left)

    following, left = wait_for(begun)
    assert left == set()
    assert done(client, following)["status"] == "done"


def test_a_process_that_does_not_start(client: FlaskClient, run_is: Any) -> None:
    """The backtest reads as interrupted, and the next one may come."""
    run_is("/nowhere/python")
    location = client.post("/backtests", json=CANDIDATE).headers["Location"]
    assert done(client, location)["status"] == "interrupted"
    wait_for(lambda: client.post("/backtests", json=CANDIDATE).status_code == 202)


def test_pages(client: FlaskClient, sessions: Sessions) -> None:
    """The list runs from newest to oldest, page by page, without results."""
    ids = [enter(sessions, silent=100 * number) for number in (1,)]
    for _ in range(2):
        client.delete(f"/backtests/{ids[-1]}")
        ids.append(enter(sessions))
    first = client.get("/backtests?limit=2").get_json()
    rest = client.get(f"/backtests?limit=2&cursor={first['next']}").get_json()
    assert [one["id"] for one in first["backtests"] + rest["backtests"]] == ids[::-1]
    assert rest["next"] is None
    assert "result" not in rest["backtests"][0]
    assert pointers(client.get("/backtests?limit=0&cursor=x")) == ["/cursor", "/limit"]


def test_unknown_ones(client: FlaskClient) -> None:
    """Reading or cancelling a backtest that does not exist is a 404."""
    for answer in (client.get("/backtests/7"), client.delete("/backtests/7")):
        assert problem(answer, 404)["type"] == "urn:problem:unknown-backtest"


def test_without_the_database() -> None:
    """Every request is a 503 then."""
    client = app_without_database().test_client()
    calls = [client.post("/backtests", json=CANDIDATE), client.delete("/backtests/1")]
    for answer in [*calls, client.get("/backtests"), client.get("/backtests/1")]:
        problem(answer, 503)


# How it ends


@pytest.fixture
def started(client: FlaskClient, sessions: Sessions) -> Iterator[Any]:
    """A running backtest that would take long: its location, and its processes, the first one first."""
    client.get("/rules")
    make(sessions)
    location = client.post("/backtests", json={"sweep": LONG_SWEEP}).headers["Location"]
    pids = sorted(wait_for(lambda: judges(os.getpid()) and runs()))
    yield location, pids
    client.delete(location)
    wait_for(lambda: not alive(pids))


def test_cancelling(client: FlaskClient, started: Any) -> None:
    """A backtest that is cancelled says so at once, however often it is asked for, and its processes end."""
    location, pids = started
    for _ in range(2):
        answer = client.delete(location)
        assert (answer.status_code, answer.get_json()["status"]) == (202, "cancelled")
    wait_for(lambda: not alive(pids))  # at low priority, so a busy machine takes its time
    found = client.get(location).get_json()
    assert (found["status"], found["result"]) == ("cancelled", None)
    assert found["finished_at"] is not None


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The folder for temporary files of all that is started. Its path is short, since sockets are among them."""
    with TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield folder


def test_a_run_leaves_no_files(temporary: str, client: FlaskClient, started: Any) -> None:
    """Although it ends at once, whatever it is doing."""
    location, pids = started
    client.delete(location)
    wait_for(lambda: not alive(pids))
    assert os.listdir(temporary) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_killed(client: FlaskClient, started: Any, how: Any) -> None:
    """It reads as interrupted, its own processes end too, and the next one may come."""
    location, pids = started
    os.kill(pids[0], how)
    assert done(client, location)["status"] == "interrupted"
    wait_for(lambda: not alive(pids))  # at low priority, so a busy machine takes its time


def test_the_service_takes_its_run_along(start_service: Callable[..., Service], sessions: Sessions) -> None:
    """Events are answered and both workers report the run meanwhile; all of its processes end with the service."""
    service = start_service()
    assert requests.get(f"{service.url}/rules", timeout=PATIENCE).status_code == 200
    make(sessions)
    asked = requests.post(f"{service.url}/backtests", json={"sweep": LONG_SWEEP}, timeout=PATIENCE)
    location = service.url + asked.headers["Location"]
    for number in range(50):
        event = an_event(user_id=7, time=number)
        assert requests.post(f"{service.url}/event", json=event, timeout=PATIENCE).status_code == 200
        assert requests.get(location, timeout=PATIENCE).json()["status"] == "running"
    assert requests.post(f"{service.url}/backtests", json=CANDIDATE, timeout=PATIENCE).status_code == 409
    wait_for(lambda: requests.get(location, timeout=PATIENCE).json()["progress"])
    family = descendants(service.group)
    service.stop()
    wait_for(lambda: not alive(family))
    with sessions() as session:
        row = session.execute(text("SELECT status, result FROM backtests")).one()
    assert tuple(row) == ("interrupted", None)


def test_progress_ends_at_one(client: FlaskClient, sessions: Sessions) -> None:
    """Also while more actions have been judged than there were at first."""
    enter(sessions)
    with transaction(sessions) as session:
        session.execute(text("UPDATE backtests SET done = 3, total = 2"))
    assert client.get("/backtests/1").get_json()["progress"] == 1.0
