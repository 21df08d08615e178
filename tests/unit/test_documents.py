"""How the shown answer of a command is compared, and which blocks are found."""

import re
from pathlib import Path
from typing import Any

import pytest

from app import CONNECTIONS
from config_loader import load_settings
from database.engines import FEW
from routes.flask_streams import AT_ONCE
from rules.hindsight import verify_user
from tests.documents import blocks, difference, pages
from tests.service import ROOT

TIMES = "2026-01-02T03:04:05Z", "2026-11-26T14:46:12.021691Z"


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("…", {"any": "thing"}),
        ({"a": 1, "…": "…"}, {"a": 1, "b": 2}),
        ([1, "…"], [1, 2, 3]),
        ([1, "…"], [1]),
        ({"at": TIMES[0]}, {"at": TIMES[1]}),
        ([{"id": "1-1-30"}, None, 2.5], [{"id": "1-1-30"}, None, 2.5]),
    ],
)
def test_what_is_shown_is_there(expected: Any, actual: Any) -> None:
    """A placeholder stands for whatever the service answers."""
    assert difference(expected, actual) is None


@pytest.mark.parametrize(
    ("expected", "actual", "where"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, "/b is not shown"),
        ({"a": 1, "…": "…"}, {"b": 2}, "/a is missing"),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "/a/1/b is 3, not 2"),
        ([1], [1, 2], " has 2 values"),
        ([1, 2, "…"], [1], " has 1 values"),
        (1, True, " is True, not 1"),
        ({"at": TIMES[0]}, {"at": "soon"}, "/at is 'soon', not '2026-01-02T03:04:05Z'"),
    ],
)
def test_what_differs_is_named(expected: Any, actual: Any, where: str) -> None:
    """The first difference is named by its place."""
    assert difference(expected, actual) == where


def test_marked_blocks_are_found_with_their_answers() -> None:
    """A block has the answer right below it; blocks without a mark are left out."""
    page = "<!-- run -->\n```bash\na\n```\n\n```json\n1\n```\n\n```bash\nb\n```\n"
    page += "\n<!-- file: c.py -->\n```python\nd\n```\n"
    found = [(block.text, block.file, block.answer) for block in blocks(page)]
    assert found == [("a\n", None, "1\n"), ("d\n", "c.py", None)]


@pytest.mark.parametrize("page", ["<!-- run -->\n\n```bash\na\n```\n", "<!-- run with Node -->\n```bash\na\n```\n"])
def test_a_mark_that_marks_nothing_is_a_fault(page: str) -> None:
    """Such a block would never be run, and nobody would notice."""
    with pytest.raises(AssertionError, match="a mark has no block"):
        blocks(page)


def test_the_connections_that_deployment_counts() -> None:
    """The sum for the defaults follows from the settings and the engines.

    Readiness, the keyring and presence have one each.
    """
    settings = load_settings(None)
    few = (AT_ONCE, verify_user.AT_ONCE, 3)
    parts = (min(settings.threads, CONNECTIONS), FEW, settings.read_threads, *few)
    worker = sum(parts)
    shown = f"{settings.workers} × ({' + '.join(map(str, parts))})"
    page = " ".join((ROOT / "docs/deployment.md").read_text().split())
    assert f"WORKERS × (min(THREADS, {CONNECTIONS}) + {FEW} + READ_THREADS + {' + '.join(map(str, few))})" in page
    assert f"that is {shown} = {settings.workers * worker}:" in page
    assert f"2 × {worker} + 16 + 2 = {2 * worker + 16 + 2}." in page


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_tells_to_type_is_there(page: Path) -> None:
    """Each make target and each command of the service that a page names exists."""
    text = page.read_text()
    targets = set(re.findall(r"^([a-z0-9. -]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^)make ([a-z0-9.-]+)", text, re.MULTILINE)
    assert [name for name in named if name not in {one for line in targets for one in line.split()}] == []
    commands = [name.replace("-", "_") for name in re.findall(r"flask --app app ([a-z][a-z-]*)", text)]
    assert [name for name in commands if name != "run" and not (ROOT / f"commands/{name}.py").exists()] == []
