"""The service as a process: starting, stopping, being killed, and what it leaves behind."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests

from tests.service import PATIENT_ENVIRONMENT, ROOT, Service, free_port
from tests.waiting import PATIENCE, is_running, kill

StartService = Callable[..., Service]


def deposit(service: Service, user_id: int, time: int, event_id: str = "") -> requests.Response:
    """Post a deposit of 10.00."""
    event: dict[str, Any] = {"type": "deposit", "amount": "10.00", "user_id": user_id, "time": time}
    return requests.post(
        f"{service.url}/event", json=event | ({"event_id": event_id} if event_id else {}), timeout=PATIENCE
    )


def balance(service: Service, user_id: int) -> str:
    """The user's balance."""
    return str(requests.get(f"{service.url}/users/{user_id}", timeout=PATIENCE).json()["balance"])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whom", ["server", "group"])
def test_a_signal_stops_everything_in_time(start_service: StartService, how: signal.Signals, whom: str) -> None:
    """SIGTERM and Ctrl+C (which reaches the workers too) end all processes within ten seconds.

    That includes a worker that is still starting: the server may have to kill it after STOP_SECONDS of app.py.
    """
    service = start_service()
    assert deposit(service, 1, 0).status_code == 200
    if whom == "group":
        os.killpg(service.group, how)
    service.stop(how)
    assert service.is_gone()


def test_a_closed_terminal_stops_the_service(start_service: StartService) -> None:
    """SIGHUP, which a closing terminal sends to all processes, ends the service too; not if nohup has it ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        kept = start_service(WORKERS="1")
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        service = start_service(WORKERS="1")
    finally:
        signal.signal(signal.SIGHUP, before)
    for either in (kept, service):
        os.killpg(either.group, signal.SIGHUP)
    assert service.process is not None
    service.process.wait(PATIENCE)
    assert service.is_gone()
    assert deposit(kept, 1, 0).status_code == 200


# Asks to stop when the port is tried, where an exception would only be printed.
STOP = """
import os, signal, sys
class Stop:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass
def stop(event, arguments):
    if event == "socket.bind" and arguments[1][1:] == (int(os.environ["BACKEND_PORT"]),):
        if os.environ.pop("STOP", None):
            Stop()
sys.addaudithook(stop)
"""


def test_a_signal_while_it_starts_is_not_lost(tmp_path: Path, database_url: str) -> None:
    """What Python could not raise at that moment is remembered: the service stops before it serves."""
    (tmp_path / "sitecustomize.py").write_text(STOP)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "STOP": "1", "DATABASE_URL": database_url}
    started = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment | {"BACKEND_PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert started.returncode == 128 + signal.SIGTERM
    assert "Exception ignored" in started.stderr
    assert '"started"' not in started.stdout


def test_a_host_may_be_a_name(start_service: StartService) -> None:
    """BACKEND_HOST takes what everyone types: localhost."""
    assert deposit(start_service(BACKEND_HOST="localhost"), 1, 0).status_code == 200


def test_a_start_with_other_rules(start_service: StartService) -> None:
    """With RULES_APPLY, what RULES says at a start applies from then on, to others on the same database too."""
    large: dict[str, Any] = {"type": "withdraw", "amount": "500.00", "user_id": 1, "time": 1}

    def answered(service: Service) -> list[int]:
        return list(requests.post(f"{service.url}/event", json=large, timeout=PATIENCE).json()["alert_codes"])

    first = start_service(RULES="30", WORKERS="1")
    assert answered(first) == []
    second = start_service(RULES="1100", RULES_APPLY="true", WORKERS="1")
    assert [answered(second), answered(first)] == [[1100], [1100]]


def test_workers_do_not_outlive_a_killed_server(start_service: StartService) -> None:
    """After kill -9 of the server its workers end too, so that the port is free for the next one."""
    service = start_service()
    service.stop(signal.SIGKILL)
    service.start()
    assert deposit(service, 1, 0).status_code == 200


def test_a_killed_worker_is_replaced(start_service: StartService) -> None:
    """After kill -9 of a worker the service carries on."""
    service = start_service(WORKERS="1")
    (worker,) = service.workers()
    kill(worker)
    service.wait_until_ready()
    assert deposit(service, 1, 0).status_code == 200


@pytest.mark.parametrize("victim", ["server", "group"])
def test_nothing_answered_is_lost_by_a_kill_under_load(start_service: StartService, victim: str) -> None:
    """After kill -9 under load every event that was answered with 200 is stored."""
    service = start_service()
    answered: list[str] = []
    enough = threading.Event()

    def post(stream: int) -> None:
        for number in range(10_000):
            event_id = f"{stream}-{number}"
            try:
                if deposit(service, stream, number, event_id).status_code == 200:
                    answered.append(event_id)
            except requests.RequestException:
                return
            if len(answered) >= 100:
                enough.set()

    streams = [threading.Thread(target=post, args=(stream,)) for stream in range(1, 9)]
    for stream in streams:
        stream.start()
    assert enough.wait(PATIENCE)
    if victim == "group":
        os.killpg(service.group, signal.SIGKILL)
    service.stop(signal.SIGKILL)
    for stream in streams:
        stream.join()

    service.start()
    stored = set()
    for user_id in range(1, 9):
        url: str | None = f"{service.url}/users/{user_id}/actions?limit=500"
        while url:
            page = requests.get(url, timeout=PATIENCE).json()
            stored |= {action["event_id"] for action in page["actions"]}
            url = page["next"] and f"{service.url}/users/{user_id}/actions?limit=500&cursor={page['next']}"
    assert set(answered) - stored == set()


def test_the_embedded_database_keeps_its_data_and_leaves_no_process(ready_folder: Path) -> None:
    """Without a configured database one runs below DATA_DIR; it stops with the service and keeps its data."""
    with Service(PATIENT_ENVIRONMENT | {"DATA_DIR": str(ready_folder)}) as service:
        assert deposit(service, 1, 0).status_code == 200
        postmaster = int((ready_folder / "postgres/postmaster.pid").read_text().splitlines()[0])
        service.stop()
        assert service.is_gone()
        assert not is_running(postmaster)
        service.start()
        assert balance(service, 1) == "10.00"


def test_a_killed_service_takes_the_embedded_database_along(ready_folder: Path) -> None:
    """kill -9 of the service stops the embedded server cleanly, and the next start has all that was answered."""
    with Service(PATIENT_ENVIRONMENT | {"DATA_DIR": str(ready_folder)}) as service:
        assert deposit(service, 1, 0).status_code == 200
        service.stop(signal.SIGKILL)
        service.start()
        assert balance(service, 1) == "10.00"


def test_two_services_share_the_embedded_database(ready_folder: Path) -> None:
    """A second service joins the running server; the first one leaving does not take it away."""
    with (
        Service(PATIENT_ENVIRONMENT | {"DATA_DIR": str(ready_folder)}) as first,
        Service(PATIENT_ENVIRONMENT | {"DATA_DIR": str(ready_folder)}) as second,
    ):
        assert deposit(first, 1, 0).status_code == 200
        first.stop()
        assert deposit(second, 1, 1).status_code == 200
        assert balance(second, 1) == "20.00"


def test_flask_run_serves_too(folder: Path) -> None:
    """`flask --app app run` starts the embedded database and serves like `python app.py`."""
    flask = [sys.executable, "-m", "flask", "--app", str(ROOT / "app.py"), "run", "--port={port}"]
    with Service(PATIENT_ENVIRONMENT | {"DATA_DIR": str(folder)}, command=flask) as service:
        assert deposit(service, 1, 0).status_code == 200


def test_development_mode_serves_and_stops(start_service: StartService) -> None:
    """GLOBAL_TEST_FLAG gives readable logs and reloading, and stops as quickly."""
    service = start_service(GLOBAL_TEST_FLAG="true")
    assert deposit(service, 1, 0).status_code == 200
    service.stop()
    assert "/event" in service.output()
    assert "{" not in service.output()


def test_development_mode_loads_changed_code(database_url: str, tmp_path: Path) -> None:
    """GLOBAL_TEST_FLAG serves a file as it is after a change, without a restart."""
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns(".*", "tests", "htmlcov", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignored)
    command = [sys.executable, str(copy / "app.py")]
    with Service(PATIENT_ENVIRONMENT | {"DATABASE_URL": database_url, "GLOBAL_TEST_FLAG": "true"}, command) as service:
        health = copy / "routes/health.py"
        changed = health.read_text().replace(
            'json_answer(HealthAnswer(status="ok"))', 'Response(\'{"status": "changed"}\')'
        )
        assert "changed" in changed
        written = 0
        # A change that comes before the server looks for changes is not seen, so there are some more, less and less.
        for tries in count(1):
            if (found := status(service)) == "changed":
                break
            assert tries < 10 * PATIENCE
            if found == "ok" and tries >= 2**written:
                written += 1
                health.write_text(changed + "\n" * written)
            time.sleep(0.1)


def status(service: Service) -> str:
    """What GET /healthz answers; nothing while the worker is being replaced."""
    try:
        return str(requests.get(f"{service.url}/healthz", timeout=PATIENCE).json()["status"])
    except requests.RequestException:
        return ""


def run_app(environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """`python app.py` when it is expected to end by itself."""
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py")],
        env=os.environ | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_bad_settings_end_the_process_with_all_their_names(tmp_path: Path) -> None:
    """Every bad setting is named at startup, and nothing is started."""
    ended = run_app({"BACKEND_PORT": "99999", "OVERDRAFT": "maybe", "RULES": "1100,7"}, tmp_path)
    assert ended.returncode == 2
    assert all(name in ended.stderr for name in ("BACKEND_PORT", "OVERDRAFT", "RULES"))
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_a_clear_error(start_service: StartService, tmp_path: Path) -> None:
    """A port that is already in use is an error that names the setting."""
    service = start_service()
    ended = run_app({"BACKEND_PORT": str(service.port)}, tmp_path)
    assert ended.returncode == 2
    assert f"BACKEND_PORT: cannot listen on 127.0.0.1:{service.port}" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_database_out_of_reach_is_a_clear_error(tmp_path: Path) -> None:
    """A configured database that cannot be reached ends the process; the password is not shown."""
    url = f"postgresql://user:{{password}}@127.0.0.1:{free_port()}/alerts{{query}}"
    for password, query in (("topsecret", ""), ("", "?password=topsecret")):
        assert_refused(url.format(password=password, query=query), tmp_path)


def test_tables_that_are_not_ours_are_a_clear_error(database_url: str, tmp_path: Path) -> None:
    """A database of a newer release, which this one does not know how to migrate, ends the process."""
    connection = psycopg2.connect(database_url.replace("+psycopg2", ""))
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = 'newer'")
    connection.close()
    assert_refused(database_url, tmp_path)


def assert_refused(database_url: str, tmp_path: Path) -> None:
    """The service ends at once, says that the database cannot be used, and nothing that it should not say."""
    ended = run_app({"DATABASE_URL": database_url, "BACKEND_PORT": str(free_port())}, tmp_path)
    assert ended.returncode == 1
    assert "cannot be used" in ended.stderr
    assert "topsecret" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_configured_database_is_used_and_nothing_embedded_starts(database_url: str, tmp_path: Path) -> None:
    """With DATABASE_URL set, that server is used, its tables are migrated, and DATA_DIR is not touched."""
    with Service(PATIENT_ENVIRONMENT | {"DATABASE_URL": database_url, "DATA_DIR": str(tmp_path / "data")}) as service:
        assert deposit(service, 5, 0).status_code == 200
    assert list(tmp_path.iterdir()) == []
    connection = psycopg2.connect(database_url.replace("+psycopg2", ""))
    with connection.cursor() as cursor:
        cursor.execute("SELECT user_id, last_seq FROM users")
        assert cursor.fetchall() == [(5, 1)]
    connection.close()
