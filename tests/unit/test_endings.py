"""How commands end: by a status and a line or two, never by a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from sqlalchemy.exc import OperationalError

from commands.endings import Command
from commands.replay import replay
from tests.service import ROOT
from tests.waiting import PATIENCE


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "Error: Stopped.\n"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (OSError(28, "No space left on device"), 2, "Error: The output cannot be written: No space left on device.\n"),
        (OSError(5, "Input/output error", "history"), 2, "Error: history: Input/output error.\n"),
        (OperationalError(None, None, Exception("gone\nand more")), 2, "Error: The database failed: gone\n"),
    ],
)
def test_what_is_no_defect_ends_a_command_by_a_line(error: BaseException, status: int, said: str) -> None:
    """Ctrl+C, an output that nobody reads or has room for, a file, the database: each has its status."""

    @click.command(cls=Command)
    def failing() -> None:
        raise error

    result = CliRunner().invoke(failing)
    assert (result.exit_code, result.stderr) == (status, said)


def test_a_closed_standard_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that starts replay without any standard input is told so."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(click.BadParameter, match="standard input is closed"):
        replay.make_context("replay", ["-"])


# Presses Ctrl+C when a module is looked for, and where an exception would only be printed.
PRESS = """
import os, signal, sys
class Press:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["PRESS_AT"]:
            Press()
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    ("command", "module"),
    [(["-m", "flask", "--app", "app", "verify"], "logs"), (["app.py"], "rules.catalogue.spike")],
)
def test_ctrl_c_while_a_command_is_loading(tmp_path: Path, command: list[str], module: str) -> None:
    """It ends at once with 130 and without a word: 1 would mean that verify has found a difference."""
    (tmp_path / "sitecustomize.py").write_text(PRESS)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PRESS_AT": module, "DATA_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + signal.SIGINT, "", "")


@pytest.mark.parametrize(
    ("command", "environment", "said"),
    [
        (["-m", "flask", "--app", "app", "verify"], {"RULES": "7"}, "Bad settings"),
        (["-m", "flask", "--app", "app", "replay", "README.md"], {"DATA_DIR": "/dev/null"}, "/dev/null"),
        (
            ["-m", "flask", "--app", "app", "backtest"],
            {"PROMETHEUS_MULTIPROC_DIR": "/nonexistent", "DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c"},
            "port 1 failed",
        ),
        (["-m", "alembic", "upgrade", "head"], {"DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c"}, "port 1 failed"),
        (["-m", "scripts.console"], {"RULES": "7"}, "Bad settings"),
        (["-m", "bench", "--quick", "--only", "growth", "--results", "/dev/null"], {}, "/dev/null"),
        (["-m", "bench.soak", "--parent", "/nonexistent"], {}, "/nonexistent"),
        (["-m", "pytest", "-n", "0", "tests/e2e"], {"BASE_URL": "http://127.0.0.1:1"}, "No service answers"),
    ],
)
def test_what_its_user_did_ends_a_program_by_a_line_or_two(command: Any, environment: Any, said: str) -> None:
    """Bad settings, folders and addresses: the status is 2, and there is no traceback."""
    ended = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    output = ended.stdout + ended.stderr
    assert (ended.returncode, "Traceback" in output, said in output) == (2, False, True)
    assert len(ended.stderr.splitlines()) <= 3
