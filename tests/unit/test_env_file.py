"""The `.env` file: what is read, what is refused by its line, and that every program reads the same one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import config_loader
from config_loader import Settings, SettingsError, load_settings
from tests.service import ROOT
from tests.waiting import PATIENCE

SECRET = "hunter2"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a `.env` file is to be."""
    return tmp_path / ".env"


def problems(path: Path) -> list[str]:
    """What is said about a file, without the place where it is."""
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    return [problem.removeprefix(str(path)).lstrip(", ") for problem in caught.value.problems]


def read(path: Path, text: str | bytes) -> Settings:
    """The settings by a file of this text."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_settings(path)


PASSWORDS = {
    "DB_PASSWORD=a b # comment": "a b",
    "DB_PASSWORD= # comment": None,
    "DB_PASSWORD=#a#b": "#a#b",
    "DB_PASSWORD = a": "a",
    "\texport  DB_PASSWORD=a\t": "a",
    "db_password=a": "a",
    "DB_PASSWORD=p$ss'w\"rd\\n": "p$ss'w\"rd\\n",
    "DB_PASSWORD='a${b}\\n#c' # comment": "a${b}\\n#c",
    'DB_PASSWORD="a\\"b\\\\c\\$d#" # comment': 'a"b\\c$d#',
    'DB_PASSWORD="\\${X}"': "${X}",
    "X=1\nDB_PASSWORD=${X}2": "12",
    'X=1\nDB_PASSWORD="${X}2"': "12",
    "DB_PASSWORD=${HERE}": "from the environment",
    "HERE=1\nDB_PASSWORD=${HERE}": "from the environment",
    "DB_PASSWORD=${X:-a}": "a",
    "DB_PASSWORD=\nDB_PASSWORD=a": "a",
    "DB_PASSWORD=a\nDB_PASSWORD=": "a",
    "# a comment with an ' and a = \n\nDB_PASSWORD=a": "a",
    "OTHER=${COMPOSE:?is not set}\nMORE=1\nMORE=2\nDB_PASSWORD=a": "a",
    'KEY="of several\nlines"\nDB_PASSWORD=a': "a",
    "DB_PASSWORD=a\rWORKERS=3\r": "a",
    "DB_PASSWORD='a'\r\nWORKERS=3\r\n": "a",
    "\ufeffDB_PASSWORD=a": "a",
    "DB_PASSWORD=a\u2028b": "a\u2028b",
}


@pytest.mark.parametrize(("text", "expected"), PASSWORDS.items())
def test_value(text: str, expected: str | None, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is what a shell or docker compose would take it for; in single quotes it is literal."""
    monkeypatch.setenv("HERE", "from the environment")
    found = read(path, text).db_password
    assert (found and found.get_secret_value()) == expected


BAD = {
    "a quote that is not closed": ('WORKERS=3\nDATABASE_URL="hunter2\nTHREADS=4', ["line 2: a quote is not closed"]),
    "a single one": ("DB_PASSWORD='hunter2", ["line 1: a quote is not closed"]),
    "one of another program": ('OTHER="hunter2\nWORKERS=3', ["line 1: a quote is not closed"]),
    "one that is closed by the next setting's": (
        'OTHER="hunter2\nDATABASE_URL="postgresql://db/alerts"',
        ["line 1: a quote is not closed, or something follows it"],
    ),
    "one that swallows a setting": (
        'OTHER="hunter2\nDATABASE_URL=postgresql://db/alerts\nMORE="',
        ["line 1: a quote is not closed, or something follows it", "line 3: a quote is not closed"],
    ),
    "a value of two lines": (
        'DB_PASSWORD="hunter2\nhunter2"',
        [
            "line 1: the value of DB_PASSWORD goes on in the next line; is a quote not closed?",
            "line 2: is not NAME=value",
        ],
    ),
    "text after a quote": ("DB_PASSWORD='hunter'2", ["line 1: a quote is not closed, or something follows it"]),
    "no =": ("WORKERS=3\n\nhunter2", ["line 3: is not NAME=value"]),
    "no name": ("=hunter2", ["line 1: is not NAME=value"]),
    "YAML": ("DB_PASSWORD: hunter2", ["line 1: is not NAME=value"]),
    "two names": ("set DB_PASSWORD=hunter2", ["line 1: is not NAME=value"]),
    "twice": ("WORKERS=3\nDB_PASSWORD=a\nexport workers=3", ["line 3: WORKERS is set in line 1 already"]),
    "an unset variable": (
        "DB_PASSWORD=${hunter2}",
        ["line 1: a variable in ${...} is not set; in single quotes it would be literal"],
    ),
    "one of another program that could not be made": (
        "X=${hunter2}\nDB_PASSWORD=${X}",
        ["line 2: a variable in ${...} is not set; in single quotes it would be literal"],
    ),
    "no variable": (
        "DB_PASSWORD=hun${ter2",
        ["line 1: has a ${...} that names no variable; in single quotes it would be literal"],
    ),
    "another encoding": (b"WORKERS=3\r\nDB_PASSWORD=\xe9hunter2", ["line 2: is not text in UTF-8"]),
    "UTF-16": ("WORKERS=3".encode("utf-16"), ["line 1: is not text in UTF-8"]),
    "a null character": ("WORKERS=3\nDB_PASSWORD=hun\0ter2", ["line 2: has a null character"]),
    "several": ("hunter2\nWORKERS=3\nDB_PASSWORD='", ["line 1: is not NAME=value", "line 3: a quote is not closed"]),
    "far too large": (b"#" * (1 << 20) + b"\n", ["is larger than 1 MiB"]),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_named_by_its_line(text: str | bytes, expected: list[str], path: Path) -> None:
    """Nothing is passed over. No line's content is repeated: it can be a secret."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert problems(path) == expected


def test_a_file_that_is_none(path: Path) -> None:
    """A folder of that name, and a link that leads nowhere, are refused; a file that is not there is fine."""
    assert load_settings(path).workers == 2
    path.symlink_to("nowhere")
    assert problems(path) == ["is a link that leads nowhere"]
    path.unlink()
    path.mkdir()
    assert problems(path) == ["is a folder, not a file"]


def test_a_file_that_cannot_be_opened(path: Path) -> None:
    """It is refused too: what it says would be missed."""
    path.symlink_to(path)
    assert problems(path) == ["cannot be read: Too many levels of symbolic links"]


def test_the_environment_wins(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the file, unless its variable is empty; an argument wins over both."""
    path.write_text("WORKERS=3\nTHREADS=4\nREAD_THREADS=5")
    monkeypatch.setenv("workers", "30")
    monkeypatch.setenv("THREADS", "")
    settings = load_settings(path, read_threads=1)
    assert (settings.workers, settings.threads, settings.read_threads) == (30, 4, 1)


NEAR = {"DATABSE_URL": "DATABASE_URL", "GROUP_COMIT": "GROUP_COMMIT", "tread": "THREADS", "DATA-DIR": "DATA_DIR"}


@pytest.mark.parametrize(("name", "meant"), NEAR.items())
def test_a_near_miss_is_warned_of(name: str, meant: str, path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A name in the file that is nearly a setting's is named with its line, once, and without its value."""
    config_loader._warned.clear()
    for _ in range(2):
        read(path, f"\n{name}={SECRET}\n")
    assert capfd.readouterr().err == f"Warning: {path}, line 2: {name} is not a setting; is {meant} meant?\n"


def test_a_near_miss_that_flask_has_read_is_warned_of_once(
    path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flask's command line puts what it finds in the file into the environment: the warning names the file alone."""
    config_loader._warned.clear()
    monkeypatch.setenv("DATABSE_URL", SECRET)
    read(path, f"DATABSE_URL={SECRET}\n")
    assert capfd.readouterr().err == f"Warning: {path}, line 1: DATABSE_URL is not a setting; is DATABASE_URL meant?\n"


def test_other_programs_names_are_not_warned_of(
    path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of others are none of our business; in the environment, only very near ones are taken for ours."""
    config_loader._warned.clear()
    for name in ("TREAD", "DATABASE_HOST", "DB_PASS", "POSTGRES_PASSWORD", "PORT", "WEB_CONCURRENCY", "GROUP_COMIT"):
        monkeypatch.setenv(name, SECRET)
    read(path, "POSTGRES_PASSWORD=a\nDB_PASS=b\nREDIS_URL=c\nCOMPOSE_PROJECT_NAME=d\nSECRET=e")
    warning = "Warning: the environment: GROUP_COMIT is not a setting; is GROUP_COMMIT meant?\n"
    assert capfd.readouterr().err == warning


@pytest.mark.parametrize("how", ["DATA_DIR=~/data", "DATA_DIR='~/data'", "DATA_DIR=${HOME}/data"])
def test_the_home_folder(how: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` at the beginning of a folder is the home, as in a shell."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert read(path, how).data_dir == Path("/home/ada/data")


def test_no_folder_is_called_like_a_variable(path: Path) -> None:
    """What a shell would have replaced is refused rather than taken for the name of a folder."""
    for value in ("~nobody-of-that-name/x", "$HOME/x", "'${HOME}/x'"):
        path.write_text(f"DATA_DIR={value}")
        assert problems(path)[0].startswith("DATA_DIR: ")


def test_a_socket_folder_below_the_home(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same goes for the folder of a socket."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert read(path, "DB_HOST=~/pg\nDB_NAME=a\nDB_USER=b").db_host == "/home/ada/pg"


PROGRAMS = {
    "service": [str(ROOT / "app.py")],
    "command": ["-m", "flask", "--app", "app", "verify"],
    "migrations": ["-m", "alembic", "upgrade", "head"],
    "console": ["-m", "scripts.console"],
}
# What an application sees when Flask's command line has loaded it.
PROBE = """
import os
from flask import Flask
from config_loader import load_settings
def create_app():
    print(load_settings().data_dir, os.environ.get("PGHOST"))
    return Flask("probe")
"""


def run(words: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the project in the folder `cwd`."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_reads_the_file_of_its_folder(program: str, tmp_path: Path, path: Path) -> None:
    """One that cannot be read ends each of them with status 2 and a line that names the file's, not a traceback."""
    path.write_text("DATABASE_URL='postgresql://hunter2")
    for name in ("alembic", "alembic.ini"):  # which is run in the folder of these
        (tmp_path / name).symlink_to(ROOT / name)
    done = run(PROGRAMS[program], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("Bad settings:\n  .env, line 1: a quote is not closed\n")
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr


def test_flask_reads_no_other_file(tmp_path: Path, path: Path) -> None:
    """What Flask's command line has read by itself, from a folder above or a `.flaskenv`, counts for nothing."""
    below = tmp_path / "below"
    below.mkdir()
    (below / "probe.py").write_text(PROBE)
    path.write_text("DATA_DIR=/above\nPGHOST=above\n")
    (below / ".flaskenv").write_text("DATA_DIR=/flaskenv\n")
    words = ["-m", "flask", "--app", "probe", "routes"]
    shown = [run(words, below), run(words, below, DATA_DIR="/exported", PGHOST="exported")]
    (below / ".env").write_text("DATA_DIR='/here'\n")
    shown.append(run(words, below))
    lines = [done.stdout.partition("\n")[0] for done in shown]
    assert lines == [".local None", "/exported exported", "/here None"]
    named = run(["-m", "flask", "--env-file", str(path), "--app", "probe", "routes"], below)
    assert (named.returncode, "--env-file" in named.stderr) == (2, True)
