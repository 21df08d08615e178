"""What all tests share: a real PostgreSQL, a separate database for each test, and ways to reach the service."""

import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Pool, event
from sqlalchemy.orm import Session, sessionmaker

from config_loader import Settings, load_settings
from database import embedded, migrations
from database.session import make_sessions
from tests.postgres import PATIENCE, Databases, engine_on
from tests.service import Service

# The developer's configuration decides which server is used and nothing else: each test chooses every other setting.
_configured = load_settings()
for _name in Settings.model_fields:
    os.environ.pop(_name.upper(), None)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that other users may enter, such as the one that runs PostgreSQL for root (unlike tmp_path)."""
    with tempfile.TemporaryDirectory(prefix="data ", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name, "data").resolve()


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL for tests: TEST_DATABASE_URL, or the embedded one in a folder of its own.

    Its role may make databases and roles.
    """
    if _configured.test_database_url is not None:
        yield _configured.test_database_url.get_secret_value()
        return
    # Durability against power loss is PostgreSQL's own; tests kill processes, not machines.
    with embedded.use(_configured.data_dir / "tests", superuser=True, fsync="off") as url:
        yield url


@pytest.fixture(scope="session")
def databases(server_url: str) -> Iterator[Databases]:
    """The databases of this test process."""
    databases = Databases(server_url)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def template(databases: Databases) -> Iterator[str]:
    """The name of a migrated database, to be copied."""
    with databases.new() as name:
        migrations.upgrade(databases.url(name))
        yield name


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    """The URL of a database without any tables."""
    with databases.new() as name:
        yield databases.url(name)


@pytest.fixture
def database_url(databases: Databases, template: str) -> Iterator[str]:
    """The URL of a migrated, empty database that only this test uses."""
    with databases.copy(template) as name:
        yield databases.url(name)


@pytest.fixture
def sessions(database_url: str) -> Iterator[sessionmaker[Session]]:
    """Sessions on the test's database, as the service makes them: a transaction has to be begun explicitly."""
    with engine_on(database_url) as engine:
        yield make_sessions(engine)


_noticed: list[str] = []


# After each statement SQLAlchemy logs its notices and forgets them; notices of statements that go directly to the
# driver stay on the connection.
def _collect_logged(record: logging.LogRecord) -> bool:
    _noticed.append(record.getMessage())
    return False


_logger = logging.getLogger("sqlalchemy.dialects.postgresql")
_logger.setLevel(logging.INFO)
_logger.addFilter(_collect_logged)


@event.listens_for(Pool, "checkin")
@event.listens_for(Pool, "close")
def _collect_notices(connection: Any, _: object) -> None:
    if connection is not None:  # None if it was lost
        _noticed.extend(notice.rstrip() for notice in connection.notices)
        connection.notices.clear()


@pytest.fixture(autouse=True)
def notices() -> Iterator[list[str]]:
    """The notices and warnings that PostgreSQL sends to this process; after a test there must be none.

    A test that causes some removes them from the list.
    """
    assert _noticed == []  # of what many tests share, which is made before this
    try:
        yield _noticed
        assert _noticed == []
    finally:
        _noticed.clear()


def _join(name: str) -> None:
    """Wait for the threads of this name: the test's database is the next one's."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"the thread {name} does not end"


ClientMaker = Callable[..., FlaskClient]


@pytest.fixture
def make_client(database_url: str) -> Iterator[ClientMaker]:
    """Makes a client of the application on the test's database: `make_client(overdraft="reject")`."""
    from app import create_app

    with ExitStack() as stack:

        def make(**overrides: object) -> FlaskClient:
            settings = load_settings(None, **({"database_url": database_url} | overrides))
            app = create_app(settings)
            stack.callback(app.extensions["transaction-alerts"].dispose)
            stack.callback(_join, "backtest")
            return app.test_client()

        yield make


@pytest.fixture
def client(make_client: ClientMaker) -> FlaskClient:
    """A client of the application with the default settings."""
    return make_client()


@pytest.fixture
def start_service(database_url: str) -> Iterator[Callable[..., Service]]:
    """Starts the real service as `python app.py`, with environment variables: `start_service(OVERDRAFT="reject")`."""
    with ExitStack() as stack:

        def start(**environment: str) -> Service:
            return stack.enter_context(Service({"DATABASE_URL": database_url} | environment))

        yield start
