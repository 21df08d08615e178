"""`make dump` and `make restore`: everything that is stored, in another database."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from database import embedded, webhook_hold
from tests.conftest import ClientMaker
from tests.postgres import Databases, engine_on
from tests.service import ROOT

EVENTS = [{"type": "deposit", "amount": "90.00", "user_id": 1, "time": time} for time in (10, 20, 30, 15)]  # one late


def backup(url: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the make targets run, on the database at `url`."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.backup", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "DATABASE_URL": url},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


def contents(url: str) -> list[list[object]]:
    """All rows of the tables that matter, in order."""
    with engine_on(url) as engine, engine.connect() as connection:
        tables = ("users", "user_actions", "alerts", "rule_versions", "late_offsets")
        return [[tuple(row) for row in connection.execute(text(f"TABLE {name} ORDER BY 1, 2"))] for name in tables]


def test_a_restored_database_is_the_same(
    make_client: ClientMaker, database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    """Rows are the same in the other database, and it goes on from there; neither step overwrites anything."""
    client = make_client()
    for event in EVENTS:
        assert client.post("/event", json=event).status_code == 200
    dumped = backup(database_url, tmp_path, "dump", "a.dump")
    assert (dumped.returncode, dumped.stderr) == (0, "")
    assert stat.S_IMODE((tmp_path / "a.dump").stat().st_mode) == 0o600
    restored = backup(empty_database_url, tmp_path, "restore", "a.dump")
    assert (restored.returncode, restored.stderr) == (0, "")
    assert contents(empty_database_url) == contents(database_url)
    assert len(contents(empty_database_url)[1]) == len(EVENTS)

    again = backup(database_url, tmp_path, "dump", "a.dump")
    assert (again.returncode, again.stderr) == (2, "a.dump exists: name another file, or move it away.\n")
    over = backup(database_url, tmp_path, "restore", "a.dump")
    assert (over.returncode, "already exists" in over.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.dump"]


def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path) -> None:
    """No file to restore, nothing named, no database: a line each, and no half file."""
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    missing = backup(nowhere, tmp_path, "restore", "b.dump")
    assert (missing.returncode, missing.stderr) == (2, "b.dump: no such file.\n")
    unnamed = backup(nowhere, tmp_path, "dump", "")
    assert (unnamed.returncode, unnamed.stderr.startswith("usage: make dump FILE=")) == (2, True)
    away = backup(nowhere, tmp_path, "dump", "b.dump")
    assert (away.returncode, "127.0.0.1" in away.stderr, list(tmp_path.iterdir())) == (1, True, [])


# Webhooks

WEBHOOK = """
    INSERT INTO webhooks (url, events, secret, created_by) VALUES ('https://a.example/', '{alert.created}', '', 'test')
"""
DELIVERIES = """
    INSERT INTO deliveries (webhook_id, message_id, event, body, status, next_at, finished_at)
    SELECT webhook_id, 'msg_' || n, 'webhook.test', '{}', CASE WHEN n = 1 THEN 'delivered' ELSE 'waiting' END,
        CASE WHEN n > 1 THEN now() END, CASE WHEN n = 1 THEN now() END
    FROM webhooks, generate_series(1, 3) AS n
"""


def held(url: str) -> str | None:
    """Whether webhooks are held in the database at `url`, as what sends them finds out when it begins."""
    with engine_on(url) as engine, engine.connect() as connection:
        webhook_hold.notice_restore(connection)
        return webhook_hold.held(connection)


def state(url: str) -> tuple[int, dict[str, int]]:
    """How many events wait, and how many messages there are by status."""
    with engine_on(url) as engine, engine.connect() as connection:
        events = connection.execute(text("SELECT count(*) FROM outbox")).scalar_one()
        rows = connection.execute(text("SELECT status, count(*) FROM deliveries GROUP BY 1"))
        return events, {row[0]: row[1] for row in rows}


def run(client: FlaskClient, *arguments: str) -> str:
    """What a command writes that succeeds."""
    result = client.application.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


@pytest.fixture
def sending(make_client: ClientMaker, database_url: str) -> FlaskClient:
    """A service from whose database messages were sent, while one event and two messages wait."""
    with engine_on(database_url) as engine, engine.connect() as connection:
        connection.execute(text(WEBHOOK))
        connection.execute(text(DELIVERIES))
    client = make_client()
    client.post("/event", json={"type": "withdraw", "amount": "101.00", "user_id": 1, "time": 10})
    assert held(database_url) is None
    assert held(database_url) is None
    assert state(database_url) == (1, {"delivered": 1, "waiting": 2})
    return client


def decisions(url: str) -> list[tuple[str, str, dict[str, int]]]:
    """What the log says that was done to all webhooks at once, and to how much, oldest first."""
    question = text("SELECT who, what, after FROM log_entries WHERE kind = 'webhook' AND subject = 'all' ORDER BY at")
    with engine_on(url) as engine, engine.connect() as connection:
        return [(row.who, row.what, row.after) for row in connection.execute(question)]


WAITING = "1 event and 2 messages for 1 webhook"


def test_a_restored_database_sends_nothing_again(
    sending: FlaskClient, make_client: ClientMaker, database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    """A restore says what waits and holds it; all alerts follow from the actions; resuming and discarding are said."""
    assert backup(database_url, tmp_path, "dump", "a.dump").returncode == 0
    restored = backup(empty_database_url, tmp_path, "restore", "a.dump")
    assert (restored.returncode, restored.stderr) == (0, "")
    assert f"Webhooks are held: {WAITING} may have been sent before." in restored.stdout
    assert held(empty_database_url) == webhook_hold.RESTORED
    assert state(empty_database_url) == state(database_url)

    copy = make_client(database_url=empty_database_url)
    assert "differences                    0\n" in run(copy, "verify", "--processes", "1")
    copy.post("/event", json={"type": "withdraw", "amount": "101.00", "user_id": 1, "time": 20})
    assert held(empty_database_url) == webhook_hold.RESTORED
    discarded = "Discarded: 2 events and 2 messages for 1 webhook. Webhooks are no longer held.\n"
    assert run(copy, "restored", "--discard") == discarded
    assert (held(empty_database_url), state(empty_database_url)) == (None, (0, {"delivered": 1, "given_up": 2}))
    assert held(database_url) is None  # the original goes on
    how_much = {"events": 2, "messages": 2, "webhooks": 1}
    assert decisions(empty_database_url)[-1:] == [("command line", "discarded", how_much)]


@pytest.mark.parametrize("clean", [False, True])
def test_a_restore_by_other_means_is_noticed(
    sending: FlaskClient,
    make_client: ClientMaker,
    database_url: str,
    empty_database_url: str,
    tmp_path: Path,
    clean: bool,
) -> None:
    """By pg_restore itself, into another database or over what is there; a decision is needed once."""
    programs, address = embedded.bin_dir(), database_url.replace("+psycopg2", "")
    file = str(tmp_path / "b.dump")
    dump = [str(programs / "pg_dump"), "--format=custom", "--no-owner", f"--file={file}", f"--dbname={address}"]
    subprocess.run(dump, check=True, timeout=300)
    into = database_url if clean else empty_database_url
    restore = [str(programs / "pg_restore"), *(["--clean"] if clean else []), "--no-owner", file]
    subprocess.run([*restore, f"--dbname={into.replace('+psycopg2', '')}"], check=True, timeout=300)
    assert held(into) == webhook_hold.RESTORED
    copy = make_client(database_url=into)
    said = run(copy, "restored")
    assert said.startswith(f"Nothing is sent to webhooks until you decide. {WAITING} may have been sent before.\n")
    assert run(copy, "restored", "--resume") == f"To be sent now: {WAITING}. Webhooks are no longer held.\n"
    assert (held(into), state(into)) == (None, (1, {"delivered": 1, "waiting": 2}))
    how_much = {"events": 1, "messages": 2, "webhooks": 1}
    assert decisions(into) == [("command line", "held", how_much), ("command line", "resumed", how_much)]


def test_a_copy_of_a_database_is_noticed(sending: FlaskClient, database_url: str, databases: Databases) -> None:
    """On the same server, by its files."""
    name = database_url.rpartition("/")[2].partition("?")[0]
    sending.application.extensions["transaction-alerts"].dispose()
    with databases.new(name) as copy:
        assert held(databases.url(copy)) == webhook_hold.RESTORED


def test_who_may_not_ask_for_the_server_goes_by_the_database(
    sending: FlaskClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some providers of PostgreSQL keep it to themselves: as far as is known, the place is another one then."""
    query = str(webhook_hold._NUMBERS).replace("has_function_privilege('pg_control_system()', 'EXECUTE')", "false")
    monkeypatch.setattr(webhook_hold, "_NUMBERS", text(query))
    assert held(database_url) == webhook_hold.RESTORED
    run(sending, "restored", "--resume")
    assert held(database_url) is None


def test_more_is_discarded_than_one_transaction_takes(
    sending: FlaskClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that waits, one stretch after the other."""
    monkeypatch.setattr(webhook_hold, "STRETCH", 1)
    assert run(sending, "restored", "--discard").startswith(f"Discarded: {WAITING}.")
    assert state(database_url) == (0, {"delivered": 1, "given_up": 2})
