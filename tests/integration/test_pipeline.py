"""Batches that are stored in pieces while they are judged: the same answers and rows as at once, and all or nothing."""

import gc
import json
import weakref
from contextlib import suppress
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError

from database import storing
from database.copying import Copied
from database.judging import COUNT_AND_LOCK
from database.locks import Waits
from database.prepared import prepare_anew, run_directly
from database.records import NewAction, NewAlert
from rules.judging import pipeline
from rules.judging.batch import Batch
from rules.judging.batches import RulesChanged
from rules.judging.engine import RuleEngine
from rules.model import Event, Outcome
from rules.policy import Policy
from rules.values import LAST_TIME
from tests.integration.test_engine import ALL_RULES, create_user, process, random_batch, result_of, rows
from tests.integration.test_outbox import subscribe
from tests.postgres import Sessions, transaction
from tests.unit.rules.timeline import events

TABLES = {
    "users": "last_seq, net, balance",
    "user_actions": "seq, type, amount, time, event_id, alert_codes, rules_number, settings_version, ordinal, "
    "running_total",
    "alerts": "seq, code, time, evidence, late, superseded, shadow, high_risk",
    "outbox": "at_seq, n, seq, code, event, risk",
}


@pytest.fixture(params=[1, 4, 1_000])
def _pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "LEAST", 1)
    monkeypatch.setattr(pipeline, "PIECE", request.param)


def test_nothing_is_left_to_the_collector(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is free when it is over, whether it was small, in pieces, or failed between two of them."""
    seen: list[weakref.ref[Batch]] = []
    settle = RuleEngine._settle

    def noted(self: RuleEngine, batch: Batch, event: Event, latest: int) -> Outcome:
        seen.append(weakref.ref(batch))
        if event.amount == 666:
            raise KeyError
        return settle(self, batch, event, latest)

    monkeypatch.setattr(RuleEngine, "_settle", noted)
    monkeypatch.setattr(pipeline, "PIECE", 1)
    gc.disable()
    try:
        for least, notation in ((256, "d 1 @1"), (1, "d 1 @2"), (1, "d 1 @3")):
            monkeypatch.setattr(pipeline, "LEAST", least)
            batch = [*events(1, notation), *events(2, notation), *events(3, notation)]
            if notation == "d 1 @3":
                batch = [event._replace(amount=Decimal(666)) if event.user_id == 3 else event for event in batch]
            with suppress(KeyError):
                process(sessions, batch)
            assert len(seen) == 3
            assert [one() for one in seen] == [None] * 3
            seen.clear()
    finally:
        gc.enable()


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many actions each COPY stored."""
    found: list[int] = []
    store = Copied.store

    def noted(self: Copied, *arguments: Any) -> int:
        count = store(self, *arguments)
        if self is storing.ACTIONS_BY_COPY:
            found.append(count)
        return count

    monkeypatch.setattr(Copied, "store", noted)
    return found


def stored(sessions: Sessions, base: int) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the users behind `base`, whose ids count from it."""
    query = "SELECT user_id - :base, {} FROM {} WHERE user_id BETWEEN :base + 1 AND :base + 99"
    return {
        table: sorted(rows(sessions, query.format(columns, table), base=base), key=str)
        for table, columns in TABLES.items()
    }


def a_batch(base: int, seed: int) -> list[Event]:
    """In order and late, with ids and without, repeated, refused, of users that are known, new and crowded."""
    random = Random(seed)
    batch = random_batch(range(base + 1, base + 4), seed, 20)  # mostly late
    for user in range(4, 9):
        times = sorted(random.choices(range(300), k=random.choice([1, 5, 12])))
        own = random_batch(range(base + user, base + user + 1), seed + user, len(times))
        batch += [event._replace(time=time) for event, time in zip(own, times, strict=True)]
    batch += [
        event._replace(event_id=rf"\N{n}\t") for n, event in enumerate(events(base + 9, "d 1 @0, d 2 @1, d 3 @2"))
    ]
    batch += batch[-2:]  # repeated
    batch.append(batch[-1]._replace(time=5))  # another payload
    batch += events(base + 10, "w 1000000 @1")  # refused, if there is no overdraft
    order = sorted(range(len(batch)), key=lambda at: (random.random(), at) if at < 20 else (at / len(batch), at))
    return [batch[at] for at in order]


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("overdraft", [True, False])
def test_the_same_rows_as_at_once(
    seed: int, overdraft: bool, sessions: Sessions, copied: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is answered and stored does not depend on the pieces, also when there is something before."""
    for base in (100, 200):
        create_user(sessions, base + 4, "5000.00", risk="high")
        create_user(sessions, base + 5, "5000.00", risk="low")
    outcomes: dict[int, list[Any]] = {100: [], 200: []}
    subscribe(sessions, events=["alert.created", "alert.superseded"])
    for number in range(2):
        for base in (100, 200):
            with monkeypatch.context() as patch:
                if base == 100:
                    patch.setattr(pipeline, "LEAST", 10_000)
                batch = a_batch(base, 10 * seed + number)
                found = process(sessions, batch, ALL_RULES, allow_overdraft=overdraft)
                outcomes[base] += [result_of(outcome) for outcome in found]
    assert outcomes[100] == outcomes[200]
    assert "event_id_conflict" in outcomes[100]
    assert ("overdraft" in outcomes[100]) != overdraft
    at_once = stored(sessions, 100)
    assert at_once == stored(sessions, 200)
    assert all(at_once.values())
    assert sum(copied) > 20


@pytest.mark.usefixtures("_pieces")
def test_each_event_is_sent_once(sessions: Sessions, copied: list[int]) -> None:
    """A user's events are in one piece, and pieces of which nothing is stored do not end it."""
    batch = [
        event for user in range(1, 30) for event in events(user, "w 1 @1, w 1 @1" if user % 3 else "d 9 @1, d 9 @2")
    ]
    found = [result_of(outcome) for outcome in process(sessions, batch, allow_overdraft=False)]
    assert (found.count("overdraft"), found.count([])) == (40, 18)
    assert sum(copied) == 18
    assert rows(sessions, "SELECT count(*), count(DISTINCT user_id) FROM user_actions") == [(18, 9)]
    assert rows(sessions, "SELECT count(*) FROM users") == [(9,)]


class Defect(Exception):
    """Something that nobody expects."""


@pytest.mark.parametrize("last", [Defect, KeyboardInterrupt])
def test_what_fails_between_two_pieces_undoes_all(
    last: type[BaseException], sessions: Sessions, copied: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is raised as it is, nothing of the pieces before it is stored, and the connection goes on."""
    monkeypatch.setattr(pipeline, "LEAST", 1)
    monkeypatch.setattr(pipeline, "PIECE", 1)
    batch = [event for user in range(1, 6) for event in events(user, "w 101 @1")]
    settle = RuleEngine._settle

    def failing(self: RuleEngine, batch: Any, event: Event, latest: int) -> Any:
        if event.user_id == 5:
            raise last("not for the log of the database")
        return settle(self, batch, event, latest)

    with monkeypatch.context() as patch:
        patch.setattr(RuleEngine, "_settle", failing)
        with pytest.raises(last):
            process(sessions, batch)
    assert copied  # some had been
    for table in ("user_actions", "alerts", "users"):
        assert rows(sessions, f"SELECT count(*) FROM {table}") == [(0,)]
    assert len(process(sessions, batch)) == 5
    assert rows(sessions, "SELECT count(*) FROM user_actions") == [(5,)]


def test_the_database_may_refuse_a_piece(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it raises is what any statement would raise, and nothing is stored."""
    monkeypatch.setattr(pipeline, "LEAST", 1)
    monkeypatch.setattr(pipeline, "PIECE", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Copied, "written", lambda self, records: b"1\tno number\n" if records else b"")
        with pytest.raises(DataError, match="invalid input syntax"):
            process(sessions, events(1, "w 101 @1"))
    assert rows(sessions, "SELECT count(*) FROM users") == [(0,)]


@pytest.mark.usefixtures("_pieces")
def test_one_refusal_stores_nothing_if_all_belong_together(sessions: Sessions) -> None:
    """Also when it is the last one, and others have been sent; each still has its verdict."""
    batch = [event for user in range(1, 7) for event in events(user, "d 1 @1" if user < 6 else "w 1 @1")]
    with sessions() as session:
        engine = RuleEngine(Policy(ALL_RULES, allow_overdraft=False))
        engine.rules.enter_declared(session)
        found = engine.process(session, batch, atomic=True)
    assert [result_of(outcome) for outcome in found] == [[], [], [], [], [], "overdraft"]
    assert rows(sessions, "SELECT count(*) FROM users") == [(0,)]


@pytest.mark.usefixtures("_pieces")
def test_a_rule_that_changes_meanwhile(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not hold the rules finds out before the commit, and nothing of the pieces is stored."""
    monkeypatch.setattr("rules.judging.engine.hold_rules", lambda connection: -1)
    with sessions() as session:
        engine = RuleEngine(Policy(ALL_RULES))
        engine.rules.enter_declared(session)
        with pytest.raises(RulesChanged):
            engine.process(session, events(1, "w 101 @1"), waits=Waits(hold_rules=False))
    assert rows(sessions, "SELECT count(*) FROM users") == [(0,)]


def test_lines_are_what_arrays_are(sessions: Sessions) -> None:
    """COPY reads every text and every type as the statement with arrays does."""
    texts = ["a", "\\N", "\\.", "a\\tb", '"{},', "\\", " ", "NULL", None]
    action = NewAction(
        user_id=2**63 - 1,
        seq=1,
        type="deposit",
        amount=Decimal("0.10"),
        time=LAST_TIME,
        event_id=None,
        alert_codes="{1100,30}",
        rules_number=3,
        settings_version=4,
        ordinal=5,
        running_total=Decimal("-99999999999999999999.99"),
    )
    actions = [action._replace(seq=n, event_id=text) for n, text in enumerate(texts, start=1)]
    evidence = json.dumps({"sentence": 'a "b" \\ \n é', "actions": [1]})
    alert = NewAlert(
        user_id=action.user_id,
        seq=1,
        code=30,
        time=LAST_TIME,
        evidence=evidence,
        late=True,
        superseded=False,
        shadow=True,
        high_risk=False,
    )
    found = []
    for by_copy in (False, True):
        with transaction(sessions) as session:
            connection = session.connection()
            session.execute(text("DELETE FROM alerts"))
            session.execute(text("DELETE FROM user_actions"))
            session.execute(
                text("INSERT INTO users (user_id) VALUES (:u) ON CONFLICT DO NOTHING"), {"u": alert.user_id}
            )
            if by_copy:
                for copy, records in ((storing.ACTIONS_BY_COPY, actions), (storing.ALERTS_BY_COPY, [alert])):
                    assert copy.store(connection, copy.written(records), lambda: None) == len(records)
            else:
                run_directly(connection, prepare_anew(COUNT_AND_LOCK), {})
                storing.store(connection, storing.NewRows(actions, [alert]))
        found.append(
            [
                rows(sessions, f"SELECT {TABLES[table]} FROM {table} ORDER BY seq")
                for table in ("user_actions", "alerts")
            ]
        )
    assert found[0] == found[1]
    assert [row[4] for row in found[1][0]] == texts
