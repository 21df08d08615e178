"""Statements that are not prepared, or no more as they were: the next batch is judged all the same, and once."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import column, select, text
from sqlalchemy.orm import Session, sessionmaker

from database.judging import COUNT_AND_LOCK
from database.prepared import Prepared, prepare_anew, run_directly
from database.session import make_sessions
from rules.judging.engine import RuleEngine
from rules.model import Verdict
from rules.policy import Policy
from rules.registry import REGISTRY
from tests.integration.test_engine import rows
from tests.postgres import engine_on
from tests.unit.rules.timeline import events

Sessions = sessionmaker[Session]

READS = {each.name.rpartition("_")[0]: each for each in COUNT_AND_LOCK.all}
RECENT, SINCE, HISTORY = (READS[f"read_{name}"] for name in ("last", "since", "last_since_following_keys"))
RETYPE = "ALTER TABLE users ALTER COLUMN risk TYPE varchar(20)"


@contextmanager
def judging(url: str) -> Iterator[tuple[Sessions, RuleEngine]]:
    """Sessions on the one connection of an engine that has judged an event of user 1, and what judges."""
    with engine_on(url, connections=1) as engine:
        sessions, judge = make_sessions(engine), RuleEngine(Policy((REGISTRY[1100],)))
        with sessions() as session:
            judge.rules.enter_declared(session)
            judge.process(session, events(1, "d 1 @0"))
        yield sessions, judge


def known(sessions: Sessions) -> set[str]:
    """The names of all that is prepared."""
    return {name for (name,) in rows(sessions, "SELECT name FROM pg_prepared_statements")}


@pytest.mark.parametrize(
    "spoil",
    ["DEALLOCATE ALL", f"DEALLOCATE {COUNT_AND_LOCK.name}", f"DEALLOCATE {SINCE.name}", RETYPE],
    ids=["none is known", "the first is not known", "the second is not known", "what is read has another type"],
)
def test_an_event_is_judged_all_the_same(spoil: str, database_url: str) -> None:
    """It is answered as ever, and stored once; from then on all is known again."""
    with judging(database_url) as (sessions, judge):
        with sessions() as session:
            session.execute(text(spoil))
        for number in (1, 2):
            with sessions() as session:
                (outcome,) = judge.process(session, events(1, f"w 100.01 @{number}"))
            assert isinstance(outcome, Verdict)
            assert outcome.codes == (1100,)
            assert known(sessions) == {each.name for each in COUNT_AND_LOCK.all}
        assert rows(sessions, "SELECT last_seq FROM users") == [(3,)]


@pytest.mark.parametrize("spoil", ["DEALLOCATE ALL", f"DEALLOCATE {HISTORY.name}"])
def test_a_dry_run_is_answered_all_the_same(spoil: str, database_url: str) -> None:
    """And it stores nothing."""
    with judging(database_url) as (sessions, judge):
        with sessions() as session:
            session.execute(text(spoil))
        with sessions() as session:
            outcome = judge.dry_run(session, events(1, "w 100.01 @1")[0]).outcome
        assert isinstance(outcome, Verdict)
        assert outcome.codes == (1100,)
        assert rows(sessions, "SELECT last_seq FROM users") == [(1,)]


def test_what_was_prepared_half_is_prepared_anew(database_url: str) -> None:
    """Whatever is known there before, all of it is known afterwards."""
    with engine_on(database_url, connections=1) as engine, engine.connect() as connection:
        for spoil in ("SELECT 1", f"DEALLOCATE {RECENT.name}", f"DEALLOCATE {COUNT_AND_LOCK.name}"):
            run_directly(connection, prepare_anew(COUNT_AND_LOCK), {})
            connection.exec_driver_sql(spoil)
        run_directly(connection, prepare_anew(COUNT_AND_LOCK), {})
        found = connection.scalars(text("SELECT name FROM pg_prepared_statements")).all()
        assert sorted(found) == sorted(each.name for each in COUNT_AND_LOCK.all)


def test_a_name_means_one_statement() -> None:
    """Another text has another name, and so has one before which others are prepared."""
    one, other = Prepared("one", select(column("a"))), Prepared("one", select(column("b")))
    assert one.name == Prepared("one", select(column("a"))).name
    names = {one.name, other.name, *(Prepared("one", select(column("a")), after=[each]).name for each in (one, other))}
    assert len(names) == 4
