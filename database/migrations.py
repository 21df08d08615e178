"""Where the tables stand, and bringing them up to date."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

ROOT = Path(__file__).resolve().parent.parent


def config(url: str | None = None) -> Config:
    """alembic's configuration of this project; `url` names the database for migrations run from Python."""
    configuration = Config(ROOT / "alembic.ini")
    configuration.attributes["url"] = url
    return configuration


def head() -> str:
    """The newest revision that the code knows."""
    revision = ScriptDirectory.from_config(config()).get_current_head()
    if revision is None:
        raise AssertionError("there are no migrations")
    return revision


def upgrade(url: str) -> None:
    """Bring the database at `url` to the newest revision; nothing happens where it is there already."""
    command.upgrade(config(url), "head")
