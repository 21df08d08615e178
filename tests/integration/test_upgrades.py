"""Upgrades of a database that is in use: nobody notices, and what each migration locks is told and measured."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import psycopg2
import pytest
import requests
from alembic import command
from alembic.util import CommandError
from sqlalchemy import text

from database import embedded, migrations, upgrade_plan
from database.connecting import connect
from database.lock_watch import HARMLESS, LockWatch, MigrationTimes, TableLock, named
from database.upgrade_plan import Catalogue
from tests.conftest import ClientMaker
from tests.migrations import add, config_with
from tests.postgres import engine_on
from tests.service import ROOT, Service
from tests.waiting import PATIENCE, wait_until

# The last commit of release 1.0.0, whose newest migration is 0007.
FIRST_RELEASE = "cd37f5ae153600f4d4e193fa6c11d14909a91ce8"
POSTERS = 3
FILLED = 3_000


@pytest.fixture(scope="module")
def first_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the code of release 1.0.0, which the present packages can run."""
    if not (ROOT / ".git").exists():
        pytest.skip("the code of the first release is in git's history, which is not here")
    git = ["git", "-c", "safe.directory=*", "-C", str(ROOT)]
    if subprocess.run([*git, "cat-file", "-e", f"{FIRST_RELEASE}^{{commit}}"], capture_output=True).returncode:
        pytest.skip(f"git's history is here without {FIRST_RELEASE}, the first release: git fetch --unshallow")
    folder = tmp_path_factory.mktemp("first release")
    archive = subprocess.run([*git, "archive", FIRST_RELEASE], capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


@dataclass
class Load:
    """Posts events and reads, without a pause, at the service at `url`, which may change; notes what failed."""

    url: str
    failed: list[str] = field(default_factory=list)
    sent: list[tuple[int, str]] = field(default_factory=list)  # (user_id, event_id) of what was answered
    answered: Counter[tuple[str, str]] = field(default_factory=Counter)  # requests by thread and service
    ending: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        work: list[Callable[[], None]] = [self._read, *(partial(self._post, number) for number in range(POSTERS))]
        self.threads = [threading.Thread(target=one) for one in work]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def go_on(self, url: str | None = None, count: int = 6) -> None:
        """Wait until each thread has had so many more answers, of the service at `url` from now on."""
        self.url = url or self.url
        wanted = {(thread.name, self.url): self.answered[thread.name, self.url] + count for thread in self.threads}
        wait_until(lambda: self.failed or all(self.answered[key] >= number for key, number in wanted.items()))
        assert self.failed == []

    def _ask(self, connection: requests.Session, method: str, path: str, **more: Any) -> None:
        url = self.url
        try:
            answer = connection.request(method, f"{url}{path}", timeout=PATIENCE, **more)
        except requests.RequestException as error:
            self.failed.append(f"{method} {path}: {error}")
            return
        if answer.status_code != 200 or "problem" in answer.text:
            self.failed.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        self.answered[threading.current_thread().name, url] += 1

    def _post(self, poster: int) -> None:
        with requests.Session() as connection:
            number = 0
            while not self.ending.is_set():
                events = [self._event(poster, number + index) for index in range(5)]
                if number % 2:
                    self._ask(connection, "POST", "/events", json=events)
                else:
                    events = events[:1]
                    self._ask(connection, "POST", "/event", json=events[0])
                self.sent += [(event["user_id"], event["event_id"]) for event in events]
                number += 1 + 5 * (number % 2)

    def _event(self, poster: int, number: int) -> dict[str, Any]:
        kind = "deposit" if number % 3 else "withdraw"
        user = 1 + poster + POSTERS * (number % 100)
        # Some come late, so that what is stored is changed too.
        moment = 100_000 + number - (500 if number % 10 == 0 else 0)
        return {"type": kind, "amount": "120.00", "user_id": user, "time": moment, "event_id": f"{poster}-{number}"}

    def _read(self) -> None:
        paths = ("/alerts", "/alerts?code=1100&limit=5", "/users/7", "/users/7/actions", "/rules", "/readyz")
        with requests.Session() as connection:
            while not self.ending.is_set():
                for path in paths:
                    self._ask(connection, "GET", path)


def run(url: str, *words: str) -> "subprocess.Popen[str]":
    """A program of the project's, on the database at `url`, that goes on by itself."""
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        env=os.environ | {"DATABASE_URL": url},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Its status, and what it wrote to standard output and error, at its end."""
    output, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, output, errors


def test_the_first_release_serves_while_its_database_is_upgraded(first_release: Path, empty_database_url: str) -> None:
    """Under load no request fails: while the migrations run beside a long reader, while both serve, and afterwards."""
    old_command = [sys.executable, str(first_release / "app.py")]
    # No machine is as slow as this; but who waited for the reader would get a 503.
    environment = {"DATABASE_URL": empty_database_url, "DB_TIMEOUT": "20", "READ_TIMEOUT": "20"}
    with Service(environment, old_command) as old:
        history: list[Any] = [
            {
                "type": "withdraw",
                "amount": "120.00",
                "user_id": 1 + number % 500,
                "time": number,
                "event_id": f"{number}",
            }
            for number in range(FILLED)
        ]
        assert requests.post(f"{old.url}/events", json=history, timeout=PATIENCE).json()["accepted"] == FILLED
        with Load(old.url) as load:
            load.go_on()
            # As a backtest of the old release does, it keeps migrations from changing the tables for a while.
            reader = psycopg2.connect(empty_database_url.replace("+psycopg2", ""))
            with closing(reader), reader.cursor() as cursor:
                cursor.execute("SELECT FROM users, user_actions, alerts LIMIT 1")
                upgrade = run(empty_database_url, "flask", "--app", "app", "upgrade")
                assert upgrade.stderr is not None
                assert "waits until its tables are free" in upgrade.stderr.readline()
                load.go_on()
            status, output, errors = ended(upgrade)
            assert (status, errors) == (0, ""), output
            assert output.splitlines()[-1].endswith(f"is at migration {migrations.head()}.")
            load.go_on()
            with Service(environment) as new:
                for url in (new.url, old.url, new.url):
                    load.go_on(url)
                old.stop()
                load.go_on()
                assert requests.get(f"{new.url}/readyz", timeout=PATIENCE).json() == {"status": "ok"}
                load.__exit__()  # before the service
    assert load.failed == []
    status, output, _ = ended(run(empty_database_url, "flask", "--app", "app", "verify", "--processes", "1"))
    assert status == 0, output
    with engine_on(empty_database_url) as engine, engine.connect() as connection:
        query = text("SELECT user_id, event_id FROM user_actions WHERE time >= 90000")
        stored = [tuple(row) for row in connection.execute(query)]
    assert sorted(stored) == sorted(load.sent)


# What is planned and measured


def upgraded(url: str, folder: Path | None = None) -> list[MigrationTimes]:
    """What each migration of an upgrade of the database at `url` locked; those in `folder` come after our own."""
    done: list[MigrationTimes] = []
    configuration = config_with(folder, url) if folder else migrations.config(url)
    configuration.attributes["lock_watch"] = LockWatch(url, done.append)
    command.upgrade(configuration, "head")
    return done


def test_migrations_lock_what_the_plan_says(empty_database_url: str) -> None:
    """All migrations, run one after the other: no other locks than planned; and the plan knows every statement."""
    with connect(empty_database_url).connect() as connection:
        plan = upgrade_plan.make(connection)
    done = upgraded(empty_database_url)
    assert [step.revision for step in plan.steps] == [one.revision for one in done]
    assert done[-1].revision == plan.to
    for step, measured in zip(plan.steps, done, strict=True):
        assert step.is_written == (step.revision != "0003")  # which reads what it migrates
        if step.is_written:
            assert [one.sql for one in step.statements if not one.is_known] == []
            assert measured.held.keys() - {lock for one in step.statements for lock in one.locks} == set()
    assert TableLock("alerts", "ACCESS EXCLUSIVE") in done[8].held  # as 0009 adds columns: some were measured at all


TABLES = text("SELECT oid, relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384")
LOCKS = "SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'"
# With the tables that are read from one end to the other.
KINDS = [
    ("CREATE TABLE a (b BIGINT)", "", ""),
    ("CREATE TABLE a (b BIGINT, FOREIGN KEY(b) REFERENCES users (user_id))", "users SHARE ROW EXCLUSIVE", ""),
    ("CREATE INDEX i ON users (name)", "users SHARE", "users"),
    ("CREATE INDEX CONCURRENTLY i ON users (name)", "users SHARE UPDATE EXCLUSIVE", "users"),
    ("DROP INDEX ix_alerts_late", "alerts ACCESS EXCLUSIVE", ""),
    ("DROP INDEX CONCURRENTLY IF EXISTS ix_alerts_late", "alerts SHARE UPDATE EXCLUSIVE", ""),
    ("ALTER TABLE users ADD COLUMN a TEXT", "users ACCESS EXCLUSIVE", ""),
    ("ALTER TABLE users ADD CONSTRAINT a CHECK (user_id > 0)", "users ACCESS EXCLUSIVE", "users"),
    ("ALTER TABLE users ADD CONSTRAINT a CHECK (user_id > 0) NOT VALID", "users ACCESS EXCLUSIVE", ""),
    ("ALTER TABLE alerts VALIDATE CONSTRAINT ck_alerts_outcome_known", "alerts SHARE UPDATE EXCLUSIVE", "alerts"),
    (
        "ALTER TABLE mutes ADD FOREIGN KEY (user_id) REFERENCES users",
        "mutes SHARE ROW EXCLUSIVE, users SHARE ROW EXCLUSIVE",
        "mutes",
    ),
    ("ALTER TABLE users ALTER COLUMN name SET NOT NULL", "users ACCESS EXCLUSIVE", "users"),
    ("ALTER TABLE users ALTER COLUMN name SET STATISTICS 9", "users SHARE UPDATE EXCLUSIVE", ""),
    ("COMMENT ON TABLE users IS 'people'", "users SHARE UPDATE EXCLUSIVE", ""),
    ("COMMENT ON COLUMN users.name IS 'theirs'", "users SHARE UPDATE EXCLUSIVE", ""),
    ("UPDATE users SET name = '' WHERE user_id = 1", "users ROW EXCLUSIVE", "users"),
    (
        "DO $$ BEGIN DELETE FROM mutes; INSERT INTO users (user_id) VALUES (1); END $$",
        "mutes ROW EXCLUSIVE, users ROW EXCLUSIVE",
        "mutes, users",
    ),
    ("DROP TABLE key_uses", "key_uses ACCESS EXCLUSIVE, keys ACCESS EXCLUSIVE", ""),
    ("CREATE SEQUENCE s", "", ""),
]


def test_statements_lock_what_the_plan_says(database_url: str, subtests: pytest.Subtests) -> None:
    """Each kind of statement, as PostgreSQL itself has it; those that run outside of transactions hold nothing then."""
    with closing(psycopg2.connect(database_url.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        with connect(database_url).connect() as other:
            catalogue, tables = upgrade_plan.catalogue(other), dict(map(tuple, other.execute(TABLES)))
        for sql, locks, reads in KINDS:
            with subtests.test(sql):
                planned = upgrade_plan.locks_of(sql, catalogue)
                assert planned.is_known
                assert ", ".join(sorted(f"{lock.table} {lock.mode}" for lock in planned.locks)) == locks
                assert ", ".join(planned.reads) == reads
                if "CONCURRENTLY" not in sql:
                    cursor.execute(sql)
                    cursor.execute(LOCKS)
                    # Of each table the strongest, since some statements take a weaker one first.
                    held = {TableLock(tables[oid], named(mode)) for oid, mode in cursor.fetchall() if oid in tables}
                    taken = upgrade_plan.strongest(lock for lock in held if lock.mode not in HARMLESS)
                    assert ", ".join(f"{lock.table} {lock.mode}" for lock in taken) == locks
                connection.rollback()


def test_a_statement_of_another_kind_is_not_guessed_at() -> None:
    """It may lock anything, and the plan says that it does not know."""
    assert not upgrade_plan.locks_of("CLUSTER users", Catalogue({}, {})).is_known


# How they run


def test_a_migration_gives_way_to_those_who_hold_its_tables(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It waits for half a second at a time, so that nobody stands behind it for longer, and then tries again."""
    wanted = add(tmp_path, 'op.add_column("alerts", sa.Column("country", sa.Text))')
    done: list[MigrationTimes] = []
    with closing(psycopg2.connect(database_url.replace("+psycopg2", ""))) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT FROM alerts")
        upgrade = threading.Thread(target=lambda: done.extend(upgraded(database_url, tmp_path)))
        upgrade.start()
        said = ""
        while "waits until" not in said:
            said += capfd.readouterr().err
            time.sleep(0.01)
        assert said == f"Migration {wanted} waits until its tables are free.\n"
        with connect(database_url).connect() as other:  # behind the wait, if there is one now
            other.execute(text("SET statement_timeout = 60000"))
            other.execute(text("SELECT FROM alerts"))
    upgrade.join(PATIENCE)
    lock = TableLock("alerts", "ACCESS EXCLUSIVE")
    assert [one.revision for one in done] == [wanted]
    assert 0.4 < done[0].waited[lock] < 0.5 + PATIENCE
    assert lock in done[0].held


def test_a_migration_that_gets_no_lock_says_who_has_it(database_url: str, tmp_path: Path) -> None:
    """It gives up after a while, names the programs that hold tables, and leaves nothing behind."""
    wanted = add(tmp_path, 'op.add_column("alerts", sa.Column("country", sa.Text))')
    configuration = config_with(tmp_path, database_url)
    configuration.attributes["lock_patience"] = 1.0
    address = database_url.replace("+psycopg2", "")
    with closing(psycopg2.connect(address, application_name="night report")) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT FROM alerts")
        with pytest.raises(
            CommandError, match=rf"migration {wanted}: its tables were not free for 1 s; .*night report"
        ):
            command.upgrade(configuration, "head")
    command.upgrade(configuration, "head")
    with engine_on(database_url) as engine, engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == wanted


# A migration that has done something for good, and is then at work for as long as one likes.
LONG = """
with op.get_context().autocommit_block():
    op.execute("SET statement_timeout = 0")
    op.execute("INSERT INTO begun VALUES (clock_timestamp())")
    op.execute("DO $$ BEGIN IF (SELECT count(*) FROM begun) = 1 THEN PERFORM pg_sleep(3600); END IF; END $$")
"""
RUN = """
import sys
from pathlib import Path
from alembic import command
from tests.migrations import config_with
try:
    command.upgrade(config_with(Path(sys.argv[1]), sys.argv[2]), "head")
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_ends_a_statement_and_the_next_run_goes_on_there(database_url: str, tmp_path: Path) -> None:
    """The statement is cancelled at once, in the database too; what was done before stays."""
    first, second = add(tmp_path, 'op.execute("CREATE TABLE begun (at timestamptz)")'), add(tmp_path, LONG)
    words = [sys.executable, "-c", RUN, str(tmp_path), database_url]
    process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with engine_on(database_url) as engine, engine.connect() as connection:
        sleeping = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        )
        wait_until(lambda: connection.scalar(sleeping))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (130, "")
        assert connection.scalar(sleeping) == 0
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == first
        command.upgrade(config_with(tmp_path, database_url), "head")
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == second


# The command


def test_the_command(make_client: ClientMaker, empty_database_url: str) -> None:
    """A plan changes nothing; an upgrade says what it locked, and makes lost indexes again; a second finds nothing."""
    command.upgrade(migrations.config(empty_database_url), "0008")
    runner = make_client(database_url=empty_database_url).application.test_cli_runner()

    def said(*arguments: str) -> str:
        result = runner.invoke(args=["upgrade", *arguments])
        assert result.exit_code == 0, result.output
        return str(result.output)

    with engine_on(empty_database_url) as engine, engine.connect() as connection:
        planned = said("--plan")
        assert "is at migration 0008. To come, up to " in planned
        assert "\n  ALTER TABLE alerts ADD COLUMN outcome TEXT\n" in planned
        assert "): ACCESS EXCLUSIVE for a moment: reads and writes wait\n" in planned
        assert "): SHARE UPDATE EXCLUSIVE while all of it is read: nobody waits\n" in planned
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0008"
        done = said()
        assert "\n  alerts: ACCESS EXCLUSIVE for " in done
        assert done.splitlines()[-1].endswith(f"is at migration {migrations.head()}.")
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == migrations.head()
        assert said("--plan").endswith(f"is at migration {migrations.head()}: none is to come.\n")

        connection.execute(text("DROP INDEX ix_alerts_late"))
        connection.execute(text("CREATE INDEX left_over ON alerts (code)"))
        connection.execute(text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'left_over'::regclass"))
        assert "The index ix_alerts_late of alerts is missing. flask --app app upgrade makes it" in said("--plan")
        mended = said()
        assert "The index ix_alerts_late of alerts is missing: making it again.\n" in mended
        assert "The index left_over of alerts is invalid. Unless it is being made right now: DROP INDEX" in mended
        connection.execute(text("DROP INDEX left_over"))
        assert said().count("\n") == 1
    command.check(migrations.config(empty_database_url))


def test_a_plan_for_the_embedded_database_changes_nothing(ready_folder: Path) -> None:
    """It is migrated by other commands when they need it, and not as the application is loaded for this one."""
    environment = os.environ | {"DATA_DIR": str(ready_folder)}

    def flask(*words: str) -> str:
        command = [sys.executable, "-m", "flask", "--app", "app", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with embedded.use(ready_folder, fsync="off") as url, connect(url).connect() as connection:
        assert " is empty. To come, up to " in flask("upgrade", "--plan")
        tables = text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert connection.scalar(tables) == 0
        connection.rollback()
        flask("keys", "list")
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == migrations.head()
