"""`make dump` and `make restore`: everything that is stored, in another database."""

import os
import stat
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from tests.conftest import ClientMaker
from tests.postgres import engine_on
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
