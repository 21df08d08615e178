"""docs/desk.md names every page of the desk, every key, and pictures that are there."""

import re

from routes.http.converters import template_of
from tests.keys import app_without_database
from tests.service import ROOT

TEXT = (ROOT / "docs/desk.md").read_text()
# Parts of pages, which have addresses of their own.
PARTS = {
    *("/desk/pulse", "/desk/rows", "/desk/alerts/{alert_id}/today", "/desk/alerts/{alert_id}/history"),
    *("/desk/users/{user_id}/timeline", "/desk/rules/{code}/try/{backtest_id}", "/desk/assets/{name}"),
}


def test_every_page_is_named() -> None:
    """A page that is new has to be told of, and one that is gone not to be."""
    rules = app_without_database().url_map.iter_rules()
    pages = {
        template_of(rule.rule) for rule in rules if rule.rule.startswith("/desk") and "GET" in (rule.methods or ())
    }
    assert pages >= PARTS
    named = {re.sub(r"\{\w+\}", "{}", path) for path in re.findall(r"`(/desk/[^`?]*)`", TEXT)}
    assert named == {re.sub(r"\{\w+\}", "{}", path) for path in pages - PARTS}


def test_every_key_is_named() -> None:
    """The list of keys of the pages, in the same words for each key."""
    template = (ROOT / "routes/templates/desk/keys.html").read_text()
    shown = {
        key
        for pressed in re.findall(r'^ +\(\(((?:"[^"]+",? ?)+)\), "', template, re.M)
        for key in re.findall(r'"([^"]+)"', pressed)
    }
    assert {"j", "Shift k", "Ctrl Enter", "g", "?"} <= shown
    assert set(re.findall(r"`([^`]+)`", TEXT.partition("## The keys")[2].partition("\n## ")[0])) == shown


def test_every_picture_is_there() -> None:
    """And the pictures are small."""
    pictures = re.findall(r"!\[[^]]+\]\((pictures/[^)]+)\)", TEXT)
    assert pictures
    assert all((ROOT / "docs" / name).is_file() for name in pictures)
    assert sum(path.stat().st_size for path in (ROOT / "docs/pictures").iterdir()) < 3_000_000
