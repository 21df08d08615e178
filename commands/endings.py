"""How commands end early, and what each of them checks before it begins."""

import click
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from database import migrations
from rules.service import Service


class Stopped(click.ClickException):
    """The command cannot continue."""

    exit_code = 2


class Interrupted(Stopped):
    """Somebody pressed Ctrl+C."""

    exit_code = 130


def service() -> Service:
    """The service of the application that runs this command."""
    return Service.of(current_app.extensions)


def check_migrations() -> None:
    """Raise Stopped if the database cannot be used or its migrations are not current."""
    try:
        current = service().run(migrations.migration_at)
    except SQLAlchemyError as error:
        raise Stopped(f"The database cannot be used: {first_line(error)}") from None
    if current != migrations.head():
        raise Stopped("The migrations of the database are not current: run alembic upgrade head.")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class name if it has none."""
    return str(getattr(error, "orig", None) or error).partition("\n")[0] or type(error).__name__
