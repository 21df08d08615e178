"""Reading from a replica: a real one, which follows by streaming, falls back, goes away and comes back."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from commands import start_replica
from config_loader import load_settings
from database import migrations
from database import replica as replica_module
from database.embedded_access import anybody, run_as
from database.embedded_cluster import bin_dir, programs_for
from database.replica import NotAReplica, Replica
from database.session import make_engine, make_sessions
from routes.http import own_writes
from rules.service import Service
from tests.keys import add_key, look
from tests.postgres import engine_on
from tests.service import PATIENT
from tests.waiting import PATIENCE, wait_until

NAME = "alerts"


class Server:
    """A PostgreSQL in a folder, which listens on a Unix socket there; `_programs` are run as `_owner`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.data, self._socket, self._port = folder / f"data-{port}", folder, port
        self._owner, self._programs = anybody(), programs_for(bin_dir().parents[1])
        self.log = folder / f"log-{port}"

    @property
    def url(self) -> str:
        """The URL of its database NAME."""
        return f"postgresql+psycopg2://postgres@/{NAME}?host={quote(str(self._socket), safe='')}&port={self._port}"

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs to its end, which must be a good one."""
        done = run_as(self._owner, str(self._programs / program), *arguments)
        assert done.returncode == 0, done.stdout

    def make(self) -> None:
        """Make its files."""
        self.run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")

    def copy_of(self, primary: "Server") -> None:
        """Make its files as those of a replica of `primary`."""
        place = ["-h", str(primary._socket), "-p", str(primary._port), "-U", "postgres"]
        self.run("pg_basebackup", *place, "-D", str(self.data), "-R", "-c", "fast", "--no-sync")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-k {self._socket} -p {self._port} -c listen_addresses= -c fsync=off -c log_statement=all"
        self.run("pg_ctl", "start", "-w", "-D", str(self.data), "-l", str(self.log), "-o", options)

    def stop(self) -> None:
        """Stop it, whoever is connected."""
        self.run("pg_ctl", "stop", "-w", "-m", "fast", "-D", str(self.data))

    def ask(self, statement: str, name: str = NAME) -> Any:
        """The value of one statement."""
        with engine_on(self.url.replace(f"/{NAME}?", f"/{name}?")) as engine, engine.connect() as connection:
            found = connection.execute(text(statement))
            return found.scalar() if found.returns_rows else None


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    """A primary with a migrated database, and its replica."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == 0:
        os.chown(folder, *anybody())
    primary, follower = Server(folder, 5432), Server(folder, 5433)
    started = []
    try:
        for one in (primary, follower):
            if one is primary:
                one.make()
            else:
                one.copy_of(primary)
            one.start()
            started.append(one)
        primary.ask(f"CREATE DATABASE {NAME}", "postgres")
        migrations.upgrade(primary.url)
        yield primary, follower
    finally:
        for one in started[::-1]:
            one.stop()
        shutil.rmtree(folder)


@pytest.fixture
def app(servers: tuple[Server, Server]) -> Iterator[Flask]:
    """The application, which reads from the replica."""
    primary, follower = servers
    settings = load_settings(None, **PATIENT | {"database_url": primary.url, "database_read_url": follower.url})
    app = create_app(settings)
    yield app
    replica_of(app).close()
    Service.of(app.extensions).dispose()


def replica_of(app: Flask) -> Replica:
    """The replica of an application."""
    found = Replica.of(app.extensions)
    assert found is not None
    return found


class Caller:
    """Calls an application with a key."""

    def __init__(self, app: Flask, key: str) -> None:
        self._client, self.headers = app.test_client(), {"Authorization": f"Bearer {key}"}

    def post(self, user_id: int) -> None:
        """Post a withdrawal that raises 1100."""
        event = {"type": "withdraw", "amount": "150.00", "user_id": user_id, "time": 1}
        assert self._client.post("/event", json=event, headers=self.headers).json["alert_codes"] == [1100]  # type: ignore[index]

    def get(self, path: str) -> Any:
        """What a GET is answered."""
        answer = self._client.get(path, headers=self.headers)
        assert answer.status_code == 200, answer.json
        return answer.json

    def alerts(self) -> list[str]:
        """The ids of the alerts that there are."""
        return [alert["id"] for alert in self.get("/alerts")["alerts"]]


def test_who_has_just_written_reads_the_primary(
    servers: tuple[Server, Server], app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others read what the replica has; who wrote reads there as soon as it has that too. If it goes away or falls too
    far back, all read from the primary.
    """
    primary, follower = servers
    monkeypatch.setattr(replica_module, "MOST_BEHIND", PATIENCE)  # on a slow machine
    engine = make_engine(primary.url, timeout=PATIENCE, connections=1)
    writer, reader = (Caller(app, add_key(make_sessions(engine), name)) for name in ("writer", "reader"))
    engine.dispose()
    look(app)
    writer.post(1)
    assert reader.alerts() == ["1-1-1100"]  # nobody knows yet how far the replica is
    replica = replica_of(app)
    replica.watch()
    wait_until(lambda: replica.has(float("-inf")))
    assert follower.ask("SELECT count(*) FROM alerts") == 1

    follower.ask("SELECT pg_wal_replay_pause()")
    wait_until(lambda: follower.ask("SELECT pg_get_wal_replay_pause_state()") == "paused")
    writer.post(2)
    assert writer.alerts() == ["2-1-1100", "1-1-1100"]
    assert reader.alerts() == ["1-1-1100"]
    follower.ask("SELECT pg_wal_replay_resume()")
    wait_until(lambda: len(reader.alerts()) == 2)

    follower.ask("SELECT pg_wal_replay_pause()")
    wait_until(lambda: follower.ask("SELECT pg_get_wal_replay_pause_state()") == "paused")
    writer.post(3)
    assert len(reader.alerts()) == 2
    monkeypatch.setattr(replica_module, "MOST_BEHIND", 0.0)
    assert len(reader.alerts()) == 3
    monkeypatch.setattr(replica_module, "MOST_BEHIND", PATIENCE)

    follower.stop()
    writer.post(4)
    # It fails there, and is read from the primary.
    assert [alert["id"] for alert in reader.get("/users/4/export")["alerts"]] == ["4-1-1100"]
    assert not replica.has(float("-inf"))
    assert len(reader.alerts()) == 4
    follower.start()
    wait_until(lambda: replica.has(float("-inf")))
    assert follower.ask("SELECT count(*) FROM alerts") == 4
    assert len(reader.alerts()) == 4


def test_all_of_history_is_read_from_the_replica(servers: tuple[Server, Server], app: Flask) -> None:
    """Commands, backtests over HTTP, exports of people and the verification of an alert; with all that was stored when
    they began.
    """
    primary, follower = servers
    engine = make_engine(primary.url, timeout=PATIENCE, connections=1)
    caller = Caller(app, add_key(make_sessions(engine), "auditor"))
    engine.dispose()
    look(app)
    caller.post(11)
    before = len(follower.log.read_text())
    verified = app.test_cli_runner().invoke(args=["verify", "--processes", "1", "--json"])
    assert verified.exit_code == 0, verified.output
    found = json.loads(verified.output)
    assert (found["differences"], found["actions"]) == (0, primary.ask("SELECT count(*) FROM user_actions"))
    assert "pg_export_snapshot" in follower.log.read_text()[before:]

    replica = replica_of(app)
    replica.watch()
    wait_until(lambda: replica.has(float("-inf")))
    before = len(follower.log.read_text())
    client, headers = app.test_client(), caller.headers
    wait_until(lambda: replica.has(own_writes.last("auditor")))
    asked = client.post(
        "/backtests", json={"rules": {"1100": {"parameters": {"threshold": "200.00"}}}}, headers=headers
    )
    assert asked.status_code == 202, asked.json
    place = asked.headers["Location"]
    wait_until(lambda: client.get(place, headers=headers).json["status"] != "running")  # type: ignore[index]
    assert client.get(place, headers=headers).json["status"] == "done"  # type: ignore[index]
    assert "COPY (SELECT" in follower.log.read_text()[before:]
    before = len(follower.log.read_text())
    wait_until(lambda: replica.has(own_writes.last("auditor")))
    exported = client.get("/users/11/export", headers=headers)
    assert [one["seq"] for one in json.loads(exported.text)["actions"]] == [1]
    assert "FROM erasures" in follower.log.read_text()[before:]
    before = len(follower.log.read_text())
    wait_until(lambda: replica.has(own_writes.last("auditor")))
    same = client.post("/alerts/11-1-1100/verify", headers=headers)
    assert same.json is not None
    assert same.json["same"] is True
    assert "concat_ws" in follower.log.read_text()[before:]


def test_a_command_does_not_wait_for_ever(
    servers: tuple[Server, Server], app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the replica does not come up to the present, the command says so and reads from the primary."""
    _, follower = servers
    before = len(follower.log.read_text())
    monkeypatch.setattr("commands.terminal.MOST_BEHIND", -1.0)
    monkeypatch.setattr(Replica, "has", lambda *_: False)
    verified = app.test_cli_runner().invoke(args=["verify", "--processes", "1"])
    assert verified.exit_code == 0
    assert "does not keep up: reading from the primary" in verified.output
    assert "pg_export_snapshot" not in follower.log.read_text()[before:]


def test_only_a_replica_of_the_primary_will_do(servers: tuple[Server, Server], database_url: str) -> None:
    """A start ends if what is named is a primary, or follows another server; but not if nothing answers there yet."""
    primary, follower = servers
    start_replica.check(primary.url, None)
    start_replica.check(primary.url, follower.url)
    with pytest.raises(NotAReplica, match=r"DATABASE_READ_URL: alerts on the local socket is no replica"):
        start_replica.check(primary.url, primary.url)
    with pytest.raises(NotAReplica, match="of another server than"):
        replica_module.check(database_url, follower.url)
    nowhere = follower.url.replace("port=5433", "port=5434")
    assert "it does not answer" in (replica_module.check(primary.url, nowhere) or "")
