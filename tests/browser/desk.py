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


def barriers(page: Page) -> list[str]:
    """What axe finds on the page as it is: each thing that keeps somebody from using it."""
    # The browser's own debugger may run scripts that the page's policy would not let in.
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")
    return [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]
