"""What the tests of the desk share: a service with its pages, and what nobody must find on one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Page

from tests.service import PATIENT_ENVIRONMENT, Service
from tests.waiting import PATIENCE

AXE = Path(__file__).parent / "vendor" / "axe.min.js"


LOOKS: dict[str, dict[str, Any]] = {
    "light and wide": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark and narrow": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
}


@contextmanager
def desk(database_url: str, **settings: str) -> Iterator[Service]:
    """The service, open to everybody on this machine, on a database."""
    with Service(PATIENT_ENVIRONMENT | {"DATABASE_URL": database_url} | settings) as service:
        yield service


def post_event(service: Service, **fields: Any) -> list[int]:
    """Post an event and return its alert codes."""
    event: Any = {"type": "deposit", "amount": "42.00", "user_id": 1, "time": 10} | fields
    answer = requests.post(f"{service.url}/event", json=event, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["alert_codes"])


def barriers(page: Page, *rules: str) -> list[str]:
    """What axe finds on the page as it is, by these `rules` or all: each thing that keeps somebody from using it."""
    if not page.evaluate("'axe' in window"):
        # The browser's own debugger may run scripts that the page's policy would not let in.
        page.evaluate(AXE.read_text())
    found = page.evaluate("(rules) => axe.run(rules.length ? {runOnly: rules} : {})", list(rules))
    return [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]
