"""Replaying history: every line is stored once or listed as refused, however often the command is stopped and run."""

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from rules.model import Refusal
from rules.overload import Overloaded
from tests.conftest import ClientMaker
from tests.contract.helpers import an_event, without
from tests.postgres import Sessions, transaction
from tests.service import PATIENT_ENVIRONMENT, ROOT
from tests.waiting import PATIENCE, wait_until

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


def standing(sessions: Sessions) -> Any:
    """The alerts that stand, as (user, code, time of the action)."""
    with sessions() as session:
        rows = session.execute(text("SELECT user_id, code, time FROM alerts WHERE NOT superseded ORDER BY 1, 3, 2"))
        return [tuple(row) for row in rows]


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
    assert "4 lines were refused;" in result.output
    assert rejects(tmp_path / "no") == {
        1: ["The withdrawal is larger than the balance."],
        2: ["The user's newest action is at time 10."],
        3: ["There is no user 2."],
        4: ["This event_id came before with another payload."],
    }
    assert len(stored()) == 1


def test_an_event_with_too_many_actions_behind_it_is_a_reject(replay: Any, tmp_path: Path) -> None:
    """A late event beyond LATE_LIMIT is listed with the reason, and the rest is stored."""
    lines = jsons(an_event(time=10), an_event(time=11), an_event(time=10), an_event(time=9))
    result = replay(lines, "--order", "file", late_limit=1)
    assert (result.exit_code, counts(result)["refused"], counts(result)["stored"]) == (1, 1, 3)
    assert "1 line was refused;" in result.output
    assert rejects(tmp_path / "history.ndjson.rejects") == {
        4: ["At most 1 of the user's actions may be later than an event."]
    }


def test_a_run_without_rejects_leaves_no_reject_file(replay: Any, tmp_path: Path) -> None:
    """The list of an earlier run is gone when there is nothing left to list."""
    replay(["{"])
    assert (tmp_path / "history.ndjson.rejects").exists()
    replay(jsons(an_event()))
    assert not (tmp_path / "history.ndjson.rejects").exists()


WITHDRAWALS = jsons(*[an_event(type="withdraw", amount="1.00", time=time) for time in (1, 2, 3)])


@pytest.mark.parametrize(("in_memory", "at_once"), [(100_000, 64), (3, 2), (1, 2)])
@pytest.mark.parametrize("order", ["oldest first", "newest first", "mixed", "by user, newest first"])
def test_any_order_of_the_lines_ends_the_same(
    replay: Any, stored: Any, monkeypatch: pytest.MonkeyPatch, in_memory: int, at_once: int, order: str
) -> None:
    """Events are stored oldest first, and those of equal times in their order, whether they fit in memory or not."""
    monkeypatch.setattr("commands.replay_order.IN_MEMORY", in_memory)
    monkeypatch.setattr("commands.replay_order.AT_ONCE", at_once)
    events = [
        an_event(user_id=1 + number % 3, time=number // 6, amount=f"{number + 1}.00", event_id=str(number))
        for number in range(30)
    ]
    lines = [*events, {"type": "neither"}]
    if order == "newest first":
        lines.reverse()
    elif order == "mixed":
        lines = [*events[18:], {"type": "neither"}, *events[:18]]
    elif order == "by user, newest first":
        lines.reverse()
        lines.sort(key=lambda line: line.get("user_id", 0))
    result = replay(jsons(*lines), "--batch", "4")
    assert (result.exit_code, counts(result)["stored"], counts(result)["refused"]) == (1, 30, 1)
    assert [row[-1] for row in stored()] == [str(number) for user in range(3) for number in range(user, 30, 3)]
    says = {"oldest first": "", "mixed": "not in order of time"}.get(order, "newest first: it is stored from its last")
    assert says in result.stderr
    assert ("The file is" in result.stderr) is bool(says)
    assert counts(replay(jsons(*lines)))["stored before"] == 30


def test_of_equal_times_the_upper_line_is_first_unless_the_file_runs_backwards(replay: Any, stored: Any) -> None:
    """The order of lines with one time is that in which the rest of the file runs."""
    times = [1, 1, 5, 5, 9, 9, 12, 12]
    for user_id, order in ((1, [2, 3, 4, 5, 6, 7, 0, 1]), (2, [3, 2, 1, 0, 7, 6, 5, 4])):
        lines = [an_event(user_id=user_id, time=times[at], event_id=str(at)) for at in order]
        assert replay(jsons(*lines)).exit_code == 0
    assert [row[-1] for row in stored()] == ["0", "1", "2", "3", "4", "5", "6", "7"] * 2


def test_the_order_of_the_file_can_be_kept(replay: Any, sessions: Sessions) -> None:
    """Then events come late as they would when posted; the alerts that stand are the same, and counted."""
    result = replay(WITHDRAWALS[::-1], "--order", "file")
    assert counts(result)["30"] == counts(result)["of them late"] == 1
    assert standing(sessions) == [(1, 30, 3)]


def test_more_users_than_are_remembered(replay: Any, stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of more users counts as unsorted unless it is in order for all of them together."""
    monkeypatch.setattr("commands.replay_order.USERS", 2)
    times = ((1, 5), (2, 6), (3, 7), (1, 8), (3, 9))
    in_order = jsons(*[an_event(user_id=user_id, time=time) for user_id, time in times])
    assert "The file is" not in replay(in_order, "--source", "a").stderr
    by_user = jsons(*[an_event(user_id=user_id, time=time) for user_id, time in sorted(times)])
    by_user = [*by_user[:4], *jsons(an_event(user_id=4, time=6)), by_user[4]]
    assert "The file is not in order of time" in replay(by_user, "--source", "b").stderr
    assert "The file is" not in replay(by_user[:3], "--source", "c").stderr
    assert len(stored()) == 14


def test_no_room_for_sorting_is_a_clear_error(replay: Any, stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the folder and what to do; nothing is stored."""
    monkeypatch.setattr("commands.replay_order.IN_MEMORY", 1)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: open("/dev/full", "r+b", buffering=0))  # noqa: SIM115
    result = replay(WITHDRAWALS)
    assert (result.exit_code, stored()) == (2, [])
    assert "Sorting needs room for a temporary file" in result.stderr
    assert "No space left on device" in result.stderr


# The summary


@pytest.mark.parametrize("options", [[], ["--order", "file"], ["--order", "file", "--batch", "1"]])
def test_the_summary_counts_what_is_stored(replay: Any, sessions: Sessions, options: Any) -> None:
    """Alerts count that stand on events of the file: once each, in any order, also with lines that repeat others."""
    lines = jsons(*[an_event(type="withdraw", amount="1.00", time=time, event_id=str(time)) for time in (3, 2, 1)])
    for _ in range(2):
        result = replay([*lines, *lines], *options)
        assert (counts(result)["alerts"], counts(result)["30"]) == (1, 1)
    assert (counts(result)["stored"], counts(result)["stored before"]) == (0, 6)
    assert standing(sessions) == [(1, 30, 3)]


def test_the_summary_shows_superseded_and_shadow_alerts_apart(replay: Any, make_client: ClientMaker) -> None:
    """An alert that no longer holds, and one of a rule in shadow, are not among those that stand."""
    assert make_client().put("/rules/1100", json={"status": "shadow"}).status_code == 200
    lines = jsons(
        *[an_event(type="withdraw", amount="1.00", time=time) for time in (10, 20, 30)],
        an_event(time=25),
        an_event(type="withdraw", amount="101.00", time=5, user_id=2),
    )
    result = replay(lines, "--order", "file")
    assert (counts(result)["alerts"], counts(result)["also superseded"], counts(result)["also in shadow"]) == (0, 1, 1)


def test_more_stretches_than_are_remembered_are_counted_at_once(replay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alerts of a file that is spread over the actions of its users are counted in several goes."""
    monkeypatch.setattr("commands.replay_tally.STRETCHES", 4)
    lines = jsons(*[an_event(type="withdraw", amount="200.00", user_id=user_id) for user_id in range(1, 21)])
    assert counts(replay(lines, "--batch", "3"))["1100"] == 20


# CSV


def test_csv(replay: Any, stored: Any, tmp_path: Path) -> None:
    """CSV has a header; columns may be in any order, extra ones are ignored, and t means time."""
    table = 't,"user_id",amount,type,note\r\n5,1,42,deposit,"a, ""b"""\r\n6,1,0.50,withdraw,\r\n'
    assert replay(b"\xef\xbb\xbf" + table.encode(), name="history.CSV").exit_code == 0
    assert [row[2:] for row in stored()] == [
        ("deposit", "42.00", 5, "replay:2:deposit:42.00:5"),
        ("withdraw", "0.50", 6, "replay:3:withdraw:0.50:6"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["history.CSV"]


NO_NUMBER = "must be a whole number from 1; the option --user-ids=hashed makes numbers of any ids"
NO_SECONDS = "must be a whole number of seconds; the option --time-format reads other forms"
BAD_CSV = [
    ("deposit,42,1", ["/time: Field required"]),
    ("deposit,42,1,,", ["/time: Field required"]),
    ("deposit,42,1,5,,more", ["The line has 6 cells, more than the 5 of the header."]),
    ("deposit,42,1_0,5,", [f"/user_id: {NO_NUMBER}"]),
    ("deposit,42, 1,5,", [f"/user_id: {NO_NUMBER}"]),
    (
        "deposit,42,1,99999999999999999999,",
        [f"/time: {NO_SECONDS}"],
    ),
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


def hashed(name: Any) -> Any:
    """The number that stands for an id that is text."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1


# With the headers of three public sets of data.
PAYSIM = """\
step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,isFraud,isFlaggedFraud
1,PAYMENT,9839.64,C1231006815,170136.0,160296.36,M1979787155,0.0,0.0,0,0
1,TRANSFER,181.0,C1305486145,181.0,0.0,C553264065,0.0,0.0,1,0
2,CASH_IN,229133.94,C840083671,181.0,0.0,C38997010,21182.0,0.0,1,0
"""
IBM_AML = """\
Timestamp,From Bank,Account,To Bank,Account,Amount Received,Receiving Currency,Amount Paid,Payment Currency,\
Payment Format,Is Laundering
2022/09/01 00:20,010,8000EBD30,010,8000EBD30,3697.34,US Dollar,3697.34,US Dollar,Reinvestment,0
2022/09/01 00:15,03208,8000F4580,001,8000F5340,0.01,US Dollar,0.01,US Dollar,Cheque,0
2022/09/02 00:00,0,80010CF20,1,8000F5340,0.000006,Bitcoin,0.000006,Bitcoin,Bitcoin,0
"""
BERKA = """\
"trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account"
695247;2378;930101;"PRIJEM";"VKLAD";700.00;700.00;"";"";
171812;576;930101;"PRIJEM";"VKLAD";900,00;900.00;"";"";
207264;704;930102;"VYDAJ";"VYBER";1000;0.00;"UROK\udce1";"";
"""


@pytest.mark.parametrize(
    ("table", "options", "expected", "refused", "skipped"),
    [
        (
            PAYSIM,
            "--map user_id=nameOrig --user-ids hashed --map time=step --time-format hours --type CASH_IN=deposit "
            "--type TRANSFER=withdraw --type *=skip",
            [
                (hashed("C1305486145"), "withdraw", "181.00", 3600, "replay:3:withdraw:181.00:3600"),
                (hashed("C840083671"), "deposit", "229133.94", 7200, "replay:4:deposit:229133.94:7200"),
            ],
            {},
            1,
        ),
        (
            IBM_AML,
            "--map user_id=#3 --user-ids hashed --map amount=Amount%20Paid --map time=Timestamp "
            "--time-format %Y/%m/%d%20%H:%M --set type=withdraw",
            [
                (hashed("8000EBD30"), "withdraw", "3697.34", 1661991600, "replay:2:withdraw:3697.34:1661991600"),
                (hashed("8000F4580"), "withdraw", "0.01", 1661991300, "replay:3:withdraw:0.01:1661991300"),
            ],
            {4: ['/amount (column Amount Paid): must be 1 to 12 digits with at most 2 decimals, such as "42.00"']},
            0,
        ),
        (
            BERKA,
            "--separator ; --map user_id=account_id --map time=date --time-format %y%m%d --map event_id=trans_id "
            "--type PRIJEM=deposit --type VYDAJ=withdraw",
            [(704, "withdraw", "1000.00", 725932800, "207264"), (2378, "deposit", "700.00", 725846400, "695247")],
            {3: ["/amount: must have a decimal point; the option --decimal=, reads amounts with a comma"]},
            0,
        ),
    ],
)
def test_files_of_others(
    replay: Any, stored: Any, tmp_path: Path, table: Any, options: Any, expected: Any, refused: Any, skipped: Any
) -> None:
    """Names, types, times and ids are read as the options say; columns that are not read may be anything."""
    options = [option.replace("%20", " ") for option in options.split()]
    result = replay(table.encode(errors="surrogateescape"), *options, name="others.csv")
    assert [(row[0], *row[2:]) for row in stored()] == sorted(expected)
    assert result.exit_code == bool(refused)
    if refused:
        assert rejects(tmp_path / "others.csv.rejects") == refused
    assert counts(result).get("skipped", 0) == skipped


def test_others_names_in_json(replay: Any, stored: Any, tmp_path: Path) -> None:
    """The options hold for NDJSON too; numbers are read as they are written."""
    line = '{"kind": "IN", "value": 12.50, "who": 7, "at": 1767225600123, "ref": null, "more": {"a": []}}'
    options = "--map amount=value --map user_id=who --map time=at --time-format milliseconds --map type=kind"
    bad = '{"kind": ["OUT"], "value": 1e3, "who": [7], "at": true}'
    result = replay([line, bad], *options.split(), "--type", "IN=deposit")
    assert result.exit_code == 1
    assert [row[:5] for row in stored()] == [(7, 1, "deposit", "12.50", 1767225600)]
    (reasons,) = rejects(tmp_path / "history.ndjson.rejects").values()
    assert [reason.partition(":")[0] for reason in reasons] == [
        "/type (column kind)",
        "/amount (column value)",
        "/user_id (column who)",
        "/time (column at)",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04whatever", "is a zip archive"),
        ("type,amount".encode("utf-16"), "is text in UTF-16"),
        ("type,amount".encode("utf-16-le"), "perhaps it is UTF-16"),
        (b"BZh9", "packed by bzip2"),
        (b"type;amount;user_id;time\n", "may be separated by ';': see the option --separator"),
        (b"", "is empty: CSV begins with a header"),
        (b"kind,amount,user_id,time\n", "there is no column type. It has: kind, amount, user_id, time. The option"),
        (b"type,amount,user_id,user_id,t\n", "columns 3 and 4 are both named for user_id: choose by number, --map"),
        (b"type,amount,user_id,t,time\n", "columns 4 and 5 are both named for time"),
    ],
)
def test_a_file_that_cannot_be_read_so_says_what_to_do(replay: Any, content: bytes, said: str) -> None:
    """Other kinds of files, and headers without our fields, end with 2 and one line."""
    result = replay(content, name="history.csv")
    assert (result.exit_code, counts(result)["events read"]) == (2, 0)
    assert said in result.stderr


def test_a_json_array_is_refused_as_a_whole(replay: Any) -> None:
    """Rather than each of its lines by itself."""
    result = replay(b'[\n{"type": "deposit", "amount": "1.00", "user_id": 7, "time": 1}\n]\n', name="history.json")
    assert (result.exit_code, counts(result)["events read"]) == (2, 0)
    assert "is one JSON array: write one event per line" in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        "--map amount",
        "--map =x",
        "--map total=x",
        "--map amount=a --map amount=b",
        "--map amount=a --set amount=1",
        "--type A=credit",
        "--time-format epoch",
        "--time-format %Q",
        "--decimal , --thousands ,",
        "--separator ;;",
        "--signed --set type=deposit",
        "--map deposit=a",
        "--map deposit=a --map withdraw=b --map amount=c",
        "--user-ids text",
        "--order size",
    ],
)
def test_options_that_contradict_are_refused(replay: Any, options: str) -> None:
    """They end with 2 before the file is read."""
    result = replay(jsons(an_event()), *options.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


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
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
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
    assert "Stopped after 2 lines" in result.stderr


def flask_replay(path: Any, database_url: str) -> Any:
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", str(ROOT / "app.py"), "replay", str(path), "--batch", "50"],
        env=os.environ | PATIENT_ENVIRONMENT | {"DATABASE_URL": database_url},
        cwd=tempfile.gettempdir(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_replay_goes_on_without_storing_twice(
    database_url: str, sessions: Sessions, stored: Any, tmp_path: Path
) -> None:
    """After kill -9 in the middle the same command ends with every line stored once, in the order of the file."""
    path = Path(tmp_path, "history.csv")
    lines = [f"deposit,1.00,{1 + number % 7},{number // 10},\n" for number in range(1_000)]
    lines += [f"deposit,1.00,8,{number},\n" for number in range(100)]
    path.write_text(CSV_HEADER + "".join(lines))
    with transaction(sessions) as holder:  # the first one does not get beyond the batches before user 8
        holder.execute(text("INSERT INTO users (user_id) VALUES (8)"))
        with flask_replay(path, database_url) as first:
            wait_until(lambda: stored() or first.poll() is not None)
            first.send_signal(signal.SIGKILL)
            first.communicate()
        holder.rollback()
    before = len(stored())
    assert 0 < before < len(lines)

    with flask_replay(path, database_url) as second:
        output, _ = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0
    actions = stored()
    assert sorted(int(row[-1].split(":")[1]) for row in actions) == list(range(2, 2 + len(lines)))
    assert [row[4] for row in actions] == [row[4] for row in sorted(actions, key=lambda row: (row[0], row[4], row[1]))]
    assert f"stored before    {before:>12,}" in output
