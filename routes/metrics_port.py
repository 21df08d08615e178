"""The metrics on a port of their own: `GET /metrics` and nothing else, for whoever reaches the port, without a key.

Every worker answers there, from threads of its own, with the same numbers. The socket is the server's: while a worker
is gone, the others answer.
"""

import socket
import time
from contextlib import suppress
from threading import Thread

import metrics  # noqa: TID251
from routes.http import safe_headers
from routes.http.origins import TrustedHosts, is_no_name

AT_ONCE = 2  # calls of one worker; others wait in the system's queue
SECONDS = 5.0  # for the whole of a call: longer than Prometheus needs, and whoever stalls holds a thread meanwhile
MAX_HEAD = 8 * 1024  # bytes
_PAUSE = 0.1  # seconds, when no connection can be taken, for lack of open files

_TEXT = "text/plain; charset=utf-8"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


def watch(listener: socket.socket, hosts: TrustedHosts) -> None:
    """Answer calls at `listener` from now on, by one of the trusted names or by an address."""
    for _ in range(AT_ONCE):
        Thread(target=_serve, args=(listener, hosts), name="metrics", daemon=True).start()


def _serve(listener: socket.socket, hosts: TrustedHosts) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            time.sleep(_PAUSE)
            continue
        with connection, suppress(OSError):  # TimeoutError is one; the caller is gone, or stalls
            _answer(connection, hosts)


def _answer(connection: socket.socket, hosts: TrustedHosts) -> None:
    latest = time.monotonic() + SECONDS
    head = _read_head(connection, latest)
    connection.settimeout(_left(latest))
    connection.sendall(_answer_to(head, hosts))


def _read_head(connection: socket.socket, latest: float) -> bytes:
    """What came up to the empty line, or more than MAX_HEAD bytes. Raises OSError if it does not come in time."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) <= MAX_HEAD:
        connection.settimeout(_left(latest))
        if not (piece := connection.recv(4096)):
            raise ConnectionError
        head += piece
    return head


def _left(latest: float) -> float:
    if (left := latest - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _answer_to(head: bytes, hosts: TrustedHosts) -> bytes:
    whole, _, _ = head.partition(b"\r\n\r\n")
    if len(whole) > MAX_HEAD:
        return _written(431)
    first, *fields = whole.split(b"\r\n")
    words = first.split(b" ")
    named = [value.strip() for name, _, value in (field.partition(b":") for field in fields) if name.lower() == b"host"]
    if len(words) != 3 or not words[2].startswith(b"HTTP/1.") or len(named) > 1:
        return _written(400)
    host = named[0] if named else b""
    # A page that has its own name point here (DNS rebinding) sends that name.
    if not hosts.trusts(host) and not is_no_name(host.decode("latin-1")):
        return _written(403)
    if words[1] != b"/metrics":
        return _written(404)
    if words[0] not in (b"GET", b"HEAD"):
        return _written(405, more={"Allow": "GET, HEAD"})
    if not metrics.are_kept():
        return _written(503)
    text, content_type = metrics.exposition()
    return _written(200, text, content_type, has_body=words[0] == b"GET")


def _written(
    status: int,
    body: bytes = b"",
    content_type: str = _TEXT,
    *,
    has_body: bool = True,
    more: dict[str, str] | None = None,
) -> bytes:
    """An answer as it is sent, the last one on its connection."""
    body = body or f"{_REASONS[status]}\n".encode()
    named = {"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"} | (more or {})
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", *(f"{name}: {value}" for name, value in named.items())]
    safe = [name + b": " + value for name, value in safe_headers.AS_BYTES]
    return b"\r\n".join([*(line.encode() for line in lines), *safe, b"", body if has_body else b""])
