"""Running counts and sums: the SQL of docs/decisions/running-sums.md, word for word, on random histories."""

import random
import re
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from database import late_counts
from database.pruning import prune_user
from rules.judging.engine import RuleEngine
from rules.model import Event
from rules.policy import Policy
from rules.registry import REGISTRY
from tests.numbers import NUMBERED_ACTIONS
from tests.postgres import engine_on, transaction
from tests.service import ROOT
from tests.unit.test_registry import stream

PAGE = (ROOT / "docs/decisions/running-sums.md").read_text()
USERS = 8


def sql_of_the_page() -> str:
    """The statements that recompute the numbers."""
    found = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def run(url: str, statements: str) -> None:
    """Run statements as psql would."""
    with engine_on(url) as engine, engine.connect() as connection:
        connection.exec_driver_sql(statements)


def stored(sessions: sessionmaker[Session]) -> list[Any]:
    """Every action with its numbers, and where its row is stored: a row that is updated moves."""
    query = (
        "SELECT user_id, seq, type, amount, time, ordinal, running_total, ctid::text FROM user_actions ORDER BY 1, 2"
    )
    with sessions() as session:
        return list(session.execute(text(query)))


def post_a_random_history(sessions: sessionmaker[Session]) -> None:
    """Actions of several users, some of them late and some at equal times, in batches of any size."""
    engine, draw = RuleEngine(Policy(tuple(REGISTRY.values()))), random.Random(20261122)
    events = [(number, user, action) for user in range(1, USERS + 1) for number, action in enumerate(stream(user))]
    # In turn, so that a batch holds events of several users, each user's in the order of the stream.
    events.sort(key=lambda one: one[:2])
    at = 0
    while at < len(events):
        size = draw.choice([1, 2, 7, 40])
        batch = [Event(user, action.type, action.amount, action.time) for _, user, action in events[at : at + size]]
        with sessions() as session:
            engine.process(session, batch)
        at += size


def test_the_sql_of_the_page_finds_nothing_to_change(sessions: sessionmaker[Session], database_url: str) -> None:
    """After a random history with late events every number is what the SQL makes of the actions."""
    post_a_random_history(sessions)
    before = stored(sessions)
    late = [b for a, b in pairwise(before) if a.user_id == b.user_id and a.time > b.time]
    assert len(before) == USERS * 120
    assert len(late) > USERS
    run(database_url, sql_of_the_page())
    assert stored(sessions) == before


def test_the_sql_of_the_page_takes_in_what_stands_beside(
    sessions: sessionmaker[Session], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Afterwards the stored numbers are the true ones, and nothing is to be added to them."""
    monkeypatch.setattr(late_counts, "STRETCH", 3)
    post_a_random_history(sessions)
    true = text(f"{NUMBERED_ACTIONS} ORDER BY a.user_id, a.seq")
    with sessions() as session:
        before = [(row.true_ordinal, row.true_total) for row in session.execute(true)]
    assert [(row.ordinal, row.running_total) for row in stored(sessions)] != before
    run(database_url, sql_of_the_page())
    assert [(row.ordinal, row.running_total) for row in stored(sessions)] == before
    with sessions() as session:
        assert (
            session.execute(text("SELECT 1 FROM late_offsets UNION SELECT 1 FROM users WHERE has_late_offsets")).all()
            == []
        )


def test_the_sql_of_the_page_mends_what_is_wrong(sessions: sessionmaker[Session], database_url: str) -> None:
    """Wrong numbers are corrected, and no row with right numbers is touched."""
    post_a_random_history(sessions)
    before = stored(sessions)
    run(database_url, "UPDATE user_actions SET ordinal = 7, running_total = 0.07 WHERE user_id IN (2, 3)")
    assert [row[:7] for row in stored(sessions)] != [row[:7] for row in before]
    run(database_url, sql_of_the_page())
    after = stored(sessions)
    assert [row[:7] for row in after] == [row[:7] for row in before]
    assert [row for row in after if row.user_id not in (2, 3)] == [row for row in before if row.user_id not in (2, 3)]


def test_the_sql_of_the_page_goes_on_from_checkpoints(sessions: sessionmaker[Session], database_url: str) -> None:
    """What was removed is counted as ever."""
    post_a_random_history(sessions)
    with transaction(sessions) as session:
        middle = session.scalar(text("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY time) FROM user_actions"))
        for user_id in (1, 2):
            assert prune_user(session.connection(), user_id, middle, 1_000).actions > 10
    before = stored(sessions)
    run(database_url, sql_of_the_page())
    assert stored(sessions) == before
