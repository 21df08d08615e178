"""The page of an alert in a browser: its parts come by themselves, one gets back to one's place, and it can be read."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import profile
from tests.browser.desk import barriers, desk, post_event
from tests.service import Service
from tests.waiting import PATIENCE

LOOKS = {
    "light and wide": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark and narrow": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
}
PAGES = ("6-4-30", "8-400-123", "7-2-123/proof")
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def service(shared_database_url: str) -> Iterator[Service]:
    """A service with alerts of each kind: in order, raised by a crowd, superseded, and worked."""
    with desk(shared_database_url) as service:
        for amount, time in (("120.00", 100), ("150.00", 118)):
            post_event(service, user_id=7, amount=amount, time=time)
        for time in (200, 210, 220, 230):
            post_event(service, type="withdraw", user_id=6, amount="10.00", time=time)
        post_event(service, user_id=6, amount="5.00", time=225)
        crowd: Any = [
            {"type": "deposit", "amount": "1.00", "user_id": 8, "time": 1_000 + at // 20} for at in range(400)
        ]
        requests.post(f"{service.url}/events", json=crowd, timeout=PATIENCE).raise_for_status()
        noted = {"note": HOSTILE * 100}
        requests.post(f"{service.url}/alerts/7-2-123/notes", json=noted, timeout=PATIENCE).raise_for_status()
        yield service


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A page of a browser that looks so."""
    with profile(browser, **LOOKS[request.param]) as context:
        yield context.new_page()


def test_nothing_keeps_anybody_from_reading_it(service: Service, look: Page) -> None:
    """No barrier, and nothing that is wider than the screen."""
    found, wide = {}, []
    for path in PAGES:
        look.goto(f"{service.url}/desk/alerts/{path}")
        expect(look.locator("main")).to_be_visible()
        if "/" not in path:
            expect(look.locator("#today .verdict")).to_be_visible()
        found[path] = barriers(look)
        if look.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(path)
    assert {path: barriers for path, barriers in found.items() if barriers} == {}
    assert wide == []


def test_its_parts_come_by_themselves(service: Service, page: Page, complaints: list[str]) -> None:
    """Whether it would fire today, the verification in its place, and buttons that need a script; no complaint."""
    page.goto(f"{service.url}/desk/alerts/7-2-123")
    expect(page.locator("#today")).to_contain_text("Under today's version 1 this would fire.")
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#verified")).to_contain_text("The same: everything stored of this user follows from 2 events.")
    expect(page.get_by_role("button", name="Copy link")).to_be_visible()
    page.get_by_role("link", name="Proof page").click()
    expect(page.locator(".sheet")).to_contain_text("The same: everything stored")
    expect(page.get_by_role("button", name="Print")).to_be_visible()
    assert complaints == []


def test_back_to_ones_place(service: Service, page: Page) -> None:
    """From a list with filters to an alert, to the next one, and back to the same list, at the alert's row."""
    listed = f"{service.url}/desk/?user_id=6&sort=oldest&tab=all"
    page.goto(listed)
    page.locator("a.open").first.click()
    expect(page.locator("main.alert h1")).to_be_visible()
    page.locator('[rel="next"]').click()
    expect(page).to_have_url(re.compile("/6-4-30[?]list="))
    page.get_by_role("link", name="Back to the list").click()
    expect(page).to_have_url(re.compile("/desk/[?](?=.*user_id=6)(?=.*sort=oldest).*#alert-6-4-30$"))
    expect(page.locator("#alert-6-4-30")).to_be_visible()
