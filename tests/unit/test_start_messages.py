"""What the service says when it starts and ends: to people on a terminal, to machines elsewhere."""

import json
import sys
from collections.abc import Iterator

import pytest
import structlog

import logs
from commands import serve, start_messages
from commands.start_messages import Started
from version import VERSION

RUNS = Started(
    address="http://127.0.0.1:5000",
    database="alerts on db.example",
    migration="0007",
    applied=2,
    active=[1100, 30],
    shadow=[500],
    workers=2,
    access="Keys are needed",
)


@pytest.fixture
def no_logs_afterwards() -> Iterator[None]:
    """The configuration of logs is the process's: others must not write where this test has."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("no_logs_afterwards")
def test_log_lines_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Each step is a line of JSON, and what runs is one more, with everything that the block has."""
    logs.configure(readable=False)
    start_messages.step("Starting 2 workers")
    start_messages.started(RUNS)
    start_messages.stopping()
    start_messages.stopped()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["starting", "started", "stopping", "stopped"]
    assert lines[0]["step"] == "Starting 2 workers"
    assert {name: lines[1][name] for name in ("address", "database", "migration", "applied", "active", "shadow")} == {
        "address": "http://127.0.0.1:5000",
        "database": "alerts on db.example",
        "migration": "0007",
        "applied": 2,
        "active": [1100, 30],
        "shadow": [500],
    }
    assert lines[1]["version"] == VERSION


BLOCK = f"""
Transaction alerts {VERSION}

  Address     http://127.0.0.1:5000
  Desk        http://127.0.0.1:5000/desk/
  Docs        http://127.0.0.1:5000/docs
  Access      Keys are needed
  Database    alerts on db.example
  Migrations  at 0007, 2 applied now
  Rules on    1100, 30; in shadow: 500
  Workers     2

Ctrl+C stops it.

"""


def test_a_block_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """People get a line for each step, and at the end all that they want to know."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    start_messages.step("Starting 2 workers")
    start_messages.started(RUNS)
    start_messages.stopping()
    start_messages.stopped()
    assert capsys.readouterr().out == f"Starting 2 workers\n{BLOCK}Stopping\nStopped\n"


def test_nothing_on() -> None:
    """Without rules and migrations the block says so in words."""
    none = Started(address="", database="", migration="0007", applied=0, active=[], shadow=[], workers=1, access="")
    assert "at 0007, none applied now\n  Rules on    none\n" in none.block()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("alerts.example", "http://alerts.example:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
    ],
)
def test_the_address_can_be_opened(host: str, address: str) -> None:
    """It is a URL for the same machine, also of a service that listens on all addresses."""
    assert start_messages.address_for_people(host, 80) == address


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [(["--version"], 0, VERSION), (["--help"], 0, ".env.example"), (["--port=80"], 2, "unrecognized")],
)
def test_arguments(
    arguments: list[str],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It tells its version and how it is set up, and refuses what it does not know."""
    monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        serve._read_arguments()
    assert ended.value.code == status
    assert said in "".join(capsys.readouterr())
