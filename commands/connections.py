"""The bounds on connections: what the server is told about them, and the open files that they need."""

import resource
import sys
from typing import Any

from granian.constants import HTTPModes
from granian.http import HTTP1Settings

# Connections of one worker. Each is an open file, and holds SERVER_BUFFER and some 30 KiB at most; further callers wait
# in the system's queue until one ends.
MOST_CONNECTIONS = 8192
# Callers that wait in that queue; Linux allows no more than net.core.somaxconn (4096 unless changed).
BACKLOG = 16384
# Seconds within which the head of a request must have come, counted from the beginning of the connection or the end of
# the last answer: so also how long a connection may be idle.
HEAD_SECONDS = 30
# Bytes that the server keeps of what a connection has sent and nobody has read yet. A longer head is answered 431, with
# no body; routes/http/heads.py answers shorter ones that are still too long.
SERVER_BUFFER = 32 * 1024
OTHER_FILES = 128  # that a worker needs besides: libraries, database connections, metrics, event loop
FEWEST_CONNECTIONS = 64


class TooFewFiles(Exception):
    """A process may not open as many files as the service needs."""


def options() -> dict[str, Any]:
    """The server's options that bound connections.

    Allows this process, and those it starts, to open the files that this needs. Where the system does not, there are
    fewer connections, and a line on standard error says so. Raises TooFewFiles if hardly any would be left.
    """
    files = _allow_files(MOST_CONNECTIONS + OTHER_FILES)
    most = min(MOST_CONNECTIONS, files - OTHER_FILES)
    advice = f"A process may open only {files:,} files (ulimit -n)"
    if most < FEWEST_CONNECTIONS:
        raise TooFewFiles(f"{advice}; the service needs at least {FEWEST_CONNECTIONS + OTHER_FILES:,}.")
    if most < MOST_CONNECTIONS:
        print(
            f"{advice}: each worker takes {most:,} connections at once instead of {MOST_CONNECTIONS:,}.",
            file=sys.stderr,
        )
    return {
        # HTTP/2 packs its headers: a few kilobytes can stand for gigabytes.
        "http": HTTPModes.http1,
        "http1_settings": HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000, max_buffer_size=SERVER_BUFFER),
        "backlog": BACKLOG,
        "backpressure": most,
    }


def _allow_files(wanted: int) -> int:
    """Raise the limit of open files to `wanted` if the system allows it. Returns what holds then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted
    allowed = wanted if hard == unlimited else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
