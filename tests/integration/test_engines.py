"""The engines of the service: what PostgreSQL applies to their connections."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from database.session import make_backtest_engine, make_engine, make_history_engine

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
