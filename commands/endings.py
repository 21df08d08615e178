"""How a command ends that cannot go on, and what all of them look at before they begin."""

import click
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from database import migrations
from rules.service import Service


class Stopped(click.ClickException):
    """The command cannot go on."""

    exit_code = 2


class Interrupted(Stopped):
    """Somebody pressed Ctrl+C."""

    exit_code = 130


def service() -> Service:
    """The service of the application whose command this is."""
    return Service.of(current_app.extensions)


def check_migrations() -> None:
    """Raise Stopped where the database cannot be used, or has tables of another version."""
    try:
        current = service().run(migrations.migration_at)
    except SQLAlchemyError as error:
        raise Stopped(f"The database cannot be used: {first_line(error)}") from None
    if current != migrations.head():
        raise Stopped("The migrations of the database are not current: run alembic upgrade head.")


def first_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return str(getattr(error, "orig", None) or error).partition("\n")[0] or type(error).__name__
