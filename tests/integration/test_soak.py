"""The soak's own checks can fail: what is tampered with is noticed by its judge, which knows only the definition."""

from collections.abc import Callable
from contextlib import closing
from random import Random
from typing import Any, NamedTuple

import psycopg2
from flask.testing import FlaskClient

from bench.soak import database
from bench.soak.judge import Findings
from bench.soak.plan import Stream, anywhere, crowded, in_order
from bench.soak.record import PRUNED, REFUSED, Record, written
from tests.conftest import ClientMaker
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


class Looked(NamedTuple):
    """How many things the judge and the record find wrong with a database, and what was there to be looked at."""

    by_judge: int
    by_record: int
    acknowledged: int
    findings: Findings


def look(record: Record, url: str, *tampering: str) -> Looked:
    """Look at a database after these statements, which are rolled back."""
    record.wrong = 0
    with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection:
        for statement in tampering:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                assert cursor.rowcount > 0
        acknowledged = record.compare(database.events(connection), database.removed(connection))
        findings = database.judged(connection)
    return Looked(findings.wrong, record.wrong, acknowledged, findings)


def is_noticed(looked: Looked, by: int) -> bool:
    """Whether the judge (10), the record of the answers (1), or both (11) have noticed."""
    return (looked.by_judge > 0) * 10 >= by // 10 * 10 and (looked.by_record > 0) >= by % 10


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
LOST = (
    "DELETE FROM alerts WHERE user_id = 12",
    "DELETE FROM user_actions WHERE user_id = 12",
    "UPDATE users SET net = 0, last_seq = 0 WHERE user_id = 12",
)


def test_what_is_tampered_with_is_noticed(make_client: ClientMaker, database_url: str) -> None:
    """Late events, equal times, changes of rules and of ratings: nothing is wrong, and whatever is altered is noticed.

    An event that was answered as stored and is not there is noticed even if the rest fits together.
    """
    record = posted(make_client())
    looked = look(record, database_url)
    assert (looked.by_judge, looked.by_record, looked.acknowledged) == (0, 0, 450)
    assert looked.findings.alerts > 100
    for what, (statement, noticed_by) in TAMPERED.items():
        assert is_noticed(look(record, database_url, statement), noticed_by), what
    lost = look(record, database_url, *LOST)
    assert lost.by_judge == 0
    assert lost.by_record > 0


AFTER_PRUNING = {
    "a count on record": ("UPDATE checkpoints SET actions = actions + 1 WHERE user_id = 2 AND type = 'deposit'", 11),
    "a sum on record": ("UPDATE checkpoints SET total = total + 0.01 WHERE user_id = 2 AND type = 'deposit'", 11),
    "what is on record": ("DELETE FROM checkpoints WHERE user_id = 2", 11),
    "a cut after an action": ("UPDATE users SET pruned_before = 100 WHERE user_id = 2", 10),
    "a cut before what was removed": ("UPDATE users SET pruned_before = 30 WHERE user_id = 2", 1),
    "an alert": ("UPDATE alerts SET superseded = NOT superseded WHERE user_id = 2 AND code = 1100", 10),
    "an alert that counts removed ones": ("DELETE FROM alerts WHERE user_id <= 5 AND code = 630", 10),
}


def test_what_is_tampered_with_after_pruning_is_noticed(make_client: ClientMaker, database_url: str) -> None:
    """The same after actions were removed, in the middle of it and at the end, at another time."""

    def prune(before: int) -> None:
        pruning = Pruning(database_url, before)
        pruning.run(lambda *_: None)
        pruning.close()

    record = posted(make_client(), lambda: prune(40))
    prune(70)
    looked = look(record, database_url)
    assert (looked.by_judge, looked.by_record) == (0, 0)
    assert looked.findings.removed > 50
    assert 0 < looked.findings.unknown < looked.findings.alerts / 4
    for what, (statement, noticed_by) in AFTER_PRUNING.items():
        assert is_noticed(look(record, database_url, statement), noticed_by), what


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
