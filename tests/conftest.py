"""What all tests share: a real PostgreSQL, a separate database for each test, and ways to reach the service."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from flask.testing import FlaskClient
from sqlalchemy import Pool, event
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.routing import Rule

from access import key_changes, keyring
from config_loader import Settings, load_settings
from database import citus, embedded, migrations, readiness, rule_versions
from database.session import make_sessions
from rules import rule_settings
from setting_forms import with_driver
from tests.citus import CitusDatabases
from tests.postgres import Databases, engine_on
from tests.service import PATIENT, PATIENT_ENVIRONMENT, Service
from tests.waiting import PATIENCE

# Each run tries the same examples, however long they take to make or to run; `make soak` tries new ones.
hypothesis.settings.register_profile(
    "tests",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
    ],
)
hypothesis.settings.load_profile("tests")

# A shell has what it starts in the background ignore Ctrl+C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests start hundreds of programs, each of which would compile all of the project's modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# If the longest test began last, one process would still be busy with it when the other has none left.
LONGEST = "test_the_service_keeps_to_its_document"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test begins first."""
    items.sort(key=lambda item: item.name != LONGEST)


# Most of what it takes to make an application are two functions for each URL rule, which the rule's text determines.
_compile_builder = Rule._compile_builder
_builders: dict[tuple[object, ...], Any] = {}


def _compile_builder_once(rule: Rule, append_unknown: bool = True) -> Any:
    if rule.defaults:
        return _compile_builder(rule, append_unknown)
    key = (append_unknown, *rule._trace)
    if key not in _builders:
        _builders[key] = _compile_builder(rule, append_unknown)
    return _builders[key]


Rule._compile_builder = _compile_builder_once  # type: ignore[assignment, method-assign]

# The developer's configuration decides which server is used and nothing else: each test chooses every other setting.
_configured = load_settings()
for _name in Settings.model_fields:
    os.environ.pop(_name.upper(), None)


# The coordinator of a Citus for tests: a role on it that may make databases there and on its workers.
_citus_url = os.environ.pop("CITUS_URL", "")
PLAIN, SECOND_FORM, ON_CITUS = "plain", "second form", "on Citus"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests with the marker `forms` run for both forms of the statements, and with CITUS_URL on Citus as well."""
    if metafunc.definition.get_closest_marker("forms") and "form" in metafunc.fixturenames:
        kinds = [PLAIN, SECOND_FORM, *([ON_CITUS] if _citus_url else [])]
        metafunc.parametrize("form", kinds, indirect=True)


@pytest.fixture
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the test's database is: PostgreSQL, the same with the statements for Citus, or Citus itself."""
    kind: str = getattr(request, "param", os.environ.get("ALL_ON", PLAIN))
    if kind == SECOND_FORM:
        monkeypatch.setattr(citus, "is_distributed", lambda _connection: True)
    return kind


@pytest.fixture(scope="session")
def citus_databases() -> Iterator[Databases]:
    """The databases of this test process on Citus."""
    databases = CitusDatabases(with_driver(_citus_url))
    yield databases
    databases.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that other users may enter, such as the one that runs PostgreSQL for root (unlike tmp_path)."""
    with tempfile.TemporaryDirectory(prefix="data ", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name, "data").resolve()


@pytest.fixture(scope="session")
def _made_folder() -> Iterator[Path]:
    """A data folder with the files of a server that has run."""
    with tempfile.TemporaryDirectory(prefix="made ", dir="/tmp") as name:
        Path(name).chmod(0o755)
        made = Path(name, "data").resolve()
        with embedded.use(made, fsync="off", shared_buffers="1MB"):
            pass
        (made / "postgres.log").unlink()
        yield made


@pytest.fixture
def ready_folder(folder: Path, _made_folder: Path) -> Path:
    """The same, with a server's files in it: to make those takes longer than most tests."""
    subprocess.run(["cp", "-a", str(_made_folder), str(folder)], check=True)
    return folder


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
def database_url(form: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated, empty database that only this test uses."""
    on_citus = form == ON_CITUS
    databases: Databases = request.getfixturevalue("citus_databases" if on_citus else "databases")
    with databases.copy("" if on_citus else request.getfixturevalue("template")) as name:
        yield databases.url(name)


@pytest.fixture
def sessions(database_url: str) -> Iterator[sessionmaker[Session]]:
    """Sessions on the test's database, as the service makes them: a transaction has to be begun explicitly."""
    with engine_on(database_url) as engine:
        yield make_sessions(engine)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a test's process what has time limits has time, changes of rules need not keep apart, and those of keys
    need not wait for other processes.
    """
    monkeypatch.setattr(readiness, "PATIENCE", 60)
    monkeypatch.setattr(readiness, "CONNECTING", 60)
    monkeypatch.setattr(rule_settings, "PATIENCE", PATIENCE)
    monkeypatch.setattr(rule_versions, "APART", 0.0)
    for name, seconds in (("TIMEOUT", 60), ("STALE", PATIENCE)):
        monkeypatch.setattr(keyring, name, seconds)
    for name in ("REVOKED", "MADE"):
        monkeypatch.setattr(key_changes, name, 0.0)


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
SECRET_KEY = "the secret of the tests' application"


@pytest.fixture
def make_client(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClientMaker]:
    """Makes a client of the application on the test's database: `make_client(overdraft="reject")`.

    The application's time limits are long unless it is asked for others.
    """
    from app import create_app

    monkeypatch.setattr("routes.people.PATIENCE", PATIENCE)  # an erasure is waited for
    with ExitStack() as stack:

        def make(**overrides: object) -> FlaskClient:
            settings = load_settings(
                None, **(PATIENT | {"database_url": database_url, "secret_key": SECRET_KEY} | overrides)
            )
            app = create_app(settings)
            stack.callback(app.extensions["transaction-alerts"].dispose)
            stack.callback(_join, "backtest")
            return app.test_client()

        yield make


@pytest.fixture
def client(make_client: ClientMaker) -> FlaskClient:
    """A client of the application with the default settings."""
    return make_client()


@pytest.fixture(scope="module")
def shared_database_url(databases: Databases, template: str) -> Iterator[str]:
    """The URL of a migrated database that all tests of a file use, so they must not mind what others leave there."""
    with databases.new(template) as name:
        yield databases.url(name)


@pytest.fixture(scope="module")
def shared_service(shared_database_url: str) -> Iterator[Service]:
    """The real service on that database, for what needs no other settings: to start one takes seconds."""
    with Service(PATIENT_ENVIRONMENT | {"DATABASE_URL": shared_database_url}) as service:
        yield service


@pytest.fixture
def start_service(database_url: str) -> Iterator[Callable[..., Service]]:
    """Starts the real service as `python app.py`, with environment variables: `start_service(OVERDRAFT="reject")`.

    Its time limits are long unless it is asked for others. `command` runs another program instead.
    """
    with ExitStack() as stack:

        def start(command: list[str] | None = None, **environment: str) -> Service:
            settings = PATIENT_ENVIRONMENT | {"DATABASE_URL": database_url} | environment
            return stack.enter_context(Service(settings, command))

        yield start
