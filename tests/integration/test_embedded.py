"""The embedded PostgreSQL: started, joined, killed and stopped for real, as root or as a plain user."""

import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psycopg2
import pytest

from database import embedded
from tests.waiting import PATIENCE, is_running, kill, wait_until

ROOT = Path(__file__).resolve().parents[2]
AS_ROOT = os.geteuid() == 0
use = partial(embedded.use, fsync="off", shared_buffers="1MB")  # nothing here outlives its test

# A user of the server in a process of its own: prints the URL, exits when its standard input ends.
USER = """
import sys
from pathlib import Path
from database.embedded import use
with use(Path(sys.argv[1]), fsync="off", shared_buffers="1MB") as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def execute(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement in a transaction of its own; its rows."""
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def socket_of(url: str) -> Path:
    return Path(unquote(url.partition("?host=")[2].partition("&")[0]))


def postmaster_of(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().split()[0])


def supervisor_of(folder: Path) -> int:
    return int((folder / "postgres.supervisor").read_text().split()[1])


def pids_of(folder: Path) -> dict[str, int]:
    """The processes of a server."""
    return {"supervisor": supervisor_of(folder), "postmaster": postmaster_of(folder)}


def answers(url: str) -> bool:
    try:
        return execute(url, "SELECT 1") == [(1,)]
    except psycopg2.OperationalError:
        return False


@contextmanager
def users(folder: Path, count: int = 1) -> Iterator[list[tuple["subprocess.Popen[str]", str]]]:
    """`count` processes that use the server, started at once, each with the URL it got."""
    command = [sys.executable, "-c", USER, str(folder)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    started = [subprocess.Popen(command, **pipes) for _ in range(count)]
    try:
        yield [(process, process.stdout.readline().strip()) for process in started if process.stdout]
    finally:
        for process in started:
            process.communicate(timeout=PATIENCE)


def test_gives_a_working_url(folder: Path) -> None:
    """The first user gets a database that its role owns, reachable only by a private socket."""
    with use(folder) as url:
        assert url.startswith("postgresql+psycopg2://alerts@/postgres?host=%2Ftmp%2Fpg-")
        assert execute(url, "SELECT current_user, current_database()") == [("alerts", "postgres")]
        assert execute(url, "SHOW is_superuser") == [("off",)]
        assert execute(url, "SHOW listen_addresses") == [("",)]
        assert execute(url, "SHOW server_encoding") == [("UTF8",)]
        # A full /dev/shm is none of its business.
        assert execute(url, "SHOW dynamic_shared_memory_type") == [("sysv",)]
        assert socket_of(url).stat().st_mode & 0o777 == 0o700
    assert (embedded.bin_dir() / "pgbench").is_file()


def test_commits_are_durable_unless_asked_otherwise(ready_folder: Path) -> None:
    """fsync is on by default; settings are passed on to the server."""
    with embedded.use(ready_folder, work_mem="5MB") as url:
        assert execute(url, "SHOW fsync") == [("on",)]
        assert execute(url, "SHOW work_mem") == [("5MB",)]


def test_any_path_will_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder may be relative, much longer than a socket's path can be, and contain spaces and %."""
    long = Path("100% of it", *(["a rather long name%20 " * 4] * 3))
    folder.mkdir()
    monkeypatch.chdir(folder)
    with use(long) as url:
        assert execute(url, "SELECT 1") == [(1,)]
        assert (folder / long / "postgres" / "PG_VERSION").is_file()


# What libpq reads for whatever a URL leaves out, each with a value that does not fit the embedded server.
LIBPQ = {
    "PGPORT": "1",
    "PGHOST": "nowhere.example",
    "PGHOSTADDR": "192.0.2.1",
    "PGDATABASE": "nowhere",
    "PGUSER": "nobody",
    "PGSERVICE": "nothing",
    "PGOPTIONS": "-c nonsense=1",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGREQUIREPEER": "nobody",
    "PGCHANNELBINDING": "require",
    "PGGSSENCMODE": "require",
    "PGTARGETSESSIONATTRS": "read-only",
    "PGCLIENTENCODING": "LATIN1",
    "PGCONNECT_TIMEOUT": "soon",
    "PGTZ": "nowhere",
    "PGDATA": "/nowhere",
}


def test_the_environment_does_not_leak_into_the_server(ready_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's libpq and locale settings change nothing."""
    for name, value in [*LIBPQ.items(), ("LC_ALL", "xx"), ("LANG", "xx")]:
        monkeypatch.setenv(name, value)
    with use(ready_folder) as url:
        assert execute(url, "SHOW port") == [("5432",)]


def test_the_last_one_to_leave_stops_it(ready_folder: Path) -> None:
    """Another process joins on the same URL; the server outlives one user and ends with the last."""
    with users(ready_folder) as [(_, joined)]:
        with use(ready_folder) as url:
            assert url == joined
            pids = [postmaster_of(ready_folder), supervisor_of(ready_folder)]
        assert answers(joined)
        assert all(map(is_running, pids))
    assert not any(map(is_running, pids))
    assert not socket_of(joined).exists()


def test_the_one_who_started_it_may_leave_first(ready_folder: Path) -> None:
    """The server belongs to no process in particular: it stays up for one that has joined."""
    starter = use(ready_folder)
    url = starter.__enter__()
    with users(ready_folder) as [(_, joined)]:
        starter.__exit__(None, None, None)
        assert answers(joined)
    assert joined == url
    assert not socket_of(url).exists()


def test_data_stays(ready_folder: Path) -> None:
    """What one run has committed is there in the next one."""
    with use(ready_folder) as url:
        execute(url, "CREATE TABLE kept AS SELECT 'ü' AS value")
    with use(ready_folder) as url:
        assert execute(url, "SELECT value FROM kept") == [("ü",)]


def test_five_at_once_share_one_server(folder: Path) -> None:
    """Processes that start at the same moment on an empty folder get one server."""
    with users(folder, 5) as started:
        urls = {url for _, url in started}
        assert len(urls) == 1
        url = urls.pop()
        assert answers(url)
    assert [process.returncode for process, _ in started] == [0] * 5
    assert not socket_of(url).exists()


def test_killed_users_leave_nothing(ready_folder: Path) -> None:
    """kill -9 of every user ends the server by itself."""
    with users(ready_folder, 2) as started:
        url = started[0][1]
        pids = [postmaster_of(ready_folder), supervisor_of(ready_folder)]
        started[0][0].kill()
        time.sleep(0.3)
        assert answers(url)
        started[1][0].kill()
        wait_until(lambda: not any(map(is_running, pids)))
        assert not socket_of(url).exists()


def test_a_killed_postmaster_is_replaced(ready_folder: Path) -> None:
    """After kill -9 of PostgreSQL it is back at the same URL, with what was committed."""
    with use(ready_folder) as url:
        execute(url, "CREATE TABLE kept AS SELECT 1 AS value")
        killed = postmaster_of(ready_folder)
        kill(killed)
        wait_until(lambda: answers(url))
        assert postmaster_of(ready_folder) != killed
        assert execute(url, "SELECT value FROM kept") == [(1,)]
    assert not socket_of(url).exists()


def test_a_killed_supervisor_is_replaced(ready_folder: Path) -> None:
    """PostgreSQL ends with its supervisor; the next to join starts both, at the address that users have."""
    with use(ready_folder) as url:
        execute(url, "CREATE TABLE kept AS SELECT 1 AS value")
        postmaster, killed = postmaster_of(ready_folder), supervisor_of(ready_folder)
        kill(killed)
        with use(ready_folder) as again:
            assert again == url
            assert supervisor_of(ready_folder) != killed
            assert execute(url, "SELECT value FROM kept") == [(1,)]
        assert answers(url)
        pids = [postmaster, postmaster_of(ready_folder), supervisor_of(ready_folder)]
    assert not any(map(is_running, pids))
    assert not socket_of(url).exists()


def test_the_last_user_cleans_up_after_a_killed_supervisor(ready_folder: Path) -> None:
    """Even if no process joins after the supervisor was killed, the last user leaves nothing running."""
    with use(ready_folder) as url:
        postmaster = postmaster_of(ready_folder)
        os.kill(supervisor_of(ready_folder), signal.SIGKILL)
    assert not is_running(postmaster)
    assert not socket_of(url).exists()


def test_sigterm_ends_the_supervisor_in_order(ready_folder: Path) -> None:
    """The supervisor ignores SIGINT and SIGHUP; on SIGTERM it stops PostgreSQL, and exiting is no error."""
    with use(ready_folder) as url:
        supervisor, postmaster = supervisor_of(ready_folder), postmaster_of(ready_folder)
        os.kill(supervisor, signal.SIGINT)
        os.kill(supervisor, signal.SIGHUP)
        time.sleep(0.3)
        assert answers(url)
        os.kill(supervisor, signal.SIGTERM)
        wait_until(lambda: not is_running(supervisor))
        assert not is_running(postmaster)
    assert "database system is shut down" in (ready_folder / "postgres.log").read_text()


def test_a_recycled_pid_does_not_hinder(ready_folder: Path) -> None:
    """A stale postmaster.pid with the pid of another live process is overcome, and that process is unharmed."""
    with use(ready_folder):
        pid_file = ready_folder / "postgres" / "postmaster.pid"
        postmaster, rest = pid_file.read_text().split("\n", 1)
    nobody = pwd.getpwnam("nobody")
    same_user: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    unrelated = subprocess.Popen(["sleep", "infinity"], cwd="/", **(same_user if AS_ROOT else {}))
    try:
        pid_file.write_text(f"{unrelated.pid}\n{rest}")
        os.chown(pid_file, pid_file.parent.stat().st_uid, -1)
        with use(ready_folder) as url:
            assert answers(url)
            assert postmaster_of(ready_folder) not in (unrelated.pid, int(postmaster))
        assert unrelated.poll() is None
    finally:
        unrelated.kill()
        unrelated.wait()


def test_an_initdb_cut_short_is_made_anew(folder: Path) -> None:
    """What an interrupted initdb left behind neither counts as a cluster nor stays."""
    left = folder / "postgres.new-left"
    left.mkdir(parents=True)
    (left / "PG_VERSION").write_text("18\n")
    with use(folder) as url:
        assert answers(url)
    assert not left.exists()


def test_another_version_is_named(ready_folder: Path) -> None:
    """The data of another PostgreSQL version is refused; the error has both versions and a way out."""
    with use(ready_folder):
        pass
    (ready_folder / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(embedded.EmbeddedError, match=r"made by PostgreSQL 12, this is 18: dump .* or delete"):
        use(ready_folder).__enter__()


def test_a_broken_setting_is_explained(ready_folder: Path) -> None:
    """If PostgreSQL does not start, the error shows its log; nothing is left, and the next start works."""
    with pytest.raises(embedded.EmbeddedError, match=r'did not start(.|\n)*invalid .* "shared_buffers"'):
        embedded.use(ready_folder, fsync="off", shared_buffers="much").__enter__()
    with pytest.raises(embedded.EmbeddedError, match=r"did not start(.|\n)*FATAL: .*/nowhere") as error:
        use(ready_folder, hba_file="/nowhere").__enter__()
    [socket] = re.findall(r'listening on Unix socket "(/tmp/pg-\w+)/', str(error.value))
    assert not Path(socket).exists()
    with use(ready_folder) as url:
        assert answers(url)


def test_a_cluster_of_another_user_is_refused(folder: Path) -> None:
    """The error for a user who may not run the cluster says whose it is, or which file is another user's."""
    folder.mkdir()
    if AS_ROOT:
        (folder / "postgres").mkdir()
        os.chown(folder / "postgres", 4711, -1)
        message = "belongs to user 4711, but PostgreSQL would run as a user of its own"
    else:
        (folder / "postgres.users").touch(0o400)
        message = "Permission denied: .*postgres.users'. If another user made it"
    with pytest.raises(embedded.EmbeddedError, match=message):
        use(folder).__enter__()


def test_a_copied_folder_has_a_server_of_its_own(folder: Path) -> None:
    """A copy of a data folder shares nothing with the original, which may be running again."""
    with use(folder) as url:
        execute(url, "CREATE TABLE kept AS SELECT 1 AS value")
    copy = folder.with_name("copy")
    subprocess.run(["cp", "-a", str(folder), str(copy)], check=True)
    with use(folder) as url:
        shutil.copy(folder / "postgres.supervisor", copy / "postgres.supervisor")
        with use(copy) as other:
            assert other != url
            assert execute(other, "SELECT value FROM kept") == [(1,)]
        assert answers(url)


@contextmanager
def home_of(folder: Path) -> Iterator[Path]:
    """Where root keeps what cannot be in this data folder; removed at the end."""
    home = Path("/var/lib", f"transaction-alerts-{hashlib.sha256(bytes(folder)).hexdigest()[:16]}")
    try:
        yield home
    finally:
        if home.exists():
            shutil.rmtree(home)


def test_closed_folders_are_no_hindrance(folder: Path) -> None:
    """A plain user's cluster is in the data folder. So is root's, unless the user who runs PostgreSQL for
    root may not enter: then a link leads to it, and a copy or a wiped folder starts afresh."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700, parents=True)
    data = closed / "data"
    link = data / "postgres"
    with home_of(data) as home:
        with use(data) as url:
            execute(url, "CREATE TABLE kept AS SELECT 1 AS value")
        if not AS_ROOT:
            assert not link.is_symlink()
            assert link.stat().st_uid == os.geteuid()
            assert not home.exists()
            return
        assert link.readlink() == home / "postgres"
        assert home.stat().st_mode & 0o777 == 0o711
        assert (home / "made-for").read_text() == f"{data}\n"
        assert link.stat().st_mode & 0o777 == 0o700
        assert closed.stat().st_mode & 0o777 == 0o700
        with use(data) as url:
            assert execute(url, "SELECT value FROM kept") == [(1,)]

        shutil.copytree(data, closed / "copy", symlinks=True)
        with pytest.raises(embedded.EmbeddedError, match="copied or moved"):
            use(closed / "copy").__enter__()

        shutil.rmtree(data)
        with use(data) as url:
            assert execute(url, "SELECT to_regclass('kept')") == [(None,)]
        assert (home / "postgres.old" / "PG_VERSION").is_file()

        shutil.rmtree(home / "postgres")
        with use(data) as url:  # the link dangles
            assert answers(url)


def test_closed_programs_are_copied_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's programs in a closed virtual environment are copied once per version of the wheel, for all data
    folders."""
    package = embedded.bin_dir().parents[1]
    closed = folder / "closed"
    closed.mkdir(mode=0o700, parents=True)
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), closed / name)
    monkeypatch.setattr(embedded, "bin_dir", lambda: closed / package.name / "pginstall" / "bin")
    with home_of(closed / package.name) as home:
        with use(folder) as url:
            assert answers(url)
        if not AS_ROOT:
            assert not home.exists()
            return
        [copy] = home.glob("programs-*")
        assert copy.name.startswith("programs-18.")
        copy.rename(home / "programs-17.0")
        with use(folder) as url:
            assert answers(url)
        assert list(home.glob("programs-*")) == [copy]
        made = copy.stat().st_ctime_ns
        with use(folder) as url, use(folder.with_name("another")) as other:
            assert answers(url)
            assert answers(other)
        assert copy.stat().st_ctime_ns == made


def test_the_lock_file_says_who_supervises(ready_folder: Path) -> None:
    """postgres.supervisor holds socket folder, pid and data folder; nothing once the server has stopped."""
    with use(ready_folder) as url:
        lines = (ready_folder / "postgres.supervisor").read_text().split("\n")
        assert lines == [str(socket_of(url)), str(supervisor_of(ready_folder)), str(ready_folder)]
    assert (ready_folder / "postgres.supervisor").read_text() == ""
