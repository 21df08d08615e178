"""The real service in a process of its own, started as its users start it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Self

import requests

from tests.waiting import PATIENCE, wait_until

DELIVERER = "deliver"  # the name of that process

ROOT = Path(__file__).resolve().parent.parent

# Settings for tests that are not about a time limit, which a busy machine might not meet: each as long as it can be.
PATIENT: dict[str, Any] = {"db_timeout": 60, "read_timeout": 60, "body_timeout": 600}
PATIENT_ENVIRONMENT = {name.upper(): str(seconds) for name, seconds in PATIENT.items()}


def with_constants(*assignments: str) -> list[str]:
    """A command that runs the service with other values of its constants: `with_constants("commands.serve.TICK = 9")`.

    They hold in its workers too, which are forked.
    """
    modules = sorted({assignment.split(" = ")[0].rpartition(".")[0] for assignment in assignments})
    path, app = repr(str(ROOT)), repr(str(ROOT / "app.py"))
    lines = ["import runpy, sys", f"sys.path.insert(0, {path})", *(f"import {module}" for module in modules)]
    return [sys.executable, "-c", "\n".join([*lines, *assignments, f"runpy.run_path({app}, run_name='__main__')"])]


class Service:
    """`python app.py` on a free loopback port, with `environment` added to the present environment.

    `command` runs another program instead; `{port}` in it stands for the port.
    """

    def __init__(self, environment: dict[str, str], command: list[str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = command or [sys.executable, str(ROOT / "app.py")]
        self._command = [word.replace("{port}", str(self.port)) for word in command]
        self._environment = os.environ | {"BACKEND_PORT": str(self.port)} | environment
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed at the end)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._output.close()

    @property
    def group(self) -> int:
        """The process group of the server and its workers."""
        assert self.process is not None
        return self.process.pid

    def workers(self) -> list[int]:
        """The process ids of its workers, oldest first."""
        return [pid for pid, name in self._children() if name != DELIVERER]

    def deliverers(self) -> list[int]:
        """The process id of what delivers to webhooks, if it runs."""
        return [pid for pid, name in self._children() if name == DELIVERER]

    def _children(self) -> list[tuple[int, str]]:
        assert self.process is not None
        table = subprocess.run(
            ["ps", "-A", "-o", "ppid=,pid=,stat=,comm="], capture_output=True, text=True, check=True
        ).stdout
        rows = [row.split(maxsplit=3) for row in table.splitlines()]
        # A zombie has been killed and only waits to be replaced.
        own = [row for row in rows if int(row[0]) == self.process.pid and row[2][0] != "Z"]
        return sorted((int(pid), name) for _, pid, _, name in own)

    def is_gone(self) -> bool:
        """Whether all of its processes have ended."""
        try:
            os.killpg(self.group, 0)
        except ProcessLookupError:
            return True
        return False

    def start(self) -> None:
        """Start it and wait until it is ready for events."""
        self.run(self._command, self._output)

    def run(self, command: list[str], output: IO[bytes] | int | None) -> None:
        """Run `command` as the service, with its standard output and error at `output` (None: as this process has it).

        Waits until it is ready for events.
        """
        self.process = subprocess.Popen(
            command,
            env=self._environment,
            cwd=tempfile.gettempdir(),  # it must not see a developer's .env
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop(signal.SIGKILL)
            raise

    def wait_until_ready(self) -> None:
        """Wait until it reports that it can take events."""
        end = time.monotonic() + PATIENCE
        while not self._is_ready():
            if (self.process and self.process.poll() is not None) or time.monotonic() > end:
                raise AssertionError(f"the service did not start:\n{self.output()}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/readyz", timeout=PATIENCE).status_code == 200
        except requests.RequestException:  # refused, or still waiting for the first worker
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> float:
        """Stop it, and wait until none of its processes is left. Returns how many seconds that took."""
        assert self.process is not None
        begin = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
        wait_until(self.is_gone)  # a killed server's workers notice only after a moment, and could still answer
        return time.monotonic() - begin

    def output(self) -> str:
        """Everything it has printed so far."""
        # pread, since seek and read would move the offset that the process writes at.
        return os.pread(self._output.fileno(), 1 << 24, 0).decode()


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
