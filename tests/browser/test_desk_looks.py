"""Every page of the desk, in both colour schemes and two widths: no barrier, no complaint, no request elsewhere.

Whatever people and programs may write is there as a script, in each place that takes text.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
import requests
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import text

from rules.values import written_moment
from tests.browser.conftest import profile
from tests.browser.desk import barriers, desk, post_event
from tests.conftest import SECRET_KEY
from tests.postgres import engine_on
from tests.service import Service
from tests.waiting import PATIENCE
from work.figures_job import fill_figures

EVIL = "\"'><img src=x onerror=alert(1)><script>{{ 7 * 7 }}"
# What is written in each place, so that a page that shows it can be told from one that does not.
PLANTED = {
    name: f"{name}{EVIL}"
    for name in ("user", "event", "note", "assignee", "rule-note", "user-note", "mute", "view", "error")
}
HOOK = {"url": f"https://example.com/{'a' * 200}", "events": ["alert.created", "alert.changed"], "codes": [30, 1100]}
DELIVERIES = """
    WITH made AS (
        INSERT INTO deliveries (webhook_id, message_id, event, user_id, seq, code, body, status, next_at, finished_at)
        SELECT 1, 'msg_' || n, 'alert.created', 1, n, 1100, '{}', (ARRAY['waiting', 'delivered', 'given_up'])[n],
            CASE WHEN n = 1 THEN now() END, CASE WHEN n > 1 THEN now() END
        FROM generate_series(1, 3) AS n RETURNING delivery_id
    )
    INSERT INTO delivery_attempts (delivery_id, n, seconds, error) SELECT delivery_id, 1, 15, :error FROM made
"""
# One with more than fits, and one for every other thing that a page can be about.
PAGES = (
    "/desk/",
    "/desk/?tab=mine",
    "/desk/?tab=closed&by=alert",
    "/desk/?by=user",
    "/desk/?code=30&from=5",
    "/desk/alerts/1-1-1100",
    "/desk/alerts/1-2-1100",
    "/desk/alerts/1-1-1100/proof",
    "/desk/users",
    "/desk/users/1",
    "/desk/users/2",
    "/desk/users/1/settings",
    "/desk/users/1/data",
    "/desk/rules",
    "/desk/rules/123",
    "/desk/overview",
    "/desk/send",
    "/desk/send?preset=300",
    "/desk/log",
    "/desk/log?kind=key",
    "/desk/webhooks",
    "/desk/webhooks/1?said=resent&number=1&since=2026-01-31T12:00:00Z&start=1",
    "/desk/find",
    "/desk/find?q=30",
    "/sign-in",
    "/desk/rules/1100",
)
MISSING = ("/desk/alerts/9-9-9", "/desk/nowhere")
WIDTHS = {"wide": {"width": 1280, "height": 800}, "narrow": {"width": 390, "height": 844}}
# By which of axe's rules the page is looked at: in dark it differs by its colours alone.
SCHEMES: dict[Literal["light", "dark"], tuple[str, ...]] = {"light": (), "dark": ("color-contrast",)}


# What makes a page wider than its window.
TOO_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] : [
    ...document.querySelectorAll("body *"),
]
    .filter((one) => one.getBoundingClientRect().right > innerWidth)
    .map((one) => "too wide: " + one.outerHTML.slice(0, 99))"""


@pytest.fixture(scope="module")
def service(shared_database_url: str) -> Iterator[Service]:
    """A service with alerts, and with a script in each place that takes text."""
    with desk(shared_database_url, SECRET_KEY=SECRET_KEY) as service:
        for body in ({"user_id": 1, "name": PLANTED["user"]}, {"user_id": 30}):
            call(service, "POST", "/users", body)
        for time in range(10, 20):
            assert post_event(
                service, type="withdraw", amount="150.00", time=time, event_id=f"{PLANTED['event']}{time}"
            )
        assert post_event(service, user_id=2, type="withdraw", amount="150.00") == [1100]
        work = {"status": "acknowledged", "assignee": PLANTED["assignee"], "note": PLANTED["note"]}
        call(service, "PATCH", "/alerts/1-1-1100", work)
        call(service, "PATCH", "/alerts/1-2-1100", {"status": "closed", "outcome": "false_positive"})
        call(service, "PUT", "/rules/123", {"parameters": {"threshold": "150.00"}, "note": PLANTED["rule-note"]})
        call(service, "PATCH", "/users/1", {"risk": "high", "note": PLANTED["user-note"]})
        until = written_moment(datetime.now(UTC) + timedelta(days=100))
        call(service, "PUT", "/users/1/mutes/500", {"until": until, "note": PLANTED["mute"]})
        call(service, "POST", "/views", {"name": PLANTED["view"], "query": {"code": 30}, "shared": True})
        call(service, "POST", "/webhooks", HOOK)
        call(service, "PATCH", "/webhooks/1", {"enabled": False})  # so that nothing is sent
        with engine_on(shared_database_url) as engine, engine.begin() as connection:
            connection.execute(text(DELIVERIES), {"error": PLANTED["error"]})
        fill_figures(shared_database_url)
        yield service


def call(service: Service, method: str, path: str, body: dict[str, Any]) -> None:
    """Make a call that must be answered well."""
    answer = requests.request(method, f"{service.url}{path}", json=body, timeout=PATIENCE)
    assert answer.status_code in (200, 201), answer.text


@pytest.fixture(params=WIDTHS)
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A page as wide as that."""
    with profile(browser, viewport=WIDTHS[request.param]) as context:
        yield context.new_page()


def test_nothing_keeps_anybody_from_using_a_page(service: Service, page: Page) -> None:
    """With a screen reader, a keyboard, weak eyes or a small screen; and nothing in the console is an error.

    No page is wider than its window, and nothing that was written is taken for markup.
    """
    noted: list[str] = []
    page.on("console", lambda message: noted.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: noted.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith(service.url) else noted.append(sent.url))
    found: dict[str, list[str]] = {}
    shown: set[str] = set()
    for path in (*PAGES, *MISSING):
        page.goto(service.url + path)
        if page.locator("#today").count():  # it comes by itself
            expect(page.locator("#today .verdict")).to_be_visible()
        wrong = [*faults_of(page), *(one for one in noted if path not in MISSING or "404" not in one)]
        noted.clear()
        text = page.evaluate("document.body.textContent")
        shown |= {name for name, planted in PLANTED.items() if planted in text}
        if wrong:
            found[path] = wrong
    assert found == {}
    assert shown == set(PLANTED)


def test_the_list_of_keys(service: Service, page: Page) -> None:
    """The same holds while it is open."""
    page.goto(f"{service.url}/desk/")
    page.get_by_role("button", name="Keys").click()
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert faults_of(page) == []


def faults_of(page: Page) -> list[str]:
    """What is wrong with a page as it is, in either colour scheme."""
    found = page.evaluate("""() => [
        ...document.querySelectorAll("img[src=x], script:not([src]):not([type='application/json'])"),
    ].map((one) => one.outerHTML)""")
    found += page.evaluate(TOO_WIDE)
    for scheme, rules in SCHEMES.items():
        page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {barrier}" for barrier in barriers(page, *rules)]
    return list(found)
