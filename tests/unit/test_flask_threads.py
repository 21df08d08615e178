"""The bridge to Flask: what it does when too many requests wait for a thread."""

import asyncio
import json
import threading
from typing import Any

import pytest
from flask import Flask

from routes import flask_threads
from routes.flask_threads import FlaskInThreads
from routes.http.intake import Intake

HEAD: dict[str, Any] = {
    "type": "http",
    "http_version": "1.1",
    "method": "POST",
    "path": "/slow",
    "raw_path": b"/slow",
    "query_string": b"",
    "headers": [(b"host", b"localhost")],
}


def test_too_many_wait_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request beyond those gets a 503 at once; the others are answered, and then there is room again."""
    monkeypatch.setattr(flask_threads, "MOST_WAITING", 1)
    app, go_on = Flask("test"), threading.Event()

    @app.post("/slow")
    def slow() -> str:
        go_on.wait(60)
        return "done"

    async def nothing() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def run() -> None:
        bridge = FlaskInThreads(app, threads=1, read_threads=1, intake=Intake(60))

        async def answer() -> tuple[int, bytes]:
            sent: list[Any] = []

            async def send(message: Any) -> None:
                sent.append(message)

            await bridge(dict(HEAD), nothing, send)
            return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)

        waiting = [asyncio.create_task(answer()) for _ in range(2)]
        await asyncio.sleep(0)
        status, body = await answer()
        assert (status, json.loads(body)["type"]) == (503, "urn:problem:requests-full")
        go_on.set()
        assert await asyncio.gather(*waiting) == [(200, b"done")] * 2
        assert await answer() == (200, b"done")

    asyncio.run(run())
