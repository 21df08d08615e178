"""An export: what is in its files, in which order, and that it is whole or says that it is not."""

import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from database import history
from database.exporting import TABLES
from database.records import Users
from rules.hindsight import export
from rules.hindsight.export import ExportResult, ExportWork, schema_of
from rules.hindsight.manifest import NAME, check_files, read_manifest
from rules.values import MAX_ID, MOST_MONEY
from tests.long_history import alive, descendants, make, wait_for
from tests.postgres import Sessions, transaction
from tests.service import ROOT
from tests.spark.history import EVERYBODY, run_command
from tests.waiting import PATIENCE

KEYS = {
    "actions": ["user_id", "time", "seq"],
    "alerts": ["user_id", "time", "seq", "code"],
    "settings": ["user_id", "version"],
    "checkpoints": ["user_id", "type"],
}
STORED = {
    "actions": "SELECT user_id, time, seq, type, amount, settings_version, rules_number FROM user_actions",
    "alerts": "SELECT user_id, time, seq, code, status, outcome, late, superseded, shadow, evidence FROM alerts",
    "settings": "SELECT user_id, version, risk, overrides FROM user_settings",
    "checkpoints": "SELECT c.user_id, type, actions, c.total, first_time, first_seq, first_amount, newest_seq,"
    " until_seq, pruned_before FROM checkpoints AS c JOIN users USING (user_id)",
}


def rows_of(folder: Path, table: str) -> list[dict[str, Any]]:
    """All rows of a table, in the order of the files' names and in the files."""
    return [row for path in sorted((folder / table).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def as_stored(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what is JSON text in a file."""
    return {name: json.loads(value) if name in ("evidence", "overrides") else value for name, value in row.items()}


@pytest.fixture
def files(stored: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExportResult:
    """An export of the history in many short files and row groups, written in this process."""
    monkeypatch.setattr(export, "PIECE", 300)
    for table in TABLES:
        (tmp_path / table).mkdir()
    result = ExportResult()
    work = ExportWork(tmp_path)
    with stored() as session:
        connection = session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        for users in history.stretches(connection, 50):
            result.add(work.part(connection, users))
        work.complete(connection, result)
    return result


@pytest.mark.parametrize("table", TABLES)
def test_all_that_is_stored_is_there_in_order(
    table: str, files: ExportResult, tmp_path: Path, stored: Sessions
) -> None:
    """Within files and across them, each value as it is stored."""
    found = rows_of(tmp_path, table)
    with stored() as session:
        rows = [dict(row) for row in session.execute(text(STORED[table])).mappings()]
    assert list(map(as_stored, found)) == sorted(rows, key=lambda row: [row[name] for name in KEYS[table]])
    assert len(found) > 3
    paths = sorted((tmp_path / table).iterdir())
    assert [f"{table}/{path.name}" for path in paths] == [one.name for one in files.files if one.table == table]
    assert len(paths) > 3
    for path in paths:
        assert pq.read_schema(path) == schema_of(TABLES[table])
        ordered = pq.ParquetFile(path).metadata.row_group(0).sorting_columns
        assert [one.column_index for one in ordered] == [TABLES_NAMES[table].index(name) for name in KEYS[table]]
    if table == "actions":
        assert any(pq.ParquetFile(path).metadata.num_row_groups > 3 for path in paths)


TABLES_NAMES = {table: list(TABLES[table].columns) for table in TABLES}


def test_decimals_are_exact(exported: Path) -> None:
    """As wide as in the database, up to the largest amount."""
    amounts = {row["amount"] for row in rows_of(exported, "actions")}
    assert {MOST_MONEY, Decimal("0.01")} <= amounts
    assert schema_of(TABLES["actions"]).field("amount").type == pa.decimal128(14, 2)
    assert schema_of(TABLES["checkpoints"]).field("total").type == pa.decimal128(38, 2)
    assert MAX_ID in {row["user_id"] for row in rows_of(exported, "actions")}


def test_what_would_name_people_is_not_there(exported: Path) -> None:
    """Neither names, ids and notes of others, nor who of the staff did something."""
    written = (exported / NAME).read_text() + "".join(map(str, (rows_of(exported, table) for table in TABLES)))
    assert [word for word in ("Ada Lovelace", "a secret id", "grace", '"test"', "'test'") if word in written] == []
    names = {name for table in TABLES for name in TABLES[table].columns}
    assert names & {"event_id", "name", "note", "author", "assignee", "who"} == set()


def test_the_manifest(exported: Path, stored: Sessions) -> None:
    """It has every file with its digest, every change of a rule, and the moment; only the owner can read any of it."""
    manifest = read_manifest(exported)
    check_files(exported, manifest)
    on_disk = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert {file.name for file in manifest.files} == on_disk - {NAME}
    for file in manifest.files:
        content = (exported / file.name).read_bytes()
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        users = [row["user_id"] for row in pq.read_table(exported / file.name).to_pylist()]
        assert len(users) == file.rows
        assert file.first_user <= users[0] <= users[-1] <= file.last_user
    with stored() as session:
        numbers = session.scalars(text("SELECT number FROM rule_versions ORDER BY number")).all()
        revision = session.scalar(text("SELECT version_num FROM alembic_version"))
    assert ([rule.number for rule in manifest.rules], manifest.schema) == (numbers, revision)
    modes = {path.stat().st_mode & 0o777 for path in (exported, *exported.rglob("*")) if path.is_dir()}
    assert modes == {0o700}
    assert {path.stat().st_mode & 0o777 for path in exported.rglob("*") if path.is_file()} == {0o600}


def test_one_moment(database_url: str, sessions: Sessions, tmp_path: Path) -> None:
    """What is stored after the export has begun is not in it, in any table."""
    run_command(database_url, "backtest", "--rule", "123")  # enters the rules
    make(sessions, users=20, each=5)
    for table in TABLES:
        (tmp_path / table).mkdir()
    work, result = ExportWork(tmp_path), ExportResult()
    with history.snapshot(database_url) as connection:
        assert history.count_actions(connection) == 100
        with transaction(sessions) as session:
            session.execute(text("UPDATE user_actions SET amount = 11"))
            session.execute(
                text("INSERT INTO user_settings (user_id, version, risk, overrides) VALUES (1001, 1, 'low', '{}')")
            )
        result.add(work.part(connection, EVERYBODY))
        work.complete(connection, result)
    assert {row["amount"] for row in rows_of(tmp_path, "actions")} == {Decimal("10.00")}
    assert [file.table for file in result.files] == ["actions"]
    with transaction(sessions) as session:
        written = session.scalar(text("SELECT max(created_at) FROM rule_versions"))
    assert result.snapshot_at is not None
    assert result.snapshot_at >= written


def test_it_is_in_the_log(database_url: str, sessions: Sessions, tmp_path: Path) -> None:
    """As every export: who took it, from when to when, and how much."""
    assert run_command(database_url, "export", tmp_path / "out", "--processes", "1").exit_code == 0
    with sessions() as session:
        entries = session.execute(text("SELECT who, subject, what, after FROM log_entries WHERE kind = 'export'")).all()
    assert [tuple(one[:3]) for one in entries] == [("command line", "history", what) for what in ("began", "ended")]
    assert entries[1].after["rows"] == dict.fromkeys(TABLES, 0)


# What stands in the way


def test_a_folder_that_has_something_in_it(database_url: str, tmp_path: Path) -> None:
    """It is left as it is; an export that did not end is called that."""
    (tmp_path / "mine").write_text("kept")
    result = run_command(database_url, "export", tmp_path)
    assert (result.exit_code, "is not empty" in result.stderr, "did not end" in result.stderr) == (2, True, False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "mine").unlink()
    (tmp_path / "actions").mkdir()
    (tmp_path / ".manifest.json.part").touch()
    result = run_command(database_url, "export", tmp_path)
    assert (result.exit_code, "did not end" in result.stderr) == (2, True)


def test_an_empty_folder_is_used(database_url: str, tmp_path: Path) -> None:
    """And is the owner's alone from then on."""
    tmp_path.chmod(0o755)
    assert run_command(database_url, "export", tmp_path, "--processes", "1").exit_code == 0
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_place_that_cannot_be_written(database_url: str) -> None:
    """The system's own word for it, and no traceback."""
    result = run_command(database_url, "export", "/proc/export")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: /proc/export: ")


def test_a_disk_that_is_full(
    database_url: str, sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is removed, and so is the folder that it made; one that was there stays, empty."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("commands.export.write_whole", fail)
    run_command(database_url, "backtest", "--rule", "123")
    make(sessions, users=3, each=5)
    for folder, is_left in ((tmp_path / "new", False), (tmp_path, True)):
        result = run_command(database_url, "export", folder, "--processes", "1")
        assert (result.exit_code, "No space left on device" in result.stderr) == (2, True)
        assert folder.exists() == is_left
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_at_the_very_end(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is entered in the log that it has ended: it leaves nothing, as at any time before."""

    def note(what: str, *_: object) -> None:
        if what == "ended":
            assert (tmp_path / "out" / NAME).exists()
            raise KeyboardInterrupt

    monkeypatch.setattr("commands.export._note", note)
    result = run_command(database_url, "export", tmp_path / "out", "--processes", "1")
    assert (result.exit_code, list(tmp_path.iterdir())) == (130, [])


# As a process


def start(url: str, folder: Path, stderr: Any = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", str(ROOT / "app.py"), "export", str(folder), "--processes", "1"],
        env=os.environ | {"DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        process_group=0,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_export_that_is_ended(number: int, database_url: str, sessions: Sessions, tmp_path: Path) -> None:
    """By Ctrl+C it leaves nothing; however it is killed there is no manifest, and no process goes on."""
    run_command(database_url, "backtest", "--rule", "123")
    make(sessions, users=3_000, each=100, small=3_000)
    folder = tmp_path / "out"
    with start(database_url, folder) as process:
        wait_for(lambda: list(folder.glob("actions/.*.part")))
        started = {process.pid, *descendants(process.pid)}
        process.send_signal(number)
        status = process.wait(PATIENCE)
    wait_for(lambda: not alive(started))
    if number == signal.SIGINT:
        assert (status, folder.exists()) == (130, False)
    else:
        assert (folder / "actions").exists()
        assert not (folder / NAME).exists()
        result = run_command(database_url, "export", folder)
        assert (result.exit_code, "did not end" in result.stderr) == (2, True)


def test_on_a_terminal_it_shows_how_far_it_is(history_url: str, tmp_path: Path) -> None:
    """As a backtest does."""
    ours, theirs = pty.openpty()
    with start(history_url, tmp_path / "out", theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 1000):
                shown += part
        except OSError:  # of Linux, at the end
            pass
        assert process.wait(PATIENCE) == 0
    os.close(ours)
    assert b"Exporting" in shown
    assert b"actions/s" in shown


def test_many_users_are_several_files(database_url: str, sessions: Sessions, tmp_path: Path, monkeypatch: Any) -> None:
    """Each has so many actions, or so many users, and begins where the one before ended; no user is in two."""
    monkeypatch.setattr(export, "ACTIONS_A_FILE", 100)
    run_command(database_url, "backtest", "--rule", "123")
    make(sessions, users=21, each=30)
    with transaction(sessions) as session:
        session.execute(text("INSERT INTO users (user_id) SELECT n FROM generate_series(5001, 5250) AS n"))
    assert run_command(database_url, "export", tmp_path / "out", "--processes", "2").exit_code == 0
    files = read_manifest(tmp_path / "out").files
    users = defaultdict(set)
    for file in files:
        for row in pq.read_table(tmp_path / "out" / file.name).to_pylist():
            users[row["user_id"]].add(file.name)
    assert (len(users), {len(names) for names in users.values()}) == (21, {1})
    assert [file.rows for file in files] == [120] * 5 + [30]
    assert Users(first=files[0].first_user, last=files[0].last_user, actions=120) == Users(1001, 1004, 120)
