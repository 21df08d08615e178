"""The command `prune`: what it wants, what it prints, what it leaves in the log, and that it may be killed anywhere."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from database.pruning import rights_lacking
from database.session import CommitUncertain, Transaction
from tests.conftest import ClientMaker
from tests.contract.helpers import an_event
from tests.postgres import Sessions, transaction
from tests.service import ROOT
from tests.waiting import PATIENCE, wait_until
from work import pruning

DAY = 86_400


@pytest.fixture(autouse=True)
def no_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process does itself is done at once."""
    monkeypatch.setattr(pruning, "RESTS", 0.0)


@pytest.fixture
def run(make_client: ClientMaker) -> Any:
    """Runs the command in this process: `run("--before", "50")`; two users have actions, one of them a loud old one."""
    client = make_client()
    for event in (
        an_event(type="withdraw", amount="150.00", time=10),
        an_event(time=60),
        an_event(user_id=2, time=70),
    ):
        assert client.post("/event", json=event).status_code == 200
    return lambda *args: client.application.test_cli_runner().invoke(args=["prune", *args])


def test_what_it_says_and_notes(run: Any, sessions: Sessions) -> None:
    """First what would go, then what went; the log has who began it and what came of it."""
    dry = run("--before", "50", "--dry-run")
    assert (dry.exit_code, dry.stderr) == (0, "")
    assert "actions                      1  would be removed\n" in dry.stdout
    assert "alerts                       1  would be removed, 1 of them open\n" in dry.stdout
    done = run("--before", "50", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    numbers = {"users": 1, "actions": 1, "alerts": 1, "open_alerts": 1, "held_users": 0, "busy_users": 0}
    assert json.loads(done.stdout) == {"before": 50, "dry_run": False, **numbers, "erased_users": 0}
    with sessions() as session:
        noted = text("SELECT who, kind, subject, what, after FROM log_entries WHERE kind = 'prune' ORDER BY entry_id")
        entries = [tuple(row) for row in session.execute(noted)]
    assert entries == [
        ("command line", "prune", "before 50", "began", None),
        ("command line", "prune", "before 50", "ended", numbers),
    ]
    assert "actions                      0  removed\n" in run("--before", "50").stdout


def test_a_database_that_goes_away_while_it_commits(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows what was stored, but started again it goes on: that is no traceback, and no user who was in use."""

    def lost(_: object) -> None:
        raise CommitUncertain

    with monkeypatch.context() as while_committing:
        while_committing.setattr(Transaction, "commit", lost)
        stopped = run("--before", "50")
    assert stopped.exit_code == 2
    assert "Start it again: it goes on where it was." in stopped.stderr
    assert json.loads(run("--before", "50", "--json").stdout)["actions"] == 1


def test_what_it_wants(run: Any, make_client: ClientMaker, sessions: Sessions) -> None:
    """A time, unless times are dates; not one of the future; and to be asked twice to remove everything."""
    assert run().exit_code == 2
    assert "--before is needed, unless TIME_IS_EPOCH=true" in run().stderr
    assert "Nothing would be left" in run("--before", "71").stderr
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM user_actions")) == 3
    assert json.loads(run("--before", "71", "--yes", "--json").stdout)["actions"] == 3

    dated = make_client(time_is_epoch=True, retention_years=2)
    now = int(datetime.now(UTC).timestamp())
    for at in (now - 3 * 366 * DAY, now - 365 * DAY):
        assert dated.post("/event", json=an_event(time=at)).status_code == 200
    invoke = dated.application.test_cli_runner().invoke
    assert "must not be in the future" in invoke(args=["prune", "--before", str(now + DAY)]).stderr
    found = json.loads(invoke(args=["prune", "--json"]).stdout)
    assert found["actions"] == 1
    assert abs(found["before"] - (now - 2 * 365 * DAY)) < 3 * DAY


def test_the_right_that_it_takes(sessions: Sessions) -> None:
    """The service's role need not have the right to remove actions; the command says so before it does anything."""
    with sessions() as session:
        role = f"reader_{os.getpid()}"
        session.execute(text(f"CREATE ROLE {role}"))
        try:
            session.execute(text(f"SET ROLE {role}"))
            tables = ("alert_history", "alerts", "late_offsets", "user_actions")
            assert rights_lacking(session.connection()) == [f"DELETE on {name}" for name in tables]
        finally:
            session.execute(text("RESET ROLE"))
            session.execute(text(f"DROP ROLE {role}"))


USERS = 300
_FILL = f"""
    INSERT INTO users (user_id, net, last_seq) SELECT n, 5, 2 FROM generate_series(1, {USERS}) AS n;
    INSERT INTO user_actions
        (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version, ordinal, running_total)
    SELECT n, seq, 'deposit', 2.5, seq, '{{}}', 0, 0, seq, 2.5 * seq
    FROM generate_series(1, {USERS}) AS n, generate_series(1, 2) AS seq
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_it_may_be_ended_anywhere(
    make_client: ClientMaker, database_url: str, sessions: Sessions, ending: signal.Signals
) -> None:
    """Killed or stopped by Ctrl+C in the middle: everything holds, and the next run removes the rest."""
    with transaction(sessions) as session:
        session.execute(text(_FILL))

    def pruned() -> int:
        with sessions() as session:
            return int(session.execute(text("SELECT count(*) FROM checkpoints")).scalar_one())

    command = [sys.executable, "-m", "flask", "--app", "app", "prune", "--before", "2"]
    environment = os.environ | {"DATABASE_URL": database_url}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: pruned() > 3)
        process.send_signal(ending)
        _, said = process.communicate(timeout=PATIENCE)
    assert 3 < pruned() < USERS
    if ending is signal.SIGINT:
        assert process.returncode == 130
        assert "actions were removed. Start it again: it goes on where it was." in said

    invoke = make_client().application.test_cli_runner().invoke
    verified = json.loads(invoke(args=["verify", "--json"]).stdout)
    assert (verified["users"], verified["differences"]) == (USERS, 0)
    assert invoke(args=["prune", "--before", "2"]).exit_code == 0
    assert pruned() == USERS
