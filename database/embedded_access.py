"""Who may do what with the embedded PostgreSQL: the user who runs it, the roles in it, and who may connect.

PostgreSQL refuses to run as root. For root it runs as a user of its own: a number that nobody has, chosen once for each
cluster and known by its owner. The service gets a role that is no superuser.
"""

import grp
import hashlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from database.embedded_supervisor import PATIENCE, argv, away, identity, owner_of, recorded_pid

Owner = tuple[int, int]  # user and group id

ROLE = "alerts"  # the service: owns its database, and is no superuser
SUPERUSER = "app"  # by the name that it had when it was the only role: no session can rename its own user
# Nobody hands these numbers out (systemd.io/UIDS-GIDS), and a container has them: it may end at 65535.
PRIVATE_IDS = range(60578, 61184)
MARK = "transaction-alerts.access"  # in a cluster whose roles and access are as below

_ROLES = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN CREATE ROLE {ROLE} LOGIN; END IF;
END $$;

-- Its errors are its own to log: PostgreSQL would repeat values in some of them.
ALTER ROLE {ROLE} SET log_min_messages = 'log';

ALTER DATABASE postgres OWNER TO {ROLE};

-- What the superuser made when it was the service's role.
DO $$ DECLARE command text; BEGIN
    FOR command IN
        SELECT format('ALTER %s %s OWNER TO {ROLE}',
                      CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                                   ELSE 'TABLE' END, oid::regclass)
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relowner = 10 AND relkind IN ('r', 'p', 'v', 'm', 'S')
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype IN ('a', 'i', 'e'))
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO {ROLE}', oid::regprocedure) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proowner = 10
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
        UNION ALL
        SELECT format('ALTER TYPE %s OWNER TO {ROLE}', oid::regtype) FROM pg_type
        WHERE typnamespace = 'public'::regnamespace AND typowner = 10 AND typtype IN ('e', 'd')
    LOOP EXECUTE command; END LOOP;
END $$;

CHECKPOINT;
"""  # noqa: S608 (constants)


class EmbeddedError(RuntimeError):
    """PostgreSQL could not be started, joined or stopped; the message says why and what to do."""


def name_of(uid: int) -> str:
    """The name of a user, for people."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def anybody() -> Owner:
    """A user with a name that PostgreSQL's programs accept: for root nobody, for others themselves."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def set_access(cluster: Path, programs: Path, owner: Owner, options: Iterable[str]) -> None:
    """Make the service's role, and let only the present user of the system connect, as whatever role.

    PostgreSQL must not run on the cluster, and `owner` must own it. May be repeated if it was cut short.
    """
    if not is_private_id(owner[0]):  # such a cluster has its roles: it changed hands when they were made
        command = [str(programs / "postgres"), "--single", "-j", "-D", str(cluster), "-c", "exit_on_error=on"]
        done = run_as(owner, *command, *options, "postgres", text=_ROLES)
        if done.returncode:
            raise EmbeddedError(f"the roles of {cluster} could not be made:\n{done.stdout}")
    name = pwd.getpwuid(os.geteuid()).pw_name
    _write(cluster / "pg_hba.conf", "local all all peer map=users\n")
    _write(cluster / "pg_ident.conf", f'users "{name}" all\n')
    _write(cluster / MARK, "")


def _write(path: Path, text: str) -> None:
    # Not through a link, and not into a file that somebody has linked to: the folder was another user's.
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chown(path, *owner_of(path.parent), follow_symlinks=False)


def give(cluster: Path, number: int) -> None:
    """Make `number` the cluster's user and group. May be repeated if it was cut short."""
    os.chown(cluster, 0, 0)  # closed to its former user, until all is done
    for _, folders, files, at in os.fwalk(cluster, follow_symlinks=False):
        for name in (*folders, *files):
            os.chown(name, number, number, dir_fd=at, follow_symlinks=False)
    os.chown(cluster, number, number)


def stop_former(cluster: Path) -> None:
    """Stop the PostgreSQL that an earlier release has left there. Its users, if any, hold the data folder's lock."""
    pid, end = recorded_pid(cluster), time.monotonic() + 2 * PATIENCE
    words = ["-D", str(cluster)]
    if argv(pid)[1:3] == words:
        os.kill(pid, signal.SIGINT)
    while argv(pid)[1:3] == words:
        if time.monotonic() > end:
            raise EmbeddedError(f"an earlier release still runs PostgreSQL on {cluster} (process {pid}): stop it first")
        time.sleep(0.1)


def free_id(folder: Path) -> int:
    """A number that no user, group or process has: the same for a data folder as long as that holds."""
    if os.geteuid() != 0:
        return os.getegid()
    running = set(_users_of_processes())
    first = int.from_bytes(hashlib.sha256(os.fsencode(folder)).digest()[:4], "big")
    for step in range(len(PRIVATE_IDS)):
        number = PRIVATE_IDS[(first + step) % len(PRIVATE_IDS)]
        if is_private_id(number) and number not in running:
            return number
    raise EmbeddedError(f"all user ids from {PRIVATE_IDS[0]} to {PRIVATE_IDS[-1]} are taken")


def _users_of_processes() -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError):
            yield path.stat().st_uid


def is_private_id(number: int) -> bool:
    """Whether it is a number for PostgreSQL that still nobody has as user or group."""
    if number not in PRIVATE_IDS:
        return False
    for find in (pwd.getpwuid, grp.getgrgid):
        try:
            find(number)
        except KeyError:
            continue
        return False
    return True


def run_as(owner: Owner, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as this user and group, with `text` as its input; errors come with the output."""
    output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "input": text}
    place = away()
    del place["stdin"]
    return subprocess.run(command, check=False, errors="replace", **output, **place, **identity(owner))
