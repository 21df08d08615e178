"""A database that hangs: it takes connections and gives no answer, so that none of its own timeouts fires."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from database import embedded, migrations, readiness
from tests.keys import app_without_database
from tests.waiting import freeze, wait_until

EVENT = {"type": "withdraw", "amount": "150.00", "user_id": 1, "time": 0, "event_id": "first"}


@contextmanager
def stopped(cluster: Path) -> Iterator[None]:
    """All processes of the PostgreSQL in `cluster` are suspended."""
    postmaster = int((cluster / "postmaster.pid").read_text().splitlines()[0])
    freeze(postmaster)  # first, so that it makes no more of them
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children = [int(pid) for pid, parent in map(str.split, table.splitlines()) if int(parent) == postmaster]
    for pid in children:
        freeze(pid)
    try:
        yield
    finally:
        for pid in (postmaster, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_probes_do_not_wait_for_a_database_that_hangs(ready_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a question hangs, /readyz answers soon, those after it at once, and only one question is put."""
    asked = []
    ask = readiness.Readiness._ask

    def counted(self: readiness.Readiness) -> str | None:
        asked.append("once")
        return ask(self)

    monkeypatch.setattr(readiness.Readiness, "_ask", counted)
    monkeypatch.setattr(readiness, "FRESH", 0)
    monkeypatch.setattr(readiness, "PATIENCE", 2)
    with embedded.use(ready_folder, fsync="off") as url:
        migrations.upgrade(url)
        found = readiness.Readiness(url)
        while found.problem():  # a slow machine
            pass
        asked.clear()
        with stopped(ready_folder / "postgres"):
            assert found.problem() == readiness.AWAY
            monkeypatch.setattr(readiness, "PATIENCE", 0)  # nobody has any left
            assert [found.problem() for _ in range(100)] == [readiness.AWAY] * 100
            assert len(asked) == 1
        monkeypatch.setattr(readiness, "PATIENCE", 60)
        while found.problem():
            pass


def test_a_database_that_hangs_is_a_503_and_heals(ready_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request that meets a hanging database is answered with 503, and the next ones normally."""
    monkeypatch.setattr(readiness, "FRESH", 0)
    monkeypatch.setattr(readiness, "PATIENCE", 2)
    with embedded.use(ready_folder, fsync="off") as url:
        migrations.upgrade(url)
        app = app_without_database(database_url=url, db_timeout=0.2)
        client = app.test_client()
        wait_until(lambda: client.get("/readyz").status_code == 200)  # on a busy machine the limits may be too short
        with stopped(ready_folder / "postgres"):
            answers = [client.get("/readyz"), client.post("/event", json=EVENT), client.post("/event", json=EVENT)]
        assert [answer.status_code for answer in answers] == [503, 503, 503]
        assert [answer.headers["Retry-After"] for answer in answers] == ["1", "1", "1"]
        wait_until(lambda: client.post("/event", json=EVENT).get_json().get("alert_codes") == [1100])
        wait_until(lambda: client.get("/users/1").get_json().get("balance") == "-150.00")
        app.extensions["transaction-alerts"].dispose()
