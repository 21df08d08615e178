"""The command `keys`: what it prints where, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from typing import Any

import pytest
from sqlalchemy import text

from access.key_format import KEY_ID, LENGTH, read_key_id
from access.keyring import Keyring
from database.session import CommitUncertain, Transaction
from tests.conftest import ClientMaker
from tests.postgres import Sessions, transaction
from tests.service import ROOT
from tests.waiting import PATIENCE


@pytest.fixture
def run(make_client: ClientMaker) -> Any:
    """Runs the command in this process: `run("create", "a program", "--scope", "read")`."""
    runner = make_client().application.test_cli_runner()
    return lambda *args: runner.invoke(args=["keys", *args])


@pytest.fixture
def create(run: Any) -> Any:
    """Makes a key and returns it: `create("a program", "--scope", "read")`."""

    def make(*args: str) -> str:
        result = run("create", *args)
        assert result.exit_code == 0, result.stderr
        key = str(result.stdout.removesuffix("\n"))
        assert len(key) == LENGTH
        return key

    return make


def listed(run: Any, *options: str) -> Any:
    """What `keys list --json` prints."""
    result = run("list", "--json", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_a_key_is_all_that_standard_output_gets(run: Any, database_url: str) -> None:
    """So `KEY=$(flask --app app keys create ...)` works; the words about it go elsewhere and have no secret."""
    result = run("create", "a program", "--scope", "read,ingest", "--scope", "work")
    key = result.stdout.removesuffix("\n")
    key_id = read_key_id(key)
    assert key_id is not None
    assert f"The key {key_id} (a program) is made for ingest, read, work; it has no end." in result.stderr
    assert key[12:] not in result.stderr
    found = Keyring(database_url).find(key)
    assert found is not None
    assert found.name == "a program"
    assert found.scopes == {"ingest", "read", "work"}


def test_keys_are_listed(run: Any, create: Any) -> None:
    """Newest first, as a table for people or as JSON; those that were revoked only if asked for."""
    assert (run("list").stdout, run("list").stderr) == ("", "There are no keys.\n")
    assert listed(run) == []
    first = create("first", "--scope", "read", "--expires", "90d", "--rate", "100/second")[4:11]
    second = create("the second", "--scope", "admin")[4:11]
    table = run("list").stdout
    day = r"\d{4}-\d\d-\d\d \d\d:\d\d"
    assert [re.sub(day, "DAY", line) for line in table.splitlines()] == [
        "id       name        scopes  made              last used  expires           requests",
        f"{second}  the second  admin   DAY  never      never             0",
        f"{first}  first       read    DAY  never      DAY  0",
    ]
    assert run("revoke", "first").exit_code == 0
    assert [one["key_id"] for one in listed(run)] == [second]
    everything = listed(run, "--all")
    assert [one["key_id"] for one in everything] == [second, first]
    assert everything[1]["rate"] == "100/second"
    assert everything[1]["revoked_at"] is not None
    assert "hash" not in json.dumps(everything)
    assert f"{first}  first " in run("list", "--all").stdout
    assert "revoked" in run("list", "--all").stdout


def test_a_list_longer_than_a_page_is_whole(run: Any, create: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read page by page."""
    monkeypatch.setattr("commands.keys.PAGE", 2)
    for number in range(5):
        create(f"key {number}", "--scope", "read")
    assert [one["name"] for one in listed(run)] == [f"key {number}" for number in (4, 3, 2, 1, 0)]


def test_a_key_that_has_expired_is_still_listed(run: Any, create: Any, sessions: Sessions) -> None:
    """Whoever wonders why it is refused sees it."""
    create("a program", "--scope", "read")
    with transaction(sessions) as session:
        session.execute(text("UPDATE keys SET expires_at = '2020-01-01 00:00Z'"))
    assert "expired 2020-01-01 00:00" in run("list").stdout


def test_revoking_by_name_ends_all_of_that_name(run: Any, create: Any, database_url: str) -> None:
    """While a rotated key lives on there are two. By its id, one key ends."""
    old, other = create("a program", "--scope", "read"), create("another", "--scope", "read")
    result = run("rotate", "a program", "--overlap", "1h")
    new = result.stdout.removesuffix("\n")
    assert all(Keyring(database_url).find(key) for key in (old, new, other))
    several = run("rotate", "a program")
    assert (several.exit_code, several.stdout) == (2, "")
    assert f"name one by its id ({new[4:11]}, {old[4:11]})" in several.stderr
    assert run("revoke", "a program").exit_code == 0
    assert [Keyring(database_url).find(key) is None for key in (old, new, other)] == [True, True, False]
    result = run("revoke", other[4:11])
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"The key {other[4:11]} (another) is revoked." in result.stderr
    assert Keyring(database_url).find(other) is None


def test_the_last_admin_can_be_revoked_by_the_command(run: Any, create: Any) -> None:
    """Whoever can run it can make another."""
    create("chief", "--scope", "admin")
    assert run("revoke", "chief").exit_code == 0


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["create", "a", "--scope", "write"], "--scope: must be one or more of ingest, read, work, tune, admin"),
        (["create", "a", "--scope", ""], "--scope: must be one or more of"),
        (["create", "a"], "Missing option '--scope'"),
        (["create", "", "--scope", "read"], "must be 1 to 64 printable characters"),
        (["create", "x" * 65, "--scope", "read"], "must be 1 to 64 printable characters"),
        (["create", " a", "--scope", "read"], "with no space at either end"),
        (["create", "a\nb", "--scope", "read"], "must be 1 to 64 printable characters"),
        (["create", "Anonymous", "--scope", "read"], "must not be 'anonymous'"),
        (["create", "command line", "--scope", "read"], "must not be 'command line'"),
        (["create", "Nobody", "--scope", "read"], "must not be 'nobody'"),
        (["create", "a", "--scope", "read", "--expires", "90"], "must be a number and a unit: 30s, 15m, 24h, 90d"),
        (["create", "a", "--scope", "read", "--expires", "0s"], "must be more than nothing"),
        (["create", "a", "--scope", "read", "--expires", "36526d"], "must be at most 36,525d"),
        (["create", "a", "--scope", "read", "--expires", "\u0663d"], "must be a number and a unit"),
        (["create", "a", "--scope", "read", "--rate", "often"], "must be written like 100/second"),
        (["rotate", "a", "--overlap", "31d"], "must be at most 30d"),
        (["rotate", "nobody"], "No living key has the id or name 'nobody'."),
        (["revoke", "nobody"], "No living key has the id or name 'nobody'."),
    ],
)
def test_what_is_wrong_is_said(run: Any, args: list[str], why: str) -> None:
    """With status 2, and nothing on standard output."""
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
    assert listed(run, "--all") == []


def test_a_name_that_is_taken_is_refused(run: Any, create: Any) -> None:
    """The key that has it stays."""
    key = create("a program", "--scope", "read")
    result = run("create", "a program", "--scope", "admin")
    assert (result.exit_code, result.stdout) == (2, "")
    assert 'A living key has the name "a program"' in result.stderr
    assert [one["key_id"] for one in listed(run)] == [key[4:11]]


def test_a_key_that_has_ended_cannot_be_rotated(run: Any, create: Any) -> None:
    """It has no rights that another could have."""
    key_id = create("a program", "--scope", "read")[4:11]
    run("revoke", key_id)
    result = run("rotate", key_id)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"The key {key_id} was revoked or has expired" in result.stderr


def test_without_the_tables_it_says_so(run: Any, sessions: Sessions) -> None:
    """Before it begins."""
    with transaction(sessions) as session:
        session.execute(text("DROP TABLE key_uses, keys"))
    for args in (["list"], ["create", "a", "--scope", "read"]):
        result = run(*args)
        assert result.exit_code == 2
        assert "the table keys is missing" in result.stderr


def test_a_commit_of_which_nobody_knows(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection broke: the list shows what was stored."""

    def commit(self: Any) -> None:
        raise CommitUncertain

    monkeypatch.setattr(Transaction, "commit", commit)
    result = run("create", "a program", "--scope", "read")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "`keys list` shows what was stored" in result.stderr


def test_interrupted_while_it_waits_the_key_is_there(database_url: str) -> None:
    """It is written as soon as it is stored; the wait for the services comes then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", str(ROOT / "app.py"), "keys", "create", "a", "--scope", "read"],
        env=os.environ | {"DATABASE_URL": database_url},
        cwd=tempfile.gettempdir(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    key = process.stdout.readline().removesuffix("\n")  # which does not wait for the end
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode in (130, 0)  # the machine may have been slow to send the signal
    assert "Traceback" not in errors
    assert re.fullmatch(KEY_ID, key[4:11])
    assert Keyring(database_url).find(key) is not None
