"""The commands backtest and verify: what they print, how they end, and that nothing is left running."""

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from database.models import Alert
from tests.conftest import ClientMaker
from tests.contract.helpers import an_event
from tests.long_history import LONG_SWEEP, alive, descendants, judges, make, wait_for
from tests.postgres import Sessions, transaction
from tests.service import ROOT
from tests.waiting import PATIENCE

# Two alerts of 123 by default; the second deposit is over 100, too.
EVENTS = [an_event(amount=amount, time=time) for time, amount in ((10, "80.00"), (20, "80.00"), (30, "60.00"))]
EVENTS += [an_event(user_id=2, amount="200.01", time=90_000)]


@pytest.fixture
def client(make_client: ClientMaker) -> Any:
    """A client of a service that has judged EVENTS."""
    client = make_client()
    assert client.post("/events", json=EVENTS).status_code == 200
    return client


@pytest.fixture
def run(client: FlaskClient) -> Any:
    """Runs a command in this process, with one that judges: `run("verify", "--json")`."""
    return lambda *args: client.application.test_cli_runner().invoke(args=[args[0], "--processes", "1", *args[1:]])


def backtest(run: Any, *options: Any) -> Any:
    """The JSON of a backtest of rule 123."""
    result = run("backtest", "--rule", "123", *options, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def flask(database_url: str, *args: Any, stdout: Any = subprocess.PIPE, stderr: Any = subprocess.PIPE) -> Any:
    """A command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", str(ROOT / "app.py"), *args],
        env=os.environ | {"DATABASE_URL": database_url},
        cwd=tempfile.gettempdir(),
        stdout=stdout,
        stderr=stderr,
        text=True,
        process_group=0,
    )


# Backtest


def test_a_rule_with_another_parameter(run: Any) -> None:
    """Alerts stored and tested are counted, by day and user, and those added or removed are shown with evidence."""
    result = run("backtest", "--rule", "123", "--set", "threshold=100", "--set", "window=15")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines() if not line.startswith("actions per second")]
    assert lines == [
        "rule 123: Deposits over 100.00 in 15 s",
        "threshold 100.00 (now 200.00)",
        "window 15 (now 30)",
        "",
        "actions 4 of 2 users",
        "days with actions 2, 10 to 90000",
        "",
        "stored backtest",
        "alerts 2 3",
        "users hit 2 2",
        "alerts a day 1.00 1.50",
        "on the busiest day 1 2",
        "added 1",
        "removed 0",
        "true lost of 0 0",
        "false spared of 0 0",
        "",
        "added alerts",
        "123 user 1, action 2 at 20: Deposits of 160.00 between 10 and 20 are over 100.00 in 15 s.",
    ]


def test_removed_alerts_come_with_the_stored_evidence(run: Any) -> None:
    """What would no longer be raised is shown with why it was."""
    found = backtest(run, "--set", "threshold=210.00")
    assert (found["added"], found["removed"]) == (0, 1)
    (removed,) = found["removed_alerts"]
    assert (removed["id"], removed["time"]) == ("2-1-123", 90_000)
    assert removed["evidence"]["sentence"].startswith("Deposits of 200.01 ")


def test_of_the_removed_alerts_those_that_were_closed_are_counted(run: Any, client: FlaskClient) -> None:
    """As true and as false, in all and at each value of a sweep; the examples begin with the true ones."""
    for alert, outcome in (("1-3-123", "false_positive"), ("2-1-123", "true_positive")):
        closed = client.patch(f"/alerts/{alert}", json={"status": "closed", "outcome": outcome})
        assert closed.status_code == 200, closed.text
    figures = ("removed", "true_lost", "false_spared")
    options = ("--set", "threshold=230.00", "--sweep", "threshold=200:230:10")
    found = backtest(run, *options)
    assert [found[name] for name in figures] == [2, 1, 1]
    assert (found["true_positives"], found["false_positives"]) == (1, 1)
    assert [(one["id"], one["outcome"]) for one in found["removed_alerts"]] == [
        ("2-1-123", "true_positive"),
        ("1-3-123", "false_positive"),
    ]
    steps = [(row["value"], *(row[name] for name in figures)) for row in found["sweep"]]
    assert steps == [("200.00", 0, 0, 0), ("210.00", 1, 1, 0), ("220.00", 2, 1, 1), ("230.00", 2, 1, 1)]
    lines = [" ".join(line.split()) for line in run("backtest", "--rule", "123", *options).stdout.splitlines()]
    assert {"true lost of 1 1", "false spared of 1 1"} <= set(lines)
    assert any(line.startswith("123 user 2, action 1 at 90000, closed as true: ") for line in lines)
    client.patch("/alerts/2-1-123", json={"status": "open"})
    assert backtest(run, *options)["true_lost"] == 0


def test_values_that_contradict_each_other(run: Any) -> None:
    """What could never fire is refused, set or swept."""
    for options in (("--set", "among=5"), ("--sweep", "count=10:30:10")):
        result = run("backtest", "--rule", "670", *options)
        assert (result.exit_code, "must be" in result.output) == (2, True)


def test_a_period(run: Any) -> None:
    """Only alerts within it count; what is before it is read for look-back, what is after it is not read."""
    found = backtest(run, "--from", "30", "--to", "89999")
    assert (found["actions"], found["from"], found["to"], found["days"]) == (3, 30, 30, 1)
    assert (found["then"]["alerts"], found["now"]["alerts"], found["added"], found["removed"]) == (1, 1, 0, 0)


def test_two_clocks(run: Any, client: FlaskClient) -> None:
    """Days without actions do not count, and times of two clocks are warned of; a period leaves them out."""
    assert client.post("/event", json=an_event(user_id=3, time=1_767_225_600)).status_code == 200
    found = backtest(run)
    assert (found["days"], found["now"]["alerts_per_day"]) == (3, 0.67)
    assert len(found["warnings"]) == 1
    assert run("backtest").stdout.splitlines()[-1] == f"Warning: {found['warnings'][0]}"
    later = backtest(run, "--from", "100000")
    assert (later["days"], later["warnings"]) == (1, [])


def test_a_sweep(run: Any) -> None:
    """Each value is a line, upwards or downwards, and the first that is quiet enough is named."""
    options = ("--sweep", "threshold=100:220:60", "--at-most", "1")
    found = backtest(run, *options)
    assert [(row["value"], row["alerts"], row["added"], row["removed"]) for row in found["sweep"]] == [
        ("100.00", 3, 1, 0),
        ("160.00", 2, 0, 0),
        ("220.00", 0, 0, 2),
    ]
    assert found["quiet_enough"] == "160.00"
    assert backtest(run, "--sweep", "threshold=220:100:50", "--at-most", "1")["quiet_enough"] == "220.00"
    assert backtest(run, "--sweep", "window=30:0:15", "--at-most", "0")["quiet_enough"] is None
    lines = run("backtest", "--rule", "123", *options).stdout.splitlines()
    assert [line.split() for line in lines[-6:-2]] == [
        [
            "threshold",
            "alerts",
            "users",
            "hit",
            "alerts",
            "a",
            "day",
            "added",
            "removed",
            "true",
            "lost",
            "false",
            "spared",
        ],
        ["100.00", "3", "2", "1.50", "1", "0", "0", "0"],
        ["160.00", "2", "2", "1.00", "0", "0", "0", "0"],
        ["220.00", "0", "0", "0.00", "0", "2", "0", "0"],
    ]
    assert lines[-1] == "threshold 160.00 is the first with at most 1 alert a day"


def test_without_a_rule_all_that_are_active_are_tried(run: Any) -> None:
    """They are judged as they are set, so nothing is added and nothing removed."""
    result = run("backtest")
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if line.startswith("rule ")] == [
        "rule 1100: Withdrawal over 100.00",
        "rule 30: 3 withdrawals in a row",
        "rule 300: 3 increasing deposits",
        "rule 123: Deposits over 200.00 in 30 s",
    ]
    assert ["added", "0"] in [line.split() for line in result.stdout.splitlines()]
    assert ["removed", "0"] in [line.split() for line in result.stdout.splitlines()]


def test_a_rule_that_is_off_is_tried_as_if_it_were_active(run: Any) -> None:
    """Whatever its status now, its alerts are what it would raise."""
    result = run("backtest", "--rule", "500", "--set", "count=2", "--json")
    assert json.loads(result.stdout)["now"]["alerts"] == 1


def test_an_empty_history(make_client: ClientMaker) -> None:
    """Without any action there is nothing to find."""
    runner = make_client().application.test_cli_runner()
    result = runner.invoke(args=["backtest", "--rule", "30", "--sweep", "count=2:3:1", "--at-most", "0", "--json"])
    found = json.loads(result.stdout)
    assert (found["actions"], found["days"], found["quiet_enough"]) == (0, 1, 2)
    assert runner.invoke(args=["backtest"]).exit_code == 0
    assert runner.invoke(args=["verify"]).exit_code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rule", "7"], "there is no rule 7; the rules are 1100, 30,"),
        (["--set", "threshold=1"], "--set and --sweep need --rule"),
        (["--sweep", "threshold=1:2:1"], "--set and --sweep need --rule"),
        (["--rule", "123", "--at-most", "1"], "--at-most needs --sweep"),
        (["--rule", "123", "--from", "2", "--to", "1"], "--to must not be before --from"),
        (["--rule", "123", "--from", "-1"], "--from"),
        (["--rule", "123", "--processes", "0"], "--processes"),
        (["--rule", "123", "--set", "threshold"], "must be NAME=VALUE"),
        (["--rule", "123", "--set", "count=3"], "rule 123 has no such parameter, but threshold, window"),
        (["--rule", "123", "--set", "threshold=1e3"], "threshold must be money"),
        (["--rule", "123", "--set", "threshold=-1"], "threshold must be money"),
        (["--rule", "123", "--set", "window=1.5"], "window must be a whole number of seconds, 0 to 3600"),
        (["--rule", "123", "--set", "window=3601"], "window must be a whole number of seconds, 0 to 3600"),
        (["--rule", "123", "--sweep", "threshold"], "must be NAME=FROM:TO:STEP"),
        (["--rule", "123", "--sweep", "threshold=1:2"], "must be NAME=FROM:TO:STEP"),
        (["--rule", "123", "--sweep", "count=1:2:1"], "rule 123 has no such parameter"),
        (["--rule", "123", "--sweep", "threshold=1:x:1"], "threshold must be money"),
        (["--rule", "123", "--sweep", "threshold=1:2:0"], "the step of threshold must be money"),
        (["--rule", "123", "--sweep", "window=1:2:-1"], "the step of window must be a whole number of seconds, 1"),
        (["--rule", "123", "--sweep", "threshold=1:400:1"], "makes 400 values, which are more than 200"),
    ],
)
def test_what_cannot_be_tried_is_a_usage_error(make_client: ClientMaker, options: Any, said: str) -> None:
    """Unknown rules and parameters, bad values and sweeps end with 2 and a sentence, before anything is read."""
    result = make_client().application.test_cli_runner().invoke(args=["backtest", *options])
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


# Verify


def test_verify_finds_no_difference(run: Any) -> None:
    """The counts are printed, and the exit status is 0."""
    result = run("verify", "--processes", "2")
    assert result.exit_code == 0
    counts = dict(line.rsplit(maxsplit=1) for line in result.stdout.splitlines())
    assert [counts[name] for name in ("users", "actions", "alerts", "differences")] == ["2", "4", "2", "0"]


def test_verify_lists_each_difference(run: Any, sessions: Sessions) -> None:
    """What was altered by SQL is listed, and the exit status is 1."""
    with transaction(sessions) as session:
        session.execute(text("DELETE FROM alerts WHERE user_id = 1"))
        session.execute(text("UPDATE users SET net = 0 WHERE user_id = 2"))
    result = run("verify")
    assert result.exit_code == 1
    sentences = ["it is missing", "the user's count or balance is not that of the actions"]
    assert result.stdout.splitlines()[:2] == [f"user 1, action 3, code 123: {sentences[0]}", f"user 2: {sentences[1]}"]
    result = run("verify", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "users": 2,
        "actions": 4,
        "alerts": 1,
        "unproved": 0,
        "differences": 2,
        "listed": [
            {"user_id": 1, "seq": 3, "code": 123, "what": sentences[0]},
            {"user_id": 2, "seq": None, "code": None, "what": sentences[1]},
        ],
    }


@pytest.mark.parametrize("command", ["backtest", "verify"])
def test_progress_on_a_terminal(client: FlaskClient, database_url: str, command: str) -> None:
    """Someone waiting sees a bar, how far it is and how fast; the output stays clean."""
    ours, theirs = pty.openpty()
    terminal = b""
    with flask(database_url, command, "--json", stderr=theirs) as running:
        os.close(theirs)
        with suppress(OSError):  # that is how a terminal ends
            while part := os.read(ours, 4096):  # it holds no more, and who writes to a full one waits
                terminal += part
        output, _ = running.communicate(timeout=PATIENCE)
    os.close(ours)
    shown = terminal.decode()
    assert (running.returncode, json.loads(output)["actions"]) == (0, 4)
    assert "[####################################]  100%" in shown
    assert "actions/s" in shown


# What cannot be done


@pytest.mark.parametrize("command", ["backtest", "verify"])
def test_a_database_that_is_not_migrated_is_a_clear_error(
    make_client: ClientMaker, sessions: Sessions, command: str
) -> None:
    """Nothing is attempted on tables of another version."""
    with transaction(sessions) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    result = make_client().application.test_cli_runner().invoke(args=[command])
    assert result.exit_code == 2
    assert "alembic upgrade head" in result.stderr


@pytest.mark.parametrize("command", ["backtest", "verify"])
def test_one_reads_all_of_history_at_a_time(run: Any, sessions: Sessions, command: str) -> None:
    """A second one would leave too little for the live events."""
    with transaction(sessions) as session:
        session.execute(text("SELECT pg_advisory_xact_lock(7310043)"))
        result = run(command)
    assert result.exit_code == 2
    assert "Another backtest, verification or export is running" in result.stderr


def test_an_error_of_the_database_is_told(run: Any, sessions: Sessions) -> None:
    """An error in one of its processes is reported by the command, without a traceback."""
    columns = (
        ", ".join(column.name for column in Alert.__table__.columns if column.name != "superseded")
        + ", 1 / 0 = 1 AS superseded"
    )
    with transaction(sessions) as session:
        session.execute(text("ALTER TABLE alerts RENAME TO real"))
        session.execute(text(f"CREATE VIEW alerts AS SELECT {columns} FROM real"))
    for command in ("backtest", "verify"):
        result = run(command)
        assert result.exit_code == 2
        assert "The database failed: division by zero" in result.stderr
        assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["backtest", "verify"])
@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("ALTER TABLE alerts RENAME TO gone", "the table alerts is missing"),
        ("ALTER TABLE alerts RENAME superseded TO gone", "the table alerts lacks superseded"),
    ],
)
def test_a_database_that_has_lost_something(
    run: Any, sessions: Sessions, command: str, statement: str, lost: str
) -> None:
    """Without users nothing would be read of a table that is missing, and no difference found."""
    with transaction(sessions) as session:
        session.execute(text(statement))
    result = run(command)
    assert result.exit_code == 2
    assert lost in result.stderr


def test_an_output_that_cannot_be_written(client: FlaskClient, database_url: str) -> None:
    """On a full disk it ends with 2 and says so, and if nobody reads it, as if by SIGPIPE; never with 1."""
    with Path("/dev/full").open("w") as full, flask(database_url, "verify", stdout=full) as command:
        errors = command.communicate()[1]
    assert (command.returncode, errors) == (2, "Error: The output cannot be written: No space left on device.\n")
    reader, writer = os.pipe()
    os.close(reader)
    with flask(database_url, "verify", stdout=writer) as command:
        errors = command.communicate()[1]
    os.close(writer)
    assert (command.returncode, errors) == (141, "")


# Ctrl+C


@pytest.mark.parametrize("how", ["ctrl-c", "kill", "kill -9"])
def test_no_process_is_left(client: FlaskClient, sessions: Sessions, database_url: str, how: str) -> None:
    """Ctrl+C, which reaches all processes, and SIGTERM, which one gets, end all and say so; none outlives a kill."""
    make(sessions)
    sweep = "{parameter}={from}:{to}:{step}".format(**LONG_SWEEP)
    with flask(database_url, "backtest", "--rule", "123", "--sweep", sweep) as command:
        judging = wait_for(lambda: judges(command.pid) and descendants(command.pid))
        if how == "ctrl-c":
            os.killpg(command.pid, signal.SIGINT)
        elif how == "kill":
            command.terminate()
        else:
            command.kill()
        output, errors = command.communicate(timeout=PATIENCE)
    if how != "kill -9":
        assert (command.returncode, output) == (130 if how == "ctrl-c" else 143, "")
        assert errors.startswith("Error: Stopped before the end: all processes have ended")
        assert errors.count("\n") == 1
    wait_for(lambda: not alive(judging))
