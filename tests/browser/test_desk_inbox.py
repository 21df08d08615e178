"""The inbox in a browser: filters and the way back, and what a page that is open learns of its list."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.browser.conftest import profile
from tests.browser.desk import barriers, desk, post_event
from tests.service import Service

PULSE = "**/desk/pulse*"
SECOND = 1_000
HIDE = """
    window.isHidden = false;
    Object.defineProperty(Document.prototype, "hidden", { get: () => window.isHidden });
"""


@pytest.fixture(scope="module")
def service(shared_database_url: str) -> Iterator[Service]:
    """A service with some alerts."""
    with desk(shared_database_url) as service:
        for user_id in (1, 2, 3):
            assert post_event(service, type="withdraw", amount="150.00", user_id=user_id, time=user_id) == [1100]
        for amount, time in (("10.00", 100), ("20.00", 200), ("30.00", 300)):
            post_event(service, user_id=4, amount=amount, time=time)
        yield service


@pytest.fixture
def inbox(service: Service, page: Page, complaints: list[str]) -> Iterator[Page]:
    """The inbox, in a page whose clock a test winds forward; nobody complains of anything."""
    page.clock.install()
    page.add_init_script(HIDE)
    page.goto(f"{service.url}/desk/")
    yield page
    assert complaints == []


def wind(page: Page, seconds: int) -> None:
    """Have the page believe that so much time has passed, and its next pulse be answered."""
    with page.expect_response(PULSE):
        page.clock.fast_forward(seconds * SECOND)


def test_filters_and_the_way_back(inbox: Page, service: Service) -> None:
    """A filter is in the address at once, chips take it away, and Back leads to what was there before."""
    rows = inbox.locator("#alerts > tr")
    before = rows.count()
    inbox.evaluate("document.body.dataset.stays = 'yes'")
    inbox.get_by_role("list", name="Rule").get_by_role("link", name="300").click()
    expect(inbox).to_have_url(f"{service.url}/desk/?code=300")
    expect(rows).to_have_count(1)
    inbox.get_by_text("Filters", exact=True).click()
    inbox.get_by_label("User", exact=True).fill("4")
    inbox.get_by_role("button", name="Show", exact=True).click()
    expect(inbox).to_have_url(f"{service.url}/desk/?code=300&user_id=4")
    assert inbox.evaluate("document.body.dataset.stays") == "yes", "the page was not loaded anew"
    inbox.get_by_role("link", name="Take away: Rule 300").click()
    expect(inbox).to_have_url(f"{service.url}/desk/?user_id=4")
    inbox.go_back()
    expect(inbox).to_have_url(f"{service.url}/desk/?code=300&user_id=4")
    expect(rows).to_have_count(1)
    inbox.get_by_role("link", name="Clear").first.click()
    expect(rows).to_have_count(before)


def test_what_is_new_waits_to_be_shown(inbox: Page, service: Service) -> None:
    """Nothing moves by itself: the page says how many are new, and the key r shows them."""
    rows = inbox.locator("#alerts > tr")
    before = rows.count()
    post_event(service, type="withdraw", amount="150.00", user_id=50, time=1_000)
    wind(inbox, 5)
    expect(inbox.locator(".news")).to_contain_text("1 new")
    assert rows.count() == before
    inbox.keyboard.press("r")
    expect(rows).to_have_count(before + 1)
    expect(inbox.locator(".news")).to_be_hidden()
    wind(inbox, 5)
    expect(inbox.locator(".news")).to_be_hidden()


def test_a_row_changes_where_it_stands(inbox: Page, service: Service) -> None:
    """A late event proves an alert wrong while another one is selected: that stays selected, and no row moves."""
    rows = inbox.locator("#alerts > tr")
    order = rows.evaluate_all("rows => rows.map(row => row.id)")
    inbox.get_by_label("Select alert 1-1-1100").check()
    inbox.get_by_label("Select alert 4-3-300").check()
    value = inbox.get_by_label("Select alert 4-3-300").get_attribute("value")
    post_event(service, user_id=4, amount="15.00", time=250)
    wind(inbox, 5)
    expect(inbox.locator("#alert-4-3-300")).to_contain_text("superseded")
    assert rows.evaluate_all("rows => rows.map(row => row.id)") == order
    expect(inbox.get_by_label("Select alert 1-1-1100")).to_be_checked()
    expect(inbox.get_by_label("Select alert 4-3-300")).to_be_checked()
    seen = inbox.locator("#alert-4-3-300 input").evaluate("box => box.value")
    assert seen == value, "it is sent as it was when it was selected"


def test_an_answer_that_comes_too_late(inbox: Page, service: Service) -> None:
    """Of a list that is not shown any more nothing is taken."""
    held: list[Route] = []
    inbox.route(PULSE, lambda route: held.append(route), times=1)
    post_event(service, type="withdraw", amount="150.00", user_id=51, time=1_001)
    inbox.clock.fast_forward(5 * SECOND)
    inbox.get_by_role("link", name="Closed").click()
    expect(inbox).to_have_url(f"{service.url}/desk/?tab=closed")
    assert len(held) == 1
    with inbox.expect_response(PULSE):
        held[0].continue_()
    inbox.evaluate("new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    expect(inbox.locator(".news")).to_be_hidden()
    wind(inbox, 5)
    expect(inbox.locator(".news")).to_be_hidden()


def test_how_often_it_asks(inbox: Page) -> None:
    """Ever less often while nothing happens, until there is input; not at all in a tab that is hidden."""
    asked: list[Request] = []
    inbox.on("request", lambda request: asked.append(request) if "/desk/pulse" in request.url else None)
    wind(inbox, 5)
    inbox.clock.fast_forward(6 * SECOND)
    assert len(asked) == 1
    wind(inbox, 5)
    inbox.keyboard.press("Shift")
    wind(inbox, 6)
    assert len(asked) == 3
    inbox.evaluate("isHidden = true; document.dispatchEvent(new Event('visibilitychange'))")
    inbox.clock.fast_forward(3_600 * SECOND)
    assert len(asked) == 3
    with inbox.expect_response(PULSE):
        inbox.evaluate("isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    assert len(asked) == 4


def test_a_session_that_has_ended(service: Service, page: Page) -> None:
    """The page says so, and asks no more; what is typed stays."""
    page.clock.install()
    page.goto(f"{service.url}/desk/?code=1100")
    page.route(PULSE, lambda route: route.fulfill(status=401, json={}))
    page.get_by_label("Find an alert, a user or a rule").fill("typed")
    wind(page, 5)
    bar = page.locator("#bar")
    expect(bar).to_contain_text("Your session has ended.")
    expect(bar.get_by_role("link")).to_have_attribute("href", "/sign-in?next=%2Fdesk%2F%3Fcode%3D1100")
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    page.clock.fast_forward(3_600 * SECOND)
    expect(page.get_by_label("Find an alert, a user or a rule")).to_have_value("typed")
    assert asked == []


def test_how_close_rows_stand(inbox: Page) -> None:
    """Each browser keeps that."""
    button = inbox.get_by_role("button", name="Compact")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    inbox.reload()
    expect(inbox.locator("html")).to_have_attribute("data-density", "compact")
    inbox.get_by_role("button", name="Compact").click()


def test_escape_closes_a_menu(inbox: Page) -> None:
    """The focus goes back to what opened it."""
    opener = inbox.get_by_text("Views", exact=True)
    opener.click()
    inbox.get_by_label("Save these filters as").press("Escape")
    expect(inbox.locator("details.menu")).not_to_have_attribute("open", "")
    expect(opener).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_from_using_the_inbox(service: Service, browser: Browser, scheme: Any) -> None:
    """Also with its filters, its views and its news open, users instead of alerts, or nothing in it; at 390 px too."""
    with profile(browser, color_scheme=scheme, viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        found = {}
        for path in ("", "?by=user", "?user_id=999&code=30", "?tab=shadow"):
            page.goto(f"{service.url}/desk/{path}")
            page.get_by_text("Filters", exact=True).click()
            page.get_by_text("Views", exact=True).click()
            page.evaluate("document.querySelector('.news').hidden = false")
            page.evaluate("document.querySelector('.news span').textContent = '3 new'")
            found[path] = barriers(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert {path: what for path, what in found.items() if what} == {}
