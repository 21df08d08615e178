"""Which revision the tables have, and bringing them up to date."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from database.connecting import place_of

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
    """The database refuses us, or its tables cannot be brought up to date; the message says where and why."""


def upgrade(url: str) -> None:
    """Bring the database at `url` to the newest revision; nothing happens if it has that already.

    Raises MigrationError; the migrations before the one that failed stay applied.
    """
    configuration = config(url)
    try:
        command.upgrade(configuration, "head")
    except (DBAPIError, CommandError) as error:
        reason = getattr(error, "orig", None) or error
        failed = _failed(configuration) if isinstance(error, DBAPIError) else ""
        raise MigrationError(f"The database {place_of(url)} cannot be used: {failed}{str(reason).strip()}") from None


def _failed(configuration: Config) -> str:
    """Which migration of an upgrade failed, to be put before the reason; empty if none had begun."""
    if "at" not in configuration.attributes:
        return ""
    at = configuration.attributes["at"]
    script = ScriptDirectory.from_config(configuration)
    revision = script.get_revision(at) if at else None
    return "".join(f"migration {name}: " for name in (revision.nextrev if revision else script.get_bases()))


def migration_at(session: Session) -> str | None:
    """The revision of the database's tables. Raises ProgrammingError if there are none."""
    revision: str | None = session.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision
