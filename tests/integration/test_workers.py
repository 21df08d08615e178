"""Workers that die, hang or cannot start, and a machine without room for what they write."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any

import pytest
import requests

from commands.workers import is_alive
from database import embedded, migrations
from tests.integration.test_embedded import pids_of, postmaster_of
from tests.integration.test_embedded_kills import fill, is_supervised_by_another, small_disk
from tests.service import PATIENT_ENVIRONMENT, ROOT, Service, free_port
from tests.waiting import PATIENCE, freeze, is_running, kill, wait_until
from version import VERSION

StartService = Callable[..., Service]

AS_ROOT = os.geteuid() == 0


def deposit(service: Service, number: int = 0) -> requests.Response:
    """Post a deposit, over a connection of its own."""
    event: dict[str, Any] = {
        "type": "deposit",
        "amount": "10.00",
        "user_id": 1,
        "time": number,
        "event_id": f"event {number}",
    }
    return requests.post(f"{service.url}/event", json=event, timeout=PATIENCE)


def ready(service: Service) -> tuple[int, str]:
    """The status of GET /readyz, and its detail if there is one."""
    answer = requests.get(f"{service.url}/readyz", timeout=PATIENCE)
    return answer.status_code, answer.json().get("detail", "")


def test_workers_are_replaced_however_often_they_die(start_service: StartService) -> None:
    """Ten kills as fast as there is something to kill: the service serves again, and stops in order."""
    service = start_service(WORKERS="2")
    killed: set[int] = set()
    for _ in range(10):
        wait_until(lambda: bool(set(service.workers()) - killed))
        victim = max(set(service.workers()) - killed)
        kill(victim)
        killed.add(victim)
    assert deposit(service).status_code == 200
    wait_until(lambda: len(set(service.workers()) - killed) == 2)
    assert deposit(service, 1).status_code == 200
    service.stop()
    assert service.process is not None
    assert service.process.returncode == 0


def test_a_start_says_what_runs_where(start_service: StartService) -> None:
    """When all workers serve, one line of the log has the address, the database, its migrations and the rules."""
    service = start_service(WORKERS="2", RULES="1100,500")
    wait_until(lambda: '"event":"started"' in service.output())
    logged = [json.loads(line) for line in service.output().splitlines()]
    [started] = [line for line in logged if line["event"] == "started"]
    assert (started["address"], started["version"], started["workers"]) == (service.url, VERSION, 2)
    assert (started["migration"], started["applied"]) == (migrations.head(), 0)
    assert (started["active"], started["shadow"]) == ([1100, 500], [])
    assert [line["event"] for line in logged if line["event"] != "request"] == ["starting"] * 3 + ["started"]
    service.stop()
    events = [json.loads(line)["event"] for line in service.output().splitlines()]
    assert [event for event in events if event != "request"][4:] == ["stopping", "stopped"]


def test_connections_wait_while_no_worker_is_there(start_service: StartService) -> None:
    """The port stays open when all workers have been killed: who comes then is answered by their successors."""
    service = start_service(WORKERS="2")
    for number in range(2):
        for worker in service.workers():
            kill(worker)
        assert deposit(service, number).status_code == 200


def test_a_worker_that_hangs_takes_nobody_along(start_service: StartService) -> None:
    """With one of two workers stopped new connections are answered by the other, and the service can be stopped."""
    service = start_service(WORKERS="2")
    # A connection that this worker has just taken, or a lock that it holds while it starts, would wait for good.
    wait_until(lambda: '"event":"started"' in service.output())
    freeze(service.workers()[0])
    assert [deposit(service, number).status_code for number in range(20)] == [200] * 20
    service.stop()


def test_workers_that_cannot_start_end_the_service(database_url: str, tmp_path: Path) -> None:
    """If no worker ever starts the service says so and ends soon, with status 1."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "tests", "htmlcov", "__pycache__"))
    app = copy / "app.py"
    app.write_text(app.read_text().replace("    serve.begin_worker()\n", "    raise ImportError('not here')\n"))
    ended = subprocess.run(
        [sys.executable, str(app)],
        env=os.environ | {"DATABASE_URL": database_url, "BACKEND_PORT": str(free_port())},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 1
    assert "No worker could start in 3 attempts" in ended.stderr
    assert "not here" in ended.stdout + ended.stderr


def in_small_places(*places: str) -> list[str]:
    """A command that runs the service where these folders have 64 kB of room."""
    mounts = " && ".join(f"mount -t tmpfs -o size=64k tmpfs '{place}'" for place in places)
    if not AS_ROOT or subprocess.run(["unshare", "-m", "sh", "-c", mounts], check=False).returncode:
        pytest.skip("only root can mount, and not in every container")
    return ["unshare", "-m", "sh", "-c", f"{mounts} && exec {quote(sys.executable)} {quote(str(ROOT / 'app.py'))}"]


def test_a_full_shared_memory_is_done_without(database_url: str, tmp_path: Path) -> None:
    """With no room in /dev/shm the workers count in another folder."""
    environment = PATIENT_ENVIRONMENT | {"DATABASE_URL": database_url, "TMPDIR": str(tmp_path)}
    with Service(environment, in_small_places("/dev/shm")) as service:
        assert deposit(service).status_code == 200
        assert "transaction_alerts_http_requests_total" in requests.get(f"{service.url}/metrics", timeout=PATIENCE).text
        assert [path.name for path in tmp_path.glob("transaction-alerts-*")] != []


def test_without_room_anywhere_there_are_no_metrics(database_url: str, tmp_path: Path) -> None:
    """The service says that it has no room for metrics, and serves."""
    environment = PATIENT_ENVIRONMENT | {"DATABASE_URL": database_url, "TMPDIR": str(tmp_path)}
    with Service(environment, in_small_places("/dev/shm", str(tmp_path))) as service:
        assert deposit(service).status_code == 200
        assert requests.get(f"{service.url}/metrics", timeout=PATIENCE).status_code == 503
        assert "no room" in requests.get(f"{service.url}/metrics", timeout=PATIENCE).json()["detail"]
        assert service.output().count("GET /metrics will be a 503") == 1


def test_metrics_have_a_bound(start_service: StartService) -> None:
    """The files of the workers are there from the start, and a worker that was replaced leaves none behind."""
    service = start_service(WORKERS="2")
    worker = service.workers()[0]
    maps = Path(f"/proc/{worker}/maps").read_text()
    [folder] = {Path(line.split()[-1]).parent for line in maps.splitlines() if line.endswith(".db")}
    before = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert len(before) == 8
    kill(worker)
    wait_until(lambda: worker not in service.workers() and len(service.workers()) == 2)
    for number in range(20):
        assert deposit(service, number).status_code == 200
    assert {path.name: path.stat().st_size for path in folder.iterdir()} == before


def test_the_server_looks_after_the_supervisor(ready_folder: Path) -> None:
    """The embedded database comes back after its supervisor was killed, and so does its supervisor."""
    with Service({"DATA_DIR": str(ready_folder), "DB_TIMEOUT": "2"}) as service:
        wait_until(lambda: deposit(service).status_code == 200)  # within a limit of its own
        for victims in ("supervisor",), ("postmaster", "supervisor"):
            pids = pids_of(ready_folder)
            for victim in victims:
                with suppress(ProcessLookupError):  # it has ended with the one before
                    os.kill(pids[victim], signal.SIGKILL)
            wait_until(lambda: is_supervised_by_another(ready_folder, pids["supervisor"]))  # noqa: B023
            wait_until(lambda: deposit(service).headers.get("Idempotent-Replayed") == "true")
            wait_until(lambda: ready(service) == (200, ""))
        pids = pids_of(ready_folder)
        service.stop()
        wait_until(lambda: not any(map(is_running, pids.values())))


def test_a_full_disk_is_seen_and_survived(folder: Path) -> None:
    """With the database's disk full nothing is acknowledged and readiness says why, until there is room again.

    PostgreSQL may have crashed meanwhile, and may have been unable to start.
    """
    with small_disk(folder, 200) as disk, Service({"DATA_DIR": str(disk / "data"), "WORKERS": "1"}) as service:
        wait_until(lambda: deposit(service).status_code == 200)  # within a limit of its own
        filler = fill(disk)
        wait_until(lambda: "its disk is full" in ready(service)[1])
        os.kill(postmaster_of(disk / "data"), signal.SIGKILL)
        answers = {number: deposit(service, number).status_code for number in range(1, 5)}
        filler.unlink()
        wait_until(lambda: ready(service) == (200, ""))
        wait_until(lambda: deposit(service, 99).status_code == 200)
        stored = requests.get(f"{service.url}/users/1/actions?limit=500", timeout=PATIENCE).json()["actions"]
        acknowledged = {f"event {number}" for number, status in ({0: 200, 99: 200} | answers).items() if status == 200}
        assert {action["event_id"] for action in stored} >= acknowledged


def test_a_database_that_takes_no_writes_is_not_ready(
    make_client: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readiness tells a database that is read-only from one that stores."""
    from database import readiness
    from tests.postgres import engine_on

    monkeypatch.setattr(readiness, "FRESH", 0)
    client = make_client()
    assert client.get("/readyz").status_code == 200
    name = database_url.rpartition("/")[2].partition("?")[0]
    with engine_on(database_url) as engine, engine.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        try:
            answer = client.get("/readyz")
            assert (answer.status_code, "read-only" in answer.get_json()["detail"]) == (503, True)
        finally:
            connection.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert client.get("/readyz").status_code == 200


def test_readiness_is_asked_once_a_second(make_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of probes within a second cost the database one question."""
    from database import readiness

    asked: list[str] = []
    ask = readiness.Readiness._ask

    def counted(self: readiness.Readiness) -> str | None:
        asked.append("once")
        return ask(self)

    monkeypatch.setattr(readiness, "FRESH", 60)
    monkeypatch.setattr(readiness.Readiness, "_ask", counted)
    client = make_client()
    assert [client.get("/readyz").status_code for _ in range(5)] == [200] * 5
    assert len(asked) == 1


def test_use_gives_no_handle_that_outlives_it(ready_folder: Path) -> None:
    """After leaving, looking after a server starts nothing that stays."""
    with embedded.use_and_look_after(ready_folder, fsync="off") as server:
        pass
    server.look_after()
    wait_until(lambda: (ready_folder / "postgres.supervisor").read_text() == "")


def test_a_worker_whose_end_another_thread_has_seen() -> None:
    """It has ended, also for the thread that the system does not tell: it is not killed as one that refuses to."""
    child = multiprocessing.get_context("fork").Process(target=signal.pause)
    child.start()
    assert is_alive(child)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    assert child.is_alive()  # as far as this thread was told
    assert not is_alive(child)
