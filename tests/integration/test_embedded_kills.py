"""The embedded PostgreSQL whatever is killed, stopped or full: it comes back for its users, and goes with the last."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import permutations
from pathlib import Path

import psycopg2
import pytest

from database import embedded, embedded_supervisor
from tests.integration.test_embedded import answers, execute, pids_of, postmaster_of, socket_of, supervisor_of, users
from tests.waiting import freeze, is_running, kill, wait_until

AS_ROOT = os.geteuid() == 0
use = partial(embedded.use_and_look_after, fsync="off", shared_buffers="1MB")


def kept(url: str) -> list[tuple[object, ...]]:
    """What `keep` has stored."""
    return execute(url, "SELECT value FROM kept")


def keep(url: str) -> None:
    """Store a row, to be found again whatever happens."""
    execute(url, "CREATE TABLE IF NOT EXISTS kept (value) AS SELECT 1")


def is_new(folder: Path, *former: int) -> bool:
    """Whether a PostgreSQL is there under a supervisor, both of them others than the `former` processes."""
    try:
        pids = set(pids_of(folder).values())
    except (FileNotFoundError, IndexError, ValueError):  # it is about to be written
        return False
    return not pids & set(former)


def is_supervised_by_another(folder: Path, former: int) -> bool:
    """Whether there is a supervisor again."""
    try:
        return supervisor_of(folder) != former
    except IndexError:
        return False


def heals(server: embedded.Embedded, condition: Callable[[], bool] | None = None) -> None:
    """Look after the server, as one of its users, until it answers (or the condition holds)."""

    def healed() -> bool:
        server.look_after()
        return condition() if condition else answers(server.url)

    wait_until(healed)


def in_any_order(*words: str) -> list[tuple[str, ...]]:
    """All sequences of some of these words, each at most once."""
    return [sequence for length in range(1, len(words) + 1) for sequence in permutations(words, length)]


def test_whatever_is_killed_comes_back_for_a_user(ready_folder: Path) -> None:
    """kill -9 of supervisor and PostgreSQL in any order: a user who looks after them has its data at the same URL."""
    with use(ready_folder) as server:
        keep(server.url)
        for victims in in_any_order("supervisor", "postmaster"):
            pids = pids_of(ready_folder)
            for victim in victims:
                kill(pids[victim])
            # PostgreSQL ends with its supervisor, but may still answer for a moment.
            former = [pids["postmaster"]] + [pids["supervisor"]] * ("supervisor" in victims)
            heals(server, lambda: is_new(ready_folder, *former) and answers(server.url))  # noqa: B023
            assert kept(server.url) == [(1,)]
        pids = pids_of(ready_folder)
    assert not any(map(is_running, pids.values()))
    assert not socket_of(server.url).exists()


def test_whatever_is_killed_along_with_the_last_user_leaves_nothing(ready_folder: Path) -> None:
    """kill -9 of the only user, the supervisor and PostgreSQL, in any order: no process is left, and no data lost."""
    with use(ready_folder) as server:
        keep(server.url)
    for victims in in_any_order("user", "supervisor", "postmaster"):
        if "user" not in victims:
            continue
        with users(ready_folder) as [(user, url)]:
            pids = pids_of(ready_folder) | {"user": user.pid}
            assert kept(url) == [(1,)]
            for victim in victims:
                with suppress(ProcessLookupError):  # it has ended with the one before
                    os.kill(pids[victim], signal.SIGKILL)
            wait_until(lambda: not is_running(pids["supervisor"]) and not is_running(postmaster_of_or(0, ready_folder)))  # noqa: B023
            wait_until(lambda: not is_running(pids["postmaster"]))  # noqa: B023


def postmaster_of_or(otherwise: int, folder: Path) -> int:
    """The pid in the pid file, or this number if there is none."""
    try:
        return postmaster_of(folder)
    except (FileNotFoundError, IndexError):
        return otherwise


def test_a_stopped_supervisor_is_replaced(ready_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that gives no sign of life is killed by a user who looks after it, and replaced."""
    monkeypatch.setattr(embedded, "SIGNS", 1)
    with use(ready_folder) as server:
        keep(server.url)
        stopped, former = supervisor_of(ready_folder), pids_of(ready_folder).values()
        freeze(stopped)
        heals(server, lambda: is_new(ready_folder, *former) and answers(server.url))
        assert kept(server.url) == [(1,)]
    assert not is_running(stopped)


def test_the_last_user_ends_a_stopped_supervisor(ready_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving ends even a supervisor that was stopped, and its PostgreSQL."""
    monkeypatch.setattr(embedded, "SIGNS", 1)
    with use(ready_folder):
        pids = [supervisor_of(ready_folder), postmaster_of(ready_folder)]
        freeze(pids[0])
    assert not any(map(is_running, pids))


def test_a_postgresql_stopped_by_others_comes_back(ready_folder: Path) -> None:
    """A fast shutdown that nobody in charge has asked for is made good, as often as it takes."""
    with use(ready_folder) as server:
        keep(server.url)
        for _ in range(3):
            stopped = postmaster_of(ready_folder)
            os.kill(stopped, signal.SIGINT)
            wait_until(lambda: not is_running(stopped))  # noqa: B023
            wait_until(lambda: answers(server.url))
        assert kept(server.url) == [(1,)]


def test_a_socket_folder_that_was_tidied_away_comes_back(ready_folder: Path) -> None:
    """Users find the server at the same path again, although its data has been opened to all meanwhile."""
    with use(ready_folder) as server:
        keep(server.url)
        (ready_folder / "postgres").chmod(0o777)
        shutil.rmtree(socket_of(server.url))
        wait_until(lambda: answers(server.url))
        assert kept(server.url) == [(1,)]


def test_an_empty_pid_file_does_not_hinder(ready_folder: Path) -> None:
    """What a full disk leaves of postmaster.pid is no reason not to start."""
    with use(ready_folder) as server:
        keep(server.url)
        kill(postmaster_of(ready_folder))
        (ready_folder / "postgres" / "postmaster.pid").write_text("")
        wait_until(lambda: answers(server.url))
        assert kept(server.url) == [(1,)]


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own at the folder."""
    folder.mkdir(mode=0o755)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(folder)]
    if not AS_ROOT or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for piece in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(piece))
    return filler


def test_a_disk_too_small_to_begin_on(folder: Path) -> None:
    """The first start says what is wrong in two lines, without all that initdb says before."""
    with small_disk(folder, 8) as disk, pytest.raises(embedded.EmbeddedError) as raised, use(disk / "data"):
        pass
    first, *others = str(raised.value).splitlines()
    assert first == "initdb failed:"
    assert others
    assert all("No space left on device" in line for line in others)


def test_a_full_disk_that_has_room_again(folder: Path) -> None:
    """PostgreSQL killed on a full disk cannot start; it is tried until there is room, on the same address."""
    with small_disk(folder, 200) as disk, use(disk / "data") as server:
        keep(server.url)
        filler = fill(disk)
        supervisor = supervisor_of(disk / "data")
        kill(postmaster_of(disk / "data"))
        log = disk / "data" / "postgres.log"
        wait_until(lambda: log.read_text().count("starting PostgreSQL") >= 3 or answers(server.url))
        kill(supervisor)  # even a new supervisor goes on trying
        heals(server, lambda: is_supervised_by_another(disk / "data", supervisor))
        time.sleep(1)
        server.look_after()
        assert is_running(supervisor_of(disk / "data"))
        filler.unlink()
        heals(server)
        assert kept(server.url) == [(1,)]


def test_the_log_has_a_bound(ready_folder: Path) -> None:
    """A log that grows beyond its bound is emptied; what was there is kept once, readable by its owner alone."""
    with use(ready_folder) as server:
        log = ready_folder / "postgres.log"
        with log.open("a") as file:
            file.write("x" * (embedded_supervisor.LOG_BYTES + 1))
        wait_until(lambda: log.stat().st_size < embedded_supervisor.LOG_BYTES)
        assert (ready_folder / "postgres.log.old").stat().st_size > embedded_supervisor.LOG_BYTES
        assert (ready_folder / "postgres.log.old").stat().st_mode & 0o777 == 0o600
        assert answers(server.url)


def test_the_log_holds_no_values(ready_folder: Path) -> None:
    """Statements that fail leave nothing of their values in the log: no text, no key, no parameter, no message."""
    with use(ready_folder, log_min_duration_statement="0") as server:
        execute(server.url, "CREATE TABLE secrets (name text PRIMARY KEY, amount integer CHECK (amount < 5))")
        execute(server.url, "INSERT INTO secrets VALUES ('4711-secret', 1)")
        for failing in (
            "INSERT INTO secrets VALUES ('4711-secret', 1)",  # its detail has the key
            "INSERT INTO secrets VALUES ('4711-other', 4711)",  # its detail has the row
            "SELECT integer '4711-no-number'",  # its message has the value
            "PREPARE p (text) AS SELECT $1::integer; EXECUTE p ('4711-no-number')",
            "SELECT 4711 FROM nothing",
            "DO $$ BEGIN RAISE WARNING '4711'; END $$; SELECT 1 / 0",
        ):
            with pytest.raises(psycopg2.Error):
                execute(server.url, failing)
        log = ready_folder / "postgres.log"
        assert "4711" not in log.read_text()
        assert "ready to accept connections" in log.read_text()
        assert {path.name for path in ready_folder.glob("postgres.*") if path.stat().st_mode & 0o077} == set()
