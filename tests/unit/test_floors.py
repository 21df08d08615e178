"""The floors of the house: app | routes, commands | access, rules, work | database. What may load what."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import ROOT

# What each module must not load, not even indirectly: the beginnings of module names.
WEB = ("flask", "werkzeug", "click", "granian", "app", "routes", "commands", "metrics", "prometheus_client")
SETTINGS = ("pydantic_settings", "config_loader")
THIRD = ("access", "rules", "work")  # the third floor
LIBRARIES = ("sqlalchemy", "psycopg2", "flask", "werkzeug", "pydantic", "pydantic_core", "structlog", "numpy")

FLOORS = {
    "database.session": (*THIRD, *WEB, *SETTINGS),
    "database.judging": (*THIRD, *WEB, *SETTINGS),
    "database.history": (*THIRD, *WEB, *SETTINGS),
    "database.keys": (*THIRD, *WEB, *SETTINGS),
    "database.alert_work": (*THIRD, *WEB, *SETTINGS),
    "access.key_changes": ("rules", "work", *WEB, *SETTINGS),
    "access.limits": ("rules", "work", *WEB, *SETTINGS),
    "work.bulk": ("access", *WEB, *SETTINGS),
    "work.queue": ("access", *WEB, *SETTINGS),
    "rules.service": ("access", "work", *WEB, *SETTINGS),
    "rules.hindsight.run": ("access", "work", *WEB, *SETTINGS),
    "rules.payload": ("sqlalchemy", "psycopg2", *WEB, *SETTINGS),
    "routes.asgi": ("app", "commands", *SETTINGS),
    "routes.openapi": ("app", "commands", *SETTINGS),
}

# These run wherever there is Python, even without a database.
PURE = (
    *sorted(f"rules.catalogue.{path.stem}" for path in Path(ROOT, "rules/catalogue").glob("[a-z]*.py")),
    "rules.base",
    "rules.values",
    "rules.json_text",
    "rules.parameters",
    "rules.model",
    "rules.series",
    "rules.timeline",
    "rules.registry",
    "rules.versions",
    "rules.policy",
    "rules.judging.late",
    "rules.hindsight.backtest",
    "rules.hindsight.manifest",
    "rules.hindsight.question",
    "rules.hindsight.stored_history",
    "rules.hindsight.verify",
    "database.records",
    "access.key_format",
    "work.change",
    "work.webhook_messages",
    "work.webhook_addresses",
)

LOADED = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
    banned = sys.argv[1].split()
    print(name, *sorted({loaded.split(".")[0] for loaded in sys.modules} & set(banned)))
"""


def loads(banned: tuple[str, ...], *modules: str) -> dict[str, list[str]]:
    """What of `banned` is loaded after each of `modules` is imported, one after the other in one process."""
    run = [sys.executable, "-c", LOADED, " ".join(banned), *modules]
    found = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name: words for name, *words in map(str.split, found)}


@pytest.mark.parametrize("module", FLOORS)
def test_a_floor_knows_nothing_of_those_above(module: str) -> None:
    """Importing a module loads nothing of a floor above it, and no settings."""
    assert loads(FLOORS[module], module) == {module: []}


def test_what_is_pure_loads_no_library() -> None:
    """The rules, what they see, and what judges stored history need nothing but the standard library."""
    assert loads(LIBRARIES, *PURE) == {module: [] for module in PURE}


# What imports what, by the text of the sources


def sources() -> Iterator[Path]:
    """All of the project's modules except the tests."""
    yield from ROOT.glob("*.py")
    for folder in ("access", "alembic", "bench", "commands", "database", "routes", "rules", "scripts", "work"):
        yield from Path(ROOT, folder).rglob("*.py")


def imported(text: str) -> set[str]:
    """The full names of what a module imports anywhere in its text, modules and things in them alike."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


IMPORTED = {str(path.relative_to(ROOT)): imported(path.read_text()) for path in sources()}


def views() -> set[str]:
    """The modules with a blueprint."""
    found = Path(ROOT, "routes").rglob("*.py")
    paths = (path.relative_to(ROOT).with_suffix("") for path in found if " = Blueprint(" in path.read_text())
    return {".".join(path.parts) for path in paths}


def test_who_reads_the_settings() -> None:
    """All others are handed the settings in force; the developer's own tools read them too."""
    readers = {name for name, names in IMPORTED.items() if "config_loader" in names}
    allowed = {"app.py", "commands/serve.py", "alembic/env.py"}
    assert {name for name in readers - allowed if not name.startswith(("scripts/", "bench/"))} == set()
    assert readers >= allowed


# What gathers the views: the application, and for it the list of the desk's pages.
IMPORTING_VIEWS = ("app.py", "routes/desk/pages.py")


def views_in(where: str, names: set[str]) -> set[str]:
    """The views among the names that a module imports although neither the application nor the desk's list does."""
    return names & views() if where not in IMPORTING_VIEWS else set()


def test_views_stand_alone() -> None:
    """Only what wires them up imports views: no other view, door or command does. What they share lies below."""
    found = views()
    assert found >= {f"routes.{name}" for name in ("events", "alerts", "rules", "users", "backtests", "health")}
    assert set().union(*(IMPORTED[name] for name in IMPORTING_VIEWS)) >= found
    importing = {name: views_in(name, names) for name, names in IMPORTED.items()}
    assert {name: names for name, names in importing.items() if names} == {}


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        ("routes/users.py", "from routes import rules"),
        ("routes/backtests.py", "from routes.alerts import blueprint"),
        ("routes/schemas/fields.py", "from routes import users"),
        ("routes/http/answers.py", "from routes import events"),
        ("routes/asgi.py", "def door():\n    import routes.events"),
        ("commands/replay.py", "from routes import events as others"),
        ("routes/desk/inbox.py", "from routes.desk import alert"),
    ],
)
def test_an_import_of_a_view_is_found(where: str, wrong: str) -> None:
    """However it is written."""
    assert views_in(where, imported(wrong)) != set()


def test_nobody_imports_the_application() -> None:
    """It wires up all the others."""
    assert [name for name, names in IMPORTED.items() if "app" in names] == []
