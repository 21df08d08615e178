"""docs/rules/write-your-own.md, followed word for word in a copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service import ROOT
from tests.waiting import PATIENCE

PAGE = (ROOT / "docs/rules/write-your-own.md").read_text()
BLOCK = r"\n\n```(?:python|text)\n(.*?)```"
NOT_COPIED = (".*", "__pycache__", "htmlcov", "bench")

# Four deposits of one amount, and what the service says of them.
POST = """
import json
import sys
from pathlib import Path

from app import create_app

client = create_app().test_client()
answers = [
    client.post("/event", json={"type": "deposit", "amount": "5.00", "user_id": 1, "time": time}).json
    for time in (1, 2, 3, 4)
]
Path(sys.argv[1]).write_text(json.dumps({"answers": answers, "alert": client.get("/alerts/1-4-700").json}))
"""


def file_of(name: str) -> str:
    """The block that the page says is the file of this name."""
    found = re.findall(rf"`{re.escape(name)}`[^`]*(?:`[^`\n]+`[^`]*)*?{BLOCK}", PAGE, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def registry_lines() -> list[tuple[str, str]]:
    """What goes into the registry: the line after which it goes, and the line itself."""
    found = re.findall(rf"behind `( +[^`]+)`{BLOCK}", PAGE, re.DOTALL | re.IGNORECASE)
    return [(behind + "\n", line) for behind, line in found]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the page's rule in it."""
    copy = tmp_path / "project"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
    for name in ("rules/catalogue/repeated_amount.py", "tests/unit/rules/test_repeated_amount.py"):
        assert not (copy / name).exists()
        (copy / name).write_text(file_of(name))
    registry = (copy / "rules/registry.py").read_text()
    assert registry_lines()
    for behind, line in registry_lines():
        assert registry.count(behind) == 1
        registry = registry.replace(behind, behind + line)
    (copy / "rules/registry.py").write_text(registry)
    return copy


def python(project: Path, *arguments: str, **environment: str) -> str:
    """What Python prints in the copy of the project."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_rule_of_ones_own(project: Path, tmp_path: Path, database_url: str) -> None:
    """It judges events, gives evidence, has a page, passes its cases and the tests for all rules, and is tidy."""
    said = tmp_path / "said.json"  # not standard output: log lines are written by another thread, at any time
    python(project, "-c", POST, str(said), DATABASE_URL=database_url, RULES="700")
    found = json.loads(said.read_text())
    assert [answer["alert_codes"] for answer in found["answers"]] == [[], [], [], [700]]
    evidence = found["alert"]["evidence"]
    assert (evidence["actions"], evidence["measured"], evidence["parameters"]) == ([1, 2, 3, 4], 4, {"count": 4})
    assert evidence["sentence"] == "The last 4 actions are all of 5.00."
    assert found["alert"]["title"] == "4 times the same amount"

    python(project, "-m", "scripts.rules_docs")
    assert "[700](700.md) | 4 times the same amount" in (project / "docs/rules/README.md").read_text()
    page = (project / "docs/rules/700.md").read_text()
    assert "Three alike may be a subscription." in page
    assert "Fires when the user's last `count` actions" in page

    cases, all_rules = "tests/unit/rules/test_repeated_amount.py", "tests/unit/test_registry.py"
    pytest_quietly = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "xdist", "-n", "0")
    # Without its plugins it starts in half the time.
    plain = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    tested = python(project, *pytest_quietly, cases, all_rules, "-k", "repeated or 700", **plain)
    assert re.search(r"\b1[0-9] passed", tested)
    python(project, "-m", "ruff", "check", "--no-cache", "rules", cases)
    python(project, "-m", "ruff", "format", "--no-cache", "--check", "rules", cases)
