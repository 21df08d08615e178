"""The outbox: what happens to alerts waits there for webhooks, and nothing does that none of them wants."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from database.records import AlertKey
from rules.registry import REGISTRY
from tests.integration.test_engine import create_user, post, rows
from tests.integration.test_hindsight import Live, RuleSet
from tests.postgres import transaction
from tests.unit.rules.timeline import events
from work.alerts import change_alert

Sessions = sessionmaker[Session]

ALL_EVENTS = ["alert.created", "alert.superseded", "alert.reinstated", "alert.changed"]
RULES = [REGISTRY[1100], REGISTRY[30]]


def subscribe(sessions: Sessions, **values: Any) -> None:
    """Store a webhook that wants everything, but for what `values` say."""
    asked = {"events": ALL_EVENTS, "codes": None, "risk": None, "enabled": True} | values
    with transaction(sessions) as session:
        session.execute(
            text("""
                INSERT INTO webhooks (url, events, codes, risk, enabled, secret, created_by)
                VALUES ('https://example.com/', :events, :codes, :risk, :enabled, '', 'test')
            """),
            asked,
        )


def outbox(sessions: Sessions) -> list[tuple[Any, ...]]:
    """What waits, in order: the place of each event, and what it is."""
    return rows(sessions, "SELECT at_seq, n, seq, code, event, risk FROM outbox ORDER BY user_id, at_seq, n, seq, code")


def work(sessions: Sessions, key: AlertKey, note: str | None = None, **wanted: Any) -> None:
    """Change what people make of an alert."""
    with sessions() as session:
        change_alert(session, key, wanted, who="ada", note=note, version_fits=lambda _: True)


def test_nobody_subscribes(sessions: Sessions) -> None:
    """Without a webhook nothing is stored for any."""
    post(sessions, 1, "w 101 @1, w 1 @2, w 1 @9, w 1 @3", rules=RULES)
    work(sessions, AlertKey(user_id=1, seq=1, code=1100), status="acknowledged")
    assert outbox(sessions) == []


def test_alerts_are_told_as_they_are_stored(sessions: Sessions) -> None:
    """A new alert and a late one are created; one that a late event ends is superseded, and may come to stand again."""
    subscribe(sessions)
    post(sessions, 1, "w 101 @10", rules=RULES)
    assert outbox(sessions) == [(1, 0, 1, 1100, "alert.created", "normal")]
    post(sessions, 1, "w 1 @20, w 1 @30", rules=RULES)
    post(sessions, 1, "d 1 @25", rules=RULES)  # between the three withdrawals in a row
    assert outbox(sessions)[1:] == [
        (3, 0, 3, 30, "alert.created", "normal"),
        (4, 1, 3, 30, "alert.superseded", "normal"),
    ]
    post(sessions, 1, "w 1 @26, w 1 @27", rules=RULES)  # between that deposit and the last withdrawal
    assert outbox(sessions)[3:] == [(6, 1, 3, 30, "alert.reinstated", "normal")]


def test_an_alert_that_comes_and_goes_in_one_transaction(sessions: Sessions) -> None:
    """It was answered, so it is told; and then that it no longer holds."""
    subscribe(sessions)
    post(sessions, 1, "w 1 @10, w 1 @20, w 1 @30, d 1 @25", rules=RULES)
    assert outbox(sessions) == [
        (4, 0, 3, 30, "alert.created", "normal"),
        (4, 1, 3, 30, "alert.superseded", "normal"),
    ]


def test_only_what_somebody_wants(sessions: Sessions) -> None:
    """A webhook that is off, or wants other events, codes or ratings, is no reason to keep anything."""
    subscribe(sessions, enabled=False)
    subscribe(sessions, events=["alert.changed"])
    subscribe(sessions, codes=[30])
    subscribe(sessions, risk=["high", "low"])
    post(sessions, 1, "w 101 @1", rules=RULES)
    assert outbox(sessions) == []
    create_user(sessions, 2, risk="high")
    post(sessions, 2, "w 101 @1", rules=RULES)
    post(sessions, 1, "w 1 @2, w 1 @3", rules=RULES)
    assert outbox(sessions) == [(3, 0, 3, 30, "alert.created", "normal"), (1, 0, 1, 1100, "alert.created", "high")]


def test_work_is_told(sessions: Sessions) -> None:
    """Each change of an alert by people: its fields as they are now and who did it, but no note; a note alone too."""
    subscribe(sessions, events=["alert.changed"])
    post(sessions, 1, "w 101 @1, d 1 @2", rules=RULES)
    key = AlertKey(user_id=1, seq=1, code=1100)
    work(sessions, key, status="closed", outcome="false_positive", note="his sister")
    work(sessions, key, note="and his aunt")
    assert outbox(sessions) == [
        (2, 3, 1, 1100, "alert.changed", "normal"),
        (2, 4, 1, 1100, "alert.changed", "normal"),
    ]
    closed = {
        "status": "closed",
        "outcome": "false_positive",
        "assignee": None,
        "snoozed_until": None,
        "who": "ada",
    }
    assert rows(sessions, "SELECT change FROM outbox ORDER BY n") == [
        (closed | {"fields": ["status", "outcome"]},),
        (closed | {"fields": ["note"]},),
    ]


def test_nobody_is_told_of_shadow_alerts(sessions: Sessions) -> None:
    """Neither that one is raised, nor that it ends, nor that it is worked."""
    subscribe(sessions)
    live = Live(sessions)
    live.set_rules(RuleSet(rule.code, "shadow", rule.defaults(), {}) for rule in RULES)
    user_id = live.first + 1
    for notation in ("w 101 @10, w 1 @20, w 1 @30", "d 1 @25"):
        live.post(events(user_id, notation))
    work(sessions, AlertKey(user_id=user_id, seq=1, code=1100), status="acknowledged")
    shadow = rows(sessions, "SELECT code, superseded FROM alerts WHERE shadow ORDER BY code")
    assert shadow == [(30, True), (1100, False)]
    assert outbox(sessions) == []
