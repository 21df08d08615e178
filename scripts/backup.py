"""Save the service's database to a file, or fill an empty one from it: `make dump` and `make restore`.

Needs no PostgreSQL of its own, and works on the embedded one and on a configured one.
"""

import os
import sys
from pathlib import Path

from scripts import console

USAGE = "usage: make dump FILE=alerts.dump, or make restore FILE=alerts.dump"
# Whoever restores it owns it: the roles of the other database may not be there.
WITHOUT_ROLES = ("--no-owner", "--no-privileges")


def main() -> int:
    """Run `dump FILE` or `restore FILE`. Returns 0, 1 if that failed, or 2 for bad settings or arguments."""
    arguments = sys.argv[1:]
    if len(arguments) != 2 or arguments[0] not in ("dump", "restore") or not arguments[1]:
        print(USAGE, file=sys.stderr)
        return 2
    command, file = arguments[0], Path(arguments[1])
    return dump(file) if command == "dump" else restore(file)


def dump(file: Path) -> int:
    """Save the database, as it is at one moment, to a new file that only its owner can read."""
    if file.exists():
        print(f"{file} exists: name another file, or move it away.", file=sys.stderr)
        return 2
    os.umask(0o077)
    part = file.with_name(f"{file.name}.part")  # half a dump must not be taken for one
    status = console.run("pg_dump", ["--format=custom", *WITHOUT_ROLES, f"--file={part}"])
    if status == 0:
        part.rename(file)
    else:
        part.unlink(missing_ok=True)
    return status


def restore(file: Path) -> int:
    """Fill the database, which must be empty, from a file; if anything fails, it stays empty."""
    if not file.is_file():
        print(f"{file}: no such file.", file=sys.stderr)
        return 2
    return console.run("pg_restore", ["--single-transaction", "--exit-on-error", *WITHOUT_ROLES, str(file)])


if __name__ == "__main__":
    sys.exit(main())
