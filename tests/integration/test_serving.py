"""How the server treats its callers: slow ones, those that hang up, many at once, and those still there at the end."""

import json
import re
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest
import requests
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.postgres import transaction, waiting
from tests.service import Service, with_constants
from tests.waiting import PATIENCE, wait_until

StartService = Callable[..., Service]
Sessions = sessionmaker[Session]


def event(user_id: int = 1, **fields: object) -> dict[str, Any]:
    return {"type": "deposit", "amount": "10.00", "user_id": user_id, "time": 0} | fields


def post(service: Service, user_id: int = 1, path: str = "/event") -> requests.Response:
    """Post an event, to /events as the only one in an array."""
    body: Any = [event(user_id)] if path == "/events" else event(user_id)
    return requests.post(service.url + path, json=body, timeout=PATIENCE)


def caller(service: Service) -> socket.socket:
    """A connection to the service."""
    return socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)


def head(length: int, path: str = "/event") -> bytes:
    """The head of a post of `length` bytes."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def lines(service: Service) -> list[dict[str, Any]]:
    """The log lines of requests for events."""
    whole = service.output().rpartition("\n")[0]  # the last one may still be on its way
    logged = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
    return [line for line in logged if line.get("route") in ("/event", "/events")]


def in_line(service: Service) -> int:
    """How many events wait for a batch."""
    page = requests.get(f"{service.url}/metrics", timeout=PATIENCE).text
    return sum(
        int(float(value)) for value in re.findall(r"^transaction_alerts_queued_events (\S+)$", page, re.MULTILINE)
    )


def actions(sessions: Sessions) -> int:
    """How many actions are stored."""
    with sessions() as session:
        return int(session.execute(text("SELECT count(*) FROM user_actions")).scalar_one())


BODY = json.dumps(event()).encode()


def test_clients_that_stall_hold_nothing_of_post_event(start_service: StartService) -> None:
    """Any number of callers who stop in the middle of an event leave all threads free for others."""
    service = start_service(WORKERS="1", THREADS="1")
    with ExitStack() as stack:
        for _ in range(50):
            stalled = stack.enter_context(closing(caller(service)))
            stalled.sendall(head(len(BODY)) + BODY[:10])
        assert post(service).status_code == 200
        assert requests.get(f"{service.url}/healthz", timeout=PATIENCE).status_code == 200


def test_post_event_does_not_wait_for_threads(start_service: StartService, sessions: Sessions) -> None:
    """Events are answered while every thread is held by a request that waits for the database."""
    service = start_service(WORKERS="1", THREADS="1", DB_TIMEOUT="60")
    with ThreadPoolExecutor(2) as threads:
        with transaction(sessions) as session:
            session.execute(text("INSERT INTO users (user_id) VALUES (1)"))
            held = threads.submit(post, service, path="/events")
            wait_until(lambda: waiting(sessions) == 1)
            behind = threads.submit(requests.post, f"{service.url}/users", json={}, timeout=PATIENCE)
            assert post(service, user_id=2).status_code == 200
            assert not held.done()
        assert [answer.result(PATIENCE).status_code for answer in (held, behind)] == [200, 201]


def test_a_body_in_pieces(shared_service: Service) -> None:
    """An event that arrives byte by byte is an event, and the connection serves the next one."""
    with closing(caller(shared_service)) as slow, slow.makefile("rb") as answers:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(3):
            slow.sendall(head(len(BODY)))
            for at in range(len(BODY)):
                slow.sendall(BODY[at : at + 1])
                time.sleep(0.001)
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            while answers.readline() != b"\r\n":
                pass
            assert json.loads(answers.readline()) == {"alert": False, "alert_codes": [], "user_id": 1}


def test_a_caller_that_hangs_up_in_the_middle(start_service: StartService, sessions: Sessions) -> None:
    """Nothing is stored of an event that is cut off, not even if what came is a whole object; it is logged."""
    service = start_service()
    whole = BODY + b" "
    for number, sent in enumerate((0, 10, len(BODY) - 1), start=1):
        with closing(caller(service)) as gone:
            gone.sendall(head(len(whole)) + whole[:sent])
        wait_until(lambda: len(lines(service)) == number)  # noqa: B023
    assert [line["status"] for line in lines(service)] == [400] * 3
    assert actions(sessions) == 0
    assert post(service).status_code == 200


def test_a_caller_that_hangs_up_before_the_answer(start_service: StartService, sessions: Sessions) -> None:
    """An event whose caller has left while it waited is stored and logged; the others with it are answered."""
    service = start_service(WORKERS="1")
    with ThreadPoolExecutor(2) as threads:
        with transaction(sessions) as session:
            session.execute(text("INSERT INTO users (user_id) VALUES (1)"))
            first = threads.submit(post, service)
            wait_until(lambda: waiting(sessions) == 1)
            with closing(caller(service)) as gone:
                gone.sendall(head(len(BODY)) + BODY)
                wait_until(lambda: in_line(service) == 1)
            second = threads.submit(post, service)
            wait_until(lambda: in_line(service) == 2)
        assert [answer.result(PATIENCE).status_code for answer in (first, second)] == [200, 200]
    wait_until(lambda: len(lines(service)) == 3)
    assert actions(sessions) == 3


@pytest.mark.parametrize("path", ["/event", "/events"])
def test_requests_under_way_are_finished(start_service: StartService, sessions: Sessions, path: str) -> None:
    """On SIGTERM what is being stored is stored, answered and logged, then the service ends."""
    # No time limit ends what is under way, however long this test takes.
    service = start_service(with_constants(f"commands.serve.STOP_SECONDS = {PATIENCE}"), WORKERS="1")
    assert service.process is not None
    with ThreadPoolExecutor(1) as threads:
        with transaction(sessions) as session:
            session.execute(text("INSERT INTO users (user_id) VALUES (1)"))
            answer: Future[requests.Response] = threads.submit(post, service, path=path)
            wait_until(lambda: waiting(sessions) == 1)
            service.process.send_signal(signal.SIGTERM)
            wait_until(lambda: '"stopping"' in service.output())
            assert not answer.done()
        assert answer.result(PATIENCE).status_code == 200
    service.process.wait(PATIENCE)
    assert "Killing worker" not in service.output()
    assert (actions(sessions), len(lines(service))) == (1, 1)


def test_a_line_for_each_of_many(shared_service: Service) -> None:
    """Under load every request is logged once, with its own id, on a line of its own."""

    def some(part: int) -> None:
        with requests.Session() as connection:
            for number in range(25):
                headers = {"X-Request-ID": f"{part}-{number}"}
                answer = connection.post(
                    f"{shared_service.url}/event", json=event(part + 1), headers=headers, timeout=PATIENCE
                )
                assert answer.headers["X-Request-ID"] == f"{part}-{number}"

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(some, range(16)))
    sent = sorted(f"{part}-{number}" for part in range(16) for number in range(25))

    def logged() -> list[str]:
        return sorted(str(line["request_id"]) for line in lines(shared_service) if line["request_id"] in sent)

    wait_until(lambda: len(logged()) >= len(sent))
    assert logged() == sent


def test_without_group_commit_nobody_waits_for_another(start_service: StartService, sessions: Sessions) -> None:
    """With GROUP_COMMIT=off an event that waits for its user's row does not hold up those of others."""
    service = start_service(GROUP_COMMIT="off", WORKERS="1")
    with ThreadPoolExecutor(1) as threads:
        with transaction(sessions) as session:
            session.execute(text("INSERT INTO users (user_id) VALUES (1)"))
            held = threads.submit(post, service)
            wait_until(lambda: waiting(sessions) == 1)
            assert post(service, user_id=2).status_code == 200
            assert not held.done()
        assert held.result(PATIENCE).status_code == 200


def test_an_event_that_cannot_be_stored_is_not_its_neighbours_trouble(
    start_service: StartService, sessions: Sessions
) -> None:
    """If a batch fails because of one user, the others of the batch are stored, each by itself."""
    service = start_service(WORKERS="1", DB_TIMEOUT="1")

    def stored(user_id: int) -> None:
        # The limit is for all: on a busy machine another try may be needed.
        wait_until(lambda: post(service, user_id).status_code == 200)

    with ThreadPoolExecutor(8) as threads, transaction(sessions) as session:
        session.execute(text("INSERT INTO users (user_id) VALUES (1)"))
        refused = [threads.submit(post, service, 1) for _ in range(2)]
        others = [threads.submit(stored, user_id) for user_id in (2, 3, 4)]
        assert [answer.result(PATIENCE).status_code for answer in refused] == [503, 503]
        for other in others:
            other.result(PATIENCE)
