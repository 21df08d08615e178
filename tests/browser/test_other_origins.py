"""Pages of other origins: whatever they have their reader's browser send, nothing is changed and nothing is read."""

import json
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.browser.calls import (
    EVENT,
    answered,
    arrived,
    attack,
    attack_until_all_arrived,
    changing_calls,
    document_of,
    forms,
    is_backtest_under_way,
    read_urls,
    stored,
)
from tests.browser.conftest import REBOUND
from tests.browser.elsewhere import ATTACKS, PAGE, Elsewhere
from tests.service import Service
from tests.waiting import PATIENCE, wait_until

# Names of somebody else's server: of the same site, of another one on this machine, and of another host.
ORIGINS = ("127.0.0.1", "localhost", REBOUND)


@pytest.fixture(scope="module")
def service(shared_service: Service) -> Service:
    """A service that asks for no key, with an event and its alert."""
    assert requests.post(f"{shared_service.url}/event", json=EVENT, timeout=PATIENCE).json()["alert"]
    return shared_service


@pytest.mark.parametrize("host", ORIGINS)
def test_nothing_is_changed(
    service: Service,
    shared_database_url: str,
    page: Page,
    somebody_else: Elsewhere,
    witness: Elsewhere,
    host: str,
) -> None:
    """Every call, in every way that a page has: all that arrives is refused for where it comes from.

    The forms of the desk are sent by the origin that comes nearest to the service's own.
    """
    document = document_of(service)
    page.goto(f"http://{host}:{somebody_else.port}/")
    before = stored(shared_database_url)
    calls, expected = (
        [*changing_calls(document, url), *(forms(url) if host == "127.0.0.1" else [])]
        for url in (service.url, f"http://127.0.0.1:{witness.port}")
    )
    attack(page, expected)
    found = attack_until_all_arrived(page, calls, service, witness.asked)
    assert {status for method, status in found if method != "OPTIONS"} == {403}
    assert stored(shared_database_url) == before


@pytest.mark.parametrize("host", ORIGINS)
def test_nothing_is_read(service: Service, page: Page, somebody_else: Elsewhere, host: str) -> None:
    """No way of loading an answer of the service shows the page anything of it, not even its status."""
    urls = read_urls(document_of(service), service.url)
    assert f"{service.url}/alerts" in urls["shown"]
    assert f"{service.url}/alerts.csv" in urls["saved"]
    page.goto(f"http://{host}:{somebody_else.port}/")
    own = page.evaluate("read", {"shown": ["/"], "saved": ["/attacks.js"]})
    assert {how for _, how, _, _ in own} == {"basic", "frame", "script"}
    assert page.evaluate("read", urls) == []


def test_its_own_page_may(service: Service, shared_database_url: str, page: Page, complaints: list[str]) -> None:
    """What is refused above is not wrong in itself: a page of the service can change and read."""
    document = document_of(service)
    page.goto(f"{service.url}/docs")
    shown = [*document["paths"].values(), *document["webhooks"].values()]
    expect(page.locator(".opblock")).to_have_count(sum(len(item) for item in shown))
    assert complaints == []
    page.evaluate(f"{ATTACKS}; null")
    before = stored(shared_database_url)
    own = (f"{service.url}/event", f"{service.url}/rules/1100")
    calls = [call for call in changing_calls(document, service.url) if call.url in own]
    assert [page.evaluate("WAYS['fetch with JSON']", call._asdict()) for call in calls] == [200, 200]
    after = stored(shared_database_url)
    assert {"user_actions", "rule_versions"} <= {table for table in after if after[table] != before[table]}
    answers = {call.url: page.evaluate("WAYS['fetch as text']", call._asdict()) for call in forms(service.url)}
    # This service has no SECRET_KEY, so no webhook can be made, and there is none.
    webhooks = {url for url in answers if url.startswith(f"{service.url}/desk/webhooks")}
    assert {answers[url] for url in webhooks} == {404, 409}
    assert {url: status for url, status in answers.items() if status != 200 and url not in webhooks} == {}
    changed = {table for table, text in stored(shared_database_url).items() if text != after[table]}
    assert {"user_actions", "rule_versions", "alert_history", "user_settings", "backtests", "log_entries"} <= changed


def test_a_name_that_now_leads_here(service: Service, shared_database_url: str, page: Page) -> None:
    """DNS rebinding: for the browser the page is of the service's own origin, but the name is not the service's."""
    own = f"http://{REBOUND}:{urlsplit(service.url).port}"
    # The page is from before, when the name led to somebody else's server.
    page.route(f"{own}/", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.route(f"{own}/attacks.js", lambda route: route.fulfill(body=ATTACKS, content_type="text/javascript"))
    page.goto(f"{own}/")
    page.unroute_all()
    document = document_of(service)
    # A backtest that the tests before have started ends by itself.
    wait_until(lambda: not is_backtest_under_way(shared_database_url))
    before, seen = stored(shared_database_url), answered(service)
    attack(page, [*changing_calls(document, own), *forms(own)])
    wait_until(lambda: set(arrived(answered(service) - seen)) == {"POST", "PUT", "PATCH", "DELETE"})
    assert {status for _, status in answered(service) - seen} == {403}
    assert stored(shared_database_url) == before
    shown = page.evaluate("read", read_urls(document, own))
    told = [json.loads(text)["type"] for _, _, status, text in shown if status == 403]
    assert set(told) == {"urn:problem:untrusted-host"}
    assert len(told) == len(shown)
