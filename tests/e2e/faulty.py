"""A server that fails in every way in which a service and a proxy can."""

import gzip
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


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
        elif ids == ["other"]:
            self.answer(200, [])
        elif ids == ["away"]:
            self.answer(503, {"status": 503})
        else:
            self.attempt(self.server.received.count(ids))

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
