"""The supervisor of the embedded PostgreSQL: a program of its own, and what it shares with those who start it.

It starts PostgreSQL, starts it again however it ends, and stops it once nobody holds the lock on postgres.users.
It is run as a script that imports nothing but the standard library. See docs/decisions/embedded-postgresql.md.
"""

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

PORT = "5432"  # the port only names the socket: nothing listens on the network
POLL = 0.1  # seconds
PATIENCE = 8  # seconds for PostgreSQL to heed a signal before a stronger one is sent
QUICK = 10  # seconds; a server that ends sooner did not really serve
PAUSE, LONGEST_PAUSE = 0.25, 2  # seconds between starts that fail: each is twice the one before
FIRST_STARTS = 5  # that may be cut short before the first one that serves
LOG_BYTES = 5_000_000  # of the log; what was there before is kept once, as postgres.log.old
PR_SET_PDEATHSIG = 1

# What the server writes down of statements: nothing, since amounts and names are among their values. That goes for
# details (the key of a duplicate) and the parameters of prepared statements too.
QUIET = [
    "--log_min_error_statement=panic",
    "--log_error_verbosity=terse",
    "--log_parameter_max_length=0",
    "--log_parameter_max_length_on_error=0",
    "--log_statement=none",
    "--log_min_duration_statement=-1",
    "--log_destination=stderr",
    "--logging_collector=off",  # this supervisor bounds the log
]


class Supervisor:
    """Runs PostgreSQL as long as it has users, on one socket folder whatever happens to it."""

    def __init__(self, folder: Path, programs: Path, cluster: Path, settings: list[str], lock: int):
        self.folder, self.cluster, self.lock = folder, cluster, lock
        self.pid_file, self.owner = cluster / "postmaster.pid", owner_of(cluster)
        socket = record(folder)  # left by a supervisor that was killed: its users still have the address
        self.has_served = socket is not None
        if socket is None:
            socket = tempfile.mkdtemp(prefix="pg-", dir="/tmp")  # short: a socket's path has at most 107 bytes
            os.chown(socket, *self.owner)
        self.socket = Path(socket)
        # Shared memory of the system rather than files in /dev/shm, which anybody can fill.
        ours = [*QUIET, "--dynamic_shared_memory_type=sysv", f"--unix_socket_directories={socket}"]
        ours += ["--listen_addresses=", f"--port={PORT}"]
        self.command = [str(programs / "postgres"), "-D", str(cluster), *settings, *ours]
        self.child: subprocess.Popen[bytes] | None = None
        self.is_ready = self.must_end = False
        self.started, self.failures = float("-inf"), 0

    def run(self) -> None:
        """Returns when nobody uses PostgreSQL, after SIGTERM, or if it cannot be started at all."""
        if not self.has_served:
            os.truncate(self.folder / "postgres.log", 0)
        turn_file, users_file = self.folder / "postgres.lock", self.folder / "postgres.users"
        with turn_file.open("a") as turn, users_file.open("a") as users:
            try:
                while not self.must_end:
                    if locked(turn, fcntl.LOCK_EX):
                        if locked(users, fcntl.LOCK_EX):
                            break  # nobody is left, and nobody can come: the turn remains ours to the end
                        fcntl.flock(turn, fcntl.LOCK_UN)
                    if not self.look_after():
                        break
                    self.sleep()
            finally:
                self.stop()
                shutil.rmtree(self.socket, ignore_errors=True)
                os.ftruncate(self.lock, 0)

    def look_after(self) -> bool:
        """Start PostgreSQL if it does not run. Returns False if it cannot ever have worked."""
        try:
            self.trim_log()
            if self.child is not None and self.child.poll() is None:
                self.is_ready = self.is_ready or self.says_ready()
                self.has_served = self.has_served or self.is_ready
                if self.is_ready and not (self.socket / f".s.PGSQL.{PORT}").exists():
                    say("the socket is gone: starting PostgreSQL again")
                    self.stop()
                return True
            if self.child is not None:
                self.has_served |= self.child.returncode == 0  # stopped, perhaps before it was seen to be ready
                self.child = None
                self.failures = self.failures + 1 if time.monotonic() < self.started + QUICK else 0
                # Without a pid file it ended in order, and would do so again; a killed one may have more luck.
                if not self.has_served and (self.failures > FIRST_STARTS or not self.pid_file.exists()):
                    say("PostgreSQL does not start, giving up")
                    return False
            # A full disk, say, may have room again: as long as there are users it goes on trying.
            if self.failures == 0 or time.monotonic() > self.started + self.pause():
                self.start()
        except OSError as error:
            self.started, self.failures = time.monotonic(), self.failures + 1
            say(f"PostgreSQL cannot be started: {error}")
        return True

    def pause(self) -> float:
        return float(min(PAUSE * 2 ** min(self.failures - 1, 10), LONGEST_PAUSE))

    def start(self) -> None:
        self.stop()  # what a supervisor that was killed has left
        self.make_socket_folder()
        self.mend_pid_file()
        self.cluster.chmod(0o700)  # with any other mode PostgreSQL would refuse to start
        for left in self.socket.glob(".s.PGSQL.*"):
            left.unlink()
        say("starting PostgreSQL")
        self.is_ready, self.started = False, time.monotonic()
        tie = end_with(os.getpid())
        self.child = subprocess.Popen(self.command, preexec_fn=tie, **away(), **identity(self.owner))

    def make_socket_folder(self) -> None:
        """Users have its name, so it must be the same again. Raises OSError if somebody else has taken it."""
        if not self.socket.is_symlink() and not self.socket.exists():
            self.socket.mkdir(mode=0o700)
            os.chown(self.socket, *self.owner)
        found = self.socket.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.owner[0] or found.st_mode & 0o077:
            raise PermissionError(f"{self.socket} is not our own folder")

    def mend_pid_file(self) -> None:
        """Keep a dead postmaster's file from preventing the start."""
        if not self.pid_file.exists() or sys.platform != "linux":
            return
        first, _, rest = self.pid_file.read_text().partition("\n")
        if not first:  # the disk was full, or the power went, when it was written
            self.pid_file.unlink()
        elif Path(argv(self.recorded_pid())[0]).name != "postgres":
            # Another process may have its number by now, and PostgreSQL would refuse to start. It ignores the number
            # of its own parent; and since the file names a shared memory segment, it still looks for processes that
            # the dead one left. Written over, not anew: on a full disk that would leave an empty file.
            number = str(os.getpid()).zfill(len(first))
            with os.fdopen(os.open(self.pid_file, os.O_WRONLY | os.O_NOFOLLOW), "w") as file:
                file.write(f"{number}\n{rest}")
                file.truncate()

    def says_ready(self) -> bool:
        with suppress(OSError):
            return self.pid_file.read_text().splitlines()[7:8] == ["ready   "]
        return False

    def stop(self) -> None:
        """End PostgreSQL, be it our child or what a supervisor that was killed has left."""
        left = 0 if self.child else self.recorded_pid()
        for wanted in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast shutdown, immediate shutdown
            if self.is_running(left):
                say(f"stopping PostgreSQL with {wanted.name}")
                with suppress(ProcessLookupError):
                    os.kill(self.child.pid if self.child else left, wanted)
            end = time.monotonic() + PATIENCE
            while self.is_running(left) and time.monotonic() < end:
                self.sleep(POLL / 5)

    def is_running(self, left: int) -> bool:
        if self.child is not None:
            return self.child.poll() is None
        # Only a postmaster that a supervisor has started on our cluster and socket is ours.
        words = argv(left)
        return words[1:3] + words[-3:] == self.command[1:3] + self.command[-3:]

    def recorded_pid(self) -> int:
        """The pid in the cluster's pid file, of a live process or not; 0 without one."""
        return recorded_pid(self.cluster)

    def sleep(self, seconds: float = POLL) -> None:
        """Wait, and show those who look after this supervisor that it is alive."""
        with suppress(OSError):
            os.utime(self.lock)
        time.sleep(seconds)

    def trim_log(self) -> None:
        """Keep the log below its bound. PostgreSQL appends to it, so it can be emptied under its hands."""
        if os.fstat(1).st_size > LOG_BYTES:
            with suppress(OSError):  # no room for the copy
                log = self.folder / "postgres.log"
                with log.open("rb") as old, private(log.with_name("postgres.log.old"), "wb") as copy:
                    shutil.copyfileobj(old, copy)
            os.ftruncate(1, 0)


def locked(file: IO[str] | int, kind: int) -> bool:
    """Whether we got the lock, without waiting for it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def private(path: Path, mode: str = "a") -> IO[Any]:
    """Open a file that only its owner may read. Locks count too: who can open a file can lock it."""
    file = open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115 (for callers)
    with suppress(PermissionError):  # another user's
        os.fchmod(file.fileno(), 0o600)
    return file


def record(folder: Path) -> str | None:
    """The socket folder in the supervisor's file; None after an orderly end, and in a copied data folder."""
    socket, _, rest = (folder / "postgres.supervisor").read_bytes().partition(b"\n")
    return os.fsdecode(socket) if rest.partition(b"\n")[2] == os.fsencode(folder) else None


def write_record(lock: int, socket: Path, pid: int, folder: Path) -> None:
    # Over what is there, which is the same but for the pid: so a full disk does not take the address away.
    os.pwrite(lock, text := f"{socket}\n{pid}\n".encode() + os.fsencode(folder), 0)
    os.ftruncate(lock, len(text))


def argv(pid: int) -> list[str]:
    """A process's arguments; [""] if it is gone. Linux only: elsewhere every process seems to be gone."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")[:-1] or [""]
    except (FileNotFoundError, ProcessLookupError):
        return [""]


def recorded_pid(cluster: Path) -> int:
    """The pid in the pid file of a cluster, of a live process or not; 0 without one."""
    try:
        return abs(int((cluster / "postmaster.pid").read_text().partition("\n")[0]))
    except (FileNotFoundError, ValueError):
        return 0


def owner_of(path: Path) -> tuple[int, int]:
    """The user and group ids that own it."""
    found = path.stat()
    return found.st_uid, found.st_gid


def identity(owner: tuple[int, int]) -> dict[str, Any]:
    """For subprocess: run as this user and group. Only root can; others run everything as themselves."""
    if os.geteuid() != 0:
        return {}
    return {"user": owner[0], "group": owner[1], "extra_groups": []}


def away() -> dict[str, Any]:
    """For subprocess: away from the caller's folder, terminal, language and PostgreSQL settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {"env": kept | {"LC_ALL": "C"}, "cwd": "/", "stdin": subprocess.DEVNULL}


def end_with(parent: int) -> Callable[[], None] | None:
    """What a new process calls to get SIGINT (a fast shutdown) when its parent dies, however that ends. Linux only."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != parent:  # it has died already
            os._exit(1)

    return tie


def say(what: str) -> None:
    with suppress(OSError):  # the disk is full
        os.write(1, f"{time.strftime('%Y-%m-%d %H:%M:%S')} supervisor {os.getpid()}: {what}\n".encode())


def main(folder: Path, programs: Path, cluster: Path, settings: list[str]) -> None:
    """The supervisor's script: goes into the background once it has its lock, so callers need not guess."""
    # A descriptor rather than a Python file: nothing closes it before the process has really ended.
    lock = os.open(folder / "postgres.supervisor", os.O_RDWR)
    if not locked(lock, fcntl.LOCK_EX):
        return
    supervisor = Supervisor(folder, programs, cluster, settings, lock)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, lambda *_: None)  # PostgreSQL would inherit SIG_IGN
    signal.signal(signal.SIGTERM, lambda *_: setattr(supervisor, "must_end", True))
    if pid := os.fork():  # both hold the lock, so it is free only when both have ended
        write_record(lock, supervisor.socket, pid, folder)
        os._exit(0)
    supervisor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
