"""Replaying history: every line is stored once or listed as refused, however often the command is stopped and run."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from rules.model import Refusal
from rules.overload import Overloaded
from tests.conftest import ClientMaker
from tests.contract.helpers import an_event, without
from tests.postgres import Sessions, transaction
from tests.service import ROOT

CSV_HEADER = "type,amount,user_id,time,event_id\n"


@pytest.fixture
def replay(make_client: ClientMaker, tmp_path: Path) -> Any:
    """Runs the command on lines of text or on bytes: `replay(lines, "--batch", "2", name="history.csv")`."""

    def run(lines: Any, *options: Any, name: Any = "history.ndjson", **settings: Any) -> Any:
        content = lines if isinstance(lines, bytes) else "\n".join(lines).encode()
        path = tmp_path / name
        path.write_bytes(content)
        runner = make_client(**settings).application.test_cli_runner()
        return runner.invoke(args=["replay", str(path), *options])

    return run


@pytest.fixture
def stored(sessions: Sessions) -> Any:
    """Reads all actions, as (user, seq, type, amount, time, event id)."""

    def read() -> list[Any]:
        with sessions() as session:
            rows = session.execute(
                text("SELECT user_id, seq, type, amount, time, event_id FROM user_actions ORDER BY user_id, seq")
            )
            return [(*row[:3], str(row.amount), *row[4:]) for row in rows]

    return read


def jsons(*events: Any) -> list[Any]:
    """Each event as a line of JSON."""
    return [json.dumps(event) for event in events]


def counts(result: Any) -> Any:
    """The counts of the summary by their names."""
    words = [line.rsplit(maxsplit=1) for line in result.stdout.splitlines() if line[-1:].isdigit()]
    found = {name.strip(): number.replace(",", "") for name, number in words}
    return {name: int(number) for name, number in found.items() if name not in ("seconds", "events per second")}


def rejects(path: Any) -> Any:
    """The reject file: reasons by line."""
    return {entry["line"]: entry["reasons"] for entry in map(json.loads, path.read_text().splitlines())}


def test_every_event_is_judged_in_the_order_of_the_file(replay: Any, stored: Any, tmp_path: Path) -> None:
    """Actions and alerts are what posting the events in turn gives, even where batches end between them."""
    events = [an_event(amount=f"{amount}.00", time=amount) for amount in (80, 90, 100)]
    result = replay(jsons(*events, an_event(type="withdraw", amount="150", user_id=2)), "--batch", "2")
    assert result.exit_code == 0
    assert counts(result) == {
        "events read": 4,
        "stored": 4,
        "stored before": 0,
        "refused": 0,
        "alerts": 3,
        "123": 1,
        "300": 1,
        "1100": 1,
    }
    assert [row[:5] for row in stored()] == [
        (1, 1, "deposit", "80.00", 80),
        (1, 2, "deposit", "90.00", 90),
        (1, 3, "deposit", "100.00", 100),
        (2, 1, "withdraw", "150.00", 10),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["history.ndjson"]


def test_a_second_run_stores_nothing(replay: Any, stored: Any) -> None:
    """Events with and without ids are recognised, and the second run's summary shows the same alerts."""
    lines = jsons(an_event(), an_event(), an_event(event_id="mine"), an_event(type="withdraw", amount="101.00"))
    first, actions = replay(lines), stored()
    second = replay(lines, "--batch", "1")
    assert stored() == actions
    assert len(actions) == 4
    assert counts(second) == counts(first) | {"stored": 0, "stored before": 4}
    assert (second.exit_code, counts(second)["1100"]) == (0, 1)


def test_ids_follow_from_line_and_event(replay: Any, stored: Any) -> None:
    """An event without an id gets one from its line and what it says; blank lines count as lines."""
    replay(["", *jsons(without(an_event(t=7), "time"), an_event(event_id="mine"))])
    assert [row[-1] for row in stored()] == ["replay:2:deposit:42.00:7", "mine"]


def test_the_way_a_file_comes_does_not_matter(replay: Any, stored: Any) -> None:
    """The same history under another name, compressed, or longer by now, is recognised."""
    lines = jsons(an_event(), an_event())
    replay(lines)
    replay(gzip.compress("\n".join([*lines, *jsons(an_event())]).encode()), name="renamed.gz")
    assert [row[1] for row in stored()] == [1, 2, 3]


def test_a_mended_line_is_stored_alone(replay: Any, stored: Any) -> None:
    """After a refused line has been put right, running the whole file again stores just that one."""
    first = replay(jsons(an_event(), an_event(amount="-1"), an_event(time=20)))
    second = replay(jsons(an_event(), an_event(amount="1"), an_event(time=20)))
    assert (counts(first)["refused"], counts(second)["refused"]) == (1, 0)
    assert [row[3] for row in stored()] == ["42.00", "42.00", "1.00"]


def test_two_sources_are_two_histories(replay: Any, stored: Any) -> None:
    """The same lines under another --source are other events."""
    replay(jsons(an_event()), "--source", "north")
    replay(jsons(an_event()), "--source", "south")
    assert [row[-1].partition(":")[0] for row in stored()] == ["north", "south"]


BAD_JSON = [
    ("{", "not JSON"),
    ("[]", "must be a JSON object"),
    (json.dumps(an_event(amount="1e3", user_id="7")), "/amount: must be"),
    (json.dumps(an_event(t=10)), "/t: must not stand beside time"),
    (json.dumps(an_event(event_id="é")), "/event_id"),
    ('{"type": "deposit", "amount": 1.001, "user_id": 1, "time": 1}', "/amount"),
    (json.dumps(an_event(note="x" * 70_000)), "longer than 65536 bytes"),
]


def test_bad_lines_are_listed_and_the_rest_is_stored(replay: Any, stored: Any, tmp_path: Path) -> None:
    """Each bad line is in the reject file with its number and every reason; the exit status reports them."""
    lines = [line for bad, _ in BAD_JSON for line in (bad, json.dumps(an_event()))]
    result = replay(lines, "--batch", "3")
    listed = rejects(tmp_path / "history.ndjson.rejects")
    assert result.exit_code == 1
    assert list(listed) == list(range(1, 2 * len(BAD_JSON), 2))
    assert [why for (_, why), reasons in zip(BAD_JSON, listed.values(), strict=True) if why not in reasons[0]] == []
    assert [reason.partition(":")[0] for reason in listed[5]] == ["/amount", "/user_id"]
    assert len(stored()) == len(BAD_JSON)


def test_what_the_engine_refuses_is_listed_too(replay: Any, stored: Any, tmp_path: Path) -> None:
    """Overdrafts, late events, unknown users and clashing ids are refused as they are over HTTP."""
    replay(jsons(an_event(event_id="a")), name="first.ndjson")
    lines = jsons(
        an_event(type="withdraw", amount="42.01"),
        an_event(time=9),
        an_event(user_id=2),
        an_event(event_id="a", amount="1.00"),
    )
    policy = {"overdraft": "reject", "out_of_order": "reject", "unknown_users": "reject"}
    result = replay(lines, "--rejects", str(tmp_path / "no"), **policy)
    assert (result.exit_code, counts(result)["refused"]) == (1, 4)
    assert rejects(tmp_path / "no") == {
        1: ["The withdrawal is larger than the balance."],
        2: ["The user's newest action is at time 10."],
        3: ["There is no user 2."],
        4: ["This event_id came before with another payload."],
    }
    assert len(stored()) == 1


def test_an_event_with_too_many_actions_behind_it_is_a_reject(replay: Any, tmp_path: Path) -> None:
    """A late event beyond LATE_LIMIT is listed with the reason, and the rest is stored."""
    result = replay(jsons(an_event(time=10), an_event(time=11), an_event(time=10), an_event(time=9)), late_limit=1)
    assert (result.exit_code, counts(result)["refused"], counts(result)["stored"]) == (1, 1, 3)
    assert rejects(tmp_path / "history.ndjson.rejects") == {
        4: ["At most 1 of the user's actions may be later than an event."]
    }


def test_a_run_without_rejects_leaves_no_reject_file(replay: Any, tmp_path: Path) -> None:
    """The list of an earlier run is gone when there is nothing left to list."""
    replay(["{"])
    assert (tmp_path / "history.ndjson.rejects").exists()
    replay(jsons(an_event()))
    assert not (tmp_path / "history.ndjson.rejects").exists()


def test_csv(replay: Any, stored: Any, tmp_path: Path) -> None:
    """CSV has a header; columns may be in any order, extra ones are ignored, and t means time."""
    table = 't,"user_id",amount,type,note\r\n5,1,42,deposit,"a, ""b"""\r\n6,1,0.50,withdraw,\r\n'
    assert replay(b"\xef\xbb\xbf" + table.encode(), name="history.CSV").exit_code == 0
    assert [row[2:] for row in stored()] == [
        ("deposit", "42.00", 5, "replay:2:deposit:42.00:5"),
        ("withdraw", "0.50", 6, "replay:3:withdraw:0.50:6"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["history.CSV"]


BAD_CSV = [
    ("deposit,42,1", ["/time: Field required"]),
    ("deposit,42,1,,", ["/time: Field required"]),
    ("deposit,42,1,5,,more", ["The line has 6 cells, more than the 5 of the header."]),
    ("deposit,42,1_0,5,", ["/user_id: Input should be a valid integer"]),
    ("deposit,42, 1,5,", ["/user_id: Input should be a valid integer"]),
    ("deposit,42,1,99999999999999999999,", ["/time: Input should be a valid integer"]),
    ('deposit,42,1,5,"open', ["The line is not CSV: unexpected end of data."]),
    ("deposit,4\udcff2,1,5,", ["The line is not UTF-8: byte 9."]),
]


def test_bad_csv_lines_are_listed(replay: Any, stored: Any, tmp_path: Path) -> None:
    """A bad record is refused by itself, even one with a quote that is never closed."""
    lines = [line for bad, _ in BAD_CSV for line in (bad, "deposit,42,1,5,")]
    content = (CSV_HEADER + "\n".join(lines)).encode(errors="surrogateescape")
    assert replay(content, name="history.csv").exit_code == 1
    assert rejects(tmp_path / "history.csv.rejects") == {
        2 + 2 * place: reasons for place, (_, reasons) in enumerate(BAD_CSV)
    }
    assert len(stored()) == len(BAD_CSV)


@pytest.mark.parametrize(
    "header", ["", "type,amount,user_id", "type;amount;user_id;time", "type,type,amount,user_id,time"]
)
def test_a_csv_header_must_name_the_fields(replay: Any, header: str) -> None:
    """Without the fields' names nothing can be read, so nothing is attempted."""
    result = replay([header, "deposit,42,1,5"], name="history.csv")
    assert (result.exit_code, counts(result)["events read"]) == (2, 0)
    assert "The CSV header" in result.stderr


def test_the_format_can_be_named(replay: Any, stored: Any) -> None:
    """--format overrides the name."""
    assert replay([CSV_HEADER + "deposit,42,1,5,a"], "--format", "csv", name="history.txt").exit_code == 0
    assert replay(jsons(an_event(event_id="b")), "--format", "ndjson", name="history.csv").exit_code == 0
    assert [row[-1] for row in stored()] == ["a", "b"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(
    make_client: ClientMaker, stored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Any
) -> None:
    """`-` reads standard input, plain or compressed; what it refuses is listed in the current folder."""
    monkeypatch.chdir(tmp_path)
    lines = pack("\n".join(["{", *jsons(an_event())]).encode())
    result = make_client().application.test_cli_runner().invoke(args=["replay", "-"], input=io.BytesIO(lines))
    assert result.exit_code == 1
    assert list(rejects(tmp_path / "stdin.rejects")) == [1]
    assert len(stored()) == 1


def test_an_empty_file_is_an_empty_history(replay: Any) -> None:
    """No lines are no error."""
    result = replay(b"")
    assert (result.exit_code, counts(result)["events read"]) == (0, 0)


def test_a_broken_archive_stops_the_replay(replay: Any) -> None:
    """A gzip file that ends too early is an error that says where."""
    packed = gzip.compress("\n".join(jsons(*[an_event()] * 3)).encode())
    result = replay(packed[:-9])
    assert result.exit_code == 2
    assert "history.ndjson cannot be read after line" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("options", [["--batch", "0"], ["--source", "a b"], ["--rejects", "{file}"]])
def test_bad_options_are_errors(replay: Any, stored: Any, tmp_path: Path, options: Any) -> None:
    """Options that make no sense end with status 2 before anything is stored; FILE itself is never overwritten."""
    file = tmp_path / "history.ndjson"
    lines = jsons(an_event())
    assert replay(lines, *(option.format(file=file) for option in options)).exit_code == 2
    assert (stored(), file.read_text()) == ([], lines[0])


def test_a_database_that_is_not_migrated_is_a_clear_error(
    make_client: ClientMaker, sessions: Sessions, tmp_path: Path
) -> None:
    """Nothing is attempted on tables of another version."""
    (tmp_path / "history").write_text("")
    with transaction(sessions) as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    result = make_client().application.test_cli_runner().invoke(args=["replay", str(tmp_path / "history")])
    assert result.exit_code == 2
    assert "alembic upgrade head" in result.stderr


def test_a_moment_without_the_database_is_waited_out(
    make_client: ClientMaker, stored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that failed because the database was away is sent again."""
    app = make_client().application
    engine = app.extensions["transaction-alerts"].database
    (tmp_path / "history").write_text(json.dumps(an_event()))
    waits: list[float] = []
    lost = text("SELECT pg_terminate_backend(pg_backend_pid())")

    def away(batch: Any, process: Any = app.extensions["transaction-alerts"].judge_many) -> Any:
        if not waits:
            with engine.connect() as connection:
                connection.execute(lost)
        return process(batch)

    app.extensions["transaction-alerts"].judge_many = away
    monkeypatch.setattr("commands.replay.sleep", waits.append)
    result = app.test_cli_runner().invoke(args=["replay", str(tmp_path / "history")])
    assert (result.exit_code, waits) == (0, [0.5])
    assert len(stored()) == 1


def test_what_cannot_be_repaired_now_is_tried_again(
    make_client: ClientMaker, stored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too much under way, or large repairs that fail, refuse no line: what is left of the batch is sent again."""
    app = make_client().application
    service = app.extensions["transaction-alerts"]
    (tmp_path / "history").write_text("\n".join(jsons(*[an_event(user_id=user_id) for user_id in (1, 2, 1)])))
    batches: list[list[int]] = []

    def busy(batch: Any, process: Any = service.judge_many) -> Any:
        batches.append([event.user_id for event in batch])
        if len(batches) == 1:
            raise Overloaded("too much is under way")
        if len(batches) > 2:
            return process(batch)
        others = iter(process([event for event in batch if event.user_id != 1]))
        return [Refusal("unavailable", "Try again.") if event.user_id == 1 else next(others) for event in batch]

    service.judge_many = busy
    waits: list[float] = []
    monkeypatch.setattr("commands.replay.sleep", waits.append)
    result = app.test_cli_runner().invoke(args=["replay", str(tmp_path / "history")])
    assert (result.exit_code, waits) == (0, [0.5, 1])
    assert batches == [[1, 2, 1], [1, 2, 1], [1, 1]]
    assert counts(result)["stored"] == 3
    assert [row[:2] for row in stored()] == [(1, 1), (1, 2), (2, 1)]

    batches.clear()
    service.judge_many = lambda batch: [Refusal("unavailable", "Try again.") for _ in batch]
    (tmp_path / "history").write_text("\n".join(jsons(an_event(user_id=9))))
    result = app.test_cli_runner().invoke(args=["replay", str(tmp_path / "history"), "--source", "another"])
    assert result.exit_code == 2
    assert "Run it again to continue" in result.stderr


def test_ctrl_c_says_how_to_go_on(make_client: ClientMaker, stored: Any, tmp_path: Path) -> None:
    """Ctrl+C keeps what is stored, prints the counts so far, and ends with status 130."""
    app = make_client().application
    service = app.extensions["transaction-alerts"]
    (tmp_path / "history").write_text("\n".join(jsons(*[an_event()] * 4)))

    def interrupted(batch: Any, process: Any = service.judge_many) -> Any:
        if len(stored()) == 2:
            raise KeyboardInterrupt
        return process(batch)

    service.judge_many = interrupted
    result = app.test_cli_runner().invoke(args=["replay", str(tmp_path / "history"), "--batch", "2"])
    assert (result.exit_code, counts(result)["stored"], len(stored())) == (130, 2, 2)
    assert "Stopped after line 2" in result.stderr


def flask_replay(path: Any, database_url: str) -> Any:
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", str(ROOT / "app.py"), "replay", str(path), "--batch", "50"],
        env=os.environ | {"DATABASE_URL": database_url},
        cwd=tempfile.gettempdir(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_replay_goes_on_without_storing_twice(database_url: str, stored: Any, tmp_path: Path) -> None:
    """After kill -9 in the middle the same command ends with every line stored once, in the order of the file."""
    path = Path(tmp_path, "history.csv")
    lines = [f"deposit,1.00,{1 + number % 7},{number // 10},\n" for number in range(10_000)]
    path.write_text(CSV_HEADER + "".join(lines))
    with flask_replay(path, database_url) as first:
        while not stored() and first.poll() is None:
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
    before = len(stored())
    assert 0 < before < len(lines)

    with flask_replay(path, database_url) as second:
        output, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    actions = stored()
    assert sorted(int(row[-1].split(":")[1]) for row in actions) == list(range(2, 2 + len(lines)))
    assert [row[4] for row in actions] == [row[4] for row in sorted(actions, key=lambda row: (row[0], row[4], row[1]))]
    assert f"stored before    {before:>12,}" in output
