"""Answers that are sent piece by piece: how many at once, whether they are whole, and callers that stall or go."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from routes import flask_streams
from routes.flask_streams import FlaskStreams
from routes.http.problems import Problem
from tests.unit.test_flask_reads import reached, scope
from tests.waiting import PATIENCE

PATHS = frozenset({"/a", "/fails"})


class Pieces:
    """A WSGI application that answers with three pieces; at /fails the third cannot be made."""

    def __init__(self) -> None:
        self.made, self.closed = 0, 0

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("X-Path", environ["PATH_INFO"])])
        return self._Chunks(self, environ["PATH_INFO"])

    class _Chunks:
        def __init__(self, app: "Pieces", path: str) -> None:
            self._app, self._path = app, path

        def __iter__(self) -> Iterator[bytes]:
            for piece in (b"one ", b"two ", b"three"):
                if piece == b"three" and self._path == "/fails":
                    raise RuntimeError("lost")
                self._app.made += 1
                yield piece

        def close(self) -> None:
            self._app.closed += 1


class Caller:
    """Takes one message at a time when it is let, and stays until it is told to go."""

    def __init__(self, takes: int = 1_000) -> None:
        self.messages: list[Any] = []
        self.gone = asyncio.Event()
        self.room = asyncio.Semaphore(takes)

    async def send(self, message: Any) -> None:
        await self.room.acquire()
        self.messages.append(message)

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def has_all(self) -> bool:
        """Whether the last message says that it is the last."""
        return not self.messages[-1].get("more_body", self.messages[-1]["type"] == "http.response.start")


def test_what_is_streamed() -> None:
    """Only GET of such a path is."""
    streams = FlaskStreams(Pieces(), PATHS)
    assert [streams.takes(scope(path, method)) for path in ("/a", "/b") for method in ("GET", "HEAD", "POST")] == [
        True,
        *[False] * 5,
    ]


def test_an_answer_comes_whole() -> None:
    """Status and headers first, then each piece, then the end."""
    app = Pieces()

    async def run() -> Caller:
        caller = Caller()
        await FlaskStreams(app, PATHS)(scope("/a"), caller.receive, caller.send)
        return caller

    caller = asyncio.run(run())
    assert caller.messages[0] == {"type": "http.response.start", "status": 200, "headers": [(b"x-path", b"/a")]}
    assert [message["body"] for message in caller.messages[1:]] == [b"one ", b"two ", b"three", b""]
    assert caller.has_all
    assert app.closed == 1


def test_a_part_does_not_look_like_the_whole(caplog: pytest.LogCaptureFixture) -> None:
    """Where a piece cannot be made, the answer has no end."""
    app = Pieces()

    async def run() -> Caller:
        caller = Caller()
        await FlaskStreams(app, PATHS)(scope("/fails"), caller.receive, caller.send)
        return caller

    caller = asyncio.run(run())
    assert caller.body == b"one two "
    assert not caller.has_all
    assert app.closed == 1


def test_pieces_are_made_as_they_are_taken_and_few_at_once() -> None:
    """A caller that does not read keeps its place and has one piece made; who comes when all places are taken is
    refused, and a caller that goes away frees its place.
    """
    app = Pieces()

    async def run() -> None:
        streams = FlaskStreams(app, PATHS)
        slow = [Caller(takes=1) for _ in range(flask_streams.AT_ONCE)]
        under_way = [asyncio.create_task(streams(scope("/a"), one.receive, one.send)) for one in slow]
        await reached(lambda: all(len(one.messages) == 1 for one in slow))
        assert app.made == len(slow)
        with pytest.raises(Problem) as refused:
            await streams(scope("/a"), slow[0].receive, slow[0].send)
        assert (refused.value.status, refused.value.kind) == (503, "exports-full")
        slow[0].gone.set()
        slow[0].room.release()  # as the server does: it takes what nobody will read
        await under_way[0]
        assert not slow[0].has_all
        assert app.closed == 1
        other = Caller()
        await streams(scope("/a"), other.receive, other.send)
        assert other.body == b"one two three"
        for _ in range(4):
            slow[1].room.release()
        await under_way[1]
        assert slow[1].has_all

    asyncio.run(run())


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
def test_who_has_seen_the_end_can_ask_for_more(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    """The place is free when the last byte is sent: also of a refusal, which says how long it is."""
    monkeypatch.setattr(flask_streams, "AT_ONCE", 1)

    def answers(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response(status, [])
        return [b"all"]

    async def run() -> None:
        streams, first, second = FlaskStreams(answers, PATHS), Caller(), Caller()

        async def send(message: Any) -> None:
            await first.send(message)
            if first.has_all or (status != "200 OK" and first.body):
                await streams(scope("/a"), second.receive, second.send)

        await streams(scope("/a"), first.receive, send)
        assert (first.body, second.body) == (b"all", b"all")
        assert first.has_all

    asyncio.run(run())


@pytest.mark.parametrize("cancels", [1, 2])
def test_a_place_comes_free_however_a_request_ends(monkeypatch: pytest.MonkeyPatch, cancels: int) -> None:
    """Also one that is cancelled once more while its answer is being closed."""
    monkeypatch.setattr(flask_streams, "AT_ONCE", 1)
    go, closing = threading.Event(), threading.Event()

    class Held(Pieces):
        def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [])
            return HeldChunks(self, "/a")

    class HeldChunks(Pieces._Chunks):
        def close(self) -> None:
            closing.set()
            assert go.wait(PATIENCE)

    async def run() -> None:
        streams, slow, other = FlaskStreams(Held(), PATHS), Caller(takes=1), Caller()
        task = asyncio.create_task(streams(scope("/a"), slow.receive, slow.send))
        await reached(lambda: len(slow.messages) == 1)
        task.cancel()
        await reached(closing.is_set)
        if cancels == 2:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(Problem):
            await streams(scope("/a"), other.receive, other.send)
        go.set()
        await reached(lambda: streams._room == 1)
        await streams(scope("/a"), other.receive, other.send)
        assert other.has_all
        if cancels == 1:
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())


def test_a_stalled_caller_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes too long for a piece is given up, and its answer has no end."""
    monkeypatch.setattr(flask_streams, "STALLED", 0.0)
    app = Pieces()

    async def run() -> Caller:
        caller = Caller(takes=2)
        await FlaskStreams(app, PATHS)(scope("/a"), caller.receive, caller.send)
        return caller

    caller = asyncio.run(run())
    assert not caller.has_all
    assert app.closed == 1


@pytest.mark.parametrize("version", ["1", "1.0"])
def test_http_1_0_is_refused(version: str) -> None:
    """There the end of the connection is the end of the answer, so a part looks like the whole."""

    async def run() -> None:
        caller = Caller()
        with pytest.raises(Problem) as refused:
            await FlaskStreams(Pieces(), PATHS)(scope("/a") | {"http_version": version}, caller.receive, caller.send)
        assert refused.value.status == 505

    asyncio.run(run())


def test_an_application_that_fails_at_once_is_a_defect() -> None:
    """Before there is an answer, the failure is the caller's of this."""

    def fails(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise RuntimeError

    async def run() -> None:
        caller, streams = Caller(), FlaskStreams(fails, PATHS)
        for _ in range(flask_streams.AT_ONCE + 1):
            with pytest.raises(RuntimeError):
                await streams(scope("/a"), caller.receive, caller.send)

    asyncio.run(run())


def test_a_place_is_free_when_the_thread_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is cancelled while its piece is made keeps its place until that thread is done."""
    go, began = threading.Event(), threading.Event()

    def held(environ: Any, start_response: Any) -> Iterable[bytes]:
        began.set()
        assert go.wait(PATIENCE)
        start_response("200 OK", [])
        return [b"x"]

    async def run() -> None:
        monkeypatch.setattr(flask_streams, "AT_ONCE", 1)
        streams, caller = FlaskStreams(held, PATHS), Caller()
        task = asyncio.create_task(streams(scope("/a"), caller.receive, caller.send))
        await reached(began.is_set)
        task.cancel()
        await asyncio.sleep(0)
        with pytest.raises(Problem):
            await streams(scope("/a"), caller.receive, caller.send)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await streams(scope("/a"), caller.receive, caller.send)
        assert caller.body == b"x"

    asyncio.run(run())
