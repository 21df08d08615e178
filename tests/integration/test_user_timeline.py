"""A user's story is read in bounded pieces, however many actions there are."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from database import user_lists, user_timeline
from tests.postgres import transaction

ACTIONS = 20_000
MANY_ACTIONS = """
    INSERT INTO users (user_id, last_seq) VALUES (1, :number);
    INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version, ordinal,
                              running_total)
        SELECT 1, n, CASE WHEN n % 2 = 0 THEN 'deposit' ELSE 'withdraw' END, 2, 10 * n, '{}', 1, 0,
               (n + 1) / 2, n + n % 2
        FROM generate_series(1, :number) AS n;
    INSERT INTO alerts (user_id, seq, code, time, evidence)
        SELECT 1, n, 30, 10 * n, '{"parameters": {}}' FROM generate_series(1, :number, 2) AS n;
"""
ROWS_READ = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"


@pytest.fixture
def session(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """A session in a transaction, on a database with many actions and alerts of one user."""
    with transaction(sessions) as session:
        for statement in MANY_ACTIONS.split(";")[:-1]:
            session.execute(text(statement.strip()), {"number": ACTIONS})
    with sessions() as session:
        session.execute(text("ANALYZE"))
    with transaction(sessions) as session:
        yield session


MOMENTS = range(0, 10 * ACTIONS, 4_000)  # fifty


@pytest.mark.parametrize(
    ("read", "most"),
    [
        (lambda session: user_timeline.first_and_last(session, 1), 10),
        (lambda session: user_timeline.reached(session, 1, MOMENTS), 2 * len(MOMENTS)),
        (lambda session: user_timeline.actions_between(session, 1, 5_000, 5_990, 500), 100),
        (lambda session: user_timeline.extremes(session, 1, 5_000, 5_990, 100), 100),
        (lambda session: user_timeline.alerts_between(session, 1, [(at, at + 3_999) for at in MOMENTS], 4), 200),
        (lambda session: user_lists.page_of_users(session, 50, 0, None), user_lists.NEWEST + 2),
        (lambda session: user_lists.late_among(session, 1, range(9_000, 9_025)), 25 * (user_lists.ARRIVALS + 1)),
        (lambda session: user_lists.alerts_of_actions(session, 1, range(9_000, 9_025)), 25),
    ],
    ids=["ends", "moments", "actions", "extremes", "alerts", "users", "late", "alerts of actions"],
)
def test_few_rows_are_read(read: Callable[[Session], object], most: int, session: Session) -> None:
    """As many as are shown, and those that are looked at by a bound, but not all there are."""
    before = session.scalars(text(ROWS_READ)).one()
    assert read(session) is not None
    assert session.scalars(text(ROWS_READ)).one() - before <= most
