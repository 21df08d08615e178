"""What root's embedded PostgreSQL keeps outside the data folder, and its removal once that is gone.

Root's own folders are closed to the user who runs PostgreSQL for root. For those the data, and the programs, are in a
folder of their own below /var/lib, which says what it was made for.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

HOMES = Path("/var/lib")  # only root writes there, so nobody else can have prepared a folder
MADE_FOR = "made-for"
_PREFIX, _GONE = "transaction-alerts-", ".gone"
_MOUNTS = Path("/etc/fstab")
_MOUNTED_BY_HAND = ("/media", "/mnt", "/run/media")  # by custom: disks there come and go without being listed


def home_path(made_for: Path) -> Path:
    """The folder for what cannot be in `made_for`."""
    return HOMES / f"{_PREFIX}{hashlib.sha256(os.fsencode(made_for)).hexdigest()[:16]}"


def remove() -> None:
    """Remove the folders whose data folder or programs are gone, and say so. For root only."""
    for home in sorted(HOMES.glob(f"{_PREFIX}*")):
        with suppress(OSError):
            made_for = Path(os.fsdecode((home / MADE_FOR).read_bytes().removesuffix(b"\n")))
            if home_path(made_for) == home and _is_gone(made_for) and not _is_in_use(home):
                home.rename(home.with_name(f"{home.name}{_GONE}"))  # whoever starts there now makes another
                say(f"Removed {home}: {made_for}, which it was made for, is gone.")
    for gone in HOMES.glob(f"{_PREFIX}*{_GONE}"):  # those too whose removal was cut short
        shutil.rmtree(gone, ignore_errors=True)


def say(what: str) -> None:
    """Tell whoever starts the service."""
    print(what, file=sys.stderr, flush=True)


def _is_gone(path: Path) -> bool:
    """Whether there is no such path, rather than one on a disk that is not mounted, or kept from this process.

    Raises OSError if that cannot be found out.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        above = next(folder for folder in path.parents if os.path.lexists(folder))
        # An empty folder over the real one is how systemd (ProtectHome) keeps a service from it.
        is_hidden = os.path.ismount(above) and not any(above.iterdir())
        return not is_hidden and not any(
            path.is_relative_to(mount) and not os.path.ismount(mount) for mount in _mounts()
        )
    return False


def _mounts() -> Iterator[Path]:
    yield from map(Path, _MOUNTED_BY_HAND)
    with suppress(OSError):
        for line in _MOUNTS.read_text(errors="replace").splitlines():
            words = line.partition("#")[0].split()
            if len(words) > 1 and words[1].startswith("/"):
                yield Path(words[1].replace("\\040", " "))


def _is_in_use(home: Path) -> bool:
    """Whether a process was started with something in it: PostgreSQL, or its supervisor."""
    wanted = os.fsencode(home)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if wanted in path.read_bytes():
                return True
    return False
