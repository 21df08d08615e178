"""Answers known before the body has come: callers see them, and the connection goes on or is said to end."""

import gzip
import json
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import NamedTuple

import pytest

from database import migrations
from tests.postgres import Databases
from tests.service import PATIENT_ENVIRONMENT, Service

JSON = "application/json"
EVENT = json.dumps({"type": "deposit", "amount": "42.00", "user_id": 1, "time": 10}).encode()
LARGE = b"x" * 200_000
LARGEST = b"x" * 5_000_000
PATIENCE = 60.0


@pytest.fixture(scope="module")
def service(databases: Databases) -> Iterator[Service]:
    """One running service for all of these tests."""
    with databases.new() as name:
        migrations.upgrade(databases.url(name))
        with Service(PATIENT_ENVIRONMENT | {"DATABASE_URL": databases.url(name)}) as running:
            yield running


class Head(NamedTuple):
    """What a request says before its body."""

    path: str = "/event"
    method: str = "POST"
    host: str = "localhost"
    kind: str = JSON
    more: tuple[str, ...] = ()

    def written(self, length: int | None) -> bytes:
        """The head, for a body of `length` bytes; None: in chunks."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {self.host}", f"Content-Type: {self.kind}", *self.more]
        lines += ["Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}", "", ""]
        return "\r\n".join(lines).encode()


GOOD = Head().written(len(EVENT)) + EVENT


class Caller:
    """A client with one connection."""

    def __init__(self, service: Service) -> None:
        self.connection = socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def send(self, *parts: bytes) -> None:
        """Send each part; the server may end the connection before it has all."""
        for part in parts:
            self.connection.sendall(part)

    def answer(self) -> tuple[int, bool]:
        """The status of the next answer, and whether it says that it is the last one."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        top, _, _ = self._received.partition(b"\r\n\r\n")
        named = dict(line.lower().split(b": ", 1) for line in top.split(b"\r\n")[1:] if b": " in line)
        end = len(top) + 4 + int(named[b"content-length"])
        while len(self._received) < end:
            self._receive()
        self._received = self._received[end:]
        return int(top.split()[1]), named.get(b"connection") == b"close"

    def is_ended(self) -> bool:
        """Whether nothing more comes, and the server has ended the connection."""
        with suppress(ConnectionError):
            return not self.connection.recv(1)
        return True

    def _receive(self) -> None:
        part = self.connection.recv(1 << 16)
        assert part, "the connection has ended"
        self._received += part


@pytest.fixture
def caller(service: Service) -> Iterator[Caller]:
    """A connection of its own to the service."""
    made = Caller(service)
    with closing(made.connection):
        yield made


def chunked(body: bytes) -> bytes:
    """The body in chunks of 16 KiB."""
    parts = (body[at : at + 16384] for at in range(0, len(body), 16384))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


EARLY = {
    "another type": (Head(kind="text/plain"), EVENT, 415),
    "packed": (Head(more=("Content-Encoding: gzip",)), gzip.compress(EVENT), 415),
    "no gzip": (Head("/events", more=("Content-Encoding: gzip",)), EVENT, 400),
    "no JSON": (Head(), b"{", 400),
    "a query": (Head("/event?zz=1"), EVENT, 400),
    "no such path": (Head("/nowhere"), EVENT, 404),
    "another method": (Head("/rules"), EVENT, 405),
    "another method, large": (Head("/rules"), LARGEST, 405),
    "another host": (Head(host="evil.example"), EVENT, 403),
    "another origin, large": (Head(more=("Origin: http://evil.example",)), LARGEST, 403),
    "a long URL": (Head("/event?" + "x" * 9_000), EVENT, 414),
    "many headers": (Head(more=("X-A: v",) * 70), EVENT, 431),
    "a large event": (Head(), LARGE, 413),
    "a larger event": (Head(), LARGEST, 413),
    "a large user": (Head("/users"), LARGEST, 413),
    "many events, too large": (Head("/events"), b"[" + b" " * 17_000_000 + b"]", 413),
    "no such path, large": (Head("/nowhere"), LARGEST, 404),
    "a read with a body": (Head("/rules", "GET"), LARGE, 200),
    "a removal with a body": (Head("/backtests/7", "DELETE"), EVENT, 404),
}


@pytest.mark.parametrize("name", EARLY)
def test_an_early_answer(service: Service, name: str) -> None:
    """Whether the body comes with the head, after it, in pieces or in chunks: its caller sees the answer.

    And the next request on the connection, sent after it or right behind, gets its own.
    """
    head, body, status = EARLY[name]
    whole, half = head.written(len(body)), len(body) // 2
    for parts in (
        (whole + body,),
        (whole, body),
        (whole, body[:half], body[half:]),
        (head.written(None), chunked(body)),
        (whole + body + GOOD,),
    ):
        caller = Caller(service)
        with closing(caller.connection):
            caller.send(*parts)
            assert caller.answer() == (status, False)
            if not parts[-1].endswith(GOOD):
                caller.send(GOOD)
            assert caller.answer() == (200, False)


def test_a_caller_that_asks_before_it_sends(caller: Caller) -> None:
    """With `Expect: 100-continue` a refusal comes at once, and says that nothing more is read."""
    caller.send(Head(more=("Expect: 100-continue",)).written(len(LARGEST)))
    assert caller.answer() == (413, True)
    assert caller.is_ended()


def test_a_body_larger_than_is_thrown_away(caller: Caller) -> None:
    """It is refused at once, and the answer says that it is the last one."""
    caller.send(Head("/events").written(400_000_000))
    assert caller.answer() == (413, True)
    assert caller.is_ended()


@pytest.mark.parametrize("path", ["/event", "/nowhere"])
def test_a_body_that_stops(caller: Caller, path: str) -> None:
    """If nothing more comes of a body that nobody wants, the answer comes all the same, as the last one."""
    caller.send(Head(path).written(len(LARGE)), LARGE[:1000])
    assert caller.answer() == (413 if path == "/event" else 404, True)
    assert caller.is_ended()


@pytest.mark.parametrize("broken", [b"", b"zz\r\n", b"5\r\nab"], ids=["hangs up", "is no chunk", "stops in a chunk"])
def test_chunks_that_break_off(service: Service, caller: Caller, broken: bytes) -> None:
    """What came before is not taken for all of the body: nothing is stored, and the connection is said to end."""
    caller.send(Head("/events", kind="application/x-ndjson").written(None), chunked(EVENT).removesuffix(b"0\r\n\r\n"))
    caller.send(broken)
    caller.connection.shutdown(socket.SHUT_WR)
    assert caller.answer() == (400, True)
    assert caller.is_ended()
