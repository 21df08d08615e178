"""The templates of pages have nothing that their policy would make fail without a word."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from routes.http.pages import TEMPLATES

ROUTES = TEMPLATES.parent
OWN_SCRIPTS = sorted(path for path in (ROUTES / "static" / "desk").glob("*.js"))
PAGES = sorted(TEMPLATES.rglob("*.html"))
LOOSE = {"docs.html"}  # the page of the API's document has a looser policy of its own

# What a policy without inline scripts, inline styles and eval forbids, and what escapes nothing.
FAILS_SILENTLY = {
    "an inline style": r"\sstyle\s*=",
    "a style sheet within": r"<style\b",
    "an inline listener": r"\son[a-z]+\s*=",
    "a listener of htmx, which it evaluates": r"\shx-on\b|\sdata-hx-on\b",
    "values of htmx that it evaluates": r"""(?:hx-vals|hx-headers|hx-config)[^=\s]*\s*=\s*["']\s*(?:js|javascript):""",
    "a filter of a trigger, which htmx evaluates": r"""hx-trigger[^=\s]*\s*=\s*(?:"[^"]*\[|'[^']*\[)""",
    "a question of htmx, which has no words of ours": r"\shx-confirm\b",
    "a link that is a script": r"javascript:",
}
EVALUATES = r"\beval\(|new Function\(|\.(?:inner|outer)HTML\s*[+]?=|insertAdjacentHTML|document\.write\b"
_SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.DOTALL)
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)


def faults(template: str) -> Iterator[str]:
    """What in a template would fail without a word."""
    text = _COMMENT.sub("", template)
    for what, pattern in FAILS_SILENTLY.items():
        if re.search(pattern, text, re.IGNORECASE):
            yield what
    for attributes, content in _SCRIPT.findall(text):
        if content.strip() and "application/json" not in attributes:
            yield "an inline script"


def test_no_template_has_what_fails_silently() -> None:
    """Every page of the service but the one with a policy of its own."""
    assert PAGES
    found = {page.name: [*faults(page.read_text())] for page in PAGES if page.name not in LOOSE}
    assert {name: what for name, what in found.items() if what} == {}


def test_python_writes_no_inline_style_either() -> None:
    """Charts are coloured by classes and attributes."""
    pages = (ROUTES / "desk").glob("*.py")
    assert [path.name for path in pages if re.search(FAILS_SILENTLY["an inline style"], path.read_text())] == []


@pytest.mark.parametrize("path", OWN_SCRIPTS, ids=lambda path: path.name)
def test_scripts_evaluate_nothing(path: Path) -> None:
    """Text from users never becomes a script or a tag: it is written as text."""
    text = path.read_text()
    assert (
        re.findall(
            r"\beval\(|new Function\(|\.innerHTML\s*[+]?=|\.outerHTML\s*=|insertAdjacentHTML|document\.write\b", text
        )
        == []
    )


@pytest.mark.parametrize(
    "template",
    [
        '<p style="color: red">',
        "<style>p {}</style>",
        '<button onclick="go()">',
        '<button hx-on:click="go()">',
        "<a hx-vals='js:{a: 1}'>",
        '<form hx-trigger="keyup[key == 1]">',
        '<a hx-confirm="Sure?">',
        '<a href="javascript:go()">',
        "<script>go()</script>",
        '<script type="module">go()</script>',
    ],
)
def test_what_fails_silently_is_found(template: str) -> None:
    """Each kind of it."""
    assert [*faults(template)]


@pytest.mark.parametrize(
    "template",
    [
        '<script src="x.js" defer></script>',
        '<script type="application/json">{"a": 1}</script>',
        '<form hx-trigger="change, submit">{# style= #}</form>',
        '<div data-style="x" class="on"></div>',
    ],
)
def test_what_does_not_is_not(template: str) -> None:
    """What a page may have."""
    assert not [*faults(template)]
