"""The pages of users in a browser: the chart of the story, the forms, and no barriers."""

from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import profile
from tests.browser.desk import LOOKS, barriers, desk, post_event
from tests.service import Service
from tests.waiting import PATIENCE

SAID = "#story [data-said]"
# Of the pixels of the chart, how many are drawn.
DRAWN = """() => {
    const canvas = document.querySelector("#story canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, at) => at % 4 === 3 && value).length;
}"""


@pytest.fixture(scope="module")
def service(shared_database_url: str) -> Iterator[Service]:
    """A service with a user who has late and superseded alerts, and one with many actions."""
    with desk(shared_database_url) as service:
        requests.post(f"{service.url}/users", json={"user_id": 1, "name": "<b>Ada</b>"}, timeout=PATIENCE)
        for time in (100, 110, 120):
            post_event(service, type="withdraw", amount="10.00", time=time)
        for amount, time in (("90.00", 115), ("150.00", 200), ("60.00", 190)):
            post_event(service, amount=amount, time=time)
        for start in range(0, 5_100, 850):
            events = [
                {"type": ("deposit", "withdraw")[at % 2], "amount": f"{1 + at % 7}.00", "user_id": 2, "time": 10 * at}
                for at in range(start, start + 850)
            ]
            assert requests.post(f"{service.url}/events", json=events, timeout=PATIENCE).status_code == 200
        yield service


def test_the_chart(service: Service, page: Page, complaints: list[str]) -> None:
    """It is drawn, goes closer where one drags or presses, and a mark leads to its alert."""
    page.goto(f"{service.url}/desk/users/1")
    expect(page.locator(SAID)).to_have_text("6 actions · 2 alerts · bars up to 150.00")
    expect(page.locator("#story svg.balance")).to_be_hidden()
    assert page.evaluate(DRAWN) > 1_000
    over = page.locator("#story .u-over").bounding_box()
    assert over is not None

    def x(time: int) -> float:
        """Where a time is, as long as all is shown."""
        return over["x"] + over["width"] * (time - 100) / 100

    page.mouse.move(x(105), over["y"] + 50)
    page.mouse.down()
    page.mouse.move(x(140), over["y"] + 60, steps=3)
    page.mouse.up()
    page.mouse.move(0, 0)  # over the chart, it says what is under the pointer
    expect(page.locator(SAID)).to_contain_text("3 actions")
    page.get_by_role("button", name="All").click()
    expect(page.locator(SAID)).to_contain_text("6 actions")
    page.get_by_role("button", name="Zoom in").click()
    expect(page.locator(SAID)).to_contain_text("0 actions")
    page.get_by_role("button", name="Later").click()
    page.get_by_role("button", name="Later").click()
    expect(page.locator(SAID)).to_contain_text("2 actions")
    page.get_by_role("button", name="All").click()
    expect(page.locator(SAID)).to_contain_text("6 actions")
    page.mouse.move(x(120), over["y"] - 13)
    expect(page.locator(SAID)).to_have_text("alert 30 (superseded): 3 withdrawals in a row")
    page.mouse.click(x(200), over["y"] - 13)
    page.wait_for_url("**/desk/alerts/1-5-123?list=user_id%3D1")
    assert complaints == []


def test_the_chart_of_many_actions(service: Service, page: Page, complaints: list[str]) -> None:
    """Its columns are drawn; closer, it has each action."""
    page.goto(f"{service.url}/desk/users/2")
    expect(page.locator(SAID)).to_contain_text("5,100 actions · put together in columns")
    assert page.evaluate(DRAWN) > 1_000
    page.get_by_role("button", name="Zoom in").click()
    expect(page.locator(SAID)).not_to_contain_text("put together")
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#actions tbody tr").first).to_contain_text("50740")
    expect(page.locator(SAID)).not_to_contain_text("put together")
    assert complaints == []


def test_a_change(service: Service, page: Page, complaints: list[str]) -> None:
    """A fault keeps what was typed; once it is saved, the page of the user is there with its chart."""
    page.goto(f"{service.url}/desk/users/1")
    page.get_by_role("link", name="Change rating and values").click()
    page.get_by_label("High").check()
    page.locator("[name=own-1100-threshold]").fill("x")
    page.get_by_label("Why").fill("Watched.")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#own-1100-threshold-fault")).to_contain_text("Must be money")
    expect(page.get_by_label("Why")).to_have_value("Watched.")
    page.locator("[name=own-1100-threshold]").fill("70")
    page.get_by_role("button", name="Show what would change").click()
    expect(page.locator("#shown-first table")).to_contain_text("70.00")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.locator(SAID)).to_contain_text("6 actions")
    page.get_by_text("Mute a rule").click()
    page.get_by_role("button", name="Mute", exact=True).click()
    expect(page.get_by_role("button", name="End it now")).to_be_visible()
    expect(page.locator("#story canvas")).to_be_visible()
    expect(page.locator(SAID)).to_contain_text("6 actions")
    page.get_by_role("button", name="End it now").click()
    expect(page.get_by_text("No longer muted.")).to_be_visible()
    assert [one for one in complaints if "400 (Bad Request)" not in one] == []


def test_without_scripts(service: Service, browser: Browser) -> None:
    """The picture and the table are there, and forms work."""
    with profile(browser, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{service.url}/desk/users/2")
        expect(page.locator("#story svg.balance")).to_be_visible()
        page.get_by_role("link", name="Older").click()
        expect(page.locator("#actions tbody tr").first).to_contain_text("50740")
        page.get_by_role("link", name="Change rating and values").click()
        page.get_by_label("Low").check()
        page.get_by_label("Why").fill("Known.")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Saved.")).to_be_visible()


@pytest.mark.parametrize("look", LOOKS)
def test_no_barriers(service: Service, browser: Browser, look: str) -> None:
    """In both schemes, wide and narrow, with what is folded away open."""
    found = {}
    with profile(browser, **LOOKS[look]) as context:
        page = context.new_page()
        for path in ("/desk/users", "/desk/users/1", "/desk/users/1/settings"):
            page.goto(service.url + path)
            if path == "/desk/users/1":
                expect(page.locator("#story canvas")).to_be_visible()
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            found[path] = barriers(page)
    assert {path: barriers for path, barriers in found.items() if barriers} == {}
