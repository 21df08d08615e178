"""The line of events that wait has a bound: what finds it full is refused at once, both ways in."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import requests
from sqlalchemy import text

from database import engines
from routes.http.problems import QUEUE_FULL
from tests.conftest import ClientMaker
from tests.contract.helpers import JSON, Sessions, an_event, problem, without
from tests.contract.test_metrics import samples
from tests.postgres import transaction, waiting
from tests.service import Service, with_constants
from tests.waiting import PATIENCE, wait_until

StartService = Callable[..., Service]

EXPECTED = QUEUE_FULL.document()


@contextmanager
def a_held_user(sessions: Sessions) -> Iterator[None]:
    """Whatever stores an event of user 1 waits until the block ends."""
    with transaction(sessions) as session:
        session.execute(text("INSERT INTO users (user_id) VALUES (1)"))
        yield


def stored(sessions: Sessions) -> Any:
    """The ids of the events that are stored, in order."""
    with sessions() as session:
        return list(session.execute(text("SELECT event_id FROM user_actions ORDER BY event_id")).scalars())


def test_flask_refuses_what_finds_the_line_full(
    make_client: ClientMaker, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One event is being stored and one waits: the third is a 503 at once, of which nothing is stored."""
    monkeypatch.setattr(engines, "SHARED_WAIT", PATIENCE)  # the first one stays where it is
    client = make_client(group_commit_queue=1, db_timeout=60)
    before = samples(client.get("/metrics").text)

    def post(event_id: Any) -> Any:
        app = client.application.test_client()
        return app.post("/event", json=an_event(event_id=event_id))

    def line() -> Any:
        return samples(client.get("/metrics").text)["transaction_alerts_queued_events",]

    with ThreadPoolExecutor(2) as threads:
        with a_held_user(sessions):
            first = threads.submit(post, "a")
            wait_until(lambda: waiting(sessions) == 1)
            second = threads.submit(post, "b")
            wait_until(lambda: line() == 1)
            refused = post("c")
            assert not first.done()
            assert not second.done()
            assert line() == 1
        assert [answer.result(PATIENCE).status_code for answer in (first, second)] == [200, 200]
    document = problem(refused, 503)
    assert without(document, "request_id") == EXPECTED
    assert refused.headers["Retry-After"] == "1"
    assert line() == 0
    key = ("transaction_alerts_http_requests_total", "POST", "/event", "503")
    assert samples(client.get("/metrics").text)[key] == before.get(key, 0) + 1
    assert post("c").status_code == 200
    assert stored(sessions) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "environment",
    [{}, {"GROUP_COMMIT": "off", "THREADS": "1"}],
    ids=["group commit", "each alone"],
)
@pytest.mark.parametrize("path", ["/event", "/api/events"])
def test_the_server_refuses_what_finds_the_line_full(
    start_service: Callable[..., Service], sessions: Sessions, environment: Any, path: str
) -> None:
    """The same for the server's own way in, with and without group commit; what waited is stored, and so is a retry."""
    stays = with_constants(f"database.engines.SHARED_WAIT = {PATIENCE}")  # the first one stays where it is
    service = start_service(stays, WORKERS="1", GROUP_COMMIT_QUEUE="1", **environment)

    def post(event_id: str) -> requests.Response:
        headers = {"Content-Type": JSON}
        body = json.dumps(an_event(event_id=event_id))
        return requests.post(service.url + path, data=body, headers=headers, timeout=PATIENCE)

    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(8))
        with a_held_user(sessions):
            first: Future[requests.Response] = threads.submit(post, "0")
            wait_until(lambda: waiting(sessions) == 1)
            others = [threads.submit(post, str(number)) for number in range(1, 5)]
            wait_until(lambda: sum(other.done() for other in others) == 3)  # one of them waits
            assert not first.done()
        answers = [one.result(PATIENCE) for one in (first, *others)]
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503]
    for number, answer in enumerate(answers):
        if answer.status_code == 503:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers["Retry-After"] == "1"
            assert without(answer.json(), "request_id") == EXPECTED
            assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
            assert str(number) not in stored(sessions)
    assert len(stored(sessions)) == 2
    counted = samples(requests.get(f"{service.url}/metrics", timeout=PATIENCE).text)
    assert counted["transaction_alerts_http_requests_total", "POST", path, "503"] == 3
    assert counted.get(("transaction_alerts_queued_events",), 0) == 0
    assert [post(str(number)).status_code for number in range(5)] == [200] * 5
    assert stored(sessions) == ["0", "1", "2", "3", "4"]
