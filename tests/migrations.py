"""Migrations that tests add to the project's own, in folders of their own."""

import os
import re
from pathlib import Path
from textwrap import indent

from alembic.config import Config
from alembic.script import ScriptDirectory

from database import migrations
from tests.service import ROOT

TEXT = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
{body}
"""


def config_with(folder: Path, url: str | None = None) -> Config:
    """The project's configuration, with the migrations in `folder` added."""
    configuration = migrations.config(url)
    configuration.set_main_option("version_locations", os.pathsep.join([str(ROOT / "alembic/versions"), str(folder)]))
    return configuration


def following(count: int = 1) -> str:
    """The revision of the `count`-th migration after the project's own."""
    return f"{int(str(migrations.head())) + count:04}"


def add(folder: Path, body: str) -> str:
    """Write a migration with `body` as its upgrade, after the project's and those in `folder`; return its revision."""
    before = ScriptDirectory.from_config(config_with(folder)).get_current_head()
    revision = f"{int(str(before)) + 1:04}"
    text = TEXT.format(revision=revision, before=before, body=indent(body.strip("\n"), "    "))
    (folder / f"{revision}_of_a_test.py").write_text(text)
    return revision


def documented() -> list[str]:
    """The examples in docs/migrations.md, in order; each is the body of a migration."""
    page = (ROOT / "docs/migrations.md").read_text()
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)
