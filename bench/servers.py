"""What is measured: one PostgreSQL, databases on it, and the service as a process of its own."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.orm import Session

from access.key_format import hash_key, make_key
from bench.events import USERS
from config_loader import Settings
from database import embedded, keys, migrations
from tests.service import Service

# These decide whether a commit is on disk before it is answered, and what it costs.
REPORTED = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_connections")
ROLL_CALL = "SELECT pg_backend_pid()"


def forget_settings() -> None:
    """Take the service's settings out of the environment, so that each service gets the defaults."""
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)


@contextmanager
def postgres(url: str | None, parent: Path) -> Iterator[URL]:
    """The PostgreSQL at `url`, or for None an embedded one with its data in a new folder below `parent`.

    The folder is removed afterwards; the server at `url` keeps running.
    """
    if url is not None:
        yield make_url(url).set(drivername="postgresql+psycopg2")
        return
    with tempfile.TemporaryDirectory(prefix="alerts-bench-", dir=parent, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # started by root, PostgreSQL runs as another user
        with embedded.use(Path(folder, "data"), superuser=True) as started:
            yield make_url(started)


class Database:
    """A migrated database; `engine` is the bench's own access to it, apart from the service's."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.engine: Engine = create_engine(url, isolation_level="AUTOCOMMIT", pool_size=1)

    def do(self, *statements: str) -> None:
        """Run SQL statements, each in a transaction of its own."""
        with self.engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def ask(self, query: str) -> Any:
        """The single value that `query` returns."""
        with self.engine.connect() as connection:
            return connection.execute(text(query)).scalar_one()


@contextmanager
def database(server: URL, name: str) -> Iterator[Database]:
    """A new, migrated database on `server`; it is dropped afterwards."""
    name = f"alerts_bench_{os.getpid()}_{name}"
    admin = Database(server)
    admin.do(f"CREATE DATABASE {name}")
    try:
        made = Database(server.set(database=name))
        migrations.upgrade(made.url.render_as_string(hide_password=False))
        try:
            yield made
        finally:
            made.engine.dispose()
    finally:
        admin.do(f"DROP DATABASE {name} WITH (FORCE)")
        admin.engine.dispose()


def add_key(made: Database, name: str, rate: str | None = None) -> str:
    """Store a key for events, with all else at the defaults. A service that is started from then on knows it."""
    new = make_key()
    with Session(made.engine) as session:
        keys.add_key(
            session,
            new.key_id,
            secret_hash=hash_key(new.key),
            name=name,
            scopes=["ingest"],
            rate=rate,
            expires_at=None,
            created_by="bench",
        )
    return new.key


def add_baseline(made: Database) -> None:
    """Add the tables that pgbench and COPY write to, in a schema of their own.

    They have the columns, defaults, keys and indexes of the service's tables, whatever the migrations make of those,
    but no foreign keys and no checks, which makes PostgreSQL's task the easier one.
    """
    made.do(
        "CREATE SCHEMA baseline",
        "CREATE TABLE baseline.users (LIKE users INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING INDEXES)",
        "CREATE TABLE baseline.user_actions (LIKE user_actions INCLUDING DEFAULTS INCLUDING INDEXES)",
        "CREATE TABLE baseline.copied (LIKE user_actions INCLUDING DEFAULTS INCLUDING INDEXES)",
        f"INSERT INTO baseline.users (user_id) SELECT generate_series(1, {USERS})",
        "VACUUM ANALYZE",
    )


@contextmanager
def service(made: Database, **environment: str) -> Iterator[Service]:
    """`python app.py` on a database, with `environment` over the default settings. It is stopped afterwards."""
    running = Service({"DATABASE_URL": made.url.render_as_string(hide_password=False)} | environment)
    with stopped_for_sure(running):
        yield running


@contextmanager
def stopped_for_sure(running: Service) -> Iterator[None]:
    """Start a service, and kill its whole process group if it does not stop in time."""
    try:
        with running:
            yield
    except subprocess.TimeoutExpired:
        os.killpg(running.group, signal.SIGKILL)
        raise


def settings_of(made: Database) -> dict[str, str]:
    """PostgreSQL's version and its settings for durability and memory."""
    return {name: str(made.ask(f"SHOW {name}")) for name in REPORTED}


def is_durable(settings: dict[str, str]) -> bool:
    """Whether a commit is on disk before it is answered."""
    return settings["fsync"] == "on" and settings["synchronous_commit"] != "off"
