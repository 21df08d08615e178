"""Where the tables stand, and bringing them up to date."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

ROOT = Path(__file__).resolve().parent.parent


def config(url: str | None = None) -> Config:
    """alembic's configuration of this project; `url` names the database for migrations run from Python."""
    configuration = Config(ROOT / "alembic.ini")
    configuration.attributes["url"] = url
    return configuration


@cache
def head() -> str:
    """The newest revision that the code knows."""
    revision = ScriptDirectory.from_config(config()).get_current_head()
    if revision is None:
        raise AssertionError("there are no migrations")
    return revision


class MigrationError(Exception):
    """The database does not let us in, or its tables cannot be brought up to date; the message says where and why."""


def upgrade(url: str) -> None:
    """Bring the database at `url` to the newest revision; nothing happens where it is there already.

    Raises MigrationError.
    """
    try:
        command.upgrade(config(url), "head")
    except (DBAPIError, CommandError) as error:
        # Only the place: passwords can stand in more than one part of a URL.
        place = make_url(url)
        reason = getattr(error, "orig", None) or error
        where = f"{place.database} on {place.host or 'the local socket'}"
        raise MigrationError(f"The database {where} cannot be used: {str(reason).strip()}") from None


def migration_at(session: Session) -> str | None:
    """The revision of the database's tables; raises where there are none."""
    revision: str | None = session.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision
