"""Migrations: up and down, and that they make the tables that the code declares."""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from database import late_counts, migrations, users
from database.session import make_sessions
from rules.judging.engine import RuleEngine
from rules.model import Verdict
from rules.policy import Policy
from rules.registry import REGISTRY
from tests.migrations import add, config_with, documented, following
from tests.numbers import NUMBERED_ACTIONS
from tests.postgres import engine_on
from tests.unit.rules.timeline import events
from tests.waiting import PATIENCE, wait_until

TABLES = [
    "alembic_version",
    "alert_history",
    "alerts",
    "backtests",
    "checkpoints",
    "daily_figures",
    "daily_users",
    "deliveries",
    "delivery_attempts",
    "erasures",
    "figures_progress",
    "key_uses",
    "keys",
    "late_offsets",
    "log_entries",
    "minute_figures",
    "mutes",
    "outbox",
    "rule_versions",
    "user_actions",
    "user_settings",
    "users",
    "views",
    "webhook_relay",
    "webhook_states",
    "webhooks",
]


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
        assert migrations.problem(session) == ""
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
    """A downgrade to the beginning removes all that the upgrade made, so that it can be done again."""
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
        versions = RuleEngine(Policy((REGISTRY[1100],))).rules.versions(session)
        active = [[rule.code for rule in versions.at(row.rules_number).rule_set("normal").all] for row in rows]
        assert active == [[1100], [1100], [1100, 500], [1100, 500], []]
        assert [row.settings_version for row in rows] == [0, 0, 0, 1, 1]
        assert session.scalars(text("SELECT risk FROM user_settings")).all() == ["high"]
        stored = text("SELECT evidence ->> 'rule_version' FROM alerts ORDER BY user_id")
        assert session.scalars(stored).all() == ["1", "2"]
    command.downgrade(configuration, "0002")
    with session_on(empty_database_url) as session:
        assert session.execute(text(kept)).all() == before


def test_what_late_events_added_is_kept_by_a_downgrade(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release before finds the true running counts and sums in the actions themselves, and they stay right."""
    monkeypatch.setattr(late_counts, "STRETCH", 2)
    post(database_url, ", ".join(f"d 1 @{time}, w 2 @{time}" for time in range(10, 20)))
    for late in ("d 5 @0", "w 5 @3, w 5 @16", "d 5 @12", "d 5 @1"):
        post(database_url, late)
    numbers = "SELECT ordinal, running_total FROM user_actions ORDER BY user_id, type, time, seq"
    with session_on(database_url) as session:
        true = text(NUMBERED_ACTIONS + "ORDER BY a.user_id, a.type, a.time, a.seq")
        before = [(row.true_ordinal, row.true_total) for row in session.execute(true)]
        assert [(row.ordinal, row.running_total) for row in session.execute(text(numbers))] != before
    command.downgrade(migrations.config(database_url), "0004")
    with session_on(database_url) as session:
        assert [(row.ordinal, row.running_total) for row in session.execute(text(numbers))] == before
    migrations.upgrade(database_url)
    with session_on(database_url) as session:
        assert [(row.true_ordinal, row.true_total) for row in session.execute(true)] == before


def _upgrade_at_once(url: str, barrier: Any) -> None:
    barrier.wait(PATIENCE)
    migrations.upgrade(url)


def test_concurrent_upgrades(empty_database_url: str) -> None:
    """Two services that start at once on an empty database both succeed, and one of them has migrated it."""
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    processes = [spawn.Process(target=_upgrade_at_once, args=(empty_database_url, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0, 0]
    assert_usable(empty_database_url)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with session_on(url) as session:
        return [tuple(row) for row in session.execute(text(query))]


def columns(url: str, table: str) -> set[str]:
    with session_on(url) as session:
        return {column["name"] for column in inspect(session.connection()).get_columns(table)}


def use(configuration: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `migrations.upgrade` use `configuration`."""
    migrations.head()  # the project's own, which is remembered
    monkeypatch.setattr(migrations, "config", lambda url: configuration)


def test_a_migration_that_fails_leaves_those_before_it(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, nothing of it stays, none after it runs, and once fixed the next upgrade continues with it."""
    add(tmp_path, 'op.add_column("users", sa.Column("country", sa.Text))')
    failing = add(tmp_path, 'op.add_column("users", sa.Column("city", sa.Text)); op.execute("SELECT 1 / 0")')
    add(tmp_path, 'op.add_column("users", sa.Column("street", sa.Text))')
    use(config_with(tmp_path, database_url), monkeypatch)
    with pytest.raises(migrations.MigrationError, match=f"cannot be used: migration {following(2)}: division by zero$"):
        migrations.upgrade(database_url)
    assert rows(database_url, "SELECT version_num FROM alembic_version") == [(following(),)]
    assert columns(database_url, "users") & {"country", "city", "street"} == {"country"}
    (path,) = tmp_path.glob(f"{failing}_*")
    # Of another length: within one second, Python would take its compiled form for current.
    path.write_text(path.read_text().replace("1 / 0", "1 / 1000"))
    migrations.upgrade(database_url)
    assert rows(database_url, "SELECT version_num FROM alembic_version") == [(following(3),)]
    assert columns(database_url, "users") >= {"country", "city", "street"}


def test_the_first_migration_is_named_too(empty_database_url: str) -> None:
    """In a database where something the migration creates already exists."""
    with session_on(empty_database_url) as session:
        session.execute(text("CREATE TABLE users ()"))
        session.commit()
    with pytest.raises(migrations.MigrationError, match='cannot be used: migration 0001: relation "users" already'):
        migrations.upgrade(empty_database_url)
    assert tables(empty_database_url) == ["users"]


def test_what_a_migration_sets_for_itself_ends_with_it(database_url: str, tmp_path: Path) -> None:
    """Every transaction begins with the timeouts, even after a block outside one."""
    seen = "SELECT current_setting('lock_timeout') AS lock, current_setting('statement_timeout') AS statement"
    add(tmp_path, f'op.execute("CREATE TABLE seen AS {seen}")')
    add(
        tmp_path,
        f"""
with op.get_context().autocommit_block():
    op.execute("SET lock_timeout = 0")
    op.execute("SET statement_timeout = 0")
    op.execute("INSERT INTO seen {seen}")
op.execute("INSERT INTO seen {seen}")
op.execute("SET lock_timeout = 0")
""",
    )
    add(tmp_path, f'op.execute("INSERT INTO seen {seen}")')
    command.upgrade(config_with(tmp_path, database_url), "head")
    assert rows(database_url, "SELECT * FROM seen") == [
        ("500ms", "10min"),
        ("0", "0"),
        ("500ms", "10min"),
        ("500ms", "10min"),
    ]


def _upgrade_with(folder: Path, url: str, barrier: Any = None) -> None:
    if barrier is not None:
        barrier.wait(PATIENCE)
    command.upgrade(config_with(folder, url), "head")


def test_an_index_is_made_while_another_runner_waits(database_url: str, tmp_path: Path) -> None:
    """CREATE INDEX CONCURRENTLY waits for all older snapshots; a waiting runner has none. Each migration runs once."""
    add(tmp_path, 'op.execute("CREATE TABLE ran (revision text)"); op.execute("INSERT INTO ran VALUES (5)")')
    add(
        tmp_path,
        """
op.execute("SELECT pg_sleep(1)")  # until the other waits
op.execute("INSERT INTO ran VALUES (6)")
with op.get_context().autocommit_block():
    op.create_index("ix_users_name", "users", ["name"], postgresql_concurrently=True)
""",
    )
    add(tmp_path, 'op.execute("INSERT INTO ran VALUES (7)")')
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    arguments = (tmp_path, database_url, barrier)
    processes = [spawn.Process(target=_upgrade_with, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0, 0]
    assert rows(database_url, "SELECT revision FROM ran ORDER BY 1") == [("5",), ("6",), ("7",)]
    assert rows(database_url, "SELECT version_num FROM alembic_version") == [(following(3),)]
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_users_name'::regclass"
    assert rows(database_url, valid) == [(True,)]


def test_a_runner_that_hangs_is_given_up_and_one_that_is_killed_is_followed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start fails if another runner takes longer than the turn timeout; a killed one stops and releases its lock."""
    hanging = add(tmp_path, 'op.execute("SELECT pg_sleep(300)")')
    configuration = config_with(tmp_path, database_url)
    use(configuration, monkeypatch)
    configuration.attributes["turn_timeout"] = 0.3
    process = multiprocessing.get_context("spawn").Process(target=_upgrade_with, args=(tmp_path, database_url))
    process.start()
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    try:
        wait_until(lambda: rows(database_url, sleeping))
        begun = time.monotonic()
        with pytest.raises(
            migrations.MigrationError, match=r"cannot be used: another process has .* more than 0\.3 s$"
        ):
            migrations.upgrade(database_url)
        assert time.monotonic() - begun >= 0.3
    finally:
        process.kill()
        process.join(PATIENCE)
    (path,) = tmp_path.glob(f"{hanging}_*")
    path.write_text(path.read_text().replace("300", "0"))
    configuration.attributes["turn_timeout"] = PATIENCE
    migrations.upgrade(database_url)
    assert rows(database_url, "SELECT version_num FROM alembic_version") == [(following(),)]


def test_the_lock_is_released(database_url: str) -> None:
    """Nothing stays locked after an upgrade."""
    migrations.upgrade(database_url)
    query = """
        SELECT 1 FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND d.datname = current_database()
    """
    assert rows(database_url, query) == []


def test_any_path_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone may be in a folder with a % in its name."""
    folder = tmp_path / "feature%2Flogin 100%"
    folder.mkdir()
    for name in ("alembic", "alembic.ini"):
        (folder / name).symlink_to(migrations.ROOT / name)
    head = migrations.head()
    monkeypatch.setattr(migrations, "ROOT", folder)
    assert ScriptDirectory.from_config(migrations.config()).get_current_head() == head
    shown = subprocess.run(
        [sys.executable, "-m", "alembic", "heads"], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert shown.stdout.startswith(head)


def test_the_table_of_versions_alone(empty_database_url: str) -> None:
    """A command without migrations is committed too."""
    command.ensure_version(migrations.config(empty_database_url))
    assert tables(empty_database_url) == ["alembic_version"]


def test_the_documented_examples_run(database_url: str, tmp_path: Path, notices: list[str]) -> None:
    """A column is added, filled in stretches and dropped as docs/migrations.md shows; the tables are as declared."""
    with session_on(database_url) as session:
        session.execute(text("INSERT INTO users (user_id) SELECT 7 * number FROM generate_series(1, 2500) AS number"))
        session.commit()
    revisions = [add(tmp_path, body) for body in documented()]
    configuration = config_with(tmp_path, database_url)
    command.upgrade(configuration, revisions[-2])
    assert notices == ['NOTICE:  index "ix_users_country" does not exist, skipping']  # it drops what may be left over
    notices.clear()
    assert rows(database_url, "SELECT country, count(*) FROM users GROUP BY 1") == [("", 2500)]
    nullable = "SELECT is_nullable FROM information_schema.columns WHERE column_name = 'country'"
    assert rows(database_url, nullable) == [("NO",)]
    command.upgrade(configuration, "head")
    command.check(configuration)
