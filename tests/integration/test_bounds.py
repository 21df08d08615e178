"""Beyond the bounds of docs/operations.md that no other test goes beyond."""

import json
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from commands.replay import WAITS
from database import embedded, history, users
from database.session import CommitUncertain, make_sessions
from tests.conftest import ClientMaker
from tests.contract.helpers import an_event, problem
from tests.postgres import Sessions, engine_on, transaction
from tests.service import Service
from tests.waiting import PATIENCE, wait_until

StartService = Callable[..., Service]


def test_no_free_id(make_client: ClientMaker, monkeypatch: pytest.MonkeyPatch, sessions: Sessions) -> None:
    """If every id that is tried for a new user is taken meanwhile, the answer is a 503 and nothing is stored."""
    monkeypatch.setattr(users, "create_user", lambda *_, **__: False)
    answer = make_client().post("/users", json={})
    problem(answer, 503)
    assert answer.headers["Retry-After"] == "1"
    with sessions() as session:
        assert session.execute(text("SELECT count(*) FROM users")).scalar_one() == 0


def test_a_transaction_that_stalls_is_ended(database_url: str, sessions: Sessions) -> None:
    """A client that falls silent within a transaction loses it, so that nobody waits for its locks for long."""
    silent = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
    with engine_on(database_url, timeout=1) as engine, make_sessions(engine)() as stalled, sessions() as other:
        pid = stalled.execute(text("SELECT pg_backend_pid()")).scalar_one()
        stalled.execute(text("BEGIN"))
        wait_until(lambda: other.execute(silent, {"pid": pid}).scalar_one() == 0)
        with pytest.raises(DBAPIError) as caught:
            stalled.execute(text("SELECT 1"))
        assert caught.value.connection_invalidated


def test_a_request_that_does_not_end_is_left_behind(start_service: StartService) -> None:
    """A service that is stopped ends although a body is still outstanding, and its caller sees a closed connection."""
    service = start_service()
    with closing(socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)) as caller:
        caller.sendall(b"POST /users HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n")
        caller.sendall(b"Content-Length: 100\r\n\r\n{")
        assert service.process is not None
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(PATIENCE)
        caller.settimeout(PATIENCE)
        try:
            while caller.recv(4096):
                pass
        except ConnectionResetError:
            pass


def test_a_user_larger_than_a_part_is_a_part(sessions: Sessions) -> None:
    """A part of all of history has no more actions than asked for, except that a user is never split."""
    with transaction(sessions) as session:
        session.execute(text("INSERT INTO users (user_id, last_seq) VALUES (1, 2), (2, 70), (3, 1), (4, 0)"))
    with transaction(sessions) as session:
        parts = list(history.stretches(session.connection(), 10))
    assert [(part.first, part.last, part.actions) for part in parts] == [(1, 2, 72), (3, 4, 1)]


def test_replay_gives_up(make_client: ClientMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that stays away ends a replay with status 2, and with how to go on."""
    app = make_client().application
    (tmp_path / "history").write_text(json.dumps(an_event()))
    waits: list[float] = []

    def away(_: object) -> None:
        raise CommitUncertain

    app.extensions["transaction-alerts"].judge_many = away
    monkeypatch.setattr("commands.replay.sleep", waits.append)
    result = app.test_cli_runner().invoke(args=["replay", str(tmp_path / "history")])
    assert (result.exit_code, tuple(waits)) == (2, WAITS)
    assert "Run it again to continue" in result.stderr


def test_an_embedded_server_out_of_time(ready_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not start or stop in time is an error that says so; it still stops, since nobody uses it."""

    def join() -> None:
        with embedded.use(ready_folder, fsync="off"):
            monkeypatch.setattr(embedded, "START", 0)
            with pytest.raises(embedded.EmbeddedError, match="has given no answer for 0 s"):
                join()
            monkeypatch.setattr(embedded, "STOP", 0)

    with pytest.raises(embedded.EmbeddedError, match="has not stopped within 0 s"):
        join()
    wait_until(lambda: not subprocess.run(["pgrep", "-f", str(ready_folder)], check=False, capture_output=True).stdout)
