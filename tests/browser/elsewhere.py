"""A web server of somebody else: it serves a page that attacks, and notes what it is asked itself."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

PAGE = "<!doctype html><title>Elsewhere</title><script src='/attacks.js'></script><body></body>"
ATTACKS = Path(__file__).with_name("attacks.js").read_text()


class Elsewhere(ThreadingHTTPServer):
    """Listens on a free port of loopback. `asked` counts requests by method; what is no GET is answered with nothing.

    `/sent-on?URL` sends whatever it is asked on to the URL.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[str] = Counter()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: Elsewhere

    def do_GET(self) -> None:
        self._answer(200, (ATTACKS if self.path == "/attacks.js" else PAGE).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, url = self.path.partition("?")
        if path == "/sent-on":
            self._answer(307, b"", ("Location", unquote(url)))
            return
        self.server.asked[self.command] += 1
        self._answer(200, b"")

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", "text/html"), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test prints only what is wrong."""


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    """Such a server, stopped afterwards."""
    with Elsewhere() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
