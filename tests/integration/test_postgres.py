"""What the tests rely on: databases that begin empty, sessions like production's, and no notice missed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from database.models import Base
from database.session import make_sessions
from tests.postgres import Databases, engine_on, transaction
from tests.service import ROOT

FILL = "INSERT INTO users (user_id) SELECT nextval('users_user_id_seq')"


@pytest.fixture
def own(server_url: str) -> Iterator[Databases]:
    """Databases that no other test has used."""
    databases = Databases(server_url)
    yield databases
    databases.close()


def do(databases: Databases, name: str, *statements: str) -> list[object]:
    """The first column of what the last statement found."""
    with engine_on(databases.url(name)) as engine, engine.connect() as connection:
        for statement in statements:
            result = connection.execute(text(statement))
        return list(result.scalars()) if result.returns_rows else []


def exists(databases: Databases, name: str) -> bool:
    """Whether the server has a database of that name."""
    return do(databases, "postgres", f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == [1]


@pytest.mark.parametrize("users", [1, 5_000])
def test_a_database_is_used_again_without_what_was_in_it(users: int, own: Databases, template: str) -> None:
    """The next test gets the same database, empty, with its ids from the beginning, under another name."""
    oid = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
    with own.copy(template) as first:
        do(own, first, f"{FILL} FROM generate_series(1, {users})")
        # A number that was taken for a row that could not be stored leaves no other trace.
        with pytest.raises(Exception, match="violates"):
            do(own, first, "INSERT INTO backtests (request) VALUES (NULL)")
        identity = do(own, first, oid)
    with own.copy(template) as second:
        assert do(own, second, oid) == identity
        rows = {table: do(own, second, f"SELECT count(*) FROM {table}") for table in Base.metadata.tables}
        assert set(map(str, rows.values())) == {"[0]"}
        assert do(own, second, "SELECT max(pg_sequence_last_value(seqrelid)) FROM pg_sequence") == [None]
        assert second != first
        assert not exists(own, first)


CHANGES = [
    "ALTER TABLE alerts ADD CHECK (code <> 30)",
    "ALTER TABLE alerts RENAME superseded TO gone",
    "ALTER TABLE alerts RENAME TO gone",
    "ALTER TABLE users ALTER name SET DEFAULT 'x'",
    "CREATE TABLE more ()",
    "CREATE INDEX more ON alerts (status)",
    "DROP INDEX ix_alerts_time_user_id_seq_code",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "GRANT SELECT ON users TO PUBLIC",
    "UPDATE alembic_version SET version_num = '0001'",
    "DROP TABLE alembic_version",
    "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET work_mem = 64'; END $$",
    "INSERT INTO users (user_id) SELECT generate_series(1, 9); ANALYZE users",
]


def test_a_database_of_another_shape_is_not_used_again(
    own: Databases, template: str, subtests: pytest.Subtests
) -> None:
    """If a test changed more than rows, the next one gets a copy of the template."""
    for change in CHANGES:
        with subtests.test(change):
            with own.copy(template) as changed:
                do(own, changed, change)
            assert not exists(own, changed)


def test_a_database_with_somebody_in_it_is_not_used_again(own: Databases, template: str) -> None:
    """A client still connected when a test is over loses the connection, and the next test gets another database."""
    with own.copy(template) as first:
        left = engine_on(own.url(first))
        connection = left.__enter__().connect()
        connection.execute(text(FILL))
    with own.copy(template) as second:
        assert do(own, second, "SELECT count(*) FROM users") == [0]
    with pytest.raises(Exception, match=r"terminat|closed"):
        connection.execute(text(FILL))
    left.__exit__(None, None, None)


def test_notices_are_heard(sessions: sessionmaker[Session], notices: list[str]) -> None:
    """A warning on any connection fails the test that it came in, unless it is expected."""
    with sessions() as session:
        session.execute(text("COMMIT"))
        session.connection().connection.cursor().execute("ROLLBACK")
    assert notices == ["WARNING:  there is no transaction in progress"] * 2
    notices.clear()


def test_a_transaction_of_a_test_is_one(sessions: sessionmaker[Session]) -> None:
    """What is done in a transaction is visible to others all at once, and not at all after an error."""
    count = text("SELECT count(*) FROM users")
    with transaction(sessions) as session, sessions() as other:
        session.execute(text(FILL))
        assert other.execute(count).scalar_one() == 0

    def fail() -> None:
        with transaction(sessions) as session:
            session.execute(text(FILL))
            session.execute(text("SELECT 1 / 0"))

    with pytest.raises(DBAPIError, match="division"):
        fail()
    with sessions() as session:
        assert session.execute(count).scalar_one() == 1


def test_sessions_are_those_of_the_service(sessions: sessionmaker[Session]) -> None:
    """The sessions of the tests plan, wait and begin as those of the service do."""
    with sessions() as session:
        shown = {name: session.execute(text(f"SHOW {name}")).scalar_one() for name in ("plan_cache_mode", "jit")}
        assert session.execute(text("SHOW lock_timeout")).scalar_one() != "0"
        session.execute(text(FILL))
    assert shown == {"plan_cache_mode": "force_generic_plan", "jit": "off"}
    with make_sessions(sessions.kw["bind"])() as session:
        assert session.execute(text("SELECT count(*) FROM users")).scalar_one() == 1


@pytest.mark.parametrize("word", ["create_engine(", "sessions.begin("])
def test_no_test_goes_round_the_services_engine(word: str) -> None:
    """No test makes an engine of another kind, or takes for a transaction what is none on the service's engines."""
    own = {Path(__file__), ROOT / "tests" / "postgres.py"}
    files = set(Path(ROOT, "tests").rglob("*.py")) - own
    assert len(files) > 50
    assert [file.name for file in files if word in file.read_text()] == []
