"""What the architecture promises about the source itself: see docs/architecture.md, "Invariants"."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.service import ROOT

PRODUCTION = sorted(
    path
    for folder in (".", "access", "commands", "database", "routes", "rules", "work")
    for path in (ROOT.glob("*.py") if folder == "." else (ROOT / folder).rglob("*.py"))
)


def name_of(path: Path) -> str:
    """The path of a file within the project."""
    return path.relative_to(ROOT).as_posix()


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All of a file's syntax, read once for all tests."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def test_files_fit_on_a_few_screens() -> None:
    """No production file is longer than 300 lines."""
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in PRODUCTION}
    assert {name for name, length in lengths.items() if length > 300} == set()


def test_no_class_name_twice() -> None:
    """A class is known by its name alone; each rule's `Parameters` are meant to be alike."""
    found = defaultdict(list)
    for path in PRODUCTION:
        for node in nodes(path):
            if isinstance(node, ast.ClassDef) and not name_of(path).startswith("rules/catalogue/"):
                found[node.name].append(name_of(path))
    assert {name: where for name, where in found.items() if len(where) > 1} == {}


# But for the settings' own module not settings: the environment of another process, or what the server passes to its
# workers.
ENVIRONMENT = {
    "config_loader.py",
    "commands/serve.py",  # hands the database and the metrics' folder to the workers
    "commands/optional.py",  # looks where Spark will look for Java
    "commands/spark_session.py",  # for the process of Spark
    "commands/workers.py",  # hands each worker its number
    "metrics.py",  # the workers' side of that folder
    "database/embedded.py",  # keeps what libpq would read there from its server's connections
    "rules/columns.py",  # keeps numpy from beginning threads
    "database/embedded_supervisor.py",  # PostgreSQL's programs get a clean one
}


def test_only_settings_read_the_environment() -> None:
    """Settings are read by config_loader alone."""
    reading = {
        name_of(path)
        for path in PRODUCTION
        for node in nodes(path)
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv", "environb")
        and ast.unparse(node) != "request.environ"  # WSGI's
    }
    assert reading == ENVIRONMENT


@pytest.mark.parametrize(
    "word", ["book", "books", "ledger", "trial", "trials", "told", "tried", "given", "judged", "hindsight"]
)
def test_one_meaning_a_word(word: str) -> None:
    """Words that meant several things are not in the names of classes, functions and arguments."""
    found = set()
    for path in PRODUCTION:
        for node in nodes(path):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names = [node.name]
            elif isinstance(node, ast.arg):
                names = [node.arg]
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names = [node.id]
            else:
                continue
            found |= {f"{name_of(path)}: {name}" for name in names if word in name.strip("_").lower().split("_")}
    assert found == set()


def texts(path: Path) -> Iterator[str]:
    """The texts in a file, except those that are statements of their own, such as docstrings."""
    tree = ast.parse(path.read_text())
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


def test_nothing_below_the_engine_commits() -> None:
    """Statements leave it to their callers to commit; the engine's own COMMIT goes along with what it stores."""
    ground = [path for path in PRODUCTION if name_of(path).startswith("database/")]
    calling = {
        name_of(path)
        for path in ground
        for node in nodes(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
        if (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) in ("commit", "begin")
    }
    # The functions that callers commit and begin with are there.
    assert calling <= {"database/session.py"}
    sending = {name_of(path) for path in ground for text in texts(path) if re.search(r"\bCOMMIT\b", text)}
    # session.py names isolation levels, and upgrade_plan.py reads the SQL of migrations.
    assert sending <= {"database/storing.py", "database/session.py", "database/upgrade_plan.py"}
    assert re.findall(r"def (\w*commit\w*)", (ROOT / "database/storing.py").read_text()) == ["store_and_commit"]


def test_money_is_read_in_one_place() -> None:
    """The pattern of money as callers write it is in rules/values.py alone; others are built from it."""
    assert {name_of(path) for path in PRODUCTION for text in texts(path) if "{1,12}" in text} == {"rules/values.py"}


def test_records_are_made_by_keyword() -> None:
    """A record of look-alike numbers is never made by position, where two of them could change places unseen."""
    records = {node.name for node in nodes(ROOT / "database/records.py") if isinstance(node, ast.ClassDef)}
    by_position = {
        f"{name_of(path)}:{node.lineno}"
        for path in PRODUCTION
        for node in nodes(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in records and node.args
    }
    assert records
    assert by_position == set()
