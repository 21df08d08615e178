"""Somebody who is signed in: how the page for it works, and what other pages can do with the browser meanwhile."""

from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy.orm import Session, sessionmaker

from database.session import make_sessions
from tests.browser.calls import (
    EVENT,
    Call,
    attack,
    attack_until_all_arrived,
    changing_calls,
    document_of,
    forms,
    read_urls,
    stored,
)
from tests.browser.conftest import REBOUND, profile
from tests.browser.elsewhere import Elsewhere
from tests.keys import add_key, bearer, revoke_key
from tests.postgres import engine_on
from tests.service import PATIENT_ENVIRONMENT, Service
from tests.waiting import PATIENCE, wait_until

Sessions = sessionmaker[Session]


@pytest.fixture(scope="module")
def shared_sessions(shared_database_url: str) -> Iterator[Sessions]:
    """Sessions on the database of all tests of this file."""
    with engine_on(shared_database_url) as engine:
        yield make_sessions(engine)


@pytest.fixture(scope="module")
def key(shared_sessions: Sessions) -> str:
    """A key that may do everything."""
    return add_key(shared_sessions, "Ada")


@pytest.fixture(scope="module")
def service(shared_database_url: str, key: str) -> Iterator[Service]:
    """A service that asks for keys, with an event and its alert."""
    with Service(PATIENT_ENVIRONMENT | {"DATABASE_URL": shared_database_url}) as service:
        assert requests.post(f"{service.url}/event", json=EVENT, headers=bearer(key), timeout=PATIENCE).json()["alert"]
        yield service


def sign_in(page: Page, service: Service, key: str, path: str = "/session") -> None:
    """Go to a page, be asked for a key, and send it."""
    page.goto(service.url + path)
    page.get_by_label("Key").fill(key)
    with page.expect_navigation():
        page.get_by_role("button", name="Sign in").click()


def who(page: Page) -> int:
    """The status of asking who is signed in, in the browser."""
    return page.context.request.get("/session").status


@pytest.fixture
def context(browser: Browser, service: Service) -> Iterator[BrowserContext]:
    """A new profile, whose paths are those of the service."""
    with profile(browser, base_url=service.url) as context:
        yield context


def test_signing_in_needs_no_script(browser: Browser, service: Service, key: str) -> None:
    """Who asks for a page without a key is asked to sign in, told if the key is wrong, and led to that page."""
    with profile(browser, java_script_enabled=False) as context:
        page = context.new_page()
        sign_in(page, service, "tak_wrong", "/docs?a=b")
        expect(page.get_by_role("alert")).to_have_text("There is no such key, or it was revoked or has expired.")
        page.get_by_label("Key").fill(key)
        page.get_by_label("Key").press("Enter")
        expect(page).to_have_url(f"{service.url}/docs?a=b")


def test_the_page_for_it_complains_of_nothing(page: Page, service: Service, key: str, complaints: list[str]) -> None:
    """Nor does the page of the document, which shows every call to whoever is signed in and can try each."""
    sign_in(page, service, key, "/docs")
    document = document_of(service, **bearer(key))
    shown = [*document["paths"].values(), *document["webhooks"].values()]
    expect(page.locator(".opblock")).to_have_count(sum(len(item) for item in shown))
    block = page.locator("#operations-events-post_event").first
    block.locator(".opblock-summary").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")
    assert complaints == []


def test_no_script_sees_the_cookie(page: Page, service: Service, key: str) -> None:
    """It is for this host alone, and comes along with no request that another site's page makes the browser send."""
    sign_in(page, service, key)
    assert page.evaluate("document.cookie") == ""
    [cookie] = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["domain"]) == (True, "Lax", "127.0.0.1")
    assert key not in str(cookie)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", REBOUND])
def test_pages_of_others(
    page: Page,
    service: Service,
    shared_database_url: str,
    key: str,
    somebody_else: Elsewhere,
    witness: Elsewhere,
    host: str,
) -> None:
    """Whatever they have the browser send, nothing is changed or read, and nobody is signed in or out.

    To pages of another port the browser sends the cookie along: they are of the same site.
    """
    sign_in(page, service, key)
    assert who(page) == 200
    document = document_of(service, **bearer(key))
    page.goto(f"http://{host}:{somebody_else.port}/")
    for url in (f"http://127.0.0.1:{witness.port}", service.url):
        calls = [*changing_calls(document, url), Call("POST", f"{url}/sign-in", f'{{"key": "{key}"}}')]
        calls += forms(url) if host == "127.0.0.1" else []  # where the cookie comes along
        if url == service.url:
            before = stored(shared_database_url)
            found = attack_until_all_arrived(page, calls, service, witness.asked)
            assert {status for method, status in found if method != "OPTIONS"} == {401, 403}
            assert (found["POST", 403] > found["POST", 401]) == (host == "127.0.0.1")  # 401 is without the cookie
            assert stored(shared_database_url) == before
        else:
            attack(page, calls)
    assert page.evaluate("read", read_urls(document, service.url)) == []
    assert who(page) == 200


def test_revoking_the_key_ends_the_session(page: Page, service: Service, shared_sessions: Sessions) -> None:
    """Then one is asked to sign in again."""
    key = add_key(shared_sessions, "Bob")
    headers, own = bearer(key), f"{service.url}/session"
    # Each worker learns of it by itself.
    wait_until(lambda: {requests.get(own, headers=headers, timeout=PATIENCE).status_code for _ in range(8)} == {200})
    sign_in(page, service, key)
    assert who(page) == 200
    revoke_key(shared_sessions, key)
    wait_until(lambda: who(page) == 401)
    page.goto(f"{service.url}/docs")
    assert page.url == f"{service.url}/sign-in?next=%2Fdocs"


def test_signing_out(page: Page, service: Service, key: str) -> None:
    """The page of the service may do that."""
    sign_in(page, service, key)
    page.goto("/sign-in")
    assert page.evaluate("fetch('/session', {method: 'DELETE'}).then((answer) => answer.status)") == 204
    assert who(page) == 401
