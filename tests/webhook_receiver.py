"""A receiver of webhooks for tests: what it does depends on the path. Also a program, which can be killed.

As a program: `python -m tests.webhook_receiver PORT FILE` appends a line of JSON to FILE for each message that it has
accepted.
"""

import json
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Received(NamedTuple):
    """A message as it arrived; the names of `headers` are in lower case."""

    path: str
    headers: dict[str, str]
    body: str


class Receiver:
    """Answers by the path: `/status/500`, `/retry-after/429/7`, `/redirect`, `/hang`, `/drip`, `/drip-body`,
    `/endless`, `/long-head`, `/garbage`, `/early-hints`, `/no-length`, `/refuse/7` (what is
    about user 7, until it `is_mended`); any other is a 204.

    Hanging and dripping end with the receiver.
    """

    def __init__(
        self, port: int = 0, note: Callable[[Received], None] | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        self.received: list[Received] = []
        self._note = note or self.received.append
        self.closing, self.is_mended = threading.Event(), threading.Event()
        self.connections = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                receiver.connections += 1

            def do_POST(self) -> None:
                receiver.answer(self)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                """The sender has gone, as it may."""

        self.server = Server(("127.0.0.1", port), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self.server.server_address[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def at(self, path: str) -> list[Received]:
        """What has arrived at a path so far, in order."""
        return [one for one in self.received if one.path == path]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Note a message and answer it."""
        body = request.rfile.read(int(request.headers["content-length"])).decode()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self._note(Received(request.path, headers, body))
        kind, *more = request.path.split("?")[0].strip("/").split("/")
        if kind == "hang":
            self.closing.wait()
        elif kind == "drip":
            self._drip(request, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000)
        elif kind == "drip-body":
            request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            self._drip(request, b"a" * 1000)
        elif kind == "endless":
            request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not self.closing.is_set():
                request.wfile.write(b"1000\r\n" + b"a" * 0x1000 + b"\r\n")
        elif kind == "long-head":
            request.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.closing.is_set():
                request.wfile.write(b"X-Long: " + b"a" * 1000 + b"\r\n")
        elif kind == "garbage":
            request.wfile.write(b"\x00garbage\r\n\r\n")
            request.close_connection = True
        elif kind == "early-hints":
            request.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            self._plain(request, "status", more)
        elif kind == "no-length":
            request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            self.closing.wait()
        elif kind == "refuse" and f'"user_id":{more[0]},' in body and not self.is_mended.is_set():
            self._plain(request, "status", ["500"])
        else:
            self._plain(request, kind, more)

    @staticmethod
    def _plain(request: BaseHTTPRequestHandler, kind: str, more: list[str]) -> None:
        status = {"status": int(more[0]) if more else 204, "retry-after": int(more[0]) if more else 429}
        request.send_response(302 if kind == "redirect" else status.get(kind, 204))
        if kind == "redirect":
            request.send_header("Location", "/redirected")
        if kind == "retry-after":
            request.send_header("Retry-After", more[1])
        if kind == "redirect" or status.get(kind, 204) != 204:
            request.send_header("Content-Length", "0")
        request.end_headers()

    def _drip(self, request: BaseHTTPRequestHandler, text: bytes) -> None:
        for byte in text:
            request.wfile.write(bytes([byte]))
            request.wfile.flush()
            if self.closing.wait(0.05):
                return


def _run(port: int, file: str) -> None:
    output = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(received: Received) -> None:
        line = json.dumps(received._asdict()) + "\n"
        os.write(output, line.encode())

    with Receiver(port, note):
        while True:
            time.sleep(60)


if __name__ == "__main__":
    _run(int(sys.argv[1]), sys.argv[2])
