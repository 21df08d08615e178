"""How commands end early, and what each of them checks before it begins."""

import errno
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from commands import starting
from database import fitness, migrations
from database.errors import cause
from database.session import CommitUncertain
from rules.service import Service

T = TypeVar("T")

# As if the signal had ended it that says so to programs that do not mind.
NOBODY_READS = 128 + 13  # SIGPIPE


class Stopped(click.ClickException):
    """The command cannot continue."""

    exit_code = 2


class Interrupted(Stopped):
    """Somebody pressed Ctrl+C, or the system ends the command."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        type(self).exit_code = starting.status()  # a process ends once


class Command(click.Command):
    """A command that shows no traceback for what its user, the disk or the database did."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it. Raises Stopped and Interrupted, or Exit if nobody reads what it writes."""
        try:
            starting.loaded()
            returned = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            raise Interrupted("Stopped.") from None
        except OSError as error:
            _write_no_more()
            if error.errno == errno.EPIPE:
                raise click.exceptions.Exit(NOBODY_READS) from None
            what = error.filename or "The output cannot be written"
            raise Stopped(f"{what}: {error.strerror or error}.") from None
        except (SQLAlchemyError, CommitUncertain) as error:
            raise Stopped(f"The database failed: {cause(error)}") from None
        finally:
            starting.ended()
        return returned


def _write_no_more() -> None:
    """Let what is still buffered for standard output go nowhere, or Python would complain at its end."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # standard output is no file
        return


def or_end(work: Callable[[], T], *faults: type[Exception]) -> T:
    """What `work` returns. Under a command, one of `faults` is written to standard error, and the process ends with 2.

    Click's own errors would not do: Flask loads the application where it expects none.
    """
    try:
        return work()
    except faults as error:
        if click.get_current_context(silent=True) is None:
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(Stopped.exit_code)


def service() -> Service:
    """The service of the application that runs this command."""
    return Service.of(current_app.extensions)


def is_loaded_for_command() -> bool:
    """Whether Flask loads the application to find one of our commands: its own (run, shell) it knows without."""
    context = click.get_current_context(silent=True)
    return context is not None and isinstance(context.command, click.Group)


def named_command() -> str | None:
    """The name of the command for which Flask loads the application; None if it does not."""
    context = click.get_current_context(silent=True)
    if context is None or not isinstance(context.command, click.Group):
        return None
    # Click itself says so only once the command is found, which is in the application.
    _, words, _ = context.command.make_parser(context).parse_args(sys.argv[1:])
    return words[0] if words else None


def check_database() -> None:
    """Raise Stopped if the database cannot be used, its migrations are not current, or tables are missing.

    The embedded database is migrated first.
    """
    try:
        if current_app.config["OWN_DATABASE"]:
            migrations.upgrade(service().url)
        problem = service().run(migrations.problem) or "; ".join(service().run(_missing))
    except SQLAlchemyError as error:
        raise Stopped(f"The database cannot be used: {cause(error)}") from None
    except migrations.MigrationError as error:
        raise Stopped(str(error)) from None
    if problem:
        raise Stopped(problem)


def _missing(session: Session) -> list[str]:
    return fitness.faults(session.connection(), rights=False)
