"""Migrations: up and down, and that they make the tables that the code declares."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from alembic import command
from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from database import migrations, users
from database.session import make_sessions
from rules.judging.engine import RuleEngine
from rules.model import Verdict
from rules.policy import Policy
from rules.registry import REGISTRY
from tests.postgres import engine_on
from tests.unit.rules.timeline import events

TABLES = ["alembic_version", "alerts", "backtests", "rule_versions", "user_actions", "user_settings", "users"]


@contextmanager
def session_on(url: str) -> Iterator[Session]:
    with engine_on(url) as engine, make_sessions(engine)() as session:
        yield session


def tables(url: str) -> list[str]:
    with session_on(url) as session:
        return sorted(inspect(session.connection()).get_table_names())


def sequences(url: str) -> list[str]:
    with session_on(url) as session:
        return inspect(session.connection()).get_sequence_names()


def post(url: str, notation: str) -> list[Any]:
    with session_on(url) as session:
        return RuleEngine(Policy(tuple(REGISTRY.values()))).process(session, events(1, notation))


def assert_usable(url: str) -> None:
    """Events can be posted and users made, and no drift is found."""
    assert post(url, "w 101 @0") == [Verdict(1, (1100,))]
    with session_on(url) as session:
        assert migrations.migration_at(session) == migrations.head()
        assert users.next_user_id(session) == 1
    command.check(migrations.config(url))


def test_upgrade(empty_database_url: str) -> None:
    """On an empty database an upgrade makes tables that work and that are just what the models declare."""
    migrations.upgrade(empty_database_url)
    assert tables(empty_database_url) == TABLES
    assert_usable(empty_database_url)


def test_upgrade_again_changes_nothing(database_url: str) -> None:
    """On a database that is up to date an upgrade leaves the data alone."""
    post(database_url, "w 101 @0")
    migrations.upgrade(database_url)
    with session_on(database_url) as session:
        user = users.get_user(session, 1)
        assert user is not None
        assert (user.last_seq, user.balance) == (1, Decimal("-101.00"))


def test_down_and_up_empty(empty_database_url: str) -> None:
    """A downgrade to the beginning removes all that the upgrade made, so that it can be made again."""
    migrations.upgrade(empty_database_url)
    command.downgrade(migrations.config(empty_database_url), "base")
    assert (tables(empty_database_url), sequences(empty_database_url)) == (["alembic_version"], [])
    migrations.upgrade(empty_database_url)
    assert_usable(empty_database_url)


def test_down_and_up_filled(database_url: str) -> None:
    """The same holds for a database with users, actions and alerts in it."""
    post(database_url, "d 1 @0, d 300 @0, w 500 @0")
    command.downgrade(migrations.config(database_url), "base")
    assert tables(database_url) == ["alembic_version"]
    migrations.upgrade(database_url)
    assert_usable(database_url)


OLD_ROWS = """
    INSERT INTO users (user_id, risk, last_seq, net) VALUES (1, 'normal', 3, 0), (2, 'high', 2, 0);
    INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, risk, rules, created_at) VALUES
        (1, 1, 'deposit', 1, 20, '{}', 'normal', '{1100}', '2026-01-01'),
        (1, 2, 'deposit', 2, 10, '{}', 'normal', '{1100}', '2026-01-02'),
        (1, 3, 'withdraw', 4, 15, '{}', 'normal', '{1100,500}', '2026-01-03'),
        (2, 1, 'withdraw', 8, 1, '{}', 'high', '{1100,500}', '2026-01-04'),
        (2, 2, 'withdraw', 16, 1, '{}', 'high', '{}', '2026-01-05');
    INSERT INTO alerts (user_id, seq, code, time, evidence) VALUES
        (1, 1, 1100, 20, '{"rule_version": 1}'), (2, 1, 1100, 1, '{"rule_version": 1}');
"""


def test_what_judged_old_actions_stays_known(empty_database_url: str) -> None:
    """Sets of rules that judged actions before rules had versions become versions, and go back to what they were."""
    migrations.upgrade(empty_database_url)
    configuration = migrations.config(empty_database_url)
    command.downgrade(configuration, "0002")
    kept = "SELECT user_id, seq, risk, rules FROM user_actions ORDER BY 1, 2"
    with session_on(empty_database_url) as session:
        session.execute(text(OLD_ROWS))
        session.commit()
        before = session.execute(text(kept)).all()
    command.upgrade(configuration, "head")
    with session_on(empty_database_url) as session:
        rows = session.execute(text("SELECT * FROM user_actions ORDER BY user_id, seq")).all()
        assert [(row.ordinal, int(row.running_total)) for row in rows] == [(2, 3), (1, 2), (1, 4), (1, 8), (2, 24)]
        books = RuleEngine(Policy((REGISTRY[1100],))).books(session)
        active = [[rule.code for rule in books.at(row.rules_number).judges("normal").all] for row in rows]
        assert active == [[1100], [1100], [1100, 500], [1100, 500], []]
        assert [row.settings_version for row in rows] == [0, 0, 0, 1, 1]
        assert session.scalars(text("SELECT risk FROM user_settings")).all() == ["high"]
        versions = text("SELECT evidence ->> 'rule_version' FROM alerts ORDER BY user_id")
        assert session.scalars(versions).all() == ["1", "2"]
    command.downgrade(configuration, "0002")
    with session_on(empty_database_url) as session:
        assert session.execute(text(kept)).all() == before


def _upgrade_at_once(url: str, barrier: Any) -> None:
    barrier.wait(60)
    migrations.upgrade(url)


def test_concurrent_upgrades(empty_database_url: str) -> None:
    """Two services that start at once on an empty database both succeed, and one of them has migrated it."""
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    processes = [spawn.Process(target=_upgrade_at_once, args=(empty_database_url, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert_usable(empty_database_url)
