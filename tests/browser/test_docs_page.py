"""The page of the document: it shows every call, can try each, and loads nothing from anywhere else."""

from playwright.sync_api import Page, expect

from tests.browser.calls import document_of
from tests.service import Service


def test_it_shows_every_call(shared_service: Service, page: Page, complaints: list[str]) -> None:
    """It renders under its policy: no error in the console, no request to another host."""
    calls = [(path, method) for path, item in document_of(shared_service)["paths"].items() for method in item]
    page.goto(f"{shared_service.url}/docs")
    expect(page.locator(".opblock")).to_have_count(len(calls))
    assert complaints == []


def test_it_can_try_a_call(shared_service: Service, page: Page, complaints: list[str]) -> None:
    """An event posted from the page is stored and its answer is shown: the page is of the service's own origin."""
    page.goto(f"{shared_service.url}/docs")
    block = page.locator("#operations-events-post_event").first
    block.locator(".opblock-summary").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")
    assert complaints == []
