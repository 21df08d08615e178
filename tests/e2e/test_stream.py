"""The recipe for Redpanda Connect, run by its own library: against the real service while both are killed."""

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.orm import Session, sessionmaker

from tests.keys import add_key
from tests.service import ROOT, Service
from tests.waiting import PATIENCE, wait_until
from transaction_alerts_client import AlertsClient

PYTHON = ROOT / ".tools/streams/bin/python"
RECIPE = ROOT / "streams/redpanda-connect.yaml"

FIRST = 10_000_000  # offset of the first message of each partition: those before it have been removed from the topic
LONG = "x" * 70_000
NOT_EVENTS = ["", "not JSON\nat all", "null", '"text"', "[]", "[{}]", "{", LONG]

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="`make test-streams` installs what this needs")


class Stream:
    """A topic with one file for each partition, and the recipe that sends it to a service."""

    def __init__(self, folder: Path, partitions: list[list[tuple[str, str]]], *, pauses: str | None = None) -> None:
        """`partitions`: the messages of each, as key and text. `pauses`: how long to wait between attempts at most."""
        self._folder = folder
        self._processes = 0
        self._partitions = partitions
        self.begin_anew()
        recipe = yaml.safe_load(RECIPE.read_text())
        # The library has no Kafka: stream_program.py stands in for the topic, and files for that of the refused.
        del recipe["input"]
        refused = recipe["output"]["reject_errored"]["retry"]["output"].pop("redpanda")
        recipe["output"]["reject_errored"]["retry"]["output"]["file"] = {
            "path": f"{folder}/PROCESS-${{! @kafka_partition }}-${{! @kafka_offset }}-{refused['key']}.refused",
            "codec": "all-bytes",
        }
        # mq_bridge hands on texts; the real input gives numbers.
        numbers = "\n".join(f"meta {name} = @{name}.int64()" for name in ("kafka_partition", "kafka_offset"))
        recipe["pipeline"]["processors"].insert(0, {"mapping": numbers})
        recipe["publish_timeout"] = "0s"  # mq_bridge's: how long a batch may take; as in the recipe, as long as need be
        self._recipe = json.dumps(recipe)
        if pauses is not None:
            self._recipe = self._recipe.replace('"500ms"', f'"{pauses}"').replace('"10s"', f'"{pauses}"')

    def fill(self, part: float) -> None:
        """Have this part of the messages in the topic."""
        for number, messages in enumerate(self._partitions):
            lines = [f"{json.dumps(message)}\n" for message in messages[: int(part * len(messages))]]
            written = self._folder / f"{number}.new"
            written.write_text("".join(lines))
            written.replace(self._folder / f"{number}.topic")
        if part == 1:
            (self._folder / "complete").touch()

    def begin_anew(self) -> None:
        """Forget what was committed: the next process is given every message again."""
        for number in range(len(self._partitions)):
            (self._folder / f"{number}.committed").write_text("0")

    def committed(self) -> float:
        """Which part of all messages is done with."""
        done = [int((self._folder / f"{number}.committed").read_text()) for number in range(len(self._partitions))]
        return sum(done) / sum(map(len, self._partitions))

    def refused(self) -> dict[tuple[int, int], dict[str, Any]]:
        """What would be in the topic of the refused, with its key, by partition and place in it."""
        found = {}
        for path in self._folder.glob("*.refused"):
            with suppress(ValueError):  # a process was killed while it wrote this
                value = json.loads(path.read_text())
                found[value["partition"], value["offset"] - FIRST] = value | {"key": path.stem.split("-")[-1]}
        return found

    def start(self, url: str, key: str) -> "subprocess.Popen[bytes]":
        """Start a process that runs the recipe until every message is done with."""
        self._processes += 1
        recipe = self._recipe.replace("PROCESS", str(self._processes))
        (self._folder / "recipe.json").write_text(recipe)
        self._output = self._folder / f"{self._processes}.output"
        environment = {"ALERTS_URL": url, "ALERTS_KEY": key, "BROKERS": "none"}
        with self._output.open("wb") as output:
            return subprocess.Popen(
                [str(PYTHON), str(ROOT / "tests/e2e/stream_program.py"), str(self._folder), str(FIRST)],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def finish(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until a process has ended by itself, after every message."""
        assert process.wait(PATIENCE) == 0, self.output()
        assert self.committed() == 1

    def output(self) -> str:
        """What the newest process has printed."""
        return self._output.read_text()


def test_every_event_is_stored_once_and_in_order_while_both_are_killed(
    start_service: Callable[..., Service], sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """What is refused comes out with its message and the reason. Given again from the beginning, nothing is added."""
    key = add_key(sessions)
    service = start_service()
    client = AlertsClient(service.url, key=key)
    users = [1, 2, 3, 4, 5, 2**63 - 1]
    partitions: list[list[tuple[str, str]]] = [[], []]
    expected: dict[int, list[str]] = {user_id: [] for user_id in users}
    refused: dict[tuple[int, int], int] = {}
    for number in range(1200):
        user_id = random.choice(users)
        partition = user_id % 2
        messages = partitions[partition]
        place = (partition, len(messages))
        made_id = f"transactions-{partition}-{FIRST + len(messages)}"
        event = {"type": "deposit", "amount": "0.50", "user_id": user_id, "time": number}
        if number % 7 == 0:
            event["event_id"] = f"own-{number}"
        message = json.dumps(event)
        match number % 11:
            case 1:
                message = json.dumps(event | {"amount": "-1"}, indent=1)
                refused[place] = 400
            case 2:
                message = random.choice(NOT_EVENTS)
                refused[place] = 413 if message == LONG else 400
            case 3 if expected[user_id]:
                message = json.dumps(event | {"event_id": expected[user_id][0], "amount": "7.77"})
                refused[place] = 409
            case _:
                expected[user_id].append(str(event.get("event_id", made_id)))
        messages.append((str(user_id), message))
    stream = Stream(tmp_path, partitions, pauses="200ms")

    def check() -> None:
        for user_id, ids in expected.items():
            assert [one["event_id"] for one in actions(client, user_id)] == ids
        found = stream.refused()
        assert {place: one["problem"]["status"] for place, one in found.items()} == refused
        assert all(one["event"] == partitions[place[0]][place[1]][1][:65536] for place, one in found.items())
        assert all(one["key"] == partitions[place[0]][place[1]][0] for place, one in found.items())
        assert {one["topic"] for one in found.values()} == {"transactions"}

    stream.fill(0.4)
    process = stream.start(service.url, key)
    try:
        wait_until(lambda: stream.committed() > 0.2)
        service.stop(signal.SIGKILL)
        process.kill()
        process.wait()
        stream.fill(0.8)
        process = stream.start(service.url, key)
        wait_until(lambda: "connection refused" in stream.output())
        service.start()
        wait_until(lambda: stream.committed() > 0.5)
        process.kill()
        process.wait()
        process = stream.start(service.url, key)
        wait_until(lambda: stream.committed() > 0.6)
        process.terminate()
        process.wait()
        stream.fill(1)
        process = stream.start(service.url, key)
        stream.finish(process)
        check()
        stream.begin_anew()
        process = stream.start(service.url, key)
        stream.finish(process)
        check()
    finally:
        process.kill()
        process.wait()


def actions(client: AlertsClient, user_id: int) -> Iterator[dict[str, Any]]:
    """A user's actions in the order in which they came."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        page = client.call("GET", f"/users/{user_id}/actions?limit=500{cursor and f'&cursor={cursor}'}")
        found += page["actions"]
        cursor = page["next"]
    return reversed(found)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was sent, and when (in seconds of time.monotonic)."""

    events: list[Any]
    key: str | None
    type: str | None
    at: float


class Stubborn(BaseHTTPRequestHandler):
    """Answers a request in each way that is no success, and then as the service would."""

    protocol_version = "HTTP/1.1"
    server: "StubbornServer"

    def do_POST(self) -> None:
        """The n-th answer: none, half of one, a page of a proxy's, and so on."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        events = [json.loads(line) for line in body.splitlines()]
        stored: list[Any] = [{"alert_codes": []} for _ in events]
        self.server.received.append(
            Request(
                events=events,
                key=self.headers["Authorization"],
                type=self.headers["Content-Type"],
                at=time.monotonic(),
            )
        )
        match len(self.server.received):
            case 1:
                self.close_connection = True
            case 2:
                self.answer(200, {"results": stored}, cut=5)
            case 3:
                self.answer(502, "<html>Bad Gateway</html>")
            case 4:
                self.answer(401, {"status": 401})
            case 5:
                self.answer(429, {"status": 429}, wait="1")
            case 6:
                self.answer(503, {"status": 503}, wait="1")
            case 7:
                self.answer(200, {"results": [{"problem": {"status": 503}}, *stored[1:]]})
            case 8:
                self.answer(200, {"results": stored[1:]})
            case 9:
                self.answer(200, {"results": [{"problem": {"status": 409}}, *stored[1:]]})
            case _:
                self.answer(200, {"results": stored})

    def answer(self, status: int, value: Any, cut: int = 0, wait: str | None = None) -> None:
        """Send an answer, without its last `cut` bytes."""
        body = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if wait is not None:
            self.send_header("Retry-After", wait)
        self.end_headers()
        self.wfile.write(body[: len(body) - cut])
        self.close_connection = cut > 0

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


class StubbornServer(ThreadingHTTPServer):
    """Keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Stubborn)
        self.received: list[Request] = []


@pytest.fixture
def server() -> Iterator[StubbornServer]:
    """The server, running."""
    with StubbornServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_batch_that_fails_is_sent_again_before_the_next(server: StubbornServer, tmp_path: Path) -> None:
    """However often and in whichever way it fails, and not before the time in Retry-After; then the others follow."""
    messages = [("1", json.dumps({"user_id": 1, "number": number})) for number in range(30)]
    stream = Stream(tmp_path, [messages], pauses="1ms")
    stream.fill(1)
    process = stream.start(f"http://127.0.0.1:{server.server_port}", "tak_1")
    try:
        stream.finish(process)
    finally:
        process.kill()
        process.wait()
    numbers = [[event["number"] for event in one.events] for one in server.received]
    assert numbers == [list(range(20))] * 9 + [list(range(20, 30))]
    ids = [event["event_id"] for one in server.received for event in one.events if event["number"] == 3]
    assert ids == [f"transactions-0-{FIRST + 3}"] * 9
    assert {(one.key, one.type) for one in server.received} == {("Bearer tak_1", "application/x-ndjson")}
    at = [one.at for one in server.received]
    assert min(at[5] - at[4], at[6] - at[5]) >= 1
    assert {place: one["problem"] for place, one in stream.refused().items()} == {(0, 0): {"status": 409}}
