"""docs/calls.md has every call."""

import re

from tests.contract.test_openapi import not_a_page
from tests.keys import app_without_database
from tests.service import ROOT


def test_the_page_has_every_call() -> None:
    """Each call has a section with a command that calls it, and no section is of a call that is not there."""
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app_without_database().url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not_a_page(rule.rule)
    }
    page = (ROOT / "docs/calls.md").read_text()
    sections = {(method, path): text for method, path, text in re.findall(SECTION, page, re.DOTALL | re.MULTILINE)}
    assert set(sections) == served
    for (method, path), text in sections.items():
        command = text.partition("```bash\n")[2]
        assert re.search(re.sub(r"\{\w+\}", "[0-9A-Za-z-]+", path) + r"(['?\s]|$)", command), (method, path)
        assert (f"-X {method} " in command) == (method not in {"GET", "POST"}), (method, path)


SECTION = r"^### ([A-Z]+) (/\S*)\n(.*?)(?=^##|\Z)"
