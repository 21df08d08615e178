"""The commands that the pages in docs show: each page against a service on a fresh database."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import documents
from tests.service import ROOT, Service

# These have tests of their own: tests/e2e/test_readme.py and tests/integration/test_least_rights.py.
ELSEWHERE = {ROOT / "README.md", ROOT / "docs/calls.md"}
PAGES = [page for page in documents.pages() if page not in ELSEWHERE and documents.blocks(page.read_text())]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands need curl")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_print_what_it_shows(
    page: Path, database_url: str, start_service: Callable[..., Service], tmp_path: Path
) -> None:
    """Each marked block of a page, in order, does what the page says."""
    service = start_service(WORKERS="1")
    documents.make_folder(tmp_path)
    for block in documents.blocks(page.read_text()):
        documents.run(block, tmp_path, service.url, {"DATABASE_URL": database_url})
