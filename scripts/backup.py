"""Save the service's database to a file, or fill an empty one from it: `make dump` and `make restore`.

Needs no PostgreSQL of its own, and works on the embedded one and on a configured one.
"""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import NullPool, inspect
from sqlalchemy.exc import SQLAlchemyError

from config_loader import load_settings
from database import connecting, embedded, webhook_hold
from database.errors import cause
from database.models import WebhookRelay
from scripts import console

USAGE = "usage: make dump FILE=alerts.dump, or make restore FILE=alerts.dump"
HOW = "  .venv/bin/flask --app app restored"
AFTERWARDS = (
    "Restored. People who were erased since the dump was made are in it: before the service is started, run\n"
    "make migrate, and .venv/bin/flask --app app erasures apply FILE with the newest ledger (docs/backup.md)."
)
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
    status = console.run("pg_restore", ["--single-transaction", "--exit-on-error", *WITHOUT_ROLES, str(file)])
    if status == 0:
        print(AFTERWARDS)
    return status or hold_webhooks()


def hold_webhooks() -> int:
    """Have nothing sent from the restored database until somebody decides, if there are webhooks. Returns 0, or 1."""
    with ExitStack() as stack:
        settings = load_settings()
        url = settings.database or stack.enter_context(embedded.use(settings.data_dir))
        engine = connecting.connect(url, "restore", poolclass=NullPool)
        try:
            with engine.begin() as connection:
                if not inspect(connection).has_table(WebhookRelay.__tablename__):
                    return 0  # an earlier release, which has none
                waiting = webhook_hold.waiting(connection)
                if any(waiting):
                    webhook_hold.hold(connection, webhook_hold.RESTORED)
                    print(f"Webhooks are held: {waiting} may have been sent before. To decide what becomes of these:")
                    print(
                        f"{HOW} --resume  sends them, and what comes\n{HOW} --discard drops them, and sends what comes"
                    )
        except SQLAlchemyError as error:
            print(f"Restored, but webhooks are not held: {cause(error)}\nRun {HOW.strip()}.", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
