"""What the server takes from callers it does not know: heads, bodies, connections, and what is not HTTP/1 at all."""

import json
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest
import requests
from sqlalchemy import text

from routes.http.heads import MAX_HEAD, MAX_HEADERS, MAX_URL
from routes.http.intake import LARGE_AT_ONCE, LARGE_BODY
from tests.integration.test_serving import BODY, Sessions, StartService, caller, head, post
from tests.postgres import transaction, waiting
from tests.service import Service
from tests.waiting import PATIENCE, wait_until

CROWD = 1_100  # more than any default of the server or the system


@pytest.fixture
def many_files() -> Iterator[None]:
    """Lets this process open the files of a crowd."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CROWD
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"a process may open only {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def answers(service: Service, *sent: bytes) -> bytes:
    """Everything that comes back on one connection until the server ends it."""
    with closing(caller(service)) as connection:
        for part in sent:
            connection.sendall(part)
        return read(connection)


def read(connection: socket.socket) -> bytes:
    """What comes until the server ends the connection."""
    received = b""
    # It ends it by a reset if something that was sent is left unread.
    with suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            received += part
    return received


def problem(answer: bytes) -> dict[str, Any]:
    """The problem document that ends this answer."""
    top, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in top
    document: dict[str, Any] = json.loads(body)
    assert top.startswith(b"HTTP/1.1 %d " % document["status"])
    return document


def all_is_well(service: Service) -> None:
    """Others are answered, by either door."""
    assert post(service).status_code == 200
    assert post(service, path="/events").status_code == 200
    assert requests.get(f"{service.url}/healthz", timeout=PATIENCE).status_code == 200


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("path", ["/event", "/events"])
def test_a_crowd_that_stalls(start_service: StartService, path: str) -> None:
    """Any number of connections that are silent, or stop in the middle, leave others unaffected."""
    service = start_service(WORKERS="1", THREADS="1", BODY_TIMEOUT="600")
    for sent in (b"", b"POST /ev", head(len(BODY), path) + BODY[:10]):
        with ExitStack() as stack:
            for _ in range(CROWD):
                stack.enter_context(closing(caller(service))).sendall(sent)
            all_is_well(service)


LATE = {
    "nothing of an event": head(len(BODY)),
    "a part of an event": head(len(BODY)) + BODY[:10],
    "a part of a user": head(len(BODY), "/users") + BODY[:10],
    "a part of many events": head(1 << 20, "/events") + b"[" * 100_000,
    "a chunk": head(0, "/users").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"1\r\n{\r\n",
}


def test_a_body_that_does_not_arrive_in_time(start_service: StartService, subtests: pytest.Subtests) -> None:
    """It is a 408 by either door, and the end of the connection: the rest would be taken for the next request."""
    service = start_service(BODY_TIMEOUT="0.2")
    for name, sent in LATE.items():
        with subtests.test(name):
            answer = answers(service, sent)
            assert problem(answer)["status"] == 408
            assert b"connection: close" in answer.lower()
    wait_until(lambda: service.output().count('"status":408') == len(LATE))


def with_headers(*headers: str, target: str = "/event", body: bytes = BODY) -> bytes:
    """A post with further headers, to be answered on a connection that then ends."""
    lines = [
        f"POST {target} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize("target", ["/event", "/events?atomic=true", "/nothing"])
def test_bounds_of_the_head(shared_service: Service, target: str, subtests: pytest.Subtests) -> None:
    """Too many headers, too large ones, or too long a URL are a 431 or 414 by either door; the bounds pass."""
    good = {"/event": b"HTTP/1.1 200 ", "/events?atomic=true": b"HTTP/1.1 200 ", "/nothing": b"HTTP/1.1 404 "}[target]
    body = b"[%s]" % BODY if "events" in target else BODY
    named = sum(len(line) - len(": ") for line in with_headers(body=body).decode().split("\r\n")[1:5])
    most = MAX_HEADERS - 4
    room = MAX_URL - len(target)
    longest = target + ("&" if "?" in target else "?") + "&" * room  # nothing between "&" and "&" is no parameter
    cases = {
        "headers": ([f"X-{number}: v" for number in range(most)], target, None),
        "a header too many": ([f"X-{number}: v" for number in range(most + 1)], target, 431),
        "equal headers": (["X-A: v"] * (most + 1), target, 431),
        "bytes": ([f"X-A: {'v' * (MAX_HEAD - named - 3)}"], target, None),
        "a byte too many": ([f"X-A: {'v' * (MAX_HEAD - named - 2)}"], target, 431),
        "a long URL": ([], longest, None),
        "a longer URL": ([], longest + "x", 414),
    }
    for name, (headers, at, status) in cases.items():
        with subtests.test(name):
            answer = answers(shared_service, with_headers(*headers, target=at, body=body))
            if status is None:
                assert answer.startswith(good)
            else:
                assert problem(answer)["status"] == status
    all_is_well(shared_service)


def test_the_server_s_own_bounds_of_the_head(shared_service: Service) -> None:
    """Beyond these the server answers itself, without reading on."""
    for headers in ["X: v"] * 101, [f"X: {'v' * 100_000}"], [f"X-{number}: {'v' * 1000}" for number in range(90)]:
        with closing(caller(shared_service)) as connection:
            with suppress(OSError):  # it may end before all is sent
                connection.sendall(with_headers(*headers))
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 431 ")
    all_is_well(shared_service)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def test_no_http_2(shared_service: Service) -> None:
    """A caller that begins to speak HTTP/2 is turned away."""
    assert b"\0\0\0" not in answers(shared_service, PREFACE)  # no frame
    upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"
    with closing(caller(shared_service)) as connection:
        connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n\r\n".encode())
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    all_is_well(shared_service)


ODD = {
    "a web socket": b"GET /event HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "a tunnel": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n",
    "an old request": b"GET /healthz\r\n\r\n",
    "no request": bytes(range(256)) * 100,
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "two lengths": with_headers("Content-Length: 5"),
    "a length that is no number": with_headers().replace(b"Content-Length: ", b"Content-Length: +"),
    "a length and chunks": with_headers("Transfer-Encoding: chunked"),
    "a bad chunk": with_headers("Transfer-Encoding: chunked", target="/users"),
    "a chunk of 2^64 bytes": with_headers("Transfer-Encoding: chunked", body=b"ffffffffffffffff\r\n{}"),
    "more than the length": with_headers() + b"x" * 100_000,
    "a body to a GET": with_headers().replace(b"POST", b"GET"),
    "a hundred at once": (head(len(BODY)) + BODY) * 99 + with_headers(),
    "a hundred, one bad": (head(len(BODY)) + BODY) * 99 + b"x" * 100,
    "a method of 8,000 letters": with_headers().replace(b"POST", b"BREW" * 2000),
    "empty lines": b"\r\n" * 10_000 + with_headers(),
    "trailers": head(0, "/users").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    + b"2\r\n{}\r\n0\r\n"
    + b"X: y\r\n" * 10_000
    + b"\r\n",
}


def test_odd_requests(shared_service: Service, subtests: pytest.Subtests) -> None:
    """Whatever a caller sends, no worker ends, and others are answered."""
    workers, before = shared_service.workers(), len(shared_service.output())
    for name, sent in ODD.items():
        with subtests.test(name), closing(caller(shared_service)) as connection:
            with suppress(OSError):  # the server may end it before all is sent
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                read(connection)
            all_is_well(shared_service)
    assert shared_service.workers() == workers
    log = shared_service.output()[before:]
    assert '"level":"error"' not in log
    assert '"status":500' not in log


def some(count: int, user_id: int) -> list[dict[str, Any]]:
    return [{"type": "deposit", "amount": "10.00", "user_id": user_id, "time": 0}] * count


def test_large_bodies_take_turns(start_service: StartService, sessions: Sessions) -> None:
    """While as many as may be are in hand, further ones get a 503 at once, packed ones too; small ones are answered."""
    service = start_service(WORKERS="1", DB_TIMEOUT="60")
    url = f"{service.url}/events"
    large = json.dumps([event | {"note": "x" * 20_000} for event in some(110, 1)]).encode()
    assert len(large) > LARGE_BODY
    with ThreadPoolExecutor(LARGE_AT_ONCE) as threads:
        with transaction(sessions) as session:
            session.execute(text("INSERT INTO users (user_id) VALUES (1)"))
            json_type = {"Content-Type": "application/json"}
            held = [
                threads.submit(requests.post, url, large, headers=json_type, timeout=PATIENCE)
                for _ in range(LARGE_AT_ONCE)
            ]
            wait_until(lambda: waiting(sessions) == LARGE_AT_ONCE)
            packed = json_type | {"Content-Encoding": "gzip"}
            for body, headers in ((large, json_type), (b"packed", packed), (iter([large]), json_type)):
                refused = requests.post(url, body, headers=headers, timeout=PATIENCE)
                assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
                assert refused.json()["type"] == "urn:problem:large-bodies-full"
            assert requests.post(url, json=some(5, 2), timeout=PATIENCE).status_code == 200
        assert [answer.result(PATIENCE).status_code for answer in held] == [200] * LARGE_AT_ONCE
    assert requests.post(url, large, headers=json_type, timeout=PATIENCE).status_code == 200


def test_the_answer_to_too_large_a_body_is_seen(shared_service: Service) -> None:
    """A caller that sends all of a body before it looks for the answer gets it, and can go on."""
    headers = {"Content-Type": "application/json"}
    with requests.Session() as session:
        for path, status in (("/events", 413), ("/users", 413), ("/nothing", 404)) * 2:
            answer = session.post(shared_service.url + path, b" " * (17 << 20), headers=headers, timeout=PATIENCE)
            assert answer.status_code == status
        assert session.get(f"{shared_service.url}/healthz", timeout=PATIENCE).status_code == 200


def test_a_caller_that_asks_first_need_not_send(shared_service: Service) -> None:
    """With Expect: 100-continue the answer to too large a body comes at once, without being told to go on."""
    with closing(caller(shared_service)) as connection:
        connection.sendall(head(1 << 20, "/users").replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413 ")
