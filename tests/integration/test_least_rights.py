"""The roles of docs/deployment.md: one that owns the tables and migrates, and one with the least rights that serves."""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import make_url
from sqlalchemy.exc import ProgrammingError

from app import create_app
from config_loader import load_settings
from database import migrations
from database.connecting import connect
from tests import documents
from tests.service import PATIENT_ENVIRONMENT, ROOT, Service
from tests.waiting import PATIENCE

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def urls(server_url: str) -> Iterator[tuple[str, str]]:
    """The database as its owner and as the service sees it, made by the page's SQL under names of this test's own."""
    page = (ROOT / "docs/deployment.md").read_text()
    mine = f"alerts_{uuid.uuid4().hex[:12]}"
    as_superuser, as_owner = (
        re.sub(r"\balerts(_owner)?\b", rf"{mine}\1", sql) for sql in re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    )
    server = make_url(server_url)
    owner, serving = (
        server.set(username=name, password=password, database=mine).render_as_string(hide_password=False)
        for name, password in ((f"{mine}_owner", "change-me-1"), (mine, "change-me-2"))
    )
    admin = connect(server_url, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            for statement in filter(str.strip, as_superuser.split(";")):
                connection.exec_driver_sql(statement)
        migrations.upgrade(owner)
        engine = connect(owner, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(as_owner)
        engine.dispose()
        yield owner, serving
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {mine} WITH (FORCE)")
            connection.exec_driver_sql(f"DROP ROLE IF EXISTS {mine}, {mine}_owner")
        admin.dispose()


def test_every_call_and_command_works_with_the_least_rights(urls: tuple[str, str], tmp_path: Path) -> None:
    """All of docs/calls.md, late events, refusals and commands: and what was stored cannot be removed."""
    _, serving = urls
    environment = {"DATABASE_URL": serving}
    documents.make_folder(tmp_path)
    with Service(PATIENT_ENVIRONMENT | environment | {"WORKERS": "1"}) as service:
        for block in documents.blocks((ROOT / "docs/calls.md").read_text()):
            documents.run(block, tmp_path, service.url, environment)
        for time in (50, 25, 5):  # the last two are late: they change what is stored
            event = f'{{"type": "deposit", "amount": "150.00", "user_id": 1, "time": {time}}}'
            assert requests.post(f"{service.url}/event", event, headers=JSON, timeout=PATIENCE).status_code == 200
    app = create_app(load_settings(None, database_url=serving, overdraft="reject"))
    refused = {"type": "withdraw", "amount": "1", "user_id": 99, "time": 1}
    assert app.test_client().post("/event", json=refused).status_code == 409  # the new user is forgotten again
    app.extensions["transaction-alerts"].dispose()
    (tmp_path / "history.ndjson").write_text('{"type": "deposit", "amount": "1", "user_id": 2, "time": 1}\n')
    for command in (["replay", "history.ndjson"], ["verify"]):
        program = [sys.executable, "-m", "flask", "--app", "app", *command]
        done = subprocess.run(program, cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    engine = connect(serving)
    for forbidden in (
        *("DELETE FROM user_actions", "DELETE FROM alerts", "DELETE FROM rule_versions", "TRUNCATE users CASCADE"),
        *("UPDATE alembic_version SET version_num = '0'", "DROP TABLE alerts", "CREATE TABLE mine (n int)"),
    ):
        with engine.connect() as connection, pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            connection.exec_driver_sql(forbidden)
    engine.dispose()
