"""The bounds on connections, and the open files that they need."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from granian.constants import HTTPModes

from commands import connections, slow_readers
from tests.service import ROOT

ASK = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from commands import connections
print(connections.options()["backpressure"], resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def with_files(soft: int, hard: int) -> "subprocess.CompletedProcess[str]":
    """What a process answers that may open so many files."""
    code = ASK.format(soft=soft, hard=hard)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_options() -> None:
    """HTTP/1 only, and a time for the head of a request."""
    options = connections.options()
    assert options["http"] == HTTPModes.http1
    assert options["http1_settings"].header_read_timeout == 30_000
    assert options["http1_settings"].max_buffer_size == 32 * 1024
    assert options["backpressure"] <= 8192 < options["backlog"]


def test_the_limit_of_open_files_is_raised() -> None:
    """As far as connections need it, and not lowered."""
    enough = connections.MOST_CONNECTIONS + connections.OTHER_FILES
    assert with_files(1024, enough).stdout.split() == [str(connections.MOST_CONNECTIONS), str(enough)]
    more = with_files(enough + 1, enough + 1)
    assert (more.stdout.split(), more.stderr) == ([str(connections.MOST_CONNECTIONS), str(enough + 1)], "")


def test_few_open_files_mean_few_connections() -> None:
    """The service says so, and takes as many as it can."""
    few = with_files(256, 1024)
    assert few.stdout.split() == [str(1024 - connections.OTHER_FILES), "1024"]
    assert "ulimit -n" in few.stderr


def test_hardly_any_open_files_are_an_error() -> None:
    """With fewer than a few dozen connections there is no service."""
    none = with_files(150, 150)
    assert none.returncode != 0
    assert "TooFewFiles: A process may open only 150 files (ulimit -n); the service needs at least 192." in none.stderr


# Callers that do not read.

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def connect() -> Iterator[Callable[[], Pair]]:
    """Makes connections to one port of this process; each is the server's side and the caller's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        opened: list[socket.socket] = []

        def pair() -> Pair:
            caller = socket.create_connection(listener.getsockname())
            served, _ = listener.accept()
            served.setblocking(False)
            opened.extend((caller, served))
            return served, caller

        yield pair
        for end in opened:
            end.close()


def fill(served: socket.socket) -> None:
    """Send until the system takes no more."""
    with suppress(BlockingIOError):
        while True:
            served.send(bytes(1 << 20))


def is_ended(served: socket.socket) -> bool:
    """Whether the server has ended this connection."""
    try:
        served.send(b"x")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what has not been sent yet")


@linux
def test_callers_that_do_not_read_are_ended(connect: Callable[[], Pair]) -> None:
    """Whoever has taken next to nothing from one look to the next is ended; one that reads, or is done, is not."""
    (stuck, _), (slow, reader), (done, _) = connect(), connect(), connect()
    port = stuck.getsockname()[1]
    done.send(b"short")
    fill(stuck)
    fill(slow)
    seen = slow_readers.end_slow(port, {})
    assert len(seen) == 2
    for _ in range(3):
        taken = 0
        while taken < 1 << 20:
            taken += len(reader.recv(1 << 20))
        fill(slow)
        seen = slow_readers.end_slow(port, seen)
        assert [is_ended(end) for end in (stuck, slow, done)] == [True, False, False]
    slow_readers.end_slow(port, seen)
    assert is_ended(slow)


@linux
def test_other_ports_are_left_alone(connect: Callable[[], Pair]) -> None:
    """A connection of another port, such as one to the database, may wait as long as it likes."""
    stuck, _ = connect()
    fill(stuck)
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        assert slow_readers.end_slow(port, slow_readers.end_slow(port, {})) == {}
    assert not is_ended(stuck)
