"""`GET /log` and `/log.csv`: every change by anybody, whatever table it is in, as one list."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import product
from random import Random
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, text

from database.change_log import LogFilter, page_of_log
from database.log_entries import KINDS, add_log_entry
from database.session import make_sessions
from rules.service import Service as Judging
from rules.values import written_moment
from tests.contract.helpers import Sessions, an_event, pointers
from tests.postgres import transaction

NAMES = ("Ada", "Grace", "=2+2")
BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
MOMENTS = [BEGIN + timedelta(microseconds=one) for one in (0, 1, 2, 1_000_000)]
ADD_CHANGE = text("""
    INSERT INTO alert_history (user_id, seq, code, n, at, who, what, before, after, note)
    VALUES (:user, 1, 1100, :n, :at, :who, 'status', 'open', 'closed', :note)
""")
ADD_ENTRY = text("""
    INSERT INTO log_entries (at, who, kind, subject, what, before, after, note)
    VALUES (:at, :who, :kind, :subject, 'changed', 'null', '{"a": [1]}', :note)
""")


def fill(client: FlaskClient, sessions: Sessions, count: int = 60) -> None:
    """Changes of alerts of three users and all kinds of others, most of them at equal times."""
    random = Random(3)
    for user_id in (1, 2, 10):
        client.post("/event", json=an_event(type="withdraw", amount="150.00", user_id=user_id))
    numbers = {1: 0, 2: 0, 10: 0}
    with transaction(sessions) as session:
        for _ in range(count):
            at, who = random.choice(MOMENTS), random.choice(NAMES)
            if random.random() < 0.5:
                user = random.choice(list(numbers))
                numbers[user] += 1
                session.execute(ADD_CHANGE, {"user": user, "n": numbers[user], "at": at, "who": who, "note": None})
            else:
                kind = random.choice(KINDS)
                session.execute(ADD_ENTRY, {"at": at, "who": who, "kind": kind, "subject": "7", "note": "+x"})


def brute_force(sessions: Sessions) -> list[dict[str, Any]]:
    """All lines as the answer has them, newest first: of equal time alerts first, then by place."""
    with sessions() as session:
        alerts = session.execute(text("SELECT * FROM alert_history")).mappings().all()
        others = session.execute(text("SELECT * FROM log_entries")).mappings().all()
    keyed: list[tuple[Any, dict[str, Any]]] = []
    for row in alerts:
        place = (row["user_id"], row["seq"], row["code"])
        line = _line(row) | {"kind": "alert", "subject": "-".join(map(str, place))}
        keyed.append(((row["at"], 1, *place, row["n"]), line))
    for row in others:
        keyed.append(((row["at"], 0, row["entry_id"]), _line(row) | {"kind": row["kind"], "subject": row["subject"]}))
    return [line for _, line in sorted(keyed, key=lambda one: one[0], reverse=True)]


def _line(row: Any) -> dict[str, Any]:
    shown = {name: row[name] for name in ("who", "what", "note")}
    return shown | {"at": written_moment(row["at"]), "from": row["before"], "to": row["after"]}


def listed(client: FlaskClient, limit: int = 50, **query: Any) -> list[dict[str, Any]]:
    """All pages together."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.get("/log", query_string={"limit": limit, **query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.get_json()
        assert len(page["log"]) <= limit
        found += page["log"]
        if page["next"] is None:
            return found
        assert len(page["log"]) == limit
        cursor = {"cursor": page["next"]}


@pytest.fixture
def filled(client: FlaskClient, sessions: Sessions) -> FlaskClient:
    """A client of a service with a log."""
    fill(client, sessions)
    return client


def test_every_filter_and_page_is_that_of_brute_force(filled: FlaskClient, sessions: Sessions) -> None:
    """Whatever is asked for, in pages of any size: the same lines in the same order, each once."""
    whole = brute_force(sessions)
    assert len(whole) == 60
    assert listed(filled) == whole
    periods: list[dict[str, str]] = [
        {},
        {"from": "2026-01-31T12:00:00.000001Z"},
        {"to": "2026-01-31T13:00:00.000001+01:00"},
        {"from": "2026-01-31T12:00:00.000001Z", "to": "2026-01-31T12:00:00.000001Z"},
        {"from": "2100-01-01T00:00:00Z"},
    ]
    for who, kind, period, limit in product((None, "Ada", "nobody"), (None, "alert", "rule"), periods, (1, 7)):
        query = {name: value for name, value in (("who", who), ("kind", kind)) if value is not None}
        start, end = period.get("from", ""), "9" if "to" not in period else "2026-01-31T12:00:00.000001Z"
        expected = [
            line
            for line in whole
            if line["who"] == (who or line["who"])
            and line["kind"] == (kind or line["kind"])
            and start <= line["at"] <= end
        ]
        assert listed(filled, limit, **query, **period) == expected, (who, kind, period, limit)


def test_changes_that_are_made_meanwhile(filled: FlaskClient, sessions: Sessions) -> None:
    """They neither shift a page nor appear on a later one, also at the time at which a page ended."""
    whole = brute_force(sessions)
    first = filled.get("/log?limit=20").get_json()
    at = datetime.fromisoformat(first["log"][-1]["at"])
    with transaction(sessions) as session:
        session.execute(
            ADD_ENTRY, {"at": at + timedelta(days=1), "who": "Ada", "kind": "rule", "subject": "", "note": ""}
        )
        add_log_entry(session, who="Ada", kind="key", subject="k", what="made")
    rest = listed(filled, 20, cursor=first["next"])
    assert first["log"] + rest == whole


def test_each_change_is_read_with_what_is_around_it(client: FlaskClient) -> None:
    """Real ones: of a rule, of a user and of an alert."""
    client.post("/event", json=an_event(type="withdraw", amount="150.00"))
    client.put("/rules/500", json={"status": "shadow", "note": "try it"})
    client.patch("/users/1", json={"risk": "high"})
    client.patch("/alerts/1-1-1100", json={"status": "acknowledged", "note": "mine"})
    found = listed(client)
    assert [(line["who"], line["kind"], line["subject"]) for line in found] == [
        ("anonymous", "alert", "1-1-1100"),
        ("anonymous", "user", "1"),
        ("anonymous", "rule", "500"),
    ]
    assert {name: found[0][name] for name in ("what", "from", "to", "note")} == {
        "what": "status",
        "from": "open",
        "to": "acknowledged",
        "note": "mine",
    }
    assert found[2]["note"] == "try it"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("kind=alerts", "/kind"),
        ("kind=alert&kind=rule", "/kind"),
        ("from=10", "/from"),
        ("from=2026-01-31T12:00:00", "/from"),
        ("from=2026-02-01T00:00:00Z&to=2026-01-31T12:00:00Z", "/to"),
        ("who=", "/who"),
        ("user=1", "/user"),
        ("cursor=1-2-3", "/cursor"),
        ("cursor=1-0-1-1-1-1", "/cursor"),
        ("from=2026-01-31T12:00:00Z&cursor=1-0-1", "/cursor"),
        ("to=2026-01-31T12:00:00Z&cursor=1999999999999999-0-1", "/cursor"),
        ("limit=501", "/limit"),
    ],
)
def test_a_bad_query(client: FlaskClient, query: str, named: str) -> None:
    """What is unknown, repeated or contradictory is a 400 that names it, in the file too."""
    assert named in pointers(client.get(f"/log?{query}"))
    if named not in ("/cursor", "/limit"):
        assert named in pointers(client.get(f"/log.csv?{query}"))


@pytest.mark.parametrize("cursor", ["9999999999999999999-0-9999999999999999999", "0-1-0-0-0-0", "0-0-0"])
def test_a_cursor_beyond_all_lines(filled: FlaskClient, cursor: str) -> None:
    """It leads to everything or nothing."""
    found = listed(filled, cursor=cursor)
    assert len(found) == (60 if cursor.startswith("9") else 0)


def test_the_file(filled: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """All lines that match, page by page; formulas are text; and that somebody took it is in the log."""
    monkeypatch.setattr("routes.log.PAGE", 7)
    whole = brute_force(sessions)
    ((kind, _),) = Counter(line["kind"] for line in whole if line["kind"] != "alert").most_common(1)
    answer = filled.get(f"/log.csv?kind={kind}")
    assert answer.content_type == "text/csv; charset=utf-8"
    found = list(csv.DictReader(StringIO(answer.text)))
    expected = [line for line in whole if line["kind"] == kind]
    assert len(expected) > 2
    assert [line["at"] for line in found] == [line["at"] for line in expected]
    assert list(found[0]) == ["at", "who", "kind", "subject", "what", "from", "to", "note"]
    assert {line["note"] for line in found} == {"'+x"}
    assert {line["who"] for line in found} <= {"Ada", "Grace", "'=2+2"}
    assert json.loads(found[0]["to"]) == {"a": [1]}
    answer.close()
    answer = filled.get("/log.csv")
    lines = list(csv.DictReader(StringIO(answer.text)))
    exports = [line for line in lines if (line["kind"], line["subject"]) == ("export", "log")]
    assert [line["what"] for line in exports] == ["began", "ended", "began"]
    assert len(lines) == 60 + 3


QUERIES = [
    LogFilter(),
    LogFilter(who="Ada"),
    LogFilter(kind="rule"),
    LogFilter(kind="alert"),
    LogFilter(who="Ada", kind="rule"),
    LogFilter(who="nobody", kind="rule"),
    LogFilter(who="Ada", kind="alert", start=BEGIN, end=MOMENTS[-1]),
    LogFilter(who="Ada", end=BEGIN),
]


@pytest.mark.parametrize("wanted", QUERIES)
@pytest.mark.parametrize("before", [None, (1_769_860_800_000_001, 0, 5)])
def test_a_page_reads_no_more_than_itself(
    client: FlaskClient, sessions: Sessions, wanted: LogFilter, before: tuple[int, ...] | None
) -> None:
    """However long the log is, and however rare what is asked for: each table is read from an index, in its order."""
    client.post("/event", json=an_event(type="withdraw", amount="150.00"))
    with transaction(sessions) as session:
        session.execute(
            text("""
                INSERT INTO log_entries (at, who, kind, subject, what)
                SELECT timestamptz '2026-01-01Z' + n * interval '1 s', 'Ada', 'key', '', ''
                FROM generate_series(1, 3000) n
            """)
        )
        session.execute(
            text("""
                INSERT INTO alert_history (user_id, seq, code, n, at, who, what)
                SELECT 1, 1, 1100, n, timestamptz '2026-01-01Z' + n * interval '1 s', 'Ada', 'note'
                FROM generate_series(1, 3000) n
            """)
        )
    engine: Engine = Judging.of(client.application.extensions).engines.reads
    seen: list[Any] = []
    with make_sessions(engine)() as session:

        def explain(_c: Any, cursor: Any, statement: str, parameters: Any, _x: Any, _m: bool) -> None:
            if not statement.startswith("EXPLAIN"):
                cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement, parameters)
                seen.append(cursor.fetchone()[0][0]["Plan"])

        event.listen(engine, "before_cursor_execute", explain)
        try:
            page_of_log(session, wanted, 11, before)
        finally:
            event.remove(engine, "before_cursor_execute", explain)
    (plan,) = seen
    scans = [node for node in _nodes(plan) if "Relation Name" in node]
    assert scans
    for node in scans:
        assert node["Node Type"] in ("Index Scan", "Index Only Scan"), node
        assert node["Actual Rows"] <= 11
        assert node.get("Rows Removed by Filter", 0) == 0
    assert not [node for node in _nodes(plan) if "Sort" in node["Node Type"]]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for one in plan.get("Plans", ()):
        yield from _nodes(one)
