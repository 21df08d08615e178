"""The project's own files: what must stay true of them for the promises of the README to hold."""

import json
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from config_loader import Settings
from scripts import finish_lock
from tests.service import ROOT
from version import VERSION

PIPFILE = tomllib.loads((ROOT / "Pipfile").read_text())
LOCK = json.loads((ROOT / "Pipfile.lock").read_text())
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SERVICE_FOLDERS = ("access", "alembic", "commands", "database", "routes", "rules", "work")
REQUIREMENTS = finish_lock.requirements(LOCK)


def test_pipfile_names_no_index_and_no_python() -> None:
    """Packages install from whichever index a machine is set up for, on every Python from 3.11."""
    assert set(PIPFILE) == {"packages", "dev-packages", "spark"}


def test_the_lock_names_no_index() -> None:
    """`make lock` strips what pipenv writes about its index."""
    assert LOCK["_meta"]["sources"] == []
    packages = [package for group in finish_lock.GROUPS for package in LOCK[group].values()]
    assert [package for package in packages if "index" in package or "hashes" not in package] == []
    assert re.findall(r"https?://", (ROOT / "Pipfile.lock").read_text()) == []


def test_the_lock_says_who_can_read_it() -> None:
    """Releases of pipenv that cannot read it end with a TypeError; the lock itself says so in its first lines."""
    assert LOCK["_meta"]["note"] == finish_lock.NOTE
    assert '"note"' in (ROOT / "Pipfile.lock").read_text()[:400]


def test_the_requirements_files_follow_from_the_lock() -> None:
    """`make lock` writes them, with hashes: pip alone installs what is locked, each package once."""
    assert {name: (ROOT / name).read_text() for name in REQUIREMENTS} == REQUIREMENTS
    default, *others = (set(re.findall(r"^([\w.-]+).*==", text, re.MULTILINE)) for text in REQUIREMENTS.values())
    assert default == set(LOCK["default"])
    assert others == [set(LOCK[group]) - default for group in ("develop", "spark")]


def test_groups_that_share_a_package_share_its_version() -> None:
    """`make test-spark` installs all of them into one environment."""
    versions: dict[str, set[str]] = {}
    for group in finish_lock.GROUPS:
        for name, package in LOCK[group].items():
            versions.setdefault(name, set()).add(package["version"])
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_pyproject_names_the_same_packages_and_version() -> None:
    """For tools that do not read Pipfile."""
    wanted = [
        f"{name}[{','.join(what['extras'])}]" if isinstance(what, dict) else name
        for name, what in PIPFILE["packages"].items()
    ]
    assert (PYPROJECT["project"]["dependencies"], PYPROJECT["project"]["version"]) == (wanted, VERSION)


def test_the_image_has_all_of_the_service() -> None:
    """The Dockerfile copies every module and folder of the service, and .dockerignore lets each of them in."""
    copied = {
        name
        for line in re.findall(r"^COPY (?!--)(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        for name in line.split()[:-1]
    }
    assert copied == set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    modules = {path.name for path in ROOT.glob("*.py")} - {"transaction_alerts_client.py"}  # is for callers
    assert copied == modules | set(SERVICE_FOLDERS) | {"requirements.txt", "alembic.ini"}


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_the_project_is_not_a_package_and_says_so(kind: str) -> None:
    """`pip install .`, `-e .` and `python -m build` stop at their first question, with what to do instead."""
    build = PYPROJECT["build-system"]
    ask = f"import {build['build-backend']} as backend; backend.get_requires_for_build_{kind}({{}})"
    asked = subprocess.run(
        [sys.executable, "-c", ask], cwd=ROOT / build["backend-path"][0], capture_output=True, text=True
    )
    assert (asked.returncode, asked.stdout, asked.stderr.count("requirements.txt")) == (1, "", 1)
    assert "Traceback" not in asked.stderr


def test_lock_and_pipfile_agree() -> None:
    """Every package of the Pipfile is locked to one version, in its own group."""
    for wanted, group in (("packages", "default"), ("dev-packages", "develop"), ("spark", "spark")):
        missing = [
            name for name in PIPFILE[wanted] if not LOCK[group].get(name, {}).get("version", "").startswith("==")
        ]
        assert missing == []


def test_the_version_is_the_newest_in_the_changelog() -> None:
    """The changelog's newest release is the one that the log, `--version`, the metrics and the document name."""
    released = re.findall(r"^## \[(\d.*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == VERSION


def test_alembic_folder_does_not_shadow_the_library() -> None:
    """A package called alembic at the top would be imported instead of the library."""
    assert not (ROOT / "alembic/__init__.py").exists()


@pytest.mark.parametrize("name", [name.upper() for name in Settings.model_fields])
def test_every_setting_is_documented(name: str) -> None:
    """Each setting is in .env.example and in docs/operations.md."""
    assert re.search(rf"^#{name}=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert f"`{name}`" in (ROOT / "docs/operations.md").read_text()


def test_the_example_environment_has_no_setting_of_its_own() -> None:
    """A copy of .env.example changes nothing until a line is uncommented, and names only real settings."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
    named = {match[1].lower() for line in lines if (match := re.match(r"#([A-Z_]+)=", line))}
    assert named == set(Settings.model_fields)


# With docker compose these follow from the containers.
NOT_IN_COMPOSE = {"DATABASE_URL", "TEST_DATABASE_URL", "DATA_DIR", "BACKEND_HOST", "GLOBAL_TEST_FLAG"}


def test_docker_compose_passes_every_setting_on() -> None:
    """A setting in .env reaches the service in its container."""
    file = (ROOT / "docker-compose.yml").read_text()
    missing = {name for name in map(str.upper, Settings.model_fields) if f"    {name}: " not in file}
    assert missing == NOT_IN_COMPOSE


def test_docker_compose_hands_in_the_keys() -> None:
    """The service, and nothing else, gets the file that `make start` writes, where it looks for it; git never does."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    (name,) = compose["services"]["service"]["secrets"]
    assert compose["services"]["service"]["environment"]["KEYS_FILE"] == f"/run/secrets/{name}"
    assert [one for one, service in compose["services"].items() if "secrets" in service] == ["service"]
    path = compose["secrets"][name]["file"]
    assert f"KEYS := {path}\n" in (ROOT / "Makefile").read_text()
    assert f"{path.partition('/')[0]}/" in (ROOT / ".gitignore").read_text().splitlines()
    assert path.partition("/")[0] not in (ROOT / ".dockerignore").read_text()  # which names what gets into the image


def test_every_decision_is_listed() -> None:
    """The list of decisions has the title of each, and nothing else."""
    folder = ROOT / "docs/decisions"
    titles = {page.name: page.read_text().partition("\n")[0].removeprefix("# ") for page in folder.glob("*.md")}
    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", (folder / "README.md").read_text(), re.MULTILINE)
    assert {page: title for title, page in listed} == {name: titles[name] for name in titles if name != "README.md"}


def test_links_between_pages_lead_somewhere() -> None:
    """Each page and each heading that a page points to is there."""
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")):
        for path, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
            target = page.parent / path if path else page
            assert target.exists(), (page, path)
            if heading:
                headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
                assert heading in {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings}, page


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        ("rules/catalogue/a_rule.py", "import sqlalchemy"),
        ("rules/catalogue/a_rule.py", "from flask import request"),
        ("rules/catalogue/a_rule.py", "from database import judging"),
        ("rules/model.py", "from database import judging"),
        ("rules/base.py", "import sqlalchemy"),
        ("rules/registry.py", "from database import judging"),
        ("rules/judging/engine.py", "from routes import events"),
        ("rules/judging/engine.py", "from config_loader import Settings"),
        ("database/judging.py", "from rules.judging import engine"),
        ("database/judging.py", "from flask import request"),
        ("rules/judging/engine.py", "import prometheus_client"),
        ("rules/judging/engine.py", "import metrics"),
        ("database/session.py", "import metrics"),
        ("routes/events.py", "import app"),
        ("routes/events.py", "import metrics"),
        ("routes/events.py", "import prometheus_client"),
        ("routes/events.py", "from commands import replay"),
        ("commands/replay.py", "import app"),
        ("commands/replay.py", "from config_loader import Settings"),
        ("commands/replay.py", "from routes import events"),
        ("commands/replay.py", "from routes.health import blueprint"),
        ("commands/replay.py", "from routes.http.problems import Problem"),
        ("commands/replay.py", "from rules.judging.engine import RuleEngine"),
        ("routes/events.py", "from config_loader import Settings"),
        ("config_loader.py", "import app"),
    ],
)
def test_an_import_against_the_direction_fails_the_lint(where: str, wrong: str) -> None:
    """Imports run one way: app | routes, commands | rules | database; the catalogue is pure."""
    ruff = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", where, "-"]
    checked = subprocess.run(ruff, cwd=ROOT, input=wrong + "\n", capture_output=True, text=True)
    assert (checked.returncode, "TID251" in checked.stdout) == (1, True)
