"""Who may do what with the embedded PostgreSQL: the user who runs it, the service's role, and everybody else."""

import grp
import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from database import embedded, embedded_access, migrations
from database.embedded_access import MARK, PRIVATE_IDS
from database.embedded_supervisor import away
from tests.integration.test_embedded import ROOT, answers, execute, postmaster_of, socket_of

AS_ROOT = os.geteuid() == 0
only_as_root = pytest.mark.skipif(not AS_ROOT, reason="only root's PostgreSQL runs as another user")
use = partial(embedded.use, fsync="off", shared_buffers="1MB")


def run_as_nobody(*command: str) -> subprocess.CompletedProcess[str]:
    nobody = pwd.getpwnam("nobody")
    who: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []} if AS_ROOT else {}
    return subprocess.run(command, check=False, capture_output=True, text=True, **away(), **who)


def formerly(folder: Path) -> None:
    """A data folder as an earlier release left it: one role, a superuser by trust, run for root by nobody."""
    folder.mkdir()
    cluster = folder / "postgres"
    cluster.mkdir(mode=0o700)
    if AS_ROOT:
        os.chown(cluster, pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
    programs = embedded.bin_dir()
    made = run_as_nobody(
        str(programs / "initdb"), "-D", str(cluster), "-U", "app", "-A", "trust", "-E", "UTF8", "--no-sync"
    )
    assert made.returncode == 0, made.stderr
    with server_of(folder) as url:
        migrations.upgrade(url)
        execute(url, "INSERT INTO users (user_id, last_seq, name) VALUES (1, 0, 'kept')")
        execute(url, "CREATE TYPE mood AS ENUM ('glad')")
        execute(url, "CREATE TABLE serial (id serial PRIMARY KEY, mood mood)")
        execute(url, "CREATE SEQUENCE alone; CREATE VIEW seen AS SELECT 1 AS one")
        execute(url, "CREATE FUNCTION two() RETURNS integer RETURN 2")


@contextmanager
def server_of(folder: Path) -> Iterator[str]:
    """PostgreSQL without a supervisor, as nobody for root; yields the superuser's URL. It is left running."""
    command = [str(embedded.bin_dir() / "pg_ctl"), "-D", str(folder / "postgres"), "-w", "start", "-l", "/dev/null"]
    started = run_as_nobody(*command, "-o", f"-k /tmp -h '' -p {os.getpid()} -F")
    assert started.returncode == 0, started.stdout
    yield f"postgresql+psycopg2://app@/postgres?host=/tmp&port={os.getpid()}"


def owners(cluster: Path) -> set[tuple[int, int]]:
    return {(path.lstat().st_uid, path.lstat().st_gid) for path in [cluster, *cluster.rglob("*")]}


def test_the_service_is_no_superuser(ready_folder: Path) -> None:
    """Its role owns the database and can migrate it; it can run no program and read no file."""
    with use(ready_folder) as url:
        migrations.upgrade(url)
        for forbidden in (
            "COPY users TO PROGRAM 'true'",
            "SELECT pg_read_file('postgresql.conf')",
            "CREATE ROLE other SUPERUSER",
            "ALTER ROLE alerts CREATEDB",
            "SET ROLE app",
            "SET log_min_error_statement = 'error'",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                execute(url, forbidden)
    with use(ready_folder, superuser=True) as url:
        assert execute(url, "SHOW is_superuser") == [("on",)]


def test_only_this_user_of_the_system_may_connect(ready_folder: Path) -> None:
    """The socket is closed to others, and PostgreSQL asks the system who connects."""
    with use(ready_folder, superuser=True) as url:
        socket = socket_of(url)
        assert socket.stat().st_mode & 0o777 == 0o700
        [(lines,)] = execute(
            url, "SELECT array_agg(concat_ws(' ', type, database, user_name, auth_method)) FROM pg_hba_file_rules"
        )
        assert lines == ["local {all} {all} peer"]
        if not AS_ROOT:
            return
        psql = [str(embedded.bin_dir() / "psql"), "-h", str(socket), "-d", "postgres", "-U"]
        assert "Permission denied" in run_as_nobody(*psql, "alerts").stderr
        try:
            socket.chmod(0o711)
            for role in ("alerts", "app"):
                assert "Peer authentication failed" in run_as_nobody(*psql, role).stderr
        finally:
            socket.chmod(0o700)


@only_as_root
def test_roots_postgresql_runs_as_nobody_else(folder: Path) -> None:
    """Its user and group are numbers without a name, its files are closed, and no other data folder has the same."""
    with use(folder), use(folder.with_name("other")):
        found = set()
        for data in folder, folder.with_name("other"):
            cluster = data / "postgres"
            [(uid, gid)] = owners(cluster)
            running = Path(f"/proc/{postmaster_of(data)}").stat()
            assert (running.st_uid, running.st_gid) == (uid, gid)
            assert uid in PRIVATE_IDS
            with pytest.raises(KeyError):
                pwd.getpwuid(uid)
            with pytest.raises(KeyError):
                grp.getgrgid(gid)
            assert cluster.stat().st_mode & 0o777 == 0o700
            found.add(uid)
        assert len(found) == 2


def test_the_data_of_an_earlier_release_is_taken_over(folder: Path) -> None:
    """What nobody owned, with a superuser by trust, and even still ran: its rows are there, its tables the service's.

    The former user of the system can read it no more, and it can be taken over just once.
    """
    formerly(folder)
    with use(folder) as url:
        assert execute(url, "SELECT name FROM users") == [("kept",)]
        assert execute(url, "SHOW is_superuser") == [("off",)]
        for statement in (
            "ALTER TABLE users ADD COLUMN more text",
            "DROP TABLE alert_history, alerts",
            "INSERT INTO serial (mood) VALUES ('glad')",
            "ALTER TABLE serial ALTER id TYPE bigint",
            "ALTER TYPE mood ADD VALUE 'sad'",
            "DROP SEQUENCE alone; DROP VIEW seen; DROP FUNCTION two()",
        ):
            execute(url, statement)
        if AS_ROOT:
            assert owners(folder / "postgres") == {(owner := (folder / "postgres").stat().st_uid, owner)}
            assert owner in PRIVATE_IDS
    with use(folder) as url:
        assert execute(url, "SELECT id, mood FROM serial") == [(1, "glad")]


def test_access_of_another_release_is_replaced(ready_folder: Path) -> None:
    """A cluster with other rules of access, as a later or earlier release may have set them, gets ours."""
    with use(ready_folder) as url:
        execute(url, "CREATE TABLE kept AS SELECT 1 AS value")
    (ready_folder / "postgres" / MARK).unlink()
    (ready_folder / "postgres" / "pg_hba.conf").write_text("local all all reject\n")
    with use(ready_folder) as url:
        assert execute(url, "SELECT value FROM kept") == [(1,)]


@pytest.mark.parametrize("step", ["set_access", "give"])
def test_a_takeover_that_was_cut_short_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Interrupted before or after any of its steps, the next start finishes it."""
    formerly(folder)

    class Cut(BaseException):
        """The process is killed here."""

    if step == "set_access":  # the roles are made, but their mark is not set
        write = embedded_access._write

        def stop_at_mark(path: Path, text: str) -> None:
            if path.name == MARK:
                raise Cut
            write(path, text)

        monkeypatch.setattr(embedded_access, "_write", stop_at_mark)
    else:  # some files have changed hands
        chown, left = os.chown, iter(range(20))

        def some(*args: Any, **more: Any) -> None:
            if more and next(left, None) is None:
                raise Cut
            chown(*args, **more)

        monkeypatch.setattr(os, "chown", some)
    with suppress(Cut), use(folder):
        assert (AS_ROOT, step) == (False, "give")  # there is nothing to give
    monkeypatch.undo()
    with use(folder) as url:
        assert execute(url, "SELECT name FROM users") == [("kept",)]
        if AS_ROOT:
            assert len(owners(folder / "postgres")) == 1


@only_as_root
def test_links_in_a_former_folder_lead_nowhere(folder: Path, tmp_path: Path) -> None:
    """Whatever the former owner has planted there, only files of the cluster are written and change hands."""
    formerly(folder)
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    cluster = folder / "postgres"
    (cluster / "pg_ident.conf").unlink()
    (cluster / "pg_ident.conf").symlink_to(outside)
    (cluster / "planted").symlink_to(outside)
    with use(folder) as url:
        assert answers(url)
    assert (outside.read_text(), outside.stat().st_uid) == ("untouched", 0)


@only_as_root
def test_a_number_that_somebody_has_got_is_given_up(ready_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a user is made with the cluster's number, the next start takes another."""
    with use(ready_folder) as url:
        execute(url, "CREATE TABLE kept AS SELECT 1 AS value")
    taken = (ready_folder / "postgres").stat().st_uid
    find = pwd.getpwuid
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: find(0 if uid == taken else uid))
    with use(ready_folder) as url:
        assert execute(url, "SELECT value FROM kept") == [(1,)]
        [(owner, _)] = owners(ready_folder / "postgres")
        assert owner in PRIVATE_IDS
        assert owner != taken


def test_docker_compose_makes_such_a_role_too(ready_folder: Path) -> None:
    """The script for a new PostgreSQL makes a role that owns the database, is no superuser and logs no values."""
    with use(ready_folder, superuser=True) as url:
        socket = socket_of(url)
        environment = {"PATH": f"{embedded.bin_dir()}:{os.environ['PATH']}", "PGHOST": str(socket), "PGUSER": "app"}
        environment |= {"DB_USER": "Ada's", "DB_PASSWORD": "it's \\ secret", "DB_NAME": "alerts of Ada"}
        subprocess.run([str(ROOT / "scripts" / "service_role.sh")], env=environment, check=True, capture_output=True)
        found = execute(
            url,
            "SELECT datname, rolname, rolsuper, rolcreaterole, setconfig FROM pg_database"
            " JOIN pg_roles ON pg_roles.oid = datdba JOIN pg_db_role_setting ON setrole = pg_roles.oid"
            " WHERE datname LIKE 'alerts%'",
        )
        assert found == [("alerts of Ada", "Ada's", False, False, ["log_min_messages=log"])]
