"""Who may call the service that is starting. Where others can reach it, somebody must have made a key before."""

import shlex
import sys
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from access.caller import SCOPES
from database import keys, migrations
from rules.service import Service

CLOSED = "Keys are needed"
OPEN = "Open to every program on this machine: no key has been made"
OPEN_TO_ALL = "Open to everybody who can reach it: no key has been made, and ALLOW_ANONYMOUS is set"


class NobodyMayCall(Exception):
    """Others can reach the service, and there is no key; the message says how to make one."""


def check(service: Service, *, host: str, is_loopback: bool, allow_anonymous: bool, has_proxy: bool) -> str:
    """Who may call the service that will listen on `host`, in words for people.

    Behind a proxy that names people (`has_proxy`) nobody else is let in without a key.

    Raises NobodyMayCall, and MigrationError if the keys cannot be read.
    """
    try:
        has_keys = service.run(lambda session: keys.newest_change(session.connection())).changed is not None
    except SQLAlchemyError as error:
        raise migrations.MigrationError(f"The keys cannot be read: {getattr(error, 'orig', None) or error}") from None
    finally:
        service.dispose()  # a worker must not share its connections
    if has_keys or (has_proxy and (is_loopback or allow_anonymous)):
        return CLOSED
    if allow_anonymous:
        return OPEN_TO_ALL
    if is_loopback:
        return OPEN
    raise NobodyMayCall(
        f"Others can reach the service at {host}, and no key has been made. Make one, then start it "
        f"again:\n  {making_a_key()}\n"
        "ALLOW_ANONYMOUS=true lets everybody in until there is a key; BACKEND_HOST=127.0.0.1 keeps others out."
    )


def making_a_key() -> str:
    """The command that makes a first key, to be typed in the folder of this start."""
    program = Path(sys.executable).with_name("flask")
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return f"{shlex.quote(str(program))} --app app keys create first --scope {','.join(SCOPES)}"
