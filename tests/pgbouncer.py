"""PgBouncer in front of the tests' PostgreSQL, where it is installed."""

import configparser
import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psycopg2
import pytest
from sqlalchemy import make_url

from tests.service import ROOT, free_port
from tests.waiting import wait_until

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


def documented() -> dict[str, str]:
    """The settings of PgBouncer that docs/deployment.md shows."""
    shown = configparser.ConfigParser()
    section = (ROOT / "docs/deployment.md").read_text().partition("### PgBouncer")[2]
    shown.read_string(section.partition("```ini\n")[2].partition("```")[0])
    return dict(shown["pgbouncer"])


class PgBouncer:
    """A PgBouncer in front of the database at `behind`, as it is documented but for `settings`; its address is `url`.

    It may be stopped and started again.
    """

    def __init__(self, behind: str, **settings: str) -> None:
        self._behind, self._settings = make_url(behind), settings
        self.port = free_port()
        own = self._behind.set(host="127.0.0.1", port=self.port, password=None, query={})
        self.url = own.render_as_string()
        self._relay: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        configuration = self._configuration()
        self._folder = tempfile.TemporaryDirectory(prefix="pgbouncer ", dir="/tmp")
        Path(self._folder.name).chmod(0o755)  # as root it runs as another user
        self._written = Path(self._folder.name, "pgbouncer.ini")
        self._written.write_text(configuration)
        self._written.chmod(0o644)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()
        if self._relay is not None:
            with suppress(OSError):
                self._relay.shutdown(socket.SHUT_RDWR)  # or its thread would go on waiting
            self._relay.close()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        command = [PROGRAM or "", "-q", *(["-u", "nobody"] if os.geteuid() == 0 else []), str(self._written)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._listens)

    def stop(self) -> None:
        """Stop it at once; all of its connections break."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def do(self, command: str) -> list[Any]:
        """What its console answers to a command such as RECONNECT."""
        with closing(psycopg2.connect(host="127.0.0.1", port=self.port, user="admin", dbname="pgbouncer")) as console:
            console.autocommit = True
            with console.cursor() as cursor:
                cursor.execute(command)
                return list(cursor.fetchall()) if cursor.description else []

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "PgBouncer does not start"
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port))):
            return True
        return False

    def _configuration(self) -> str:
        at = self._behind
        host, port = at.host or str(at.query.get("host", "")), at.port or int(str(at.query.get("port", 5432)))
        if not host or host.startswith("/"):
            # The embedded one lets only the user in who started it.
            self._relay = socket.create_server(("127.0.0.1", 0))
            threading.Thread(target=_relay, args=(self._relay, f"{host}/.s.PGSQL.{port}"), daemon=True).start()
            host, port = "127.0.0.1", self._relay.getsockname()[1]
        target = f"host={host} port={port} dbname={at.database} user={at.username}"
        if at.password:
            target += f" password={at.password}"
        settings = documented() | {
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "any",
            "admin_users": "admin",
            "server_login_retry": "0.1",
            **self._settings,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        return "\n".join(["[databases]", f"{at.database} = {target}", "[pgbouncer]", *lines, ""])


def _relay(listener: socket.socket, path: str) -> None:
    """Pass on what comes to `listener` as the present user, until it is closed."""
    with suppress(OSError):
        while True:
            threading.Thread(target=_pass_on, args=(listener.accept()[0], path), daemon=True).start()


def _pass_on(client: socket.socket, path: str) -> None:
    with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
        server.connect(path)
        ends = {client: server, server: client}
        while True:
            for ready in select.select(ends, [], [])[0]:
                if not (data := ready.recv(1 << 16)):
                    return
                ends[ready].sendall(data)


@contextmanager
def pgbouncer(behind: str, **settings: str) -> Iterator[PgBouncer]:
    """A PgBouncer, unless this machine has none: then the test is skipped."""
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed (apt-get install pgbouncer)")
    with PgBouncer(behind, **settings) as it:
        yield it
