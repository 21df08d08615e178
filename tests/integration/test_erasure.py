"""Erasing people: what goes, what stays, how far it comes, and who gets in its way."""

import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import Result
from flask.testing import FlaskClient
from sqlalchemy import JSON, LargeBinary, Text, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, sessionmaker

from commands.erasures import LONGEST
from database import users
from database.models import Base, Erasure, LogEntry, User, UserAction
from database.session import make_asking_engine, make_sessions, run
from rules.model import Event
from tests.conftest import ClientMaker
from tests.contract.helpers import an_event
from tests.integration.test_backup import backup
from tests.postgres import engine_on, transaction
from tests.service import ROOT
from work import erasure, erasure_job
from work.erasure import Asked, ask_for_erasure, erase_due, erase_rest
from work.retention import Retention

NAME, EVENT_ID, NOTE = "Zarathustra", "payroll-4711", "He moved to Weimar."
FIVE_YEARS = Retention(5)
PAGE = ROOT / "docs" / "decisions" / "erasure.md"
LONG_AGO = "2001-03-01T12:00:00Z"


def runner(sessions: sessionmaker[Session]) -> Callable[[Callable[[Session], Any]], Any]:
    """Does work in a session of its own."""
    return partial(run, sessions)


def ask(sessions: sessionmaker[Session], user_id: int = 7, **more: Any) -> Asked:
    """Ask for the erasure of a user."""
    asked: Asked = runner(sessions)(lambda session: ask_for_erasure(session, user_id, FIVE_YEARS, who="ada", **more))
    return asked


def rows(sessions: sessionmaker[Session]) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    with sessions() as session:
        tables = [table.name for table in Base.metadata.sorted_tables]
        return {name: list(session.scalars(text(f"SELECT CAST(t AS text) FROM {name} AS t"))) for name in tables}


def those_with(found: dict[str, list[str]], *words: str) -> set[str]:
    """The tables that have one of these words in them."""
    return {name for name, lines in found.items() for line in lines if any(word in line for word in words)}


def a_person(client: FlaskClient, user_id: int = 7) -> None:
    """A user with a name, ids of events, and notes wherever there can be some."""
    until = (datetime.now(UTC) + timedelta(days=10)).isoformat()
    assert client.post("/users", json={"user_id": user_id, "name": NAME, "risk": "high"}).status_code == 201
    for number in range(4):
        event = an_event(
            user_id=user_id, type="withdraw", amount="150.00", time=number, event_id=f"{EVENT_ID}-{number}"
        )
        assert client.post("/event", json=event).status_code == 200
    path, alert = f"/users/{user_id}", f"/alerts/{user_id}-1-1100"
    assert client.patch(path, json={"risk": "normal", "note": NOTE}).status_code == 200
    assert client.patch(path, json={"closed_at": LONG_AGO, "note": NOTE}).status_code == 200
    assert client.put(f"{path}/mutes/1100", json={"until": until, "note": NOTE}).status_code == 201
    assert client.put(f"{path}/mutes/1100", json={"until": until}).status_code == 200
    assert client.put(f"{path}/mutes/30", json={"until": until, "note": NOTE}).status_code == 201
    assert client.patch(alert, json={"assignee": "ada", "note": NOTE}).status_code == 200
    assert client.post(f"{alert}/notes", json={"note": NOTE}).status_code == 200
    bulk = {"ids": [f"{user_id}-2-1100"], "set": {"status": "acknowledged"}, "note": NOTE}
    assert client.post("/alerts/bulk", json=bulk).status_code == 200
    assert NAME in client.get(f"{path}/export").text


# What goes, and what stays


def test_every_column_with_text_is_on_the_page() -> None:
    """What happens to each column that can hold text, JSON or bytes stands in a row of the page."""
    kinds = (Text, JSON, LargeBinary)
    columns = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, kinds)
        or (isinstance(column.type, ARRAY) and isinstance(column.type.item_type, kinds))
    }
    listed = re.findall(r"^\| ((?:`\w+\.\w+`(?:, )?)+) \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(name for line in listed for name in re.findall(r"`([^`]+)`", line)) == sorted(columns)


def test_nothing_is_left_of_a_person(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    """Neither name, ids of events nor notes, in any table; what happened stays, and others' rows do too."""
    a_person(client)
    client.post("/users", json={"user_id": 70, "name": "Nietzsche"})
    client.put("/users/70/mutes/1100", json={"until": LONG_AGO.replace("2001", "9"), "note": "x"})
    client.patch("/users/70", json={"risk": "low", "note": "Another one."})
    before = rows(sessions)
    found = those_with(before, NAME, EVENT_ID, NOTE)
    assert found == {"users", "user_actions", "user_settings", "mutes", "alert_history", "log_entries"}
    balance = client.get("/users/7").get_json()["balance"]
    alerts = client.get("/alerts?user_id=7&muted=any").get_json()

    assert client.delete("/users/7").status_code == 204
    after = rows(sessions)
    assert those_with(after, NAME, EVENT_ID, NOTE) == set()
    assert {name: len(lines) for name, lines in after.items()} == {
        name: len(lines) + {"erasures": 1, "log_entries": 1}.get(name, 0) for name, lines in before.items()
    }
    assert those_with(after, "Nietzsche") == {"users"}
    assert those_with(after, "Another one.") == {"user_settings", "log_entries"}
    user = client.get("/users/7").get_json()
    assert (user["name"], user["balance"], "erased_at" in user, "erasure_requested_at" in user) == (
        None,
        balance,
        True,
        False,
    )
    assert client.get("/alerts?user_id=7&muted=any").get_json() == alerts
    history = client.get("/alerts/7-1-1100").get_json()["history"]
    assert [(one["what"], one["to"], one["note"]) for one in history] == [
        ("assignee", "ada", None),
        ("note", None, None),
    ]
    proof = client.post("/alerts/7-1-1100/verify").get_json()
    assert (proof["same"], proof["differences"]) == (True, [])


def test_an_old_event_is_a_new_one(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    """After the erasure nothing tells that it was stored before."""
    event = an_event(user_id=7, event_id="a")
    client.post("/event", json=event)
    client.patch("/users/7", json={"closed_at": LONG_AGO})
    assert client.delete("/users/7").status_code == 204
    assert "Idempotent-Replayed" not in client.post("/event", json=event).headers
    assert client.get("/users/7").get_json()["balance"] == "84.00"
    # And it is erased as well, if somebody asks for that.
    assert client.delete("/users/7").status_code == 204
    assert those_with(rows(sessions), "a)") == set()
    with sessions() as session:
        assert session.scalars(select(UserAction.event_id)).all() == [None, None]


# How far it comes


def test_it_goes_on_where_it_was_left(
    client: FlaskClient,
    sessions: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What takes too long for an answer is a 202, and the job does the rest, in stretches; the ledger has it once."""
    monkeypatch.setattr(erasure, "STRETCH", 3)
    with transaction(sessions) as session:
        session.execute(
            text("INSERT INTO users (user_id, name, closed_at) VALUES (7, :name, now() - interval '9 years')"),
            {"name": NAME},
        )
    for number in range(10):
        client.post("/event", json=an_event(user_id=7, event_id=f"{EVENT_ID}-{number}"))
    monkeypatch.setattr("routes.people.PATIENCE", 0.0)
    answer = client.delete("/users/7")
    assert (answer.status_code, answer.get_json()["name"]) == (202, None)
    assert "erasure_requested_at" in client.get("/users/7").get_json()
    assert those_with(rows(sessions), NAME) == set()
    assert those_with(rows(sessions), EVENT_ID) == {"user_actions"}
    # It cannot be taken back; nothing holds it up.
    taken_back = client.patch("/users/7", json={"erasure_requested": False})
    assert (taken_back.status_code, taken_back.get_json()["type"]) == (409, "urn:problem:being-erased")
    assert client.patch("/users/7", json={"legal_hold": True}).status_code == 200
    assert erase_due(runner(sessions), FIVE_YEARS, seconds=0.0) == (0, False)
    logged = structlog.testing.LogCapture()
    monkeypatch.setattr(erasure, "log", structlog.wrap_logger(None, processors=[logged]))
    assert erase_due(runner(sessions), FIVE_YEARS) == (1, True)
    (line,) = logged.entries
    assert (line["event"], line["user_id"], line["erased_at"]) == ("user_erased", 7, answer.get_json()["erased_at"])
    assert erase_due(runner(sessions), FIVE_YEARS) == (0, True)
    assert those_with(rows(sessions), EVENT_ID) == set()
    with sessions() as session:
        assert len(session.scalars(select(Erasure)).all()) == 1


def test_it_is_done_when_it_is_due(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    """Who was asked for is erased once the years are over; a hold keeps a user, and so does an open account."""
    now = datetime.now(UTC)
    for user_id in range(1, 7):
        client.post("/users", json={"user_id": user_id, "name": NAME})
        assert client.delete(f"/users/{user_id}").status_code == 409
    client.post("/users", json={"user_id": 8, "name": NAME})
    closed = {
        1: now - timedelta(days=1000),
        2: now.replace(year=now.year - 6),
        3: now.replace(year=now.year - 6),
        5: now.replace(year=now.year - 6),
        8: now.replace(year=now.year - 6),
    }
    for user_id, at in closed.items():
        assert client.patch(f"/users/{user_id}", json={"closed_at": at.isoformat()}).status_code == 200
    client.patch("/users/3", json={"legal_hold": True})
    client.patch("/users/5", json={"erasure_requested": False})
    client.patch(
        "/users/6", json={"closed_at": (years_ago := FIVE_YEARS.closed_before(now) - timedelta(hours=1)).isoformat()}
    )
    # The database cannot tell, but erase_due can.
    assert (FIVE_YEARS.until(User(closed_at=years_ago, legal_hold=False)) or now) > now
    assert erase_due(runner(sessions), FIVE_YEARS) == (1, True)
    with sessions() as session:
        erased = session.scalars(select(User.user_id).where(User.name.is_(None))).all()
        (line,) = session.scalars(select(Erasure)).all()
        last = session.scalars(select(LogEntry).order_by(LogEntry.entry_id.desc()).limit(1)).one()
    assert erased == [2]
    assert (line.user_id, line.who, line.override) == (2, "anonymous", None)
    assert (last.who, last.kind, last.subject, last.what) == ("service", "user", "2", "erased")
    client.patch("/users/3", json={"legal_hold": False})
    assert erase_due(runner(sessions), FIVE_YEARS) == (1, True)


def test_a_run_ends_and_the_next_goes_on(
    client: FlaskClient, sessions: sessionmaker[Session], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that has no more time says so by a short rest; after one that has done all, the rest is long."""
    monkeypatch.setattr(erasure, "STRETCH", 1)
    a_person(client)
    client.patch("/users/7", json={"erasure_requested": True})
    engine = make_asking_engine(database_url, "erasure", timeout=60, keep=True)
    monkeypatch.setattr(erasure_job, "RUN", 0.0)
    began = time.monotonic()
    assert erasure_job.run_once(engine, FIVE_YEARS) < erasure_job.RESTS * (time.monotonic() - began) + 0.1
    assert those_with(rows(sessions), NAME) == {"users"}
    monkeypatch.setattr(erasure_job, "RUN", 60.0)
    assert erasure_job.run_once(engine, FIVE_YEARS) == erasure_job.INTERVAL
    assert those_with(rows(sessions), NAME, EVENT_ID, NOTE) == set()
    engine.dispose()


# Who gets in its way


def test_whoever_is_locked_comes_later(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    """The job waits for nobody: it passes over a user that somebody else works on, and takes the next one."""
    for user_id in (7, 8):
        client.post("/users", json={"user_id": user_id, "name": NAME})
        client.delete(f"/users/{user_id}")
        client.patch(f"/users/{user_id}", json={"closed_at": LONG_AGO})
    with transaction(sessions) as session:
        users.lock_user(session, 7)
        assert erase_due(runner(sessions), FIVE_YEARS) == (1, True)
    assert erase_due(runner(sessions), FIVE_YEARS) == (1, True)


def test_two_who_erase_and_one_who_posts(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    """Whatever the order, what was stored before is gone, nothing is counted twice, and all events are stored."""
    ours = client.application.extensions["transaction-alerts"]
    a_person(client)
    begun = threading.Barrier(4)

    def erase() -> bool:
        begun.wait()
        assert ask(sessions).kept is None
        return erase_rest(runner(sessions), 7)

    def post(first: int) -> None:
        begun.wait()
        for number in range(first, first + 40):
            # Late ones too, which write to rows of the past.
            ours.judge_many(
                [Event(type="deposit", amount=Decimal(1), user_id=7, time=number % 7, event_id=f"new-{number}")]
            )

    with ThreadPoolExecutor(4) as threads:
        both = [threads.submit(erase) for _ in range(2)]
        posts = [threads.submit(post, first) for first in (0, 100)]
        assert [one.result() for one in both] == [True, True]
        for one in posts:
            one.result()
    assert those_with(rows(sessions), NAME, EVENT_ID, NOTE) == set()
    user = client.get("/users/7").get_json()
    assert (user["balance"], "erasure_requested_at" in user) == ("-520.00", False)
    with sessions() as session:
        assert session.scalar(select(User.last_seq)) == 84
    assert client.post("/alerts/7-1-1100/verify").get_json()["differences"] == []


def test_a_hold_or_the_erasure_comes_first(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    """Of a hold and an erasure at the same time one comes first: a user is never both held and erased after that."""
    for user_id in range(1, 21):
        client.post("/users", json={"user_id": user_id, "name": NAME})
        client.patch(f"/users/{user_id}", json={"closed_at": LONG_AGO})
    begun = threading.Barrier(2)

    def hold() -> None:
        begun.wait()
        for user_id in range(1, 21):
            client.application.test_client().patch(f"/users/{user_id}", json={"legal_hold": True})

    def erase() -> list[int]:
        begun.wait()
        return [user_id for user_id in range(1, 21) if ask(sessions, user_id).kept is None]

    with ThreadPoolExecutor(2) as threads:
        holding, erasing = threads.submit(hold), threads.submit(erase)
        holding.result()
        erased = erasing.result()
    with sessions() as session:
        named = session.scalars(select(User.user_id).where(User.name.is_not(None))).all()
        refused = session.scalars(
            select(User.user_id).where(User.erased_at.is_(None), User.erasure_requested_at.is_not(None))
        ).all()
    assert sorted([*named, *erased]) == list(range(1, 21))
    assert sorted(named) == sorted(refused)


# After a restore


def erasures(client: FlaskClient, *arguments: str, lines: str | None = None) -> Result:
    """Run `flask --app app erasures`."""
    return client.application.test_cli_runner().invoke(args=["erasures", *arguments], input=lines)


def test_a_restored_backup_brings_nobody_back(
    make_client: ClientMaker, database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    """A backup from before the erasure has the person; with the ledger applied it has not, however often that is done.

    Others stay, a hold that was there then holds nothing up, and nothing differs from what the actions lead to.
    """
    client = make_client()
    a_person(client)
    client.post("/event", json=an_event(user_id=8, event_id="kept"))
    client.patch("/users/7", json={"legal_hold": True})
    assert backup(database_url, tmp_path, "dump", "a.dump").returncode == 0
    client.patch("/users/7", json={"legal_hold": False})
    assert client.delete("/users/7").status_code == 204
    client.post("/users", json={"user_id": 9, "name": NAME})  # made and erased since
    assert client.delete("/users/9?override=No+bank.").status_code == 204
    ledger = erasures(client)
    assert (ledger.exit_code, ledger.stderr) == (0, "")
    lines = [json.loads(line) for line in ledger.stdout.splitlines()]
    assert [(one["user_id"], one["who"], one["override"]) for one in lines] == [
        (7, "anonymous", None),
        (9, "anonymous", "No bank."),
    ]
    restored = backup(empty_database_url, tmp_path, "restore", "a.dump")
    assert (restored.returncode, "erasures apply" in restored.stdout) == (0, True)
    with engine_on(empty_database_url) as engine:
        new, after = make_sessions(engine), make_client(database_url=empty_database_url)
        assert those_with(rows(new), NAME) == {"users"}
        said = "2 lines: {} erased again, {} erased already, 1 of no user in this database.\n"
        for expected in (said.format(1, 0), said.format(0, 1)):
            applied = erasures(after, "apply", "-", lines=ledger.stdout)
            assert (applied.exit_code, applied.stdout, applied.stderr) == (0, expected, "")
        assert those_with(rows(new), NAME, EVENT_ID, NOTE) == set()
        assert those_with(rows(new), "kept") == {"user_actions"}
        assert erasures(after).stdout == ledger.stdout
        assert after.application.test_cli_runner().invoke(args=["verify"]).exit_code == 0


def test_a_bad_line_is_named_and_nothing_is_erased(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    """All lines are read before the first is applied; what the log says of an erasure is a line too."""
    client.post("/users", json={"user_id": 7, "name": NAME})
    line = '{"user_id":7,"erased_at":"2026-11-27T06:53:38.200531Z","event":"user_erased","level":"info"}\n'
    bad = erasures(client, "apply", "-", lines=f"{line}\n{line.replace('7,', 'true,')}")
    assert (bad.exit_code, bad.stderr) == (2, "Error: <stdin>, line 3: no line of a ledger. Nothing was erased.\n")
    assert those_with(rows(sessions), NAME) == {"users"}
    long = erasures(client, "apply", "-", lines=line.replace("info", "x" * LONGEST))
    assert (long.exit_code, "line 1: no line" in long.stderr) == (2, True)
    ahead = erasures(client, "apply", "-", lines=line.replace("2026-", "9026-"))
    assert (ahead.exit_code, "line 1: no line" in ahead.stderr) == (2, True)
    assert erasures(client, "apply", "-", lines=line).exit_code == 0
    assert those_with(rows(sessions), NAME) == set()
