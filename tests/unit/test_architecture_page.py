"""docs/architecture.md names the files and the tables that there are."""

import re
from pathlib import Path

import pytest
from sqlalchemy import Column, ForeignKeyConstraint

from database.models import Base
from tests.service import ROOT

TABLES = Base.metadata.tables.values()
PAGE = (ROOT / "docs/architecture.md").read_text()
FOLDERS = (
    *(".", "access", "commands", "database", "routes", "routes/desk", "routes/http", "work"),
    *("rules", "rules/judging", "rules/hindsight"),
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_map_names_every_file(folder: str) -> None:
    """A reader finds each file of the service in the map of the house."""
    found = re.search(r"\n```\n(app\.py .*?)```", PAGE, re.DOTALL)
    assert found is not None
    files = {path.stem for path in Path(ROOT, folder).glob("*.py")} - {"__init__"}
    assert files
    assert files - set(re.findall(r"\w+", found[1])) == set()


def diagram() -> str:
    """The text of the diagram."""
    found = re.search(r"```mermaid\nerDiagram\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def _keys(column: Column[object]) -> str:
    """The mark of a column's keys, as the diagram writes it."""
    return ", ".join([*(["PK"] if column.primary_key else []), *(["FK"] if column.foreign_keys else [])])


def test_the_diagram_has_every_column() -> None:
    """Each table has its columns in the order of the model, with their keys."""
    drawn = {
        table: [tuple(re.fullmatch(r"\S+ (\w+) ?(.*)", line.strip()).groups()) for line in body.splitlines()]  # type: ignore[union-attr]
        for table, body in re.findall(r"^    (\w+) \{\n(.*?)^    \}", diagram(), re.DOTALL | re.MULTILINE)
    }
    assert drawn == {table.name: [(column.name, _keys(column)) for column in table.columns] for table in TABLES}


def test_the_diagram_has_every_foreign_key() -> None:
    """A line that is not dotted is a foreign key."""
    drawn = set(re.findall(r"^    (\w+) \|\|--o[{|] (\w+) :", diagram(), re.MULTILINE))
    keys = {
        (constraint.referred_table.name, table.name)
        for table in TABLES
        for constraint in table.constraints
        if isinstance(constraint, ForeignKeyConstraint)
    }
    assert drawn == keys
