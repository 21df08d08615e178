"""A log that cannot be written costs lines, never an answer: a full disk, a reader that is gone or does not read.

Each test runs the real service and looks at what it answers, what it has stored, and how it ends.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import IO, Any

import pytest
import requests
from sqlalchemy import text

from tests.contract.helpers import Sessions, an_event
from tests.service import PATIENT_ENVIRONMENT, ROOT, Service
from tests.waiting import PATIENCE


class Elsewhere(Service):
    """The service with its standard output and error at the file descriptor `out`; None: both are closed."""

    def __init__(self, environment: dict[str, str], out: int | None) -> None:
        super().__init__(environment)
        self._out = out

    def start(self) -> None:
        """Start it and wait until it is ready for events."""
        command = self._command
        if self._out is None:
            command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]
        self.run(command, self._out)

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        page = requests.get(f"{self.url}/metrics", timeout=PATIENCE).text
        (value,) = re.findall(rf"^{name} (\S+)$", page, re.MULTILINE)
        return float(value)


Start = Callable[[int | None], Elsewhere]


@pytest.fixture
def start(database_url: str) -> Iterator[Start]:
    """Starts a service whose output goes to a file descriptor."""
    with ExitStack() as stack:
        yield lambda out: stack.enter_context(Elsewhere(PATIENT_ENVIRONMENT | {"DATABASE_URL": database_url}, out))


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], int]]:
    """A pipe: the file that reads it, and the descriptor that writes it."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reader:
        yield reader, writing
        os.close(writing)


# The last is an event that Flask answers.
WAYS: list[tuple[str, Any, dict[str, str]]] = [
    ("/event", an_event(), {}),
    ("/events", [an_event()], {}),
    ("/event", an_event(), {"Sec-Fetch-Site": "none"}),
]


def check(service: Elsewhere, sessions: Sessions, until: Callable[[], bool]) -> None:
    """Post events both ways, and read, until `until`: what is answered is what is stored, at once or never."""
    stored, end = 0, time.monotonic() + PATIENCE
    with requests.Session() as http:
        while not until():
            assert time.monotonic() < end
            for _ in range(20):
                for path, body, headers in WAYS:
                    answer = http.post(f"{service.url}{path}", json=body, headers=headers, timeout=PATIENCE)
                    assert answer.status_code == 200
                    stored += 1
                assert http.post(f"{service.url}/event", json={}, timeout=PATIENCE).status_code == 400
                assert http.get(f"{service.url}/users/7", timeout=PATIENCE).status_code == 404
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM user_actions")) == stored
    service.stop()


def test_a_pipe_that_nobody_reads(start: Start, sessions: Sessions, pipe: Any) -> None:
    """When the pipe and what may wait are full, lines are dropped and counted; all else goes on, SIGTERM too."""
    reader, writing = pipe
    fill(writing)
    service = start(writing)
    end = time.monotonic() + PATIENCE
    while not service.metric("transaction_alerts_log_lines_dropped_total"):
        assert time.monotonic() < end
        answer_many(service)
    check(service, sessions, lambda: service.metric("transaction_alerts_log_lines_dropped_total") > 200)
    assert reader.read(1) == b"x"


def answer_many(service: Service, count: int = 1000) -> None:
    """Have many requests answered, and logged in long lines, in little time."""
    one = b"POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    one += b"X-Request-ID: %s\r\n\r\n{}" % (b"x" * 128)
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as caller,
        caller.makefile("rb") as got,
    ):
        caller.sendall(one * count)
        assert sum(line.startswith(b"HTTP/1.1 400 ") for line in iter_lines(got, count)) == count


def iter_lines(answers: IO[bytes], count: int) -> Iterator[bytes]:
    """The lines of `count` answers."""
    for _ in range(count):
        length = 0
        while (line := answers.readline()) != b"\r\n":
            assert line
            yield line
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        answers.read(length)


def fill(writing: int) -> None:
    """Fill a pipe to its last byte."""
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)


def test_a_reader_that_is_gone(start: Start, sessions: Sessions, pipe: Any) -> None:
    """When the reader of the log has ended, its lines are dropped and counted."""
    reader, writing = pipe
    service = start(writing)
    reader.close()
    check(service, sessions, lambda: service.metric("transaction_alerts_log_lines_dropped_total") > 100)


def test_a_full_disk(start: Start, sessions: Sessions) -> None:
    """A log on a full disk is dropped and counted."""
    with open("/dev/full", "wb") as full:
        check(
            service := start(full.fileno()),
            sessions,
            lambda: service.metric("transaction_alerts_log_lines_dropped_total") > 100,
        )


def test_no_output_at_all(start: Start, sessions: Sessions) -> None:
    """A service that is started with its output closed serves, and writes to no other file by mistake."""
    service = start(None)
    check(service, sessions, lambda: service.metric("transaction_alerts_log_lines_dropped_total") > 100)


def test_a_disk_that_is_full_for_a_while() -> None:
    """When there is room again, lines are written again, each whole, and the first says how many are missing."""
    code = """if True:
        import log_output, logs, os, resource, structlog, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        log_output.never_wait(); logs.configure(readable=False)
        log = structlog.get_logger()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        for number in range(100):
            log.info("first", number=number); log_output.flush(60)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for number in range(3):
            log.info("then", number=number); log_output.flush(60)
    """
    with tempfile.TemporaryFile() as file:
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=file, check=True, timeout=PATIENCE)
        file.seek(0)
        lines = file.read().splitlines()
    whole, torn = [], 0
    for line in lines:
        try:
            whole.append(json.loads(line))
        except ValueError:
            torn += 1
    events = [line["event"] for line in whole]
    written = events.count("first")
    assert (torn, 0 < written < 100) == (1, True)
    assert events == ["first"] * written + ["then", "log_lines_dropped", "then", "then"]
    assert [line["lines"] for line in whole if "lines" in line] == [100 - written]


@pytest.mark.parametrize("ending", ["", "os._exit(0)", "os.kill(os.getpid(), 15)", "1 / 0"])
def test_the_last_lines_of_a_process(ending: str) -> None:
    """A process that ends by itself, or flushes first, loses no line; warnings and tracebacks are written too."""
    code = f"""if True:
        import log_output, logs, os, signal, structlog, sys, warnings
        log_output.never_wait(); logs.configure(readable=False)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        warnings.warn("be careful")
        for number in range(1000):
            structlog.get_logger().info("a", number=number)
        if "_exit" in {ending!r}: log_output.flush(60)
        {ending}
    """
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=PATIENCE)
    assert [json.loads(line)["number"] for line in run.stdout.splitlines()] == list(range(1000))
    assert b"be careful" in run.stderr
    assert (b"ZeroDivisionError" in run.stderr) == (ending == "1 / 0")


def test_a_forked_process_writes_its_own_lines() -> None:
    """What a process had waiting when it was forked is written once, and the new process has a thread of its own."""
    code = """if True:
        import log_output, logs, multiprocessing, structlog
        log_output.never_wait(); logs.configure(readable=False)
        log = structlog.get_logger()
        for number in range(200): log.info("parent", number=number)
        def child():
            for number in range(200): log.info("child", number=number)
        one = multiprocessing.get_context("fork").Process(target=child)
        one.start(); one.join()
        log.info("parent", number=200)
    """
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=PATIENCE, check=True)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line["number"] for line in lines if line["event"] == "parent"] == list(range(201))
    assert [line["number"] for line in lines if line["event"] == "child"] == list(range(200))
