"""Users who have as many actions, or as large a balance, as there can be."""

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from database.judging import MOST_ACTIONS, MOST_NET
from rules.model import Refusal, Verdict
from tests.integration.test_engine import process, rows
from tests.postgres import transaction
from tests.unit.rules.timeline import events

pytestmark = pytest.mark.forms

Sessions = sessionmaker[Session]
FULL = Refusal("user_full", "The user has as many actions, or as large a balance, as there can be.")


def change(sessions: Sessions, what: str) -> None:
    """Change user 7 in the database."""
    with transaction(sessions) as session:
        session.execute(text(f"UPDATE users SET {what} WHERE user_id = 7"))


def state(sessions: Sessions) -> list[tuple[int, int, int]]:
    return rows(sessions, "SELECT user_id, last_seq, net FROM users ORDER BY 1")


@pytest.mark.parametrize(
    "what",
    [f"last_seq = {2**63 - 1}", f"last_seq = {MOST_ACTIONS + 1}", f"net = {MOST_NET + 1}", f"net = {-MOST_NET - 1}"],
)
def test_a_full_user_is_refused_by_name(sessions: Sessions, what: str) -> None:
    """Its events are refused, those of others in the batch are stored, and what came before is still answered."""
    process(sessions, events(7, "w 150 @1 #a"))
    change(sessions, what)
    before = state(sessions)
    batch = [*events(6, "d 1 @5"), *events(7, "d 1 @5, w 150 @1 #a, w 2 @0"), *events(8, "d 1 @5")]
    outcomes = process(sessions, batch)
    assert outcomes == [Verdict(6, ()), FULL, Verdict(7, (1100,), replayed=True), FULL, Verdict(8, ())]
    assert process(sessions, events(7, "d 1 @9")) == [FULL]
    assert state(sessions) == [(6, 1, 1), *before, (8, 1, 1)]


def test_the_last_action_there_can_be(sessions: Sessions) -> None:
    """Of several events those that fit are stored, as if they came one by one."""
    process(sessions, events(7, "d 1 @1"))
    with transaction(sessions) as session:
        session.execute(text("UPDATE user_actions SET seq = :seq, ordinal = :seq"), {"seq": MOST_ACTIONS - 2})
    change(sessions, f"last_seq = {MOST_ACTIONS - 2}")
    outcomes = process(sessions, events(7, "d 1 @5, d 1 @6, d 1 @7"))
    assert outcomes == [Verdict(7, ()), Verdict(7, ()), FULL]
    assert state(sessions) == [(7, MOST_ACTIONS, 3)]
