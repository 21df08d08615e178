"""Databases that cannot serve: what is said of them at the start, by /readyz and to callers."""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

import pytest
import structlog
from flask.testing import FlaskClient
from sqlalchemy import make_url, text
from structlog.testing import capture_logs

import logs
from access import keyring
from access.key_format import make_key
from database import fitness, migrations, readiness
from routes.http import problems
from tests.conftest import ClientMaker
from tests.contract.helpers import an_event, problem
from tests.postgres import Databases, engine_on

# As docs/deployment.md has it.
ENOUGH = (
    "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public",
    "GRANT DELETE ON users, mutes, views, webhooks, webhook_states, outbox, deliveries, delivery_attempts",
    "GRANT UPDATE ON ALL SEQUENCES IN SCHEMA public",
)
WITHOUT_LOCALE = "TEMPLATE template0 LOCALE 'C' LOCALE_PROVIDER libc"


def do(url: str, *statements: str) -> None:
    """Run statements as the superuser of the tests."""
    with engine_on(url) as engine, engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


@contextmanager
def role(url: str, *grants: str) -> Iterator[str]:
    """The URL for a role that may do what `grants` say, and nothing else."""
    name = f"weak_{make_url(url).database}"[:60]
    do(url, f"CREATE ROLE {name} LOGIN", *(f"{grant} TO {name}" for grant in grants))
    try:
        yield make_url(url).set(username=name).render_as_string(hide_password=False)
    finally:
        do(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def said_at_start(url: str) -> str:
    """What a start says of the database; empty if it would serve."""
    try:
        migrations.upgrade(url)
        fitness.check(url)
    except (migrations.MigrationError, fitness.Unfit) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_text(encoding: str, databases: Databases, server_url: str) -> None:
    """An encoding without most characters is refused before anything is made there, with what to do."""
    name = f"alerts_test_{encoding.lower()}"
    do(server_url, f"CREATE DATABASE {name} ENCODING '{encoding}' {WITHOUT_LOCALE}")
    try:
        said = said_at_start(databases.url(name))
        assert f"its encoding is {encoding}" in said
        assert "CREATE DATABASE" in said
    finally:
        do(server_url, f"DROP DATABASE {name} WITH (FORCE)")


FAULTS = {
    "a table is gone": (["ALTER TABLE alerts RENAME TO others"], "the table alerts is missing"),
    "a column is gone": (["ALTER TABLE users RENAME COLUMN name TO called"], "the table users lacks name"),
    "read-only": (["ALTER DATABASE {name} SET default_transaction_read_only = on"], "it is read-only"),
    "another program's": (["UPDATE alembic_version SET version_num = 'a1b2c3'"], "is another program's"),
    "migrations unknown": (["DROP TABLE alembic_version"], "no record of their migrations"),
}


@pytest.mark.parametrize(("statements", "expected"), FAULTS.values(), ids=FAULTS)
def test_what_is_said_at_the_start(statements: list[str], expected: str, database_url: str) -> None:
    """Cause and remedy of what no migration mends."""
    assert said_at_start(database_url) == ""
    do(database_url, *(statement.format(name=make_url(database_url).database) for statement in statements))
    assert expected in said_at_start(database_url)


def test_the_rights_of_a_role(database_url: str, empty_database_url: str) -> None:
    """A role that may not do something is told what to be granted; with that it serves, without owning anything."""
    with role(database_url, "GRANT SELECT ON ALL TABLES IN SCHEMA public") as weak:
        assert "GRANT INSERT, UPDATE ON rule_versions TO weak_" in said_at_start(weak)
        for table in ("users", "mutes", "views"):
            assert f"GRANT INSERT, UPDATE, DELETE ON {table} TO weak_" in said_at_start(weak)
    with role(database_url, *ENOUGH[:2]) as weak:
        assert "GRANT UPDATE ON SEQUENCE" in said_at_start(weak)
    with role(database_url, *ENOUGH) as enough:
        assert said_at_start(enough) == ""
    with role(empty_database_url) as weak:
        assert "migrate as the owner first" in said_at_start(weak)


# Newer databases


@pytest.mark.parametrize(
    ("found", "note", "expected"),
    [
        ("0007", None, "CURRENT"),
        (None, None, "BEHIND"),
        ("0006", None, "BEHIND"),
        ("0008", None, "TOO_NEW"),
        ("0008", "Releases from migration 0007 on can serve these tables.", "AHEAD"),
        ("0042", "Releases from migration 0003 on can serve these tables.", "AHEAD"),
        ("0042", "Releases from migration 0008 on can serve these tables.", "TOO_NEW"),
        ("0042", "somebody's own comment", "TOO_NEW"),
        ("8f2a91b3c4d5", None, "FOREIGN"),
    ],
)
def test_standing(found: str | None, note: str | None, expected: str) -> None:
    """A newer database can be served if its newest migrations say so."""
    assert migrations.standing(found, note, "0007").name == expected


def test_a_newer_database_that_can_be_served(
    client: FlaskClient, database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each upgrade notes which releases can serve its tables; an older one of these starts, is ready and judges."""
    monkeypatch.setattr(readiness, "FRESH", 0)
    do(database_url, "UPDATE alembic_version SET version_num = '9999'")
    assert said_at_start(database_url) == ""
    assert "A newer release has migrated the database" in capfd.readouterr().err
    assert client.get("/readyz").status_code == 200
    assert client.post("/event", json=an_event()).status_code == 200


def test_a_newer_database_that_cannot_be_served(
    client: FlaskClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another is named as newer, and the advice is to upgrade the service, never the database."""
    monkeypatch.setattr(readiness, "FRESH", 0)
    note = "Releases from migration 9000 on can serve these tables."
    do(database_url, "UPDATE alembic_version SET version_num = '9999'", f"COMMENT ON TABLE alembic_version IS '{note}'")
    command = client.application.test_cli_runner().invoke(args=["verify"])
    assert command.exit_code == 2
    for said in (said_at_start(database_url), problem(client.get("/readyz"), 503)["detail"], command.output):
        assert "newer release" in said
        assert "upgrade the service" in said
        assert "alembic upgrade" not in said


def test_the_note_is_sound(database_url: str) -> None:
    """It names a migration that there is, and the next upgrade renews one that is gone."""
    revisions = sorted(path.name[:4] for path in (migrations.ROOT / "alembic/versions").glob("[0-9]*.py"))
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]
    assert migrations.SERVES_FROM in revisions
    do(database_url, "COMMENT ON TABLE alembic_version IS NULL")
    migrations.upgrade(database_url)
    with engine_on(database_url) as engine, engine.connect() as connection:
        found = connection.scalar(text("SELECT obj_description('alembic_version'::regclass)"))
    assert found == f"Releases from migration {migrations.SERVES_FROM} on can serve these tables."


# While it serves

MISSING = {
    "table": ("ALTER TABLE user_actions RENAME TO others", 'relation "user_actions" does not exist'),
    "column": ("ALTER TABLE users RENAME COLUMN net TO gross", 'column "net" of relation "users" does not exist'),
    "schema": ("ALTER SCHEMA public RENAME TO others", "does not exist"),
}


@pytest.mark.parametrize(("statement", "cause"), MISSING.values(), ids=MISSING)
def test_what_goes_missing_is_not_to_be_tried_again(
    statement: str, cause: str, make_client: ClientMaker, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is gone is a 500 with a type of its own, without Retry-After; the log has the cause, in one line."""
    # A logger stays where it wrote first. Not to a file of this test, whose number a connection may have afterwards.
    for module in (problems, logs, keyring):
        monkeypatch.setattr(module, "log", structlog.get_logger())
    with redirect_stdout(StringIO()) as output:
        client = make_client()
    do(database_url, statement)
    for answer in (client.post("/event", json=an_event(amount="98765.43")), client.get("/users/1/actions")):
        if answer.status_code != 404:
            assert problem(answer, 500)["type"] == "urn:problem:database-unfit"
            assert "Retry-After" not in answer.headers
    assert client.get("/readyz").status_code == 503
    log = output.getvalue()
    assert cause.replace('"', '\\"') in log
    assert "98765" not in log


def test_a_role_that_loses_its_rights(make_client: ClientMaker, database_url: str) -> None:
    """The same goes for rights."""
    with role(database_url, *ENOUGH) as url:
        client = make_client(database_url=url)
        assert client.post("/event", json=an_event()).status_code == 200
        do(database_url, f"REVOKE INSERT ON user_actions FROM {make_url(url).username}")
        assert problem(client.post("/event", json=an_event()), 500)["type"] == "urn:problem:database-unfit"


def test_a_role_that_may_not_read_keys(
    make_client: ClientMaker, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nobody knows any more which keys hold, that is not to be tried again either."""
    with role(database_url, *ENOUGH) as url:
        client = make_client(database_url=url)
        assert client.get("/rules").status_code == 200
        monkeypatch.setattr(keyring, "STALE", -1)
        assert problem(client.get("/rules"), 503)["type"] == "urn:problem:keys-unknown"
        do(database_url, f"REVOKE SELECT ON keys FROM {make_url(url).username}")
        monkeypatch.setattr(keyring, "INTERVAL", 0)
        for answer in (client.get("/rules"), client.post("/session", json={"key": make_key().key})):
            assert problem(answer, 500)["type"] == "urn:problem:database-unfit"
        do(database_url, f"GRANT SELECT ON keys TO {make_url(url).username}")
        assert problem(client.get("/rules"), 503)["type"] == "urn:problem:keys-unknown"


def test_a_database_that_turns_read_only(make_client: ClientMaker, database_url: str) -> None:
    """That may pass, as after a failover: it is a 503 with a type of its own."""
    client = make_client()
    do(database_url, f"ALTER DATABASE {make_url(database_url).database} SET default_transaction_read_only = on")
    answer = client.post("/event", json=an_event())
    assert (problem(answer, 503)["type"], answer.headers["Retry-After"]) == ("urn:problem:database-read-only", "1")


# Indexes


def test_an_index_that_is_not_used_is_a_warning(
    client: FlaskClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing or invalid, declared or left over, it is named with a remedy, in the log and the metrics too."""
    monkeypatch.setattr(readiness, "FRESH", 0)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})
    invalid = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{}'::regclass"
    do(
        database_url,
        "DROP INDEX ix_alerts_late",
        invalid.format("ix_alerts_touched"),
        "CREATE INDEX ix_left_over ON users (name)",
        invalid.format("ix_left_over"),
    )
    with capture_logs() as lines:
        answer = client.get("/readyz")
        client.get("/readyz")
    found = [
        "The index ix_alerts_late of alerts is missing. flask --app app upgrade makes it again.",
        "The index ix_alerts_touched of alerts is invalid. flask --app app upgrade makes it again.",
        "The index ix_left_over of users is invalid. Unless it is being made right now: DROP INDEX CONCURRENTLY"
        " ix_left_over.",
    ]
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok", "warnings": found})
    assert [line["warnings"] for line in lines if line["event"] == "indexes_unusable"] == [tuple(found)]
    assert "transaction_alerts_unusable_indexes 3.0" in client.get("/metrics").text
    assert client.post("/event", json=an_event()).status_code == 200

    do(database_url, "UPDATE alembic_version SET version_num = '9999'")
    assert client.get("/readyz").status_code == 200  # a newer release has other indexes
    do(database_url, f"UPDATE alembic_version SET version_num = '{migrations.head()}'", "DROP INDEX ix_left_over")
    assert client.application.test_cli_runner().invoke(args=["upgrade"]).exit_code == 0
    assert client.get("/readyz").get_json() == {"status": "ok"}
    assert "transaction_alerts_unusable_indexes 0.0" in client.get("/metrics").text


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE rule_versions DROP CONSTRAINT uq_rule_versions_code_version",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_user_actions_user_id_event_id'::regclass",
    ],
)
def test_without_an_index_that_keeps_rows_unique_it_is_not_ready(
    client: FlaskClient, database_url: str, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """Events would be stored twice, or none: nobody should send any."""
    monkeypatch.setattr(readiness, "FRESH", 0)
    do(database_url, statement)
    assert problem(client.get("/readyz"), 503)["detail"] == readiness.NOT_UNIQUE
