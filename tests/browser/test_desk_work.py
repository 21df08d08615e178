"""Working alerts in a browser: by keys, twenty in a row, two people at once, many at a time, and without a script."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from database.session import make_sessions
from tests.browser.conftest import profile
from tests.browser.desk import barriers, desk
from tests.browser.test_signed_in import sign_in
from tests.keys import add_key, bearer
from tests.postgres import engine_on, transaction
from tests.service import Service
from tests.waiting import PATIENCE, wait_until

Sessions = sessionmaker[Session]


class Desk:
    """A service with two analysts, and what is stored there."""

    def __init__(self, service: Service, sessions: Sessions, keys: dict[str, str]) -> None:
        self.service, self.sessions, self.keys = service, sessions, keys
        self.url = f"{service.url}/desk"
        self._users = 0

    def call(self, method: str, path: str, body: Any = None, who: str = "Ada") -> Any:
        """Call the API and return what it answers."""
        answer = requests.request(
            method, self.service.url + path, json=body, headers=bearer(self.keys[who]), timeout=PATIENCE
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def raised(self, number: int = 1) -> list[str]:
        """New alerts, of one new user each: their ids, in the order of the inbox. All before are closed."""
        ids = [one["id"] for one in self.call("GET", "/alerts?closed=false&limit=500&snoozed=any")["alerts"]]
        if ids:
            self.call("POST", "/alerts/bulk", {"ids": ids, "set": {"status": "closed", "outcome": "inconclusive"}})
        users = range(self._users + 1, self._users + number + 1)
        self._users += number
        for user_id in users:
            event = {"type": "withdraw", "amount": "150.00", "user_id": user_id, "time": user_id}
            assert self.call("POST", "/event", event)["alert_codes"] == [1100]
        return [f"{user_id}-1-1100" for user_id in reversed(users)]

    def alert(self, alert: str) -> Any:
        """An alert as it is stored."""
        return self.call("GET", f"/alerts/{alert}")

    def wait_for(self, alert: str, **fields: Any) -> None:
        """Wait until an alert is stored so."""
        wait_until(lambda: {name: self.alert(alert)[name] for name in fields} == fields)


@pytest.fixture(scope="module")
def at(shared_database_url: str) -> Iterator[Desk]:
    """The desk."""
    with engine_on(shared_database_url) as engine:
        sessions = make_sessions(engine)
        keys = {name: add_key(sessions, name) for name in ("Ada", "Grace")}
        with desk(shared_database_url) as service:
            yield Desk(service, sessions, keys)


@pytest.fixture(scope="module")
def cookies(at: Desk, browser: Browser) -> dict[str, Any]:
    """What the browsers of those who are signed in hold, by name."""
    found = {}
    for name, key in at.keys.items():
        with profile(browser) as context:
            sign_in(context.new_page(), at.service, key, "/desk/")
            found[name] = context.storage_state()
    return found


@pytest.fixture
def context(browser: Browser, cookies: dict[str, Any]) -> Iterator[BrowserContext]:
    """The browser of Ada."""
    with profile(browser, storage_state=cookies["Ada"]) as context:
        yield context


@pytest.fixture
def grace(browser: Browser, cookies: dict[str, Any]) -> Iterator[Page]:
    """A page of Grace's browser."""
    with profile(browser, storage_state=cookies["Grace"]) as context:
        yield context.new_page()


def press(page: Page, *keys: str) -> None:
    """Press keys, one after the other."""
    for key in keys:
        page.keyboard.press(key)


def shows(page: Page, alert: str) -> None:
    """Wait until a page is that of this alert, and its scripts are there."""
    expect(page.locator(f'[data-panel="{alert}"]')).to_be_visible()
    page.wait_for_load_state()


def row(page: Page, alert: str) -> Any:
    """The row of an alert."""
    return page.locator(f"#alert-{alert}")


def test_from_arrival_to_closed_by_the_keyboard_alone(at: Desk, page: Page, complaints: list[str]) -> None:
    """In the list, and on the page of each; closing goes on to the next, whose parts work as those before."""
    third, second, first = at.raised(3)
    page.goto(f"{at.url}/")
    press(page, "j", "j")
    expect(row(page, second).locator("a.open")).to_be_focused()
    press(page, "a")
    expect(row(page, second).locator(".assignee-cell")).to_have_text("Ada")
    at.wait_for(second, status="acknowledged", assignee="Ada")
    press(page, "Enter")
    shows(page, second)
    press(page, "n")
    page.keyboard.type("Called; c 1 is text here.")
    press(page, "Escape")
    page.keyboard.press("Tab")
    press(page, "c", "1")
    shows(page, first)
    found = at.alert(second)
    assert (found["outcome"], found["history"][-2]["note"]) == ("true_positive", "Called; c 1 is text here.")
    expect(page.locator("#toast")).to_contain_text(f"{second} closed as true")
    assert "done" not in page.url
    expect(page.locator("main textarea")).to_have_value("")
    press(page, "c", "2")
    shows(page, third)
    press(page, "s", "1")
    expect(page).to_have_url(f"{at.url}/")
    expect(page.locator("#alerts tr")).to_have_count(0)
    assert (at.alert(first)["outcome"], at.alert(third)["status"]) == ("false_positive", "open")
    assert at.alert(third)["snoozed_until"]
    press(page, "z")
    shows(page, third)
    at.wait_for(third, snoozed_until=None)
    assert complaints == []


def test_twenty_in_a_row(at: Desk, page: Page, complaints: list[str]) -> None:
    """Nobody waits for an answer: the rows change at once, and the answers come in their turn; each can be undone."""
    alerts = at.raised(22)
    page.goto(f"{at.url}/")
    press(page, "j")
    held: list[Route] = []
    page.route("**/work", lambda route: held.append(route))
    for _ in range(20):
        press(page, "c", "2")
    expect(row(page, alerts[19]).locator(".status")).to_have_text("Closed: false")
    expect(row(page, alerts[20]).locator("a.open")).to_be_focused()
    expect(page.locator("tr.pending")).to_have_count(20)
    assert len(held) == 1
    page.unroute("**/work")  # which lets it go
    expect(page.locator("tr.pending")).to_have_count(0)
    expect(page.locator("tr.gone")).to_have_count(20)
    assert [at.alert(one)["outcome"] for one in alerts[:20]] == ["false_positive"] * 20
    press(page, "z", "z")
    at.wait_for(alerts[18], status="open")
    expect(row(page, alerts[18]).locator(".status")).to_have_text("Open")
    expect(page.locator("tr.gone")).to_have_count(18)
    assert [at.alert(one)["status"] for one in alerts[17:]] == ["closed", "open", "open", "open", "open"]
    assert complaints == []


def test_keys_are_off(at: Desk, page: Page) -> None:
    """In fields, with a modifier, in a dialog, and once somebody has turned single ones off."""
    (alert,) = at.raised()
    page.goto(f"{at.url}/")
    press(page, "/")
    page.keyboard.type("c1x?")
    expect(page.locator("#find")).to_have_value("c1x?")
    press(page, "Escape", "Tab", "Control+j", "Alt+x")
    expect(page.locator("tr.current")).to_have_count(0)
    press(page, "j", "?", "x")
    expect(page.locator("#keys")).to_be_visible()
    assert barriers(page) == []
    page.get_by_label("Single keys are on").uncheck()
    press(page, "Escape")
    expect(page.locator("#keys")).to_be_hidden()
    press(page, "x", "c", "1", "?")
    for _ in range(2):
        expect(page.locator("#keys")).to_be_hidden()
        expect(page.locator("tbody :checked")).to_have_count(0)
        page.reload()
        press(page, "j", "x")
    page.get_by_role("button", name="Keys").click()
    page.get_by_label("Single keys are on").check()
    press(page, "Escape", "j", "x")
    expect(page.locator("tbody :checked")).to_have_count(1)
    assert at.alert(alert)["history"] == []


def test_two_close_one_alert(at: Desk, page: Page, grace: Page) -> None:
    """The second sees whose change came first, and keeps the note; on the page of the alert and in a list."""
    one, other = at.raised(2)
    for reader in (page, grace):
        reader.goto(f"{at.url}/alerts/{one}")
        reader.get_by_role("textbox", name="Note n").fill("My <b>reason</b>.")
    press(grace, "Tab", "c", "1")
    at.wait_for(one, status="closed")
    press(page, "Tab", "c", "2")
    card = page.locator("#notices .again")
    expect(card).to_contain_text("Grace closed as true")
    expect(card.get_by_label("Your note")).to_have_value("My <b>reason</b>.")
    expect(page.locator('[data-panel] [name="note"]')).to_have_value("My <b>reason</b>.")
    expect(page.locator("[data-panel] .status")).to_have_text("Open")
    assert barriers(page) == []
    card.get_by_role("button", name="Close as false all the same").click()
    at.wait_for(one, outcome="false_positive")

    page.goto(f"{at.url}/")
    at.call("PATCH", f"/alerts/{other}", {"assignee": "Grace", "note": "Mine."}, who="Grace")
    press(page, "j", "n")
    page.keyboard.type("Seen before.")
    press(page, "Control+Enter")
    expect(card).to_contain_text("Grace assigned to Grace")
    expect(row(page, other).locator(".assignee-cell")).to_have_text("Grace")
    expect(card.get_by_label("Your note")).to_have_value("Seen before.")
    card.get_by_role("button", name="Add the note all the same").click()
    expect(card).to_have_count(0)
    wait_until(lambda: at.alert(other)["history"][-1]["note"] == "Seen before.")


def test_many_at_once(at: Desk, page: Page, complaints: list[str]) -> None:
    """What was superseded while it was selected stays as it is, and is named; a selection outlives what comes anew."""
    alerts = at.raised(4)
    page.goto(f"{at.url}/")
    press(page, "j", "J", "J")
    page.evaluate("htmx.ajax('GET', '/desk/?sort=oldest', {target: '#main', swap: 'outerMorph'})")
    expect(page.locator("#alerts tr").first).to_have_attribute("data-alert", alerts[3])
    press(page, "*")
    expect(page.locator("#bulk [data-selected]")).to_have_text("4 selected")
    page.evaluate("htmx.ajax('GET', location.href, {target: '#main', swap: 'outerMorph'})")
    page.wait_for_load_state("networkidle")
    expect(page.locator("tbody :checked")).to_have_count(4)
    assert barriers(page) == []
    with transaction(at.sessions) as session:
        touch = "UPDATE alerts SET superseded = true, touched_at = clock_timestamp() WHERE user_id = :user_id"
        session.execute(text(touch), {"user_id": int(alerts[1].split("-")[0])})
    page.get_by_label("Note for each").fill("The same card.")
    page.locator("#bulk").get_by_role("button", name="True", exact=True).click()
    card = page.locator("#notices .bulk-tally")
    expect(card).to_contain_text("3 changed")
    expect(card.get_by_role("link", name=alerts[1])).to_be_visible()
    expect(page.locator("tbody :checked")).to_have_count(0)
    assert [at.alert(one)["status"] for one in alerts] == ["closed", "open", "closed", "closed"]
    assert complaints == []


def test_all_that_fit(at: Desk, page: Page) -> None:
    """They are worked 500 at a time; that goes on by itself until it is stopped, and says how far it is."""
    at.raised()
    events = [{"type": "withdraw", "amount": "150.00", "user_id": 900, "time": time} for time in range(600)]
    number = sum(len(one["alert_codes"]) for one in at.call("POST", "/events", events)["results"])
    held: list[Route] = []
    page.goto(f"{at.url}/?user_id=900")
    press(page, "j", "x")
    page.locator('#bulk [name="all"]').check()
    page.route(
        "**/bulk", lambda route: held.append(route) if "cursor" in str(route.request.post_data) else route.continue_()
    )
    press(page, "c", "3")
    said = page.locator("#notices .bulk-tally h2")
    expect(said).to_have_text("500 changed so far")
    page.get_by_role("button", name="Stop").click()
    page.unroute("**/bulk")  # which lets the next 500 go, which were asked for before
    expect(said).to_have_text("1,000 changed so far")
    expect(page.locator("#alerts tr")).to_have_count(50)
    page.get_by_role("button", name="Continue").click()
    expect(said).to_have_text(f"{number:,} changed")
    expect(page.locator("#alerts tr")).to_have_count(0)
    assert number > 1_000
    assert at.call("GET", "/alerts?user_id=900&closed=false")["alerts"] == []


def test_a_session_ended_in_mid_form(at: Desk, page: Page, context: BrowserContext) -> None:
    """What was typed stays; once one has signed in in another tab, it goes through."""
    (alert,) = at.raised()
    for path, is_list in ((f"/alerts/{alert}", False), ("/", True)):
        page.goto(at.url + path)
        cookies: Any = context.cookies()
        context.clear_cookies()
        if is_list:
            press(page, "j", "n")
            page.keyboard.type("Typed in a list.")
            press(page, "Control+Enter")
        else:
            page.get_by_role("textbox", name="Note n").fill("Typed on its page.")
            page.get_by_role("button", name="Add the note").click()
        card = page.locator("#notices .problem")
        expect(card.get_by_role("link", name="Sign in")).to_be_visible()
        context.add_cookies(cookies)
        if is_list:
            expect(card).to_contain_text("Typed in a list.")
        else:
            expect(page.get_by_role("textbox", name="Note n")).to_have_value("Typed on its page.")
        card.get_by_role("button", name="Retry").click()
        wait_until(lambda: len(at.alert(alert)["history"]) == 1 + is_list)  # noqa: B023 (it is called here)
    assert [line["note"] for line in at.alert(alert)["history"]] == ["Typed on its page.", "Typed in a list."]


def test_no_answer(at: Desk, page: Page, context: BrowserContext) -> None:
    """A row is again as it was, and a card offers to try once more."""
    (alert,) = at.raised()
    page.goto(f"{at.url}/")
    context.set_offline(True)
    press(page, "j", "c", "1")
    card = page.locator("#notices .problem")
    expect(card).to_contain_text("No answer")
    expect(row(page, alert).locator(".status")).to_have_text("Open")
    context.set_offline(False)
    card.get_by_role("button", name="Retry").click()
    at.wait_for(alert, status="closed")


def test_without_a_script(at: Desk, browser: Browser, cookies: dict[str, Any]) -> None:
    """An alert is closed and opened again, many are taken, and the next one is claimed."""
    second, first = at.raised(2)
    with profile(browser, storage_state=cookies["Ada"], java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{at.url}/?sort=oldest")
        row(page, first).locator("a.open").click()
        page.get_by_role("button", name=re.compile("^True")).click()
        expect(page).to_have_url(f"{at.url}/alerts/{second}?list=sort%3Doldest&done={first}%401-2")
        page.get_by_role("button", name="Undo").click()
        expect(page.locator("[data-panel] .status")).to_have_text("Open")
        page.goto(f"{at.url}/")
        for alert in (first, second):
            page.get_by_label(f"Select alert {alert}").check()
        page.locator("#bulk").get_by_role("button", name="Take").click()
        expect(page.locator(".bulk-tally h2")).to_have_text("2 changed")
        page.get_by_role("link", name="Back to the list").click()
        page.get_by_role("button", name="Next alert").click()
        expect(page.locator("#toast")).to_contain_text("Nothing is left that nobody has.")
    assert (at.alert(first)["status"], at.alert(second)["assignee"]) == ("acknowledged", "Ada")


def test_without_htmx(at: Desk, page: Page, context: BrowserContext, complaints: list[str]) -> None:
    """A script that did not arrive: keys say so and change nothing, buttons work."""
    [alert] = at.raised()
    context.route("**/htmx.min.js*", lambda route: route.abort())
    page.goto(f"{at.url}/")
    press(page, "j", "a")
    expect(page.locator("#notices .card h2")).to_have_text("A part of this page was not loaded")
    assert at.alert(alert)["status"] == "open"
    row(page, alert).locator("a.open").click()
    page.get_by_role("button", name=re.compile("^True")).click()
    expect(page.locator("#toast")).to_contain_text("closed as true")
    assert {text for text in complaints if "ERR_FAILED" not in text} == set()


def test_back_after_closing(at: Desk, page: Page) -> None:
    """One returns to the same filter, and to the row that one went from."""
    alerts = at.raised(4)
    page.goto(f"{at.url}/?sort=oldest&size=25")
    press(page, "j", "j", "Enter")
    shows(page, alerts[2])
    press(page, "c", "1")
    shows(page, alerts[1])
    page.get_by_role("link", name="Back to the list").click()
    expect(page).to_have_url(re.compile(r"/desk/\?sort=oldest&size=25"))
    expect(row(page, alerts[1]).locator("a.open")).to_be_focused()
    press(page, "Enter")
    shows(page, alerts[1])
    page.go_back()
    expect(row(page, alerts[1]).locator("a.open")).to_be_focused()
