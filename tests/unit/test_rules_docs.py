"""The pages on the rules: they are current and complete, their links work, and their requests are accepted."""

import json
import re
from pathlib import Path

import pytest

from routes.schemas.rules import CHANGES
from rules.payload import validate
from rules.registry import DEFAULT_CODES, REGISTRY
from scripts.rules_docs import BY_HAND, FOLDER, INDEX, pages, present
from tests.service import ROOT

each_code = pytest.mark.parametrize("code", REGISTRY)
RULE_PAGES = {f"{code}.md" for code in REGISTRY}
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    """There is an index, a page for each rule, what is written by hand, and nothing else."""
    there = present()
    assert RULE_PAGES - there == set(), "a rule has no page: run make docs"
    assert there - RULE_PAGES - {INDEX} == set(), "a page belongs to no rule: run make docs"
    assert all((FOLDER / name).exists() for name in BY_HAND)


@pytest.mark.parametrize("name", [INDEX, *sorted(RULE_PAGES)])
def test_pages_are_current(name: str) -> None:
    """Each page says what the rule declares now."""
    path = FOLDER / name
    assert path.exists(), "run make docs"
    assert path.read_text() == pages()[name], "run make docs"


@each_code
def test_a_page_tells_all_that_is_declared(code: int) -> None:
    """Each parameter is on the page with its reason, and how it is scaled."""
    rule, page = REGISTRY[code], pages()[f"{code}.md"]
    for parameter in rule.declared:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{parameter.name}` | {parameter.unit} |"))
        assert row.endswith(f"| {'yes' if parameter.scaled else 'no'} | {parameter.why} |")
    assert ("| high |" in page) == any(parameter.scaled for parameter in rule.declared)
    assert ("## Where it comes from" in page) == (code not in (1100, 30, 300, 123, 500))


@each_code
def test_the_example_of_a_page_is_taken(code: int) -> None:
    """The request that a page shows is a valid one, and stricter for users of high risk."""
    found = re.findall(r"```json\n(.*?)```", pages()[f"{code}.md"], re.DOTALL)
    assert len(found) == 1
    body = json.loads(found[0])
    validate(CHANGES[code], body)
    assert body["status"] == ("active" if code in DEFAULT_CODES else "shadow")
    declared = {parameter.name: parameter for parameter in REGISTRY[code].declared}
    assert all(declared[name].read(raw) < declared[name].default for name, raw in body["by_risk"]["high"].items())


def test_long_lines_are_tables() -> None:
    """Text is wrapped at the project's own width."""
    long = [line for page in pages().values() for line in page.splitlines() if len(line) > 120]
    assert [line for line in long if not line.startswith("| ")] == []


def test_links_of_the_pages_lead_somewhere() -> None:
    """Every link between the project's own files names a file that is there."""
    broken = [
        (path.name, target)
        for path in sorted(FOLDER.glob("*.md"))
        for target in LINK.findall(path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_the_readme_lists_the_first_five_and_leads_to_the_others() -> None:
    """The README names the rules of the contract; the others are on the pages."""
    readme = Path(ROOT, "README.md").read_text()
    assert re.findall(r"^\| \[?(\d+)", readme, re.MULTILINE) == ["1100", "30", "300", "123", "500"]
    assert "(docs/rules/README.md)" in readme
    assert "(docs/rules/write-your-own.md)" in readme
