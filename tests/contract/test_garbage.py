"""What a request leaves behind: nothing that only the garbage collector could free, whatever goes wrong with it.

The collector runs rarely in a worker, since what it looks through is large. An exception that is kept, and whose
traceback leads back to what keeps it, would hold ten thousand events until then.
"""

import asyncio
import gc
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from routes import asgi
from rules.judging.engine import RuleEngine
from tests.conftest import ClientMaker
from tests.contract.helpers import FULL_DISK, JSON, Sessions, an_event
from tests.postgres import transaction

NDJSON = "application/x-ndjson"
MANY = 300
# Flask and asyncio leave a few cycles of their own for each request; a kept exception holds everything it went through.
FEW = 120

BAD_ARRAY = json.dumps([an_event(amount="0")] * MANY).encode()
BAD_LINES = b"{\n" * MANY
BODIES = {
    "bad events": ("/events", BAD_ARRAY, JSON, 200),
    "bad lines": ("/events", BAD_LINES, NDJSON, 200),
    "bad events, all or none": ("/events?atomic=true", BAD_ARRAY, JSON, 400),
    "no array": ("/events", b"{}", JSON, 400),
    "a broken array": ("/events", BAD_ARRAY[:-2], JSON, 400),
    "an event too long": ("/events", b'["' + b"x" * 100_000 + b'"]', JSON, 413),
    "a bad event": ("/event", json.dumps(an_event(amount="0")).encode(), JSON, 400),
    "no JSON": ("/event", b"{", JSON, 400),
    "a good event": ("/event", json.dumps(an_event()).encode(), JSON, 200),
    "good events": ("/events", json.dumps([an_event()] * MANY).encode(), JSON, 200),
    "many good events": ("/events", json.dumps([an_event()] * 3_000).encode(), JSON, 200),
    "a bad user": ("/users", b'{"total": -1}', JSON, 400),
    "no such path": ("/nowhere", b"{}", JSON, 404),
}


@pytest.fixture
def collected() -> Iterator[Callable[[], int]]:
    """How many objects the collector alone can free, since it was asked last."""
    gc.disable()
    gc.freeze()  # neither counted nor looked through, which takes a while: what many tests have left behind
    yield gc.collect
    gc.unfreeze()
    gc.enable()


def through_flask(app: Flask, path: str, body: bytes, kind: str) -> int:
    """The status of a POST, as a server calls Flask."""
    statuses = []
    path, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "5000",
        "HTTP_HOST": "localhost:5000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "CONTENT_TYPE": kind,
        "CONTENT_LENGTH": str(len(body)),
    }

    def start(status: str, *_: object) -> Callable[[bytes], object]:
        statuses.append(int(status[:3]))
        return io.BytesIO().write

    answer: Any = app(environ, start)
    b"".join(answer)
    answer.close()
    return statuses[0]


def _full(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        session.execute(text(FULL_DISK.format(table="user_actions")))


def _unfit(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        session.execute(text("ALTER TABLE users RENAME TO gone"))


def _refuses(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        session.execute(text("ALTER TABLE user_actions ADD CHECK (amount < 1)"))


def _defective(*_: object) -> None:
    raise ZeroDivisionError


async def past_flask(application: asgi.Application, body: bytes) -> int:
    """The status of a plain `POST /event`, as the server calls the data plane."""
    sent: list[Any] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/event",
        "raw_path": b"/event",
        "query_string": b"",
        "headers": [
            (b"host", b"localhost:5000"),
            (b"content-type", JSON.encode()),
            (b"content-length", b"%d" % len(body)),
        ],
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize(("path", "body", "kind", "status"), BODIES.values(), ids=BODIES)
def test_a_request_leaves_no_cycles(
    client: FlaskClient, collected: Callable[[], int], path: str, body: bytes, kind: str, status: int
) -> None:
    """Good or bad, a request is freed as soon as it is answered."""
    app = client.application
    for _ in range(2):  # the first one makes what is kept
        assert through_flask(app, path, body, kind) == status
    collected()
    assert through_flask(app, path, body, kind) == status
    assert collected() < FEW


TROUBLES: dict[str, Any] = {
    "a full disk": (_full, 503),
    "a table that is not there": (_unfit, 500),
    "a refusal of the database": (_refuses, 500),
    "a defect": (None, 500),
}


@pytest.fixture(params=list(TROUBLES.values()), ids=list(TROUBLES))
def trouble(request: pytest.FixtureRequest, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> int:
    """Whatever can befall a transaction; the status of its answers."""
    make, status = request.param
    if make is None:
        monkeypatch.setattr(RuleEngine, "_settle", _defective)
    else:
        make(sessions)
    return int(status)


@pytest.mark.parametrize("path", ["/event", "/events"])
def test_a_failed_transaction_leaves_no_cycles(
    client: FlaskClient, collected: Callable[[], int], trouble: int, path: str
) -> None:
    """The error of a transaction is freed with the answer that it became, and so are the events."""
    body = json.dumps(an_event() if path == "/event" else [an_event()] * MANY).encode()
    for _ in range(2):
        assert through_flask(client.application, path, body, JSON) == trouble
    collected()
    assert through_flask(client.application, path, body, JSON) == trouble
    assert collected() < FEW


@pytest.mark.parametrize("group_commit", ["on", "off"])
def test_a_failed_batch_leaves_no_cycles(
    make_client: ClientMaker, collected: Callable[[], int], trouble: int, group_commit: str
) -> None:
    """All events of a failed batch are freed once they are answered, those tried a second time too."""
    application = asgi.application(
        make_client(group_commit=group_commit).application, threads=2, read_threads=1, body_timeout=15
    )
    bodies = [json.dumps(an_event(user_id=number)).encode() for number in range(1, MANY + 1)]

    async def crowd() -> list[int]:
        return await asyncio.gather(*(past_flask(application, body) for body in bodies))

    with asyncio.Runner() as runner:
        for _ in range(2):
            assert set(runner.run(crowd())) == {trouble}
        collected()
        assert set(runner.run(crowd())) == {trouble}
        assert collected() < FEW
