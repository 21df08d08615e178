"""The keys as the service starts: those of KEYS_FILE are taken in before anybody is served."""

import sys
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from access.keys_file import read_keys_file, take_in
from database import migrations
from rules.service import Service

SECRETS = Path("/run/secrets")  # where containers find theirs: readable by everybody, and nobody else is there


def enter(service: Service, path: Path | None) -> None:
    """Store the keys of the file at `path`, if there is one, that were never known; say which.

    Raises KeysFileError, and MigrationError if they cannot be stored.
    """
    if path is None:
        return
    found = read_keys_file(path)
    if path.stat().st_mode & 0o004 and SECRETS not in path.resolve().parents:
        print(f"Warning: every user of this machine may read {path} (chmod 600).", file=sys.stderr, flush=True)
    try:
        for one in service.run(lambda session: take_in(session, found)):
            print(f"A new key of {path}: {one.key_id}, {one.terms.name}", file=sys.stderr, flush=True)
    except SQLAlchemyError as error:
        raise migrations.MigrationError(f"The keys cannot be stored: {getattr(error, 'orig', None) or error}") from None
    finally:
        service.dispose()  # a worker must not share its connections
