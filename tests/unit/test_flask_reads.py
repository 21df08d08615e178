"""Reads in threads of their own: how many at once, how many wait and for how long, and the rests in between."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from routes import flask_reads
from routes.flask_reads import FlaskReads
from routes.http.problems import Problem
from tests.waiting import PATIENCE


def scope(path: str, method: str = "GET") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [], "http_version": "1.1"}


async def answer(reads: FlaskReads, path: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """The status, headers and body that a read is answered with."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await reads(scope(path), send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


async def reached(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)


class Held:
    """A WSGI application whose reads of /held wait until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.began: list[str] = []

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.began.append(path)
        if path == "/held":
            assert self.go.wait(PATIENCE)
        start_response("203 Fine", [("X-Path", path)])
        return [b"one ", b"two"]


def test_a_read_is_answered_whole() -> None:
    """Status, headers and body are the application's own."""
    found = asyncio.run(answer(FlaskReads(Held(), 1), "/a"))
    assert found == (203, {b"x-path": b"/a"}, b"one two")


def test_what_is_a_read() -> None:
    """GET and HEAD are, and nothing that may change something."""
    reads = FlaskReads(Held(), 1)
    assert [method for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS") if reads.takes(scope("/", method))] == [
        "GET",
        "HEAD",
    ]


def test_as_many_at_once_as_there_are_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait, up to a number; beyond it a read is refused at once. Probes do not wait for reads."""
    monkeypatch.setattr(flask_reads, "MOST_WAITING", 3)
    app = Held()

    async def run() -> list[Any]:
        reads = FlaskReads(app, 2)
        under_way = [asyncio.create_task(answer(reads, "/held")) for _ in range(5)]
        await reached(lambda: len(app.began) == 2)
        with pytest.raises(Problem) as refused:
            await answer(reads, "/held")
        assert (refused.value.status, refused.value.kind) == (503, "reads-full")
        for path in flask_reads.PROBES:
            many = [answer(reads, path) for _ in range(200)]
            assert {status for status, _, _ in await asyncio.gather(*many)} == {203}
        assert set(app.began[2:]) == set(flask_reads.PROBES)
        app.go.set()
        found = await asyncio.gather(*under_way)
        assert (await answer(reads, "/later"))[0] == 203  # there is room again
        return [status for status, _, _ in found]

    assert asyncio.run(run()) == [203] * 5


def test_probes_have_a_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it they are refused as other reads are; and their thread does not rest."""
    monkeypatch.setattr(flask_reads, "MOST_PROBES", 3)
    monkeypatch.setattr("time.sleep", lambda seconds: seconds and pytest.fail("it rested"))

    async def run() -> list[Any]:
        reads = FlaskReads(Held(), 1)
        many = [answer(reads, "/healthz") for _ in range(5)]
        return await asyncio.gather(*many, return_exceptions=True)

    *answered, refused = asyncio.run(run())
    assert [status for status, _, _ in answered] == [203] * 4
    assert isinstance(refused, Problem)
    assert refused.kind == "reads-full"


def test_a_read_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has waited for too long is refused, and nothing is read for it."""
    monkeypatch.setattr(flask_reads, "PATIENCE", 0.0)
    app = Held()

    async def run() -> None:
        with pytest.raises(Problem) as refused:
            await answer(FlaskReads(app, 1), "/a")
        assert (refused.value.status, refused.value.kind) == (503, "reads-full")

    asyncio.run(run())
    assert app.began == []


class Clock:
    """Stands still but for what is slept and worked."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, [0.0]

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


def test_a_thread_rests_for_as_long_as_it_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the next read, not before the answer; time that went by meanwhile counts as rest."""
    clock = Clock()
    monkeypatch.setattr(flask_reads, "time", clock)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        clock.now += float(environ["PATH_INFO"][1:])
        start_response("200 OK", [])
        return [b""]

    async def run() -> None:
        reads = FlaskReads(app, 1)
        await answer(reads, "/3")
        assert clock.slept[-1] == 0
        await answer(reads, "/1")
        assert clock.slept[-1] == 3
        clock.now += 0.75
        await answer(reads, "/2")
        assert clock.slept[-1] == 0.25
        clock.now += 100
        await answer(reads, "/2")
        assert clock.slept[-1] == 0

    asyncio.run(run())
