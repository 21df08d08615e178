"""Work on alerts while others work them too, and while events are judged: real threads, real commits."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, codes
from tests.postgres import transaction
from tests.service import Service
from tests.waiting import PATIENCE

ROUNDS = 3


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What the calls return, each made by a thread of its own, all at the same moment."""
    barrier = threading.Barrier(len(calls))

    def begin(call: Callable[[], Any]) -> Any:
        barrier.wait(PATIENCE)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(begin, calls))


def call(client: FlaskClient, method: str, path: str, body: Any, etag: str | None = None) -> Callable[[], Any]:
    """A call by a client of its own, so that threads share nothing but the service."""
    own = client.application.test_client()
    return lambda: own.open(path, method=method, json=body, headers={"If-Match": etag} if etag else {})


def assert_sound(client: FlaskClient, sessions: Sessions) -> None:
    """Every history leads to its alert, and deriving all alerts again finds no difference."""
    with sessions() as session:
        lines = session.execute(text("SELECT * FROM alert_history ORDER BY user_id, seq, code, n")).all()
        alerts = session.execute(text("SELECT * FROM alerts")).all()
    for alert in alerts:
        own = [line for line in lines if (line.user_id, line.seq, line.code) == (alert.user_id, alert.seq, alert.code)]
        assert [line.n for line in own] == list(range(1, alert.work_version + 1))
        state: dict[str, Any] = {"status": "open", "outcome": None, "assignee": None}
        for line in own:
            if line.what in state:
                assert state[line.what] == line.before
                state[line.what] = line.after
        assert state == {name: getattr(alert, name) for name in state}
    assert client.application.test_cli_runner().invoke(args=["verify"]).exit_code == 0


@pytest.fixture
def many(make_client: ClientMaker) -> FlaskClient:
    """A client of a service with connections for many threads."""
    return make_client(threads=16)


def withdraw(client: FlaskClient, users: Sequence[int], times: Sequence[int]) -> None:
    """Withdrawals of 1.00 by each of these users, at these times: from the third on they raise 30."""
    for user_id in users:
        for time in times:
            codes(client, type="withdraw", amount="1.00", user_id=user_id, time=time)


def test_two_changes_of_one_state(many: FlaskClient, sessions: Sessions) -> None:
    """Of those who send one If-Match at once, one succeeds; the others are told whose change came first."""
    codes(many, type="withdraw", amount="150.00")
    for number in range(ROUNDS):
        tag = many.get("/alerts/1-1-1100").headers["ETag"]
        names = [f"{name} {number}" for name in ("Ada", "Grace", "Emmy")]
        answers = at_once(*(call(many, "PATCH", "/alerts/1-1-1100", {"assignee": name}, tag) for name in names))
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
        (winner,) = (name for name, answer in zip(names, answers, strict=True) if answer.status_code == 200)
        assert {a.get_json().get("current", a.get_json())["assignee"] for a in answers} == {winner}
    assert_sound(many, sessions)


def test_changes_without_a_condition_are_all_kept(many: FlaskClient, sessions: Sessions) -> None:
    """The last one wins, and the history has every one."""
    codes(many, type="withdraw", amount="150.00")
    bodies = [{"assignee": f"Ada {number}", "note": f"{number}"} for number in range(12)]
    answers = at_once(*(call(many, "PATCH", "/alerts/1-1-1100", body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    history = many.get("/alerts/1-1-1100").get_json()["history"]
    assert sorted(line["note"] for line in history) == sorted(body["note"] for body in bodies)
    assert_sound(many, sessions)


def test_a_change_and_a_late_event(many: FlaskClient, sessions: Sessions) -> None:
    """An alert that is closed while a late event supersedes it is both in the end, and both were answered."""
    withdraw(many, range(1, ROUNDS + 1), (10, 20, 30))
    for user_id in range(1, ROUNDS + 1):
        late = {"type": "deposit", "amount": "1.00", "user_id": user_id, "time": 25}
        path = f"/alerts/{user_id}-3-30"
        tag = many.get(path).headers["ETag"]
        closed = {"status": "closed", "outcome": "false_positive"}
        answers = at_once(call(many, "POST", "/event", late), call(many, "PATCH", path, closed, tag))
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].get_json()["alert_codes"] == []
        found = many.get(path).get_json()
        assert (found["superseded"], found["status"], found["etag"]) == (True, "closed", '"2"')
    assert_sound(many, sessions)


def test_many_changes_and_many_late_events(many: FlaskClient, sessions: Sessions) -> None:
    """Two who work the same alerts in opposite orders, while late events supersede them: nobody fails."""
    users = range(1, 31)
    withdraw(many, users, (10, 20, 30, 40))
    ids = [f"{user_id}-{seq}-30" for user_id in users for seq in (3, 4)]
    late = [{"type": "deposit", "amount": "1.00", "user_id": user_id, "time": 35} for user_id in users]
    answers = at_once(
        call(many, "POST", "/alerts/bulk", {"ids": ids, "set": {"assignee": "Ada"}, "note": "Mine."}),
        call(many, "POST", "/alerts/bulk", {"ids": ids[::-1], "set": {"status": "acknowledged"}}),
        call(many, "POST", "/events", late),
        *(call(many, "POST", "/event", event | {"time": 15}) for event in late[:8]),
    )
    assert [answer.status_code for answer in answers] == [200] * 11
    assert [answer.get_json()["changed"] for answer in answers[:2]] == [len(ids)] * 2
    assert answers[2].get_json()["accepted"] == len(users)
    listed = many.get("/alerts?limit=500").get_json()["alerts"]
    assert {(one["assignee"], one["status"]) for one in listed} == {("Ada", "acknowledged")}
    assert {one["etag"] for one in listed} == {'"2"'}
    assert_sound(many, sessions)


def test_everybody_asks_for_the_next_one(many: FlaskClient, sessions: Sessions) -> None:
    """50 who ask at once for 20 alerts: 20 have one each, and 30 are told that there is none."""
    withdraw(many, range(1, 21), (10, 20, 30))
    answers = at_once(*(call(many, "POST", "/alerts/next", {}) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] * 20 + [204] * 30
    claimed = [answer.get_json() for answer in answers if answer.status_code == 200]
    assert len({one["id"] for one in claimed}) == 20
    assert {(one["assignee"], len(one["history"])) for one in claimed} == {("anonymous", 1)}
    assert_sound(many, sessions)


def test_everybody_asks_two_workers(start_service: Callable[..., Service], sessions: Sessions) -> None:
    """The same over HTTP, of a service with two processes."""
    service = start_service(WORKERS="2", THREADS="16")
    events: list[Any] = [
        {"type": "withdraw", "amount": "150.00", "user_id": user_id, "time": user_id} for user_id in range(1, 21)
    ]
    assert requests.post(f"{service.url}/events", json=events, timeout=PATIENCE).json()["accepted"] == 20
    claim = partial(requests.post, f"{service.url}/alerts/next", json={}, timeout=PATIENCE)
    answers = at_once(*[claim] * 50)
    assert sorted(answer.status_code for answer in answers) == [200] * 20 + [204] * 30
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 200}) == 20


def test_nobody_is_told_that_there_is_none_while_another_decides(many: FlaskClient, sessions: Sessions) -> None:
    """Who finds the last alert held by somebody waits; it is theirs if the other leaves it."""
    withdraw(many, [1], (10, 20, 30))
    with ThreadPoolExecutor(1) as pool:
        with transaction(sessions) as session:
            session.execute(text("SELECT 1 FROM alerts FOR UPDATE"))
            waiting = pool.submit(call(many, "POST", "/alerts/next", {}))
            assert many.get("/alerts/1-3-30").status_code == 200
            assert not waiting.done()
        assert waiting.result(PATIENCE).get_json()["id"] == "1-3-30"


def test_next_and_a_change(many: FlaskClient, sessions: Sessions) -> None:
    """Who is given an alert by name and who claims it at the same moment: one after the other, and both are kept."""
    withdraw(many, range(1, ROUNDS + 1), (10, 20, 30))
    for user_id in range(1, ROUNDS + 1):
        path = f"/alerts/{user_id}-3-30"
        given = call(many, "PATCH", path, {"assignee": "Ada"}, '"0"')
        answers = at_once(given, call(many, "POST", "/alerts/next", {"query": {"user_id": user_id}}))
        assert sorted(answer.status_code for answer in answers) in ([200, 204], [200, 412])
        assert len(many.get(path).get_json()["history"]) == 1
    assert_sound(many, sessions)


def test_an_alert_that_is_held(many: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds an alert held all the time gets a 503, and nothing is stored; events of its user do not wait."""
    monkeypatch.setattr("work.tries.PATIENCE", 0.2)
    withdraw(many, [1, 2], (10, 20, 30))
    with transaction(sessions) as session:
        session.execute(text("SELECT 1 FROM alerts WHERE user_id = 1 FOR UPDATE"))
        ids = ["1-3-30", "2-3-30"]
        answers = [
            many.post("/alerts/bulk", json={"ids": ids, "set": {"assignee": "Ada"}}),
            many.post("/alerts/next", json={"query": {"user_id": 1}}),
        ]
        assert [answer.get_json()["type"] for answer in answers] == ["urn:problem:overloaded"] * 2
        assert codes(many, type="withdraw", amount="1.00", user_id=1, time=40) == [30]
    assert {one["etag"] for one in many.get("/alerts").get_json()["alerts"]} == {'"0"'}


# Work is apart from judging

_STORED = """
    SELECT user_id, seq, code, time, late, superseded, shadow, evidence - 'rule_version' AS evidence FROM alerts
    WHERE user_id = :user_id ORDER BY seq, code
"""


def test_work_changes_no_answer_and_no_alert(many: FlaskClient, sessions: Sessions) -> None:
    """The same events, many of them late, of two users: all alerts of one are worked in between, of the other none."""
    for seed in range(2):
        random = Random(seed)
        plain, worked = 2 * seed + 1, 2 * seed + 2
        for _ in range(30):
            event = {
                "type": random.choice(["deposit", "withdraw"]),
                "amount": random.choice(["1.00", "60.00", "100.01", "150.00"]),
                "time": random.randrange(100),
            }
            assert codes(many, **event, user_id=plain) == codes(many, **event, user_id=worked)
            change = random.choice(
                [{"assignee": "Ada"}, {"status": "open"}, {"status": "closed", "outcome": "inconclusive"}]
            )
            query = {"user_id": worked, "status": random.choice(["open", "closed"])}
            body = {"query": query, "touched_before": "2999-01-01T00:00:00Z", "set": change}
            assert many.post("/alerts/bulk", json=body).status_code == 200
            assert many.post("/alerts/next", json={"query": {"user_id": worked}}).status_code in (200, 204)
        with sessions() as session:
            alerts = [session.execute(text(_STORED), {"user_id": user_id}).all() for user_id in (plain, worked)]
        assert [row[1:] for row in alerts[0]] == [row[1:] for row in alerts[1]]
        assert any(row.superseded for row in alerts[0])
    assert_sound(many, sessions)
