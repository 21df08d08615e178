"""What all tests share: a real PostgreSQL, a database of its own for each test, and ways to the service."""

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.orm import Session, sessionmaker

from config_loader import Settings, load_settings
from database import embedded, migrations
from tests.service import Service

# What the developer has configured decides which server is used, and nothing else: every other setting of a
# test is the test's own.
_configured = load_settings()
for _name in Settings.model_fields:
    os.environ.pop(_name.upper(), None)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that the user who runs PostgreSQL for root may enter (tmp_path is closed to all others)."""
    with tempfile.TemporaryDirectory(prefix="data ", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name, "data").resolve()


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL for tests: TEST_DATABASE_URL, or the embedded one in a folder of its own."""
    if _configured.test_database_url is not None:
        yield _configured.test_database_url.get_secret_value()
        return
    # Durability against power loss is PostgreSQL's own; tests kill processes, not machines.
    with embedded.use(_configured.data_dir / "tests", fsync="off") as url:
        yield url


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database, to be copied."""
    with _database(server_url, "") as name:
        migrations.upgrade(_url(server_url, name))
        yield name


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """The URL of a database without any tables."""
    with _database(server_url, "") as name:
        yield _url(server_url, name)


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """The URL of a migrated, empty database that only this test uses."""
    with _database(server_url, f"TEMPLATE {template}") as name:
        yield _url(server_url, name)


@pytest.fixture
def sessions(database_url: str) -> Iterator[sessionmaker[Session]]:
    """Sessions on the test's database."""
    engine = create_engine(database_url)
    yield sessionmaker(engine, expire_on_commit=False)
    engine.dispose()


ClientMaker = Callable[..., FlaskClient]


@pytest.fixture
def make_client(database_url: str) -> Iterator[ClientMaker]:
    """Makes a client of the application on the test's database: `make_client(overdraft="reject")`."""
    from app import create_app

    with ExitStack() as stack:

        def make(**overrides: object) -> FlaskClient:
            settings = load_settings(None, database_url=database_url, **overrides)
            app = create_app(settings)
            stack.callback(app.extensions["transaction-alerts"].database.dispose)
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


class _database:
    """A database that exists for the length of a `with` block."""

    def __init__(self, server_url: str, options: str) -> None:
        self.admin: Engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
        self.name = f"alerts_test_{uuid.uuid4().hex}"
        self.options = options

    def __enter__(self) -> str:
        self._do(f"CREATE DATABASE {self.name} {self.options}")
        return self.name

    def __exit__(self, *_: object) -> None:
        self._do(f"DROP DATABASE {self.name} WITH (FORCE)")
        self.admin.dispose()

    def _do(self, statement: str) -> None:
        with self.admin.connect() as connection:
            connection.execute(text(statement))


def _url(server_url: str, name: str) -> str:
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)
