"""The make targets: what they pass on to commands, and that documents name none that is not there."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.service import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Nothing is installed: the environment counts as made.
MAKE = ["make", "--no-print-directory", "-o", ".venv/.made", "-o", ".venv/.run", "-o", ".venv/.dev"]


def make(*arguments: str, rules: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make on the Makefile and further `rules`, with `environment` added to the present one."""
    command = [*MAKE, "-f", "Makefile", "-f", "-", *arguments]
    # Not what a make that runs these tests was shown.
    added = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    added |= environment
    return subprocess.run(command, cwd=ROOT, env=added, input=rules, capture_output=True, text=True)


def test_what_is_meant_for_other_programs_is_not_passed_on() -> None:
    """pip is shown where packages come from, and nothing else; Python and pipenv behave as they do by themselves."""
    harmful = {"PIP_USER": "1", "PIP_TARGET": "/x", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_CONSTRAINT": "/x"} | {
        "PYTHONPATH": "/x", "PYTHONHOME": "/x", "PYTHONSAFEPATH": "1", "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error"
    } | {"PIPENV_PIPFILE": "", "PIPENV_CUSTOM_VENV_NAME": "x", "VIRTUAL_ENV": "/x", "CONDA_PREFIX": "/x"}  # fmt: skip
    wanted = {"PIP_INDEX_URL": "file:///x", "PIP_CERT": "/x", "PYTHONUNBUFFERED": "1", "RULES": "30"}
    shown = make("show", rules="show:\n\t@env", **harmful, **wanted)
    passed = dict(line.partition("=")[::2] for line in shown.stdout.splitlines())
    assert ({name for name in harmful if name in passed}, {**passed, **wanted}) == (set(), passed)


@pytest.mark.parametrize("name", ["-", "a b.csv", "-x.csv", "$HOME.csv", "it's.csv", '"a".csv', "ü;#&.csv"])
def test_a_command_gets_the_name_of_its_file_as_it_is(name: str) -> None:
    """Whatever is in the name of a file, it is one argument, and no option; ARGS are several."""
    shown = make("replay", r"PY=printf '%s\n' ", f"FILE={name}", "ARGS=--format csv")
    assert shown.stdout.splitlines() == ["-m", "flask", "--app", "app", "replay", "--format", "csv", "--", name]
    for target in ("dump", "restore"):
        shown = make(target, r"PY=printf '%s\n' ", f"FILE={name}")
        assert shown.stdout.splitlines() == ["-m", "scripts.backup", target, name]


def test_replay_without_a_file() -> None:
    """It says what is missing."""
    shown = make("replay", "PY=false")
    assert (shown.returncode, shown.stderr.splitlines()[0][:33]) == (2, "Which file? make replay FILE=hist")


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("run", "app.py"),
        ("demo", "-m flask --app app demo"),
        ("verify", "-m flask --app app verify"),
        ("backtest", "-m flask --app app backtest --rule 123 --set threshold=150.00"),
        ("migrate", "-m alembic upgrade head"),
        ("db.migrate", "-m alembic upgrade head"),
        ("console", "-m scripts.console"),
        ("db.console", "-m scripts.console"),
    ],
)
def test_what_a_target_runs(target: str, command: str) -> None:
    """Each target is one command."""
    arguments = ["ARGS=--rule 123 --set threshold=150.00"] if target == "backtest" else []
    assert make(target, "PY=echo", *arguments).stdout.strip() == command


# What `make start` asks of Docker. The image prints a key; `$KEY` is what it prints.
DOCKER = """#!/bin/sh
echo "$*" >> asked
case "$1" in run) echo "$KEY" ;; esac
"""


def start(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`make start` in a folder of its own, with a Docker that does nothing."""
    if not (folder / "Makefile").exists():
        (folder / "Makefile").symlink_to(ROOT / "Makefile")
        (folder / "docker").write_text(DOCKER)
        (folder / "docker").chmod(0o755)
    unset = {"DB_PASSWORD": "", "SECRET_KEY": "", "KEY": "tak_a_key"}
    return make("-C", str(folder), "start", **(unset | environment), PATH=f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize("name", ["DB_PASSWORD", "SECRET_KEY"])
@pytest.mark.parametrize(
    ("before", "is_added"),
    [
        ("", True),
        ("WORKERS=3", True),
        ("NAME=\n", True),
        ("#NAME=a\n", True),
        ("NAME=a\n", False),
        ("export NAME=a\n", False),
        ("NAME = a\n", False),
    ],
)
def test_start_adds_a_secret_where_none_is(name: str, before: str, is_added: bool, tmp_path: Path) -> None:
    """However the line of `.env` is written, the service never finds a second one there."""
    before = before.replace("NAME", name)
    (tmp_path / ".env").write_text(before)
    start(tmp_path)
    added = (tmp_path / ".env").read_text().removeprefix(before)
    found = dict(line.partition("=")[::2] for line in added.split())
    length = {"DB_PASSWORD": 32, "SECRET_KEY": 64}
    assert (name in found) == is_added
    assert all(re.fullmatch(rf"[0-9a-f]{{{length[one]}}}", value) for one, value in found.items())
    assert (added[:1] == "\n") == (before == "WORKERS=3")


def test_secrets_of_the_environment_are_not_written(tmp_path: Path) -> None:
    """Whoever sets them otherwise wants no others."""
    assert start(tmp_path, DB_PASSWORD="a", SECRET_KEY="b").returncode == 0
    assert not (tmp_path / ".env").exists()


def test_start_writes_a_first_key_once(tmp_path: Path) -> None:
    """The image makes it; nobody else of this machine can reach it, but the service in its container can read it."""
    started = start(tmp_path)
    path = tmp_path / ".secrets/keys"
    assert path.read_text() == "tak_a_key first ingest,read,work,tune,admin\n"
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o644)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    secrets = [path.read_text().split()[0], *re.findall(r"=(.+)", (tmp_path / ".env").read_text())]
    assert [secret for secret in secrets if secret in started.stdout + started.stderr] == []
    shown = next(line.split("curl -H ")[1] for line in started.stdout.splitlines() if "curl" in line)
    asked = subprocess.run(["sh", "-c", f"echo {shown}"], cwd=tmp_path, capture_output=True, text=True)
    assert asked.stdout.startswith("Authorization: Bearer tak_a_key http://")

    asked_before = (tmp_path / "asked").read_text()
    env = (tmp_path / ".env").read_text()
    start(tmp_path, KEY="another")
    assert (path.read_text().split()[0], (tmp_path / ".env").read_text()) == ("tak_a_key", env)
    assert "run " not in (tmp_path / "asked").read_text().removeprefix(asked_before)


def test_an_image_that_makes_no_key(tmp_path: Path) -> None:
    """Nothing is started with a file that has no key, and the next start tries again."""
    assert start(tmp_path, KEY="").returncode == 2
    assert not (tmp_path / ".secrets/keys").exists()
    assert "up" not in (tmp_path / "asked").read_text().split()
    assert start(tmp_path).returncode == 0


def test_the_status_of_a_command() -> None:
    """make ends with its own status, and names that of the command."""
    ended = make("verify", "PY=sh -c 'exit 130'")
    assert (ended.returncode, "Error 130" in ended.stderr) == (2, True)


def test_what_fails_is_shown_and_what_succeeds_is_not() -> None:
    """The output of a step of an installation is of interest only if it failed."""
    rules = "good:\n\t@$(QUIETLY) echo installed\nbad:\n\t@$(QUIETLY) sh -c 'echo why; echo not >&2; exit 3'"
    good, bad = make("good", rules=rules), make("bad", rules=rules)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    assert (bad.returncode, bad.stderr.splitlines()[:2], "Error 3" in bad.stderr) == (2, ["why", "not"], True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_work_as_they_are_written(page: Path) -> None:
    """Every make target that a page names is there, and commands of the environment are written with its folder."""
    text = page.read_text()
    targets = set(re.findall(r"^([a-z0-9. -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {name for line in targets for name in line.split()}
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    code = "\n".join(re.findall(r"`([^`\n]+)`", text) + blocks)
    assert set(re.findall(r"\bmake ([a-z0-9.-]+)", code)) - known == set()
    bare = r"(?<!/)\b(flask --app|alembic (?:upgrade|downgrade|revision|history|current|check|stamp)\b|pytest )"
    outside = re.sub(r"docker compose (exec|run) [^\n]*", "", code)
    assert re.findall(bare, outside) == []
