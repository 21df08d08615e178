"""The load: wrk, pgbench, POST /events and COPY, each for about the seconds given."""

import http.client
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import events
from bench.measurement import Measurement, Unreadable, from_pgbench, from_wrk, percentile
from bench.servers import Database
from database import embedded

HERE = Path(__file__).resolve().parent
BATCH = 10_000  # events of one POST /events, and rows of one COPY
BESIDE = 2_000  # requests a second with junk for a key, beside events
PATIENCE = 60  # seconds to wait for one answer, and for a load generator beyond its own time


def wrk(
    port: int, connections: int, seconds: int, start: int, with_ids: bool = False, key: str | None = None
) -> Measurement:
    """Post single events with wrk over `connections` connections; `start` is the time of the first event."""
    threads = min(2, connections)
    command = _wrk(port, connections, threads, seconds, "wrk.lua")
    command += [] if key is None else ["-H", f"Authorization: Bearer {key}"]
    command += ["--", str(start), str(events.USERS), str(events.GAP), str(threads)]
    command += ["event_id"] if with_ids else []
    return from_wrk(_output(command, seconds))


def junk(port: int, connections: int, seconds: int, values: Sequence[str]) -> Measurement:
    """Post an event with each `Authorization` of `values` in turn; `stored` counts those that are refused."""
    with _junk(port, connections, seconds, values, 0) as command:
        return from_wrk(_output(command, seconds))


@contextmanager
def junk_beside(port: int, seconds: int, values: Sequence[str]) -> Iterator[None]:
    """Have BESIDE such requests a second sent meanwhile, for `seconds` at most."""
    with _junk(port, BESIDE // 100, seconds, values, 10) as command:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            program.terminate()
            program.wait(PATIENCE)


@contextmanager
def _junk(port: int, connections: int, seconds: int, values: Sequence[str], pause: int) -> Iterator[list[str]]:
    with tempfile.NamedTemporaryFile("w", prefix="alerts-bench-") as file:
        file.write("\n".join(values))
        file.flush()
        yield [*_wrk(port, connections, min(2, connections), seconds, "junk.lua"), "--", file.name, str(pause)]


def _wrk(port: int, connections: int, threads: int, seconds: int, script: str) -> list[str]:
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    return [*command, "-s", str(HERE / script), f"http://127.0.0.1:{port}/event"]


def wrk_is_missing() -> bool:
    """Whether wrk is not installed."""
    return shutil.which("wrk") is None


def pgbench(made: Database, clients: int, seconds: int) -> Measurement:
    """Run baseline.sql with `clients` clients; each event is one prepared transaction."""
    password = {"PGPASSWORD": str(made.url.password)} if made.url.password else {}
    address = made.url.set(drivername="postgresql", password=None).render_as_string()
    with tempfile.TemporaryDirectory(prefix="alerts-bench-") as folder:
        command = [str(embedded.bin_dir() / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--time={seconds}"]
        command += [f"--client={clients}", f"--jobs={min(2, clients)}", f"--define=users={events.USERS}"]
        command += ["--log", f"--log-prefix={folder}/log", f"--file={HERE / 'baseline.sql'}", address]
        output = _output(command, seconds, password)
        log = [line for path in Path(folder).iterdir() for line in path.read_text().splitlines()]
    return from_pgbench(output, log)


def _output(command: list[str], seconds: int, environment: dict[str, str] | None = None) -> str:
    # On Ctrl+C or a timeout, run() ends the program before it raises.
    done = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds + PATIENCE,
    )
    if done.returncode:
        raise Unreadable(f"{Path(command[0]).name} ended with status {done.returncode}:\n{done.stdout}")
    return done.stdout


class Poster:
    """One HTTP connection to a service; if it is lost, the next post makes a new one."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def post(self, path: str, body: bytes) -> tuple[float, int, bytes]:
        """Post JSON. Returns the seconds that it took, the status (0: no answer) and the answer's body."""
        return self.ask("POST", path, body)

    def ask(self, method: str, path: str, body: bytes) -> tuple[float, int, bytes]:
        """The same with another method; a body is JSON."""
        headers = {"Content-Type": "application/json"} if body else {}
        begin = time.perf_counter()
        try:
            self._connection.request(method, path, body or None, headers)
            answer = self._connection.getresponse()
            status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            status, content = 0, repr(error).encode()
        return time.perf_counter() - begin, status, content

    def close(self) -> None:
        """Close the connection; another post opens it again."""
        self._connection.close()


def post_many(port: int, seconds: int, start: int) -> Measurement:
    """Send `POST /events` with BATCH events over one connection, one after the other, until `seconds` have passed.

    Only the posts themselves are timed: making the events is the client's work.
    """
    poster = Poster(port)
    times: list[float] = []
    stored, failed, note = 0, 0, ""
    while not times or sum(times) < seconds:
        body = events.body(BATCH, start)
        start += BATCH * events.GAP // events.USERS
        took, status, content = poster.post("/events", body)
        times.append(took)
        if is_whole(status, content, BATCH):
            stored += BATCH
        else:
            failed, note = 1, f"answered {status}: {content[:200].decode(errors='replace')}"
            break  # the run is already invalid
    poster.close()
    return _measured(times, stored, failed, note)


def is_whole(status: int, content: bytes, count: int) -> bool:
    """Whether an answer to `POST /events` says that all `count` events are stored."""
    return _says(status, content, "accepted", count)


def is_refused(status: int, content: bytes, count: int) -> bool:
    """Whether an answer to `POST /events` says that all `count` events are refused."""
    return _says(status, content, "rejected", count)


def _says(status: int, content: bytes, name: str, count: int) -> bool:
    try:
        return status == 200 and json.loads(content)[name] == count
    except (ValueError, KeyError, TypeError):
        return False


def copy(made: Database, seconds: int, first: int) -> Measurement:
    """COPY into baseline.copied for `seconds`, BATCH rows per transaction; rows are numbered from `first` on."""
    connection: Any = made.engine.raw_connection()  # psycopg2's own: SQLAlchemy has no COPY
    cursor: Any = connection.cursor()
    statement = f"COPY baseline.copied ({', '.join(events.COPY_COLUMNS)}) FROM STDIN"
    times: list[float] = []
    while sum(times) < seconds:
        rows = io.StringIO(events.copy_rows(BATCH, first))
        first += BATCH
        begin = time.perf_counter()
        cursor.copy_expert(statement, rows)
        connection.commit()
        times.append(time.perf_counter() - begin)
    connection.close()
    stored = BATCH * len(times)
    return _measured(times, stored)


def _measured(times: list[float], stored: int, failed: int = 0, note: str = "") -> Measurement:
    p50, p99 = (percentile(times, share) * 1e3 for share in (0.5, 0.99))
    return Measurement(stored / sum(times), p50, p99, stored, failed, note)
