"""A column has its name in `database/models` alone: renamed there and in the database, nothing else notices."""

import json
import subprocess
import sys
from typing import Any

from sqlalchemy import inspect, text

from tests.postgres import engine_on
from tests.service import ROOT

TABLES = ("users", "user_actions", "alerts", "user_settings", "rule_versions")


def use(url: str, start: int, *renamed: str) -> dict[str, Any]:
    """The results of the service's statements for users with ids from `start`, with the columns of these tables
    renamed in the models."""
    program = [sys.executable, "-m", "tests.integration.renamed_columns", url, str(start), *renamed]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_column_has_its_name_in_the_model_alone(database_url: str) -> None:
    """With every column renamed, in the models and by ALTER TABLE, the same events are answered and stored alike."""
    before = use(database_url, 0)
    with engine_on(database_url) as engine, engine.connect() as connection:
        for table in TABLES:
            for column in inspect(connection).get_columns(table):
                name = column["name"]
                connection.execute(text(f'ALTER TABLE {table} RENAME COLUMN "{name}" TO "renamed_{name}"'))
    after = use(database_url, 1000, *TABLES)
    assert after["answers"] == before["answers"]
    # The earlier rows, and the same once more.
    assert after["stored"] == {table: rows * 2 for table, rows in before["stored"].items()}


def test_what_is_used(database_url: str) -> None:
    """The events are such that everything is written: late and superseded alerts, refusals, a user who is removed."""
    found = use(database_url, 0)
    alerts = found["stored"]["alerts"]
    assert {alert["late"] for alert in alerts} == {alert["superseded"] for alert in alerts} == {"True", "False"}
    assert "overdraft" in found["answers"]["judging"]
    assert len(found["stored"]["users"]) == 3
    assert "1" in {action["settings_version"] for action in found["stored"]["user_actions"]}
