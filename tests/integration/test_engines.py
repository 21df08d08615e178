"""The engines of the service: what PostgreSQL applies to their connections, whatever the URL and the role say."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, text

from database import migrations
from database.session import make_asking_engine, make_backtest_engine, make_engine, make_history_engine
from tests.postgres import engine_on
from tests.service import ROOT
from tests.waiting import PATIENCE

ENGINES: dict[str, tuple[Callable[[str], Engine], dict[str, str]]] = {
    "live events": (
        lambda url: make_engine(url, timeout=3, connections=1),
        {
            "application_name": "transaction-alerts",
            "statement_timeout": "3s",
            "lock_timeout": "3s",
            "idle_in_transaction_session_timeout": "6s",
            "plan_cache_mode": "force_generic_plan",
            "jit": "off",
            "enable_seqscan": "off",
        },
    ),
    "all of history": (
        make_history_engine,
        {
            "application_name": "transaction-alerts history",
            "transaction_isolation": "repeatable read",
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            "max_parallel_workers_per_gather": "0",
            "jit": "off",
        },
    ),
    "a running backtest": (
        make_backtest_engine,
        {"application_name": "transaction-alerts backtest", "statement_timeout": "5s", "lock_timeout": "5s"},
    ),
}


@pytest.mark.parametrize(("make", "expected"), ENGINES.values(), ids=ENGINES)
def test_settings_of_connections(
    make: Callable[[str], Engine], expected: dict[str, str], empty_database_url: str
) -> None:
    """Each kind of work has its own name in pg_stat_activity, its own time limits, and its own way of planning."""
    engine = make(empty_database_url)
    with engine.connect() as connection:
        found = {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in expected}
    engine.dispose()
    assert found == expected


EVERY: dict[str, Callable[[str], Engine]] = {
    **{name: make for name, (make, _) in ENGINES.items()},
    "readiness": lambda url: make_asking_engine(url, "readiness", timeout=2),
}


def shown(engine: Engine, *names: str) -> list[str]:
    """What PostgreSQL says that these settings are on a new connection."""
    try:
        with engine.connect() as connection:
            return [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]
    finally:
        engine.dispose()


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_what_the_url_says_holds(make: Callable[[str], Engine], empty_database_url: str) -> None:
    """Options of a URL are added to ours, and its name for pg_stat_activity is kept."""
    options = "-csearch_path=staging,\\ public -c work_mem=1MB --enable_memoize=off"
    url = make_url(empty_database_url).update_query_dict({"options": options, "application_name": "mine"})
    found = shown(
        make(url.render_as_string(hide_password=False)), "search_path", "enable_memoize", "application_name", "jit"
    )
    assert (found[0], found[1], found[2].split()[0]) == ("staging, public", "off", "mine")


UNUSUAL = {
    "client_encoding": ("LATIN1", "UTF8"),
    "standard_conforming_strings": ("off", "on"),
    "array_nulls": ("off", "on"),
    "default_transaction_isolation": ("serializable", "read committed"),
    "DateStyle": ("SQL, DMY", "ISO, MDY"),
    "TimeZone": ("Asia/Tokyo", "UTC"),
    "transform_null_equals": ("on", "off"),
}


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_what_the_role_and_the_environment_say_does_not(
    make: Callable[[str], Engine], empty_database_url: str, monkeypatch: pytest.MonkeyPatch, notices: list[str]
) -> None:
    """What would change answers is set by us, whatever a role, a database or libpq's variables are set to."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGOPTIONS", "-c array_nulls=off")
    name = make_url(empty_database_url).database
    with engine_on(empty_database_url) as administrator, administrator.connect() as connection:
        for setting, (value, _) in UNUSUAL.items():
            connection.execute(text(f"ALTER DATABASE {name} SET {setting} = '{value}'"))
    names = [setting for setting in UNUSUAL if make is not make_history_engine or "isolation" not in setting]
    assert shown(make(empty_database_url), *names) == [UNUSUAL[setting][1] for setting in names]
    notices.clear()


def test_everything_uses_the_schema_of_the_url(empty_database_url: str, tmp_path: Path) -> None:
    """Migrations, the service's statements and psql find the tables where the URL's search_path says."""
    with engine_on(empty_database_url) as administrator, administrator.connect() as connection:
        connection.execute(text("CREATE SCHEMA staging"))
    staging = make_url(empty_database_url).update_query_dict({"options": "-csearch_path=staging"})
    url = staging.render_as_string(hide_password=False)
    migrations.upgrade(url)
    migrations.upgrade(url)  # finds that all is done
    query = "SELECT string_agg(DISTINCT schemaname, ',') FROM pg_tables WHERE tablename IN ('users', 'alembic_version')"
    psql = [sys.executable, "-m", "scripts.console", "-Atc", f"{query} AND (SELECT count(*) FROM users) = 0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DATABASE_URL": url}
    done = subprocess.run(psql, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("staging\n", "")
