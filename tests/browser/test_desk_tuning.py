"""A rule is tuned by its page alone: from 40 alerts a day to a budget of 10, with the figures of the command."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import profile
from tests.browser.desk import barriers, desk
from tests.service import ROOT, Service
from tests.waiting import PATIENCE

DAYS, A_DAY = 3, 40
DAY = 86_400
PAGE = "/desk/rules/1100"


def withdrawals() -> Iterator[dict[str, Any]]:
    """40 withdrawals over 100.00 on each of three days: of 101.00, 111.00 and so on up to 491.00."""
    for day in range(DAYS):
        for number in range(A_DAY):
            amount, time = f"{101 + 10 * number}.00", day * DAY + 1_000 * number
            yield {"type": "withdraw", "amount": amount, "user_id": 100 * day + number + 1, "time": time}


@pytest.fixture(scope="module")
def service(shared_database_url: str) -> Iterator[Service]:
    """A service with 40 alerts of 1100 a day, of which one is closed as true and two as false."""
    with desk(shared_database_url) as service:
        answer = requests.post(f"{service.url}/events", json=list(withdrawals()), timeout=PATIENCE)
        assert answer.json()["accepted"] == DAYS * A_DAY
        for outcome, users in (("true_positive", (10,)), ("false_positive", (1, 2))):
            change: Any = {"status": "closed", "outcome": outcome}
            asked = {"ids": [f"{user}-1-1100" for user in users], "set": change}
            assert requests.post(f"{service.url}/alerts/bulk", json=asked, timeout=PATIENCE).json()["changed"] == len(
                users
            )
        yield service


def command(database_url: str, *options: str) -> Any:
    """What the command says of rule 1100."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "flask",
            "--app",
            str(ROOT / "app.py"),
            "backtest",
            "--rule",
            "1100",
            *options,
            "--json",
        ],
        env=os.environ | {"DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout)


def rows(page: Page, of: str) -> list[list[str]]:
    """The cells of a table's body."""
    return [row.locator("th, td").all_inner_texts() for row in page.locator(f"{of} tbody tr").all()]


def test_a_rule_is_tuned_to_a_budget(
    service: Service, page: Page, complaints: list[str], shared_database_url: str
) -> None:
    """Swept, one value of the sweep taken and tried, saved; the page says at each step what the command says."""
    page.goto(service.url + PAGE)
    page.select_option("#sweep", "threshold")
    for name, value in (("from", "100"), ("to", "500"), ("step", "50")):
        page.fill(f"#sweep-{name}", value)
    page.fill("#at-most", "10")
    page.click("button:has-text('Try it')")
    # It polls by itself until the figures are there.
    expect(page.locator(".sweep-found")).to_contain_text("is the first within the budget")
    steps = [[cell.replace("now", "").strip() for cell in row] for row in rows(page, ".steps")]
    within = page.locator(".sweep-found b").inner_text().removeprefix("threshold ")
    page.locator(".sweep-chart a", has=page.locator(".within")).click()  # a click on the curve
    expect(page.locator("#threshold")).to_have_value(within)
    expect(page.locator("#review")).to_contain_text("These values were not tried")
    expect(page.locator("#try")).to_contain_text("The form has changed since this try")
    page.select_option("#sweep", "")
    page.fill("#at-most", "")
    page.click("button:has-text('Try it')")
    expect(page.locator("#review")).to_contain_text("These values were tried in #2 on 3 days.")
    options = ("--set", f"threshold={within}", "--sweep", "threshold=100:500:50", "--at-most", "10")
    found = command(shared_database_url, *options)
    names = ("users", "added", "removed", "true_lost", "false_spared")
    assert steps == [
        [one["value"], f"{one['alerts_per_day']:.2f}", *(f"{one[name]}" for name in names)] for one in found["sweep"]
    ]
    assert found["quiet_enough"] == within
    shown = {name: (then, now) for name, then, now in rows(page, ".before-after")}
    assert (found["then"]["alerts_per_day"], found["now"]["alerts_per_day"] <= 10) == (40.0, True)
    assert shown["Alerts a day"] == ("40.00", f"{found['now']['alerts_per_day']:.2f}")
    assert shown["Users hit"] == (str(found["then"]["users"]), str(found["now"]["users"]))
    figures = [re.split(r"\s+", one.strip(), maxsplit=1)[0] for one in page.locator(".figures li").all_inner_texts()]
    assert figures == [str(found[name]) for name in ("added", "removed", "true_lost", "false_spared")]
    assert page.locator(".samples a").all_inner_texts()[0] == "Alert 10-1-1100"  # the true one that would be lost
    page.fill("#new-note", "Ten a day are what we can look at.")
    page.click("button:has-text('Save as a new version')")
    expect(page.locator("#toast")).to_contain_text("Saved as version 2.")
    stored = requests.get(f"{service.url}/rules/1100", timeout=PATIENCE).json()
    assert (stored["parameters"]["threshold"], stored["note"]) == (within, "Ten a day are what we can look at.")
    assert complaints == []


def test_what_would_change_is_said_while_one_types(service: Service, page: Page, complaints: list[str]) -> None:
    """Without losing the place in the form, and what is wrong too; parts that came later are alive."""
    page.goto(service.url + "/desk/rules/123")
    page.fill("#threshold", "150")
    expect(page.locator("#review")).to_contain_text("Deposits over 150.00 in 30 s")
    page.locator("#threshold").press_sequentially("x")
    expect(page.locator("#review")).to_contain_text("must be money such as")
    page.locator("#threshold").press("Backspace")
    expect(page.locator("#review .fault")).to_have_count(0)
    expect(page.locator("#threshold")).to_be_focused()
    assert complaints == []


def test_it_is_tuned_without_scripts(service: Service, browser: Browser) -> None:
    """Review, try and save are forms, and each value is an address."""
    with profile(browser, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(service.url + "/desk/rules/30?count=4")
        page.click(".save button:has-text('Review')")
        expect(page.locator("#review")).to_contain_text("3 → 4")
        page.fill("#new-note", "One more.")
        page.click("button:has-text('Save as a new version')")
        expect(page.locator("#toast")).to_contain_text("Saved as version 2.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_from_tuning(service: Service, browser: Browser, scheme: Any) -> None:
    """With faults and with somebody else's change in the way, wide and narrow."""
    for width in (1280, 390):
        with profile(browser, color_scheme=scheme, viewport={"width": width, "height": 800}) as context:
            page = context.new_page()
            page.goto(f"{service.url}/desk/rules/600?margin=much")
            assert barriers(page) == []
            page.goto(f"{service.url}/desk/rules/600")
            page.evaluate("document.querySelector('[name=seen-version]').value = 99")
            page.fill("#margin", "7.00")
            page.click("button:has-text('Save as a new version')")
            expect(page.locator(".moved")).to_be_visible()
            assert barriers(page) == []
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
