"""The README's examples, against BASE_URL or a service of the test's own."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from tests import documents
from tests.service import ROOT, Service
from tests.waiting import PATIENCE

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the examples need curl")


@pytest.fixture
def base_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the service runs: BASE_URL, or one started for the test."""
    if (given := os.environ.get("BASE_URL")) is not None:
        yield given.rstrip("/")
    else:
        start: Callable[..., Service] = request.getfixturevalue("start_service")
        yield start().url


def test_the_examples_of_the_readme_answer_as_it_says(base_url: str, tmp_path: Path) -> None:
    """Each marked command of the README, in order, gets the answer shown below it."""
    # A user of its own, so that it can be run against a service that is in use.
    user_id = requests.post(f"{base_url}/users", json={}, timeout=PATIENCE).json()["id"]
    blocks = documents.blocks((ROOT / "README.md").read_text())
    assert len(blocks) == 2
    for block in blocks:
        text, answer = (
            re.sub(r'(user_id": |user_id=|"id": ")1\b', rf"\g<1>{user_id}", one or "")
            for one in (block.text, block.answer)
        )
        documents.run(replace(block, text=text, answer=answer), tmp_path, base_url, {})
