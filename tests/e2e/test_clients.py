"""The clients of docs/clients.md against a server that fails in every way in which a service and a proxy can."""

import gzip
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.documents import blocks
from tests.service import ROOT
from tests.waiting import PATIENCE

PYTHON = """
import json, sys, time
waits = []
time.sleep = waits.append
from alerts_client import AlertsClient, Refused
client, found = AlertsClient(sys.argv[1], key="tak_1", attempts=6), {"waits": waits}
found["codes"] = client.post_event({"event_id": "one"})
found["results"] = client.post_events([{"event_id": "a"}, {"event_id": "b"}, {"event_id": "c"}])
for wrong in (lambda: client.post_event({}), lambda: client.post_events([{}])):
    try:
        wrong()
    except ValueError as error:
        found["nameless"] = str(error)
try:
    client.post_event({"event_id": "refused"})
except Refused as refused:
    found["refused"] = refused.problem["status"]
try:
    client.post_event({"event_id": "away"})
except Refused as refused:
    found["away"] = refused.problem["status"]
print(json.dumps(found))
"""

JAVASCRIPT = """
const waits = [];
const later = globalThis.setTimeout;
globalThis.setTimeout = (done, milliseconds, ...more) => {
  if (!new Error().stack.includes("alerts-client.mjs")) return later(done, milliseconds, ...more);
  waits.push(milliseconds / 1000);
  return later(done, 0);
};
const { AlertsClient, Refused } = await import("./alerts-client.mjs");
const client = new AlertsClient(process.argv[2], { key: "tak_1", attempts: 6 });
const found = { waits };
found.codes = await client.postEvent({ event_id: "one" });
found.results = await client.postEvents([{ event_id: "a" }, { event_id: "b" }, { event_id: "c" }]);
for (const wrong of [() => client.postEvent({}), () => client.postEvents([{}])]) {
  await wrong().catch((error) => { found.nameless = error.message; });
}
await client.postEvent({ event_id: "refused" }).catch((error) => { found.refused = error.problem.status; });
await client.postEvent({ event_id: "away" }).catch((error) => { found.away = error.problem.status; });
console.log(JSON.stringify(found));
process.exit(0);
"""


class Faulty(BaseHTTPRequestHandler):
    """Answers the event `one` at its fifth attempt, and one of many events only when it is sent again."""

    protocol_version = "HTTP/1.1"
    server: "FaultyServer"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        ids = [json.loads(line)["event_id"] for line in body.splitlines()]
        self.server.received.append(ids)
        self.server.authorized.add(self.headers["Authorization"])
        if self.path == "/events":
            busy = {"problem": {"status": 503}} if len(ids) > 1 else {"alert_codes": [2]}
            self.answer(200, {"results": [busy if one == "b" else {"alert_codes": [1]} for one in ids]})
        elif ids == ["refused"]:
            self.answer(409, {"status": 409})
        elif ids == ["away"]:
            self.answer(503, {"status": 503})
        else:
            self.attempt(len(self.server.received))

    def attempt(self, number: int) -> None:
        """The n-th answer to the event `one`: none, a part, a proxy's page, a 503 with a wait, and the codes."""
        if number == 1:
            self.close_connection = True
        elif number == 2:
            self.answer(200, {"alert_codes": [30]}, cut=5)
        elif number == 3:
            self.answer(502, "<html>Bad Gateway</html>")
        elif number == 4:
            self.answer(503, {"status": 503}, wait="7")
        else:
            self.answer(200, {"alert_codes": [30]})

    def answer(self, status: int, value: Any, cut: int = 0, wait: str = "0") -> None:
        """Send an answer, without its last `cut` bytes."""
        body = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", wait)
        self.end_headers()
        self.wfile.write(body[: len(body) - cut])
        self.close_connection = cut > 0

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


class FaultyServer(ThreadingHTTPServer):
    """Keeps the ids of the events of each request, and how they were authorized."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Faulty)
        self.received: list[list[str]] = []
        self.authorized: set[str | None] = set()


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """The server, running."""
    with FaultyServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("program", "suffix", "script"),
    [(sys.executable, ".py", PYTHON), ("node", ".mjs", JAVASCRIPT)],
    ids=["Python", "JavaScript"],
)
def test_a_client_tries_again_what_can_succeed(
    server: FaultyServer, tmp_path: Path, program: str, suffix: str, script: str
) -> None:
    """It repeats an event with the same id until it is answered, waits as asked, and gives up what is refused."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    for block in blocks((ROOT / "docs/clients.md").read_text()):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    (tmp_path / f"try{suffix}").write_text(script)
    url = f"http://127.0.0.1:{server.server_port}"
    done = subprocess.run(
        [program, f"try{suffix}", url], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    waits = found.pop("waits")
    assert found == {
        "codes": [30],
        "results": [{"alert_codes": [1]}, {"alert_codes": [2]}, {"alert_codes": [1]}],
        "nameless": "without an event_id it could be stored twice",
        "refused": 409,
        "away": 503,
    }
    assert server.authorized == {"Bearer tak_1"}
    assert server.received == [["one"]] * 5 + [["a", "b", "c"], ["b"]] + [["refused"]] + [["away"]] * 6
    assert len(waits) == 4 + 1 + 5
    assert waits[3] == 7
    assert all(wait > 0 for wait in waits)
