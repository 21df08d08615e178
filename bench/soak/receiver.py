"""The receiver of the soak's webhooks: `python -m bench.soak.receiver PORT FOLDER`, until it is stopped.

A message to `/NAME` is verified with the secret in FOLDER/NAME.secret by the specification's own library. What is
accepted becomes a line of FOLDER/NAME.accepted; of anything else, FOLDER/NAME.failed has a word. The endpoint FLAKY
fails now and then.
"""

import json
import os
import random
import sys
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

HEALTHY, FLAKY = ENDPOINTS = ("healthy", "flaky")
CLOSED, HUNG, ERROR = FAULTS = ("closed", "hung", "500")  # on purpose
TOO_EARLY = "no secret yet"
CUT_OFF = "cut off"  # the sender was killed in the middle of a message
EVERY, DOWN = 20.0, 2.0  # seconds: each time so long, it fails for so long
HANGS, CLOSES, FAILS = 0.001, 0.01, 0.02  # of all messages, at other times
HANG = 30.0  # seconds: longer than an attempt may take


def fault(at: float, chance: float) -> str | None:
    """How the flaky endpoint fails at this moment (seconds), if it does; `chance` is between 0 and 1."""
    if at % EVERY < DOWN:
        return ERROR
    for kind, share in ((HUNG, HANGS), (CLOSED, CLOSES), (ERROR, FAILS)):
        if chance < share:
            return kind
        chance -= share
    return None


class Receiver:
    """Takes messages, and writes down what came of each, below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._accepted = {name: self._open(f"{name}.accepted") for name in ENDPOINTS}
        self._failed = {name: self._open(f"{name}.failed") for name in ENDPOINTS}
        self._signer = cache(lambda name: Webhook((folder / f"{name}.secret").read_text()))

    def _open(self, name: str) -> int:
        return os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a message, or leave it unanswered."""
        name, length = request.path[1:], int(request.headers["content-length"])
        body = request.rfile.read(length)
        failed = fault(time.monotonic(), random.random()) if name == FLAKY else None
        if len(body) < length:
            failed = CUT_OFF
        if failed is not None:
            self._fail(request, name, failed)
            return
        try:
            message = self._signer(name).verify(body, dict(request.headers))
        except FileNotFoundError:
            self._fail(request, name, TOO_EARLY)
        except WebhookVerificationError as error:
            self._fail(request, name, f"not verified: {error}")
        else:
            line = json.dumps([request.headers["webhook-id"], message["type"], message["data"]]) + "\n"
            os.write(self._accepted[name], line.encode())
            request.send_response(204)
            request.end_headers()

    def _fail(self, request: BaseHTTPRequestHandler, name: str, why: str) -> None:
        os.write(self._failed[name], f"{why}\n".encode())
        if why == HUNG:
            time.sleep(HANG)
        if why in (HUNG, CLOSED, CUT_OFF):
            request.close_connection = True
            return
        request.send_response(500)
        request.send_header("Content-Length", "0")
        request.end_headers()


def serve(port: int, folder: Path) -> int:
    """Serve in a thread, as long as the process lives. Returns the port, which is chosen for 0."""
    receiver = Receiver(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            receiver.answer(self)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """The sender has gone, as it may."""

    server = Server(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def main() -> None:
    """Serve until stopped."""
    parent = os.getppid()
    serve(int(sys.argv[1]), Path(sys.argv[2]))
    while os.getppid() == parent:  # it does not outlive the soak
        time.sleep(1)


if __name__ == "__main__":
    main()
