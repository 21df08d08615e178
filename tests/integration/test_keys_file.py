"""KEYS_FILE: keys that are taken in when the service starts."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from access import keys_file
from access.key_changes import KeyChanges
from access.key_format import make_key
from access.keyring import Keyring
from access.keys_file import KeysFileError, read_keys_file, take_in
from database.session import run
from tests.keys import bearer
from tests.service import ROOT, Service, free_port
from tests.waiting import PATIENCE

Sessions = sessionmaker[Session]


def taken_in(sessions: Sessions, path: Path) -> list[str]:
    """The names of the keys that are taken in from a file."""
    found = read_keys_file(path)
    return [key.terms.name for key in run(sessions, lambda session: take_in(session, found))]


def test_only_what_was_never_known_is_taken_in(sessions: Sessions, database_url: str, tmp_path: Path) -> None:
    """A second start changes nothing, a revoked key does not come back, and the log has each key once."""
    one, other = make_key(), make_key()
    path = tmp_path / "keys"
    path.write_text(f"{one.key} shop ingest 100/second\n{other.key} desk read,work\n")
    assert taken_in(sessions, path) == ["shop", "desk"]
    assert taken_in(sessions, path) == []
    keyring = Keyring(database_url)
    found = keyring.find(one.key)
    assert found is not None
    assert (found.name, found.scopes, found.rate) == ("shop", frozenset({"ingest"}), "100/second")

    KeyChanges(lambda work: run(sessions, work), keyring).revoke(one.key_id, who="Ada", spare_last_admin=False)
    path.write_text(f"{one.key} shop ingest,admin\n{other.key} renamed read\n{make_key().key} shop ingest\n")
    assert taken_in(sessions, path) == ["shop"]
    keyring.forget()
    assert keyring.find(one.key) is None
    kept = keyring.find(other.key)
    assert kept is not None
    assert kept.name == "desk"

    with sessions() as session:
        logged = session.execute(
            text("SELECT who, subject, what, after->>'name' FROM log_entries WHERE kind = 'key' ORDER BY entry_id")
        ).all()
    assert [tuple(row) for row in logged if row.who == "service"][:2] == [
        ("service", one.key_id, "made", "shop"),
        ("service", other.key_id, "made", "desk"),
    ]
    assert len(logged) == 4


def test_more_keys_than_may_live(sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them is taken in."""
    monkeypatch.setattr(keys_file, "MOST_LIVING", 2)
    path = tmp_path / "keys"
    path.write_text("".join(f"{make_key().key} shop{number} ingest\n" for number in range(3)))
    with pytest.raises(KeysFileError, match="more than 2 would live"):
        taken_in(sessions, path)
    with sessions() as session:
        assert session.execute(text("SELECT count(*) FROM keys")).scalar_one() == 0


def test_a_service_that_others_can_reach(
    start_service: Callable[..., Service], database_url: str, tmp_path: Path
) -> None:
    """With a file of keys it starts, and a key of it is good from the first request on; no output shows a key."""
    made = make_key()
    path = tmp_path / "keys"
    path.write_text(f"{made.key} first ingest,read\n")
    path.chmod(0o644)
    service = start_service(BACKEND_HOST="0.0.0.0", SECRET_KEY="s" * 32, KEYS_FILE=str(path))
    answer = requests.get(f"{service.url}/alerts", headers=bearer(made.key), timeout=PATIENCE)
    assert (answer.status_code, requests.get(f"{service.url}/alerts", timeout=PATIENCE).status_code) == (200, 401)
    output = service.output()
    assert f"A new key of {path}: {made.key_id}, first" in output
    assert f"every user of this machine may read {path}" in output
    assert made.key[12:] not in output

    path.write_text(f"{made.key[:-1]} first ingest,read\n")
    changed = {"DATABASE_URL": database_url, "BACKEND_PORT": str(free_port()), "KEYS_FILE": str(path)}
    refused = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=os.environ | changed, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-2:] == [
        "Bad KEYS_FILE:",
        f"  {path}, line 1: it does not begin with a key, or a part of the key is missing or mistyped",
    ]
