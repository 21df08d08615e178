"""What the tests in a browser share: the browser, pages that note what goes wrong, and a server of somebody else."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.browser.elsewhere import Elsewhere, elsewhere
from tests.waiting import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome")
# A name of somebody else that leads here, as after DNS rebinding.
REBOUND = "evil.example"
OPTIONS = [
    f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1",
    # The browser's own defence against pages that call loopback: the service's has to do without.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),  # for root there is none
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The Chromium of this machine."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "Chromium is missing: make test-browser says what to install"
    expect.set_options(timeout=PATIENCE * 1_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=OPTIONS)
        yield browser
        browser.close()


@contextmanager
def profile(browser: Browser, **options: Any) -> Iterator[BrowserContext]:
    """A new profile: no cookies, nothing cached."""
    with browser.new_context(**options) as context:
        context.set_default_timeout(PATIENCE * 1_000)
        yield context


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new profile."""
    with profile(browser) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page of that profile."""
    return context.new_page()


@pytest.fixture
def complaints(context: BrowserContext) -> list[str]:
    """What the pages of that profile write to the console as an error, and the requests they send elsewhere."""
    found: list[str] = []

    def note(request: Request) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", None):
            found.append(f"{request.method} {request.url}")

    def note_message(message: ConsoleMessage) -> None:
        if message.type == "error":
            found.append(message.text)

    context.on("request", note)
    context.on("console", note_message)
    context.on("weberror", lambda error: found.append(str(error.error)))
    return found


@pytest.fixture
def somebody_else() -> Iterator[Elsewhere]:
    """A web server of somebody else."""
    with elsewhere() as server:
        yield server


@pytest.fixture
def witness() -> Iterator[Elsewhere]:
    """Another one, which is attacked first: it shows what arrives."""
    with elsewhere() as server:
        yield server
