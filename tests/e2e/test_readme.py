"""The README's examples over HTTP, word for word, against BASE_URL or a service of the test's own."""

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.service import ROOT, Service

EXAMPLE = re.compile(r"```bash\n(curl .*?)```\n\n```json\n(.*?)```", re.DOTALL)
README_URL = "http://127.0.0.1:5000"


@pytest.fixture
def base_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the service runs: BASE_URL, or one started for the test."""
    if (given := os.environ.get("BASE_URL")) is not None:
        yield given.rstrip("/")
    else:
        start: Callable[..., Service] = request.getfixturevalue("start_service")
        yield start().url


def curl(command: str, base_url: str, user_id: int) -> Any:
    """The JSON that a curl command of the README gets from `base_url`, for a user other than its user 1."""
    headers, body, url = {}, None, ""
    words = iter(shlex.split(command.replace("\\\n", " "))[1:])
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words).replace('"user_id": 1,', f'"user_id": {user_id},')
        else:
            url = word.replace(README_URL, base_url).replace("/users/1/", f"/users/{user_id}/")
    assert url.startswith(base_url)
    answer = requests.request("POST" if body else "GET", url, headers=headers, data=body, timeout=30)
    assert answer.status_code == 200
    return answer.json()


def test_the_examples_of_the_readme_answer_as_it_says(base_url: str) -> None:
    """Each curl command of the README, in order, gets the answer shown below it."""
    # A user of its own, so that it can be run against a service that is in use.
    user_id = requests.post(f"{base_url}/users", json={}, timeout=30).json()["id"]
    examples = EXAMPLE.findall((ROOT / "README.md").read_text())
    assert len(examples) == 3
    for command, answer in examples:
        expected = json.loads(answer.replace('"user_id": 1}', f'"user_id": {user_id}}}'))
        assert curl(command, base_url, user_id) == expected
