"""`make console`: psql on the database that the service uses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from scripts.console import run
from tests.postgres import engine_on
from tests.service import ROOT
from tests.waiting import PATIENCE


def console(cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What psql prints for one query."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.console", "-Atc", "SELECT current_user, count(*) FROM users"],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_the_configured_database_with_its_password(database_url: str, tmp_path: Path) -> None:
    """It logs in with the configured password, and keeps it out of the arguments that others can read."""
    with engine_on(database_url) as engine, engine.connect() as connection:
        connection.execute(text("CREATE ROLE ada_console LOGIN PASSWORD 'p@ss w/rd%'"))
        connection.execute(text("GRANT SELECT ON users TO ada_console"))
        try:
            url = make_url(database_url).set(username="ada_console", password="p@ss w/rd%")
            shown = console(tmp_path, DATABASE_URL=url.render_as_string(hide_password=False))
        finally:
            connection.execute(text("DROP OWNED BY ada_console"))
            connection.execute(text("DROP ROLE ada_console"))
    assert (shown.stdout, shown.stderr, shown.returncode) == ("ada_console|0\n", "", 0)


def test_a_program_that_a_signal_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The status is that of a shell: 130 after Ctrl+C in the middle of a dump."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, -signal.SIGINT))
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        assert run("pg_dump", []) == 130
    finally:
        signal.signal(signal.SIGINT, interrupt)


def test_bad_settings_are_told(tmp_path: Path) -> None:
    """It names a bad setting and starts nothing."""
    shown = console(tmp_path, DATABASE_URL="mysql://x")
    assert (shown.returncode, "DATABASE_URL" in shown.stderr, list(tmp_path.iterdir())) == (2, True, [])
