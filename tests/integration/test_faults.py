"""Fault by fault: each statement of each change fails in turn, in each way that a database can fail.

Whatever fails, nothing is half stored, what was answered is stored, what was refused is not, the same request again
finds out, and neither a lock nor a broken connection stays behind.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from threading import Event
from typing import Any, Literal
from unittest.mock import patch

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

import metrics
from database.models import Base
from rules.hindsight import start
from rules.judging import pipeline
from tests.conftest import ClientMaker
from tests.integration.faults import Faults, Place, listen
from tests.postgres import Sessions, transaction
from tests.waiting import PATIENCE, wait_until

USERS = 10  # of one case; the next case has others, so that no case sees another
# In columns with these names, two runs may differ.
DIFFERENT = ("created_at", "heartbeat_at", "touched_at", "transaction_id")

Body = dict[str, Any]
State = dict[str, list[dict[str, Any]]]
# Does what is under test for the users behind an id; returns the answers and, for each, the events that it covers.
Act = Callable[[Flask, int], list[tuple[TestResponse, list[Body]]]]

_LOCKS = text("""
SELECT count(*) FROM pg_stat_activity AS a JOIN pg_locks AS l USING (pid)
WHERE a.datname = current_database() AND a.application_name = 'transaction-alerts' AND a.pid <> pg_backend_pid()
    AND l.locktype <> 'virtualxid' AND l.mode <> 'AccessShareLock'
""")


def event(user_id: int, key: str, **fields: Any) -> Body:
    return {"type": "withdraw", "amount": "150.00", "user_id": user_id, "time": 100, "event_id": key} | fields


def one(app: Flask, body: Body) -> tuple[TestResponse, list[Body]]:
    return app.test_client().post("/event", json=body), [body]


def many(app: Flask, bodies: list[Body], query: str = "") -> tuple[TestResponse, list[Body]]:
    return app.test_client().post(f"/events{query}", json=bodies), bodies


# What is there before


def nothing(_: int) -> list[Body]:
    """No user, no action."""
    return []


def some(base: int) -> list[Body]:
    """Two users with actions and alerts, at times 10 to 60."""
    return [event(base + user, f"before {number}", time=10 * number) for number in range(1, 7) for user in (1, 2)]


# What is done


def a_single_event(app: Flask, base: int) -> list[Any]:
    return [one(app, event(base + 1, "new"))]


def a_batch_with_alerts(app: Flask, base: int) -> list[Any]:
    return [many(app, [event(base + user, f"new {number}") for number in range(3) for user in (3, 1, 2)])]


def a_batch_in_pieces(app: Flask, base: int) -> list[Any]:
    """It is judged while the first pieces of it are stored; the last user's events are late."""
    bodies = [event(base + user, f"new {number}") for number in range(3) for user in (3, 1, 4)]
    bodies += [event(base + 2, "late", type="deposit", amount="1.00", time=35), event(base + 1, "before 1", time=10)]
    with patch.object(pipeline, "LEAST", 1), patch.object(pipeline, "PIECE", 3):
        return [many(app, bodies)]


def a_batch_with_repeats(app: Flask, base: int) -> list[Any]:
    """Repeats of what is stored, of what is new, and of what is refused."""
    refused = event(base + 1, "before 1", amount="1.00")
    return [
        many(app, [event(base + 1, "before 1", time=10), event(base + 2, "new"), event(base + 2, "new"), refused]),
    ]


def late_events(app: Flask, base: int) -> list[Any]:
    """A deposit ends the runs of withdrawals, so alerts behind it are superseded; another one raises an alert late."""
    bodies = [event(base + 1, "late", type="deposit", amount="1.00", time=35), event(base + 2, "late too", time=5)]
    return [many(app, bodies)]


def a_late_single_event(app: Flask, base: int) -> list[Any]:
    return [one(app, event(base + 1, "late", type="deposit", amount="1.00", time=35))]


def an_atomic_batch(app: Flask, base: int) -> list[Any]:
    return [many(app, [event(base + user, "new") for user in (1, 2, 3)], "?atomic=true")]


def an_atomic_batch_that_is_refused(app: Flask, base: int) -> list[Any]:
    """One conflict refuses the others, among them that of a user who would be new."""
    return [many(app, [event(base + 3, "new"), event(base + 1, "before 1")], "?atomic=true")]


def several_callers(app: Flask, base: int) -> list[Any]:
    """Their events share a transaction: all of them wait while the first one is about to be stored."""
    begun, may_go_on = Event(), Event()
    waiting: list[object] = []

    def hold(*_: object) -> None:
        begun.set()
        assert may_go_on.wait(PATIENCE)

    with (
        patch.object(metrics.Recorder, "begun", hold),
        patch.object(metrics.Recorder, "queued", lambda recorder: waiting.append(recorder)),
        ThreadPoolExecutor(5) as threads,
    ):
        answers = [threads.submit(one, app, event(base + 1, "first"))]
        try:
            assert begun.wait(PATIENCE)
            answers += [threads.submit(one, app, event(base + user, "new")) for user in (2, 3, 4, 4)]
            wait_until(lambda: len(waiting) == 5)
        finally:
            may_go_on.set()
        return [answer.result(PATIENCE) for answer in answers]


def a_new_user(app: Flask, base: int) -> list[Any]:
    body = {"user_id": base + 3, "name": "Ada", "total": "1.00"}
    return [(app.test_client().post("/users", json=body), [])]


def a_user_changed(app: Flask, base: int) -> list[Any]:
    body = {"risk": "high", "overrides": {"1100": {"threshold": "50.00"}}, "author": "anonymous"}
    return [(app.test_client().patch(f"/users/{base + 1}", json=body), [])]


def engines(app: Flask) -> tuple[Any, ...]:
    """Everything that the service reaches its database by."""
    found: tuple[Any, ...] = app.extensions["transaction-alerts"].engines.all
    return found


@dataclass
class Bench:
    """An application whose statements can be made to fail, and a look at its database."""

    app: Flask
    faults: Faults
    sessions: Sessions

    def state(self, base: int) -> State:
        """All rows about the users of a case, in an order of their own, with ids that count from the case's first."""
        found: State = {}
        with self.sessions() as session:
            for table in Base.metadata.sorted_tables:
                if "user_id" in table.c:
                    keys = ", ".join(column.name for column in table.primary_key)
                    rows = session.execute(
                        text(
                            f"SELECT to_jsonb(t) FROM {table.name} AS t WHERE user_id BETWEEN :first AND :last"
                            f" ORDER BY {keys}"
                        ),
                        {"first": base, "last": base + USERS - 1},
                    ).scalars()
                    found[table.name] = [
                        {name: value for name, value in row.items() if name not in DIFFERENT}
                        | {"user_id": row["user_id"] - base}
                        for row in rows
                    ]
        return found

    def prepare(self, bodies: list[Body]) -> None:
        """Store what is there before."""
        for first in range(0, len(bodies), 10_000):
            answer, _ = many(self.app, bodies[first : first + 10_000])
            assert answer.status_code == 200

    def is_healthy(self) -> bool:
        """Whether no lock is left, and every connection is back in the pool."""
        with self.sessions() as session:
            left: int = session.execute(_LOCKS).scalar_one()
        return left == 0 and not any(engine.pool.checkedout() for engine in engines(self.app))

    def do(self, act: Act, base: int) -> list[tuple[TestResponse, list[Body]]]:
        """What `act` answers, on connections of its own: each run sends the same."""
        for engine in engines(self.app):
            engine.dispose()
        answers = act(self.app, base)
        self.faults.stop()
        return answers


@pytest.fixture
def bench(make_client: ClientMaker, sessions: Sessions) -> Bench:
    app = make_client().application
    faults = listen(*engines(app))
    assert app.test_client().get("/rules").status_code == 200  # what is declared is stored now
    return Bench(app, faults, sessions)


bases = count(1_000, USERS)

BATCHES: dict[str, tuple[Callable[[int], list[Body]], Act]] = {
    "a single event": (nothing, a_single_event),
    "a single event of a known user": (some, a_single_event),
    "a batch with alerts": (some, a_batch_with_alerts),
    "a batch in pieces": (some, a_batch_in_pieces),
    "a batch with repeats": (some, a_batch_with_repeats),
    "late events": (some, late_events),
    "a late single event": (some, a_late_single_event),
    "an atomic batch": (some, an_atomic_batch),
    "an atomic batch that is refused": (some, an_atomic_batch_that_is_refused),
    "several callers": (some, several_callers),
    "a new user": (some, a_new_user),
    "a user changed": (some, a_user_changed),
}


@pytest.mark.parametrize("what", BATCHES)
def test_each_statement_fails_in_turn(bench: Bench, what: str) -> None:
    """Nothing is half stored, nothing answered is lost, the same again finds out, and the service stays healthy."""
    there, act = BATCHES[what]
    first, base = next(bases), next(bases)
    bench.prepare(there(first) + there(base))
    bench.do(act, first)  # it reads what is kept from then on
    before = bench.state(base)
    bench.faults.count()
    expected = [answer.status_code for answer, _ in bench.do(act, base)]
    after = bench.state(base)
    if act is late_events:  # both kinds of repair are there
        assert {(row["late"], row["superseded"]) for row in after["alerts"]} >= {(True, False), (False, True)}
    cases = [(next(bases), *fault) for fault in bench.faults.places(preparing=what == "a single event")]
    assert len(cases) > 10
    bench.prepare([body for base, *_ in cases for body in there(base)])
    for base, place, kind in cases:
        bench.faults.let_fail(place, kind)
        answers = bench.do(act, base)
        assert bench.faults.happened, (place, kind)
        found = bench.state(base)
        seen = [check_answer(answer, bodies, found, base, (place, kind)) for answer, bodies in answers]
        if len(answers) == 1:
            # One request, one transaction: all of it or nothing.
            possible = {"done": (after,), "nothing": (before,), "uncertain": (before, after)}
            assert found in possible[seen[0]], (place, kind)
        wait_until(bench.is_healthy)
        # Those who were not answered well ask again.
        again = answers if set(seen) == {"done"} else bench.do(act, base)
        if what == "a new user" and again[0][0].status_code == 409:
            assert seen == ["uncertain"]  # it was stored, and this is how one finds out
        else:
            assert [answer.status_code for answer, _ in again] == expected, (place, kind)
        if what != "a user changed" or seen == ["done"]:  # a second change counts
            assert bench.state(base) == after, (place, kind)


def check_answer(
    answer: TestResponse, bodies: list[Body], found: State, base: int, fault: tuple[Place, str]
) -> Literal["done", "nothing", "uncertain"]:
    """Check one answer against what is stored: whether its caller knows that all is done, that nothing is, or not."""
    stored = {(row["user_id"] + base, row["event_id"]) for row in found["user_actions"]}
    mine = {(body["user_id"], body["event_id"]) for body in bodies}
    new = {key for key in mine if not key[1].startswith("before")}
    if answer.status_code in (200, 201):
        assert mine <= stored, fault
        return "done"
    if answer.status_code == 400:  # an atomic batch that is refused
        assert not new & stored, fault
        return "done"
    assert answer.status_code == 503 or fault[1] == "a defect", (fault, answer.text)
    if answer.status_code == 503:
        assert answer.headers["Retry-After"] == "1"
    if "find out" in answer.get_json()["detail"]:
        return "uncertain"
    assert not new & stored, fault
    return "nothing"


def rows(bench: Bench, query: str) -> list[Any]:
    """What `query` finds."""
    with bench.sessions() as session:
        return [tuple(row) for row in session.execute(text(query))]


VERSIONS = "SELECT number, version, status, note FROM rule_versions WHERE code = 1100 ORDER BY number"


def test_each_statement_of_a_rule_change_fails_in_turn(bench: Bench) -> None:
    """A change is there as a whole or not at all, as was answered, and the next event is judged by what is there."""
    notes = count(1)

    def change(app: Flask, _: int) -> list[Any]:
        body = {"status": "active", "note": str(next(notes))}
        return [(app.test_client().put("/rules/1100", json=body), [])]

    counted = []
    for _ in range(3):  # it asks for its turn again and again, on a busy machine more often
        bench.faults.count()
        assert bench.do(change, 0)[0][0].status_code == 200
        counted.append(bench.faults.places(preparing=False))
    cases = min(counted, key=len)
    assert len(cases) > 10
    failed = 0
    for place, kind in cases:
        before = rows(bench, VERSIONS)
        bench.faults.let_fail(place, kind)
        ((answer, _),) = bench.do(change, 0)
        failed += bench.faults.happened  # not if it asks for its turn less often
        found = rows(bench, VERSIONS)
        new = [(before[-1][0] + 1, before[-1][1] + 1, "active", found[-1][3])]
        seen = check_answer(answer, [], {"user_actions": []}, 0, (place, kind))
        possible = {"done": (before + new,), "nothing": (before,), "uncertain": (before, before + new)}
        assert found in possible[seen], (place, kind)
        wait_until(bench.is_healthy)
        base = next(bases)
        assert one(bench.app, event(base + 1, "next"))[0].get_json()["alert_codes"] == [1100]
        (action,) = bench.state(base)["user_actions"]
        assert action["rules_number"] == found[-1][0]
    assert failed > len(cases) / 2


def test_each_statement_of_storing_a_backtest_fails_in_turn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backtest is stored once or not at all, as was answered; one that cannot be known of is found by its id."""

    def end(_: Any, __: int, process: Any) -> None:
        process.kill()
        process.communicate()

    monkeypatch.setattr(start, "COMMAND", ("sleep", "60"))
    monkeypatch.setattr(start, "_attend", end)

    def ask(app: Flask, _: int) -> list[Any]:
        return [(app.test_client().post("/backtests", json={}), [])]

    bench.do(ask, 0)  # the first time it reads what the rules are
    with transaction(bench.sessions) as session:
        session.execute(text("DELETE FROM backtests"))
    bench.faults.count()
    assert bench.do(ask, 0)[0][0].status_code == 202
    cases = bench.faults.places(preparing=False)
    for place, kind in cases:
        with transaction(bench.sessions) as session:
            session.execute(text("DELETE FROM backtests"))
        bench.faults.let_fail(place, kind)
        ((answer, _),) = bench.do(ask, 0)
        assert bench.faults.happened, (place, kind)
        stored = [backtest_id for (backtest_id,) in rows(bench, "SELECT backtest_id FROM backtests")]
        if answer.status_code == 202:
            assert stored == [answer.get_json()["id"]], (place, kind)
        elif answer.status_code == 409:  # the answer to it was lost, and it was asked for again
            assert f"/backtests/{stored[0]}" in answer.text or f" {stored[0]} " in answer.text, (answer.text, kind)
        else:
            check_answer(answer, [], {"user_actions": []}, 0, (place, kind))
            assert len(stored) <= 1, (place, kind)
        wait_until(bench.is_healthy)
        if not stored:
            assert bench.do(ask, 0)[0][0].status_code == 202, (place, kind)
