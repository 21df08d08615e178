"""Settings for each transaction, where something keeps those of a connection from PostgreSQL, as a pooler does."""

import io
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from alembic import command
from alembic.util import CommandError
from psycopg2.extensions import cursor
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError

from database import connecting, migrations
from database.history import snapshot
from database.pooler import is_shared
from database.session import Transaction, make_read_engine, make_sessions
from tests.integration.test_engine import post, rows
from tests.postgres import engine_on
from tests.waiting import PATIENCE


@pytest.fixture(autouse=True)
def _without_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """What connections ask for as they are opened is dropped."""
    with_options = connecting.create_engine  # type: ignore[attr-defined]

    def make(url: str, *, connect_args: dict[str, Any], **more: Any) -> Engine:
        left = {name: value for name, value in connect_args.items() if name != "options"}
        return with_options(make_url(url).difference_update_query(["options"]), connect_args=left, **more)

    monkeypatch.setattr(connecting, "create_engine", make)


def test_every_wait_is_bounded(database_url: str) -> None:
    """Statements, alone or not, end at the limits of their engine, and what is alone is committed."""
    with engine_on(database_url, timeout=0.2, connections=1) as engine, engine.connect() as connection:
        assert is_shared(connection)
        connection.exec_driver_sql("INSERT INTO users (user_id) VALUES (%s)", [(1,), (2,)])
        for _ in range(2):
            with pytest.raises(DBAPIError, match="statement timeout"):
                connection.execute(text("SELECT pg_sleep(600)"))
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert connection.scalar(text("SHOW transaction_isolation")) == "repeatable read"
        with pytest.raises(DBAPIError, match="statement timeout"):
            connection.execute(text("SELECT pg_sleep(600)"))
        connection.exec_driver_sql("ROLLBACK")
        assert connection.scalar(text("SELECT count(*) FROM users")) == 2
        with cursor(connection.connection.driver_connection) as plain:  # without any setting of ours
            plain.execute("SHOW statement_timeout")
            assert plain.fetchone() == ("0",)


def test_events_are_judged(database_url: str) -> None:
    """A batch begins by message, after the settings; it is judged, stored and found as ever."""
    with engine_on(database_url) as engine:
        sessions = make_sessions(engine)
        assert post(sessions, 1, "d 201 @1, w 100.01 @2, d 1 @0") == [[123], [1100], []]
        assert rows(sessions, "SELECT code FROM alerts ORDER BY seq") == [(123,), (1100,)]
        with sessions() as session, Transaction(session) as transaction:
            shown = [transaction.connection.scalar(text(f"SHOW {name}")) for name in ("plan_cache_mode", "TimeZone")]
            assert shown == ["force_generic_plan", "UTC"]


def test_migrations_run(empty_database_url: str) -> None:
    """One runner at a time, by a transaction of its own; indexes are built outside of transactions."""
    configuration = migrations.config(empty_database_url)
    configuration.attributes["turn_timeout"] = 0.1
    with closing(psycopg2.connect(empty_database_url.replace("+psycopg2", ""))) as other, other.cursor() as ours:
        ours.execute("SELECT pg_advisory_lock(7310042)")
        with pytest.raises(CommandError, match="another process has been migrating"):
            command.upgrade(configuration, "head")
    assert migrations.upgrade(empty_database_url).revision == migrations.head()
    with engine_on(empty_database_url) as engine:
        held = rows(make_sessions(engine), "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 7310042")
    assert held == []


def test_what_a_url_asks_for_holds(database_url: str) -> None:
    """PostgreSQL's settings in the URL's options reach it too, in transactions and cursors of every kind."""
    asked = "-csearch_path=pg_catalog,public -cwork_mem=1MB"
    url = make_url(database_url).update_query_dict({"options": asked}).render_as_string(hide_password=False)
    engine = make_read_engine(url, timeout=PATIENCE, connections=1)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW search_path")) == "pg_catalog, public"
        assert connection.scalar(text("SHOW work_mem")) == "1MB"
        assert connection.scalar(text("SHOW enable_sort")) == "off"
        # The driver sends these one by one.
        connection.exec_driver_sql("SELECT set_config('work_mem', current_setting('work_mem'), %s)", [(True,), (True,)])
    engine.dispose()
    with snapshot(url) as connection:  # a cursor of the server's comes first
        query = text("SELECT current_setting('work_mem')")
        streamed = connection.execute(query, execution_options={"yield_per": 1})
        assert streamed.scalars().all() == ["1MB"]
        assert connection.scalar(text("SHOW transaction_read_only")) == "on"
    with snapshot(url) as connection:
        target, copying = io.BytesIO(), connection.connection.cursor()
        copying.copy_expert("COPY (SELECT current_setting('work_mem')) TO STDOUT", target)
        copying.close()
        assert target.getvalue() == b"1MB\n"
