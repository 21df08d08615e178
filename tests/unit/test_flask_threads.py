"""The bridge to Flask: which bodies it reads, and what it does when too many requests wait for a thread."""

import asyncio
import json
import threading
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask, Response

from routes import flask_threads
from routes.flask_threads import FlaskInThreads
from routes.http.intake import LARGE_AT_ONCE, LARGE_BODY, Intake
from routes.http.operation import Operation, describe, needs
from routes.schemas.events import EventsRequest
from tests.keys import keep_open
from tests.waiting import PATIENCE

HEAD: dict[str, Any] = {
    "type": "http",
    "http_version": "1.1",
    "method": "POST",
    "path": "/slow",
    "raw_path": b"/slow",
    "query_string": b"",
    "headers": [(b"host", b"localhost")],
}


async def ask(bridge: FlaskInThreads, scope: dict[str, Any], receive: Any) -> tuple[int, bytes]:
    """The status and the body of the answer."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await bridge(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def test_too_many_wait_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request beyond those gets a 503 at once; the others are answered, and then there is room again."""
    monkeypatch.setattr(flask_threads, "MOST_WAITING", 1)
    app, go_on = Flask("test"), threading.Event()
    keep_open(app)

    @app.post("/slow")
    @needs("any")
    def slow() -> Response:
        go_on.wait(PATIENCE)
        return Response("done")

    async def nothing() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def run() -> None:
        bridge = FlaskInThreads(app, threads=1, read_threads=1, intake=Intake(60))

        async def answer() -> tuple[int, bytes]:
            return await ask(bridge, dict(HEAD), nothing)

        waiting = [asyncio.create_task(answer()) for _ in range(2)]
        await asyncio.sleep(0)
        status, body = await answer()
        assert (status, json.loads(body)["type"]) == (503, "urn:problem:requests-full")
        go_on.set()
        assert await asyncio.gather(*waiting) == [(200, b"done")] * 2
        assert await answer() == (200, b"done")

    asyncio.run(run())


def large_app() -> Flask:
    """An application with one view, which takes a large body."""
    app = Flask("test")
    keep_open(app)

    @app.post("/slow")
    @describe(Operation(needs="nothing", answers={}, body=EventsRequest, max_body=4 * LARGE_BODY))
    def take() -> Response:
        return Response("taken")

    return app


BODY = b"a" * (LARGE_BODY + 1)


@pytest.mark.parametrize(
    ("header", "more"), [((b"transfer-encoding", b"chunked"), False), ((b"content-length", b"%d" % len(BODY)), True)]
)
def test_a_body_that_was_read_whole_is_not_waited_for(header: tuple[bytes, bytes], more: bool) -> None:
    """If it is refused then, the answer comes at once: nothing is left to throw away."""
    messages = [{"type": "http.request", "body": BODY, "more_body": more}]

    async def run() -> tuple[int, bytes]:
        intake = Intake(60)
        bridge = FlaskInThreads(large_app(), threads=1, read_threads=1, intake=intake)
        with ExitStack() as stack:

            async def receive() -> dict[str, Any]:
                for _ in range(LARGE_AT_ONCE):  # others take the turns while this body arrives
                    stack.enter_context(intake.turn(True))
                return messages.pop()  # there is no second one

            return await ask(bridge, HEAD | {"headers": [*HEAD["headers"], header]}, receive)

    status, answer = asyncio.run(run())
    assert (status, json.loads(answer)["type"]) == (503, "urn:problem:large-bodies-full")


def test_bodies_of_those_that_are_refused_are_not_read() -> None:
    """A page of elsewhere, or a host that is not known, takes no room or turn from others."""

    async def stall() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    class NoIntake(Intake):
        async def read(self, *_: Any, **__: Any) -> bytes:
            raise AssertionError("it reads")

    async def run(*headers: tuple[bytes, bytes]) -> int:
        bridge = FlaskInThreads(large_app(), threads=1, read_threads=1, intake=NoIntake(60))
        status, _ = await ask(bridge, HEAD | {"headers": [*headers, (b"content-length", b"5")]}, stall)
        return status

    assert asyncio.run(run((b"host", b"evil.test"))) == 403
    assert asyncio.run(run((b"host", b"localhost"), (b"origin", b"http://evil.test"))) == 403
    with pytest.raises(AssertionError, match="it reads"):
        asyncio.run(run((b"host", b"localhost")))
