"""Judging one stored action again finds what stands on it, whatever came late; it reads a bounded part of history."""

from decimal import Decimal
from random import Random

import pytest
from sqlalchemy.orm import Session, sessionmaker

from database.alert_evidence import actions_by_seq
from database.users import get_user
from rules.base import RuleSetting
from rules.hindsight.judge_today import judge_today
from rules.model import ActionType, Event
from rules.registry import REGISTRY
from rules.rule_settings import read_versions
from rules.versions import RuleChange
from tests.integration.test_hindsight import Live

AMOUNTS = ("0.50", "20.00", "99.99", "100.00", "100.01", "150.00", "600.00", "9500.00")


def stream(live: Live, random: Random, count: int, *, late: bool) -> list[Event]:
    """Events of the first user: some at once, some after long silences, and crowds of more than are ever listed."""
    time, found = 1_000, []
    for _ in range(count):
        time += random.choice((0, 2, 5, 30, 400, 90_000, 200 * 86_400) if random.random() < 0.1 else (0, 1))
        kind: ActionType = "deposit" if random.random() < 0.5 else "withdraw"
        placed = max(0, time - random.choice((1, 3, 60, 1_000))) if late and random.random() < 0.2 else time
        found.append(Event(live.first + 1, kind, Decimal(random.choice(AMOUNTS)), placed))
    return found


@pytest.mark.parametrize("late", [False, True])
def test_it_finds_what_stands(sessions: sessionmaker[Session], late: bool) -> None:
    """By the settings that have not changed, each rule finds on each action what stands there, and nothing else."""
    live, random = Live(sessions), Random(7)
    events = stream(live, random, 320, late=late)
    for at in range(0, len(events), 40):
        live.post(events[at : at + 40])
    where = "WHERE user_id BETWEEN :first AND :last"
    some = set(random.sample(range(1, len(events) + 1), 60))
    stands = {
        (seq, code): evidence
        for seq, code, evidence, superseded in live.rows(
            f"SELECT seq, code, evidence, superseded FROM alerts {where} ORDER BY seq, code"
        )
        if not superseded and seq in some
    }
    assert {code for _, code in stands} >= {1100, 30, 123, 500, 610, 630, 660, 670, 690}
    with sessions() as session:
        changes = {change.setting.code: change for change in read_versions(session).changes}
        user = get_user(session, live.first + 1)
        assert user is not None
        found = {}
        for action in actions_by_seq(session, user.user_id, sorted(some)):
            for code, change in changes.items():
                evidence = judge_today(session, change, user, action).evidence
                if evidence is not None:
                    found[action.seq, code] = evidence
    if late:  # those that stood before and after kept their first evidence
        assert found.keys() == stands.keys()
    else:
        assert found == stands


def test_it_judges_by_what_holds_now(sessions: sessionmaker[Session]) -> None:
    """The user's override comes before the rating, and that before the rule; a rule that is off is judged as well."""
    live = Live(sessions)
    live.post([Event(live.first + 1, "withdraw", Decimal("80.00"), 10)])
    change = RuleChange(number=1, setting=RuleSetting.initial(REGISTRY[1100], "off"), written={})
    with sessions() as session:
        user = get_user(session, live.first + 1)
        assert user is not None
        (action,) = actions_by_seq(session, user.user_id, [1])
        measured = []
        for risk, overrides in (("normal", {}), ("high", {}), ("high", {"1100": {"threshold": "80.00"}})):
            user.risk, user.overrides = risk, overrides
            found = judge_today(session, change, user, action)
            measured.append(
                (found.rule.values["threshold"], found.rule.origin["threshold"], found.evidence is not None)
            )
    assert measured == [
        (Decimal("100.00"), "default", False),
        (Decimal("50.00"), "risk", True),
        (Decimal("80.00"), "override", False),
    ]
