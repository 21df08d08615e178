"""Every page of the desk, in both colour schemes and two widths: no barrier, no complaint, no request elsewhere."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import profile
from tests.browser.desk import barriers, desk, post_event
from tests.service import Service
from work.figures_job import fill_figures

PAGES = ("/desk/", "/desk/overview", "/desk/alerts/1-1-1100", "/desk/alerts/9-9-9")
LOOKS = {
    "light and wide": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark and narrow": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
}


@pytest.fixture(scope="module")
def service(shared_database_url: str) -> Iterator[Service]:
    """A service with an alert."""
    with desk(shared_database_url) as service:
        assert post_event(service, type="withdraw", amount="150.00") == [1100]
        fill_figures(shared_database_url)
        yield service


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A page of a browser that looks so."""
    with profile(browser, **LOOKS[request.param]) as context:
        yield context.new_page()


def test_nothing_keeps_anybody_from_using_a_page(service: Service, look: Page) -> None:
    """With a screen reader, a keyboard, weak eyes or a small screen."""
    found = {}
    for path in PAGES:
        look.goto(service.url + path)
        found[path] = barriers(look)
    assert {path: barriers for path, barriers in found.items() if barriers} == {}
