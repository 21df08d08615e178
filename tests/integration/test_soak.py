"""The soak's own checks can fail: what is tampered with is noticed by its judge, which knows only the definition."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from bench.soak import database
from bench.soak.plan import Stream, anywhere, crowded, in_order
from bench.soak.record import PRUNED, REFUSED, Record, written
from tests.conftest import ClientMaker
from tests.postgres import Sessions, transaction
from work.pruning import Pruning

STREAMS = (
    Stream(1, "in order", 1, in_order(3)),
    Stream(1, "late", 1, anywhere(5, 200)),
    Stream(1, "crowded", 11, crowded(2, 5)),
)


def posted(client: FlaskClient, prune: Callable[[], object] = int) -> Record:
    """A few hundred events in batches, with changes of rules and ratings between them; and what was answered.

    `prune` is called in the middle.
    """
    random, record = Random(7), Record()
    statuses = ("active", "shadow", "active", "off", "active", "active")
    for number, status in enumerate(statuses):
        if number == 3:
            prune()
        for stream in STREAMS:
            answers, first = record.open(stream), 25 * number
            for result in client.post("/events", json=stream.events(first, 25)).get_json()["results"]:
                codes = result.get("alert_codes")
                answers.note(first + result["index"], PRUNED if codes is None else written(codes))
        change = {"status": status, "parameters": {"count": number + 2}, "by_risk": {"high": {"count": 2}}}
        assert client.put(f"/rules/{random.choice((30, 300, 500))}", json=change).status_code == 200
        spike = {"status": "active", "parameters": {"times": "1.50", "count": 2}}
        assert client.put("/rules/630", json=spike).status_code == 200
        rating = {"risk": random.choice(("low", "high")), "overrides": {"1100": {"threshold": "66.67"}}}
        assert client.patch(f"/users/{random.randint(1, 5)}", json=rating).status_code == 200
    return record


@pytest.fixture
def judged(make_client: ClientMaker, database_url: str) -> Callable[[], tuple[int, int]]:
    """Posts, and says how many things the judge and the record find wrong with the database."""
    record = posted(make_client())

    def look() -> tuple[int, int]:
        record.wrong = 0
        with database.connected(database_url) as connection:
            acknowledged = record.compare(database.events(connection))
            findings = database.judged(connection)
        assert acknowledged == 450
        assert findings.alerts > 100
        return findings.wrong, record.wrong

    return look


Judged = Callable[[], tuple[int, int]]

# What is done to the database, and who notices: the judge, the record of what was answered.
TAMPERED = {
    "an alert less": (
        "DELETE FROM alerts WHERE (user_id, seq, code) = (SELECT user_id, seq, code FROM alerts LIMIT 1)",
        10,
    ),
    "an alert superseded": ("UPDATE alerts SET superseded = NOT superseded WHERE user_id = 2 AND code = 1100", 10),
    "an alert in shadow": ("UPDATE alerts SET shadow = true WHERE NOT shadow AND NOT superseded AND code = 123", 10),
    "an alert more": (
        "INSERT INTO alerts (user_id, seq, code, time, evidence)"
        " SELECT user_id, seq, 680, time, '{}' FROM user_actions LIMIT 1",
        10,
    ),
    "an amount": ("UPDATE user_actions SET amount = amount + 0.01 WHERE user_id = 3 AND seq = 1", 11),
    "a time": ("UPDATE user_actions SET time = time + 1 WHERE user_id = 3 AND seq = 1", 1),
    "an answer": ("UPDATE user_actions SET alert_codes = '{690}' WHERE user_id = 3 AND seq = 1", 11),
    "a balance": ("UPDATE users SET net = net + 0.01 WHERE user_id = 1", 10),
    "a count": ("UPDATE users SET last_seq = last_seq + 1 WHERE user_id = 1", 10),
    "what judged an action": ("UPDATE user_actions SET rules_number = 1 WHERE user_id = 1 AND seq = 20", 10),
    "an event of nobody": ("UPDATE user_actions SET event_id = 'in order-7777' WHERE user_id = 1 AND seq = 1", 1),
}


def test_what_is_right_is_right(judged: Judged) -> None:
    """Late events, equal times, changes of rules and of ratings: the judge finds what the service has stored."""
    assert judged() == (0, 0)


@pytest.mark.parametrize("what", TAMPERED)
def test_what_is_tampered_with_is_noticed(judged: Judged, sessions: Sessions, what: str) -> None:
    """Whatever is altered is noticed by the judge (10), by the record of the answers (1), or by both."""
    statement, noticed_by = TAMPERED[what]
    with transaction(sessions) as session:
        assert session.connection().execute(text(statement)).rowcount > 0
    by_judge, by_record = judged()
    assert (by_judge > 0) * 10 >= noticed_by // 10 * 10
    assert (by_record > 0) >= noticed_by % 10


def test_an_acknowledged_event_that_is_lost(judged: Judged, sessions: Sessions) -> None:
    """An event that was answered as stored, and is not there, is noticed, though the rest fits together."""
    with transaction(sessions) as session:
        session.execute(text("DELETE FROM alerts WHERE user_id = 12"))
        session.execute(text("DELETE FROM user_actions WHERE user_id = 12"))
        session.execute(text("UPDATE users SET net = 0, last_seq = 0 WHERE user_id = 12"))
    by_judge, by_record = judged()
    assert by_judge == 0
    assert by_record > 0


@pytest.fixture
def judged_after_pruning(make_client: ClientMaker, database_url: str) -> Judged:
    """The same after actions were removed, in the middle of it and at the end, at another time."""

    def prune(before: int) -> None:
        pruning = Pruning(database_url, before)
        pruning.run(lambda *_: None)
        pruning.close()

    record = posted(make_client(), lambda: prune(40))
    prune(70)

    def look() -> tuple[int, int]:
        record.wrong = 0
        with database.connected(database_url) as connection:
            removed = database.removed(connection)
            record.compare(database.events(connection), removed)
            findings = database.judged(connection)
        assert findings.removed > 50
        assert 0 < findings.unknown < findings.alerts / 4
        return findings.wrong, record.wrong

    return look


AFTER_PRUNING = {
    "a count on record": ("UPDATE checkpoints SET actions = actions + 1 WHERE user_id = 2 AND type = 'deposit'", 11),
    "a sum on record": ("UPDATE checkpoints SET total = total + 0.01 WHERE user_id = 2 AND type = 'deposit'", 11),
    "what is on record": ("DELETE FROM checkpoints WHERE user_id = 2", 11),
    "a cut after an action": ("UPDATE users SET pruned_before = 100 WHERE user_id = 2", 10),
    "a cut before what was removed": ("UPDATE users SET pruned_before = 30 WHERE user_id = 2", 1),
    "an alert": ("UPDATE alerts SET superseded = NOT superseded WHERE user_id = 2 AND code = 1100", 10),
    "an alert that counts removed ones": ("DELETE FROM alerts WHERE user_id <= 5 AND code = 630", 10),
}


def test_what_is_right_after_pruning_is_right(judged_after_pruning: Judged) -> None:
    """The judge and the record find what is stored after pruning, and what is on record of what was removed."""
    assert judged_after_pruning() == (0, 0)


@pytest.mark.parametrize("what", AFTER_PRUNING)
def test_what_is_tampered_with_after_pruning_is_noticed(
    judged_after_pruning: Judged, sessions: Sessions, what: str
) -> None:
    """Whatever is altered of what was removed, or is left, is noticed by the judge (10) or the record (1)."""
    statement, noticed_by = AFTER_PRUNING[what]
    with transaction(sessions) as session:
        assert session.connection().execute(text(statement)).rowcount > 0
    by_judge, by_record = judged_after_pruning()
    assert (by_judge > 0) * 10 >= noticed_by // 10 * 10
    assert (by_record > 0) >= noticed_by % 10


def test_a_refused_event_that_is_stored() -> None:
    """An event that was refused must not be there, and one that nobody knows of may be."""
    record, stream = Record(), STREAMS[0]
    answers = record.open(stream)
    answers.note(0, REFUSED)
    event = stream.event(0)
    row: tuple[Any, ...] = (
        event["event_id"],
        event["user_id"],
        event["type"],
        int(event["amount"].replace(".", "")),
        event["time"],
        [],
    )
    assert record.compare([row]) == 0
    assert record.listed == ["in order-0 was refused, and is stored"]
    unknown = Record()
    unknown.open(stream)
    assert unknown.compare([row]) == 0
    assert unknown.listed == []
