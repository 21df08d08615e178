"""The pages of rules: the list, the form, trying values, saving them, two people at once, versions."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from database import backtests
from tests.contract.helpers import Sessions, an_event, codes
from tests.keys import add_key, bearer, look
from tests.long_history import lasting, wait_for
from tests.postgres import transaction

HTMX = {"HX-Request": "true"}
PAGE = "/desk/rules/123"


@pytest.fixture
def run_is(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replaces the process of a try by something else."""
    return lambda *command: monkeypatch.setattr("rules.hindsight.start.COMMAND", command)


def said(answer: TestResponse, status: int = 200) -> str:
    """What the page says, in one line, without its marks."""
    assert answer.status_code == status, answer.text
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def value_of(answer: TestResponse, name: str) -> str:
    """What stands in a field of the form."""
    found = re.search(rf'<input id="{re.escape(name)}" name="[^"]*" value="([^"]*)"', answer.text)
    assert found is not None, name
    return html.unescape(found[1])


def faults_in(answer: TestResponse) -> list[str]:
    """The fields at which a fault stands."""
    return sorted(re.findall(r'class="fault" id="([^"]*)-fault"', answer.text))


def save(client: FlaskClient, page: str = PAGE, **fields: str) -> TestResponse:
    """Send the form; a name has "__" where the form has a dash, and "_at_" where it has a dot."""
    return client.post(page, data={name.replace("__", "-").replace("_at_", "."): one for name, one in fields.items()})


def entered(client: FlaskClient, code: int = 123) -> Any:
    """What the rule is set to."""
    return client.get(f"/rules/{code}").get_json()


# The list


def test_the_list_has_each_rule_in_the_group_of_its_status(client: FlaskClient) -> None:
    """With its version, and a mark if it never fired, in shadow neither."""
    client.put("/rules/500", json={"status": "shadow", "parameters": {"count": 1}})
    codes(client, type="withdraw", amount="150.00", time=10)
    codes(client, type="withdraw", amount="1.00", time=11)
    answer = client.get("/desk/rules")
    page = said(answer)
    groups = [page.index(f"{name} ") for name in ("Active in answers", "Shadow its alerts", "Off judges nothing")]
    assert groups == sorted(groups)
    rows = {row.split()[0]: row for row in map(_cells, re.findall(r"<tr>(.*?)</tr>", answer.text, re.DOTALL))}
    assert [("never fired" in rows[code]) for code in ("1100", "500", "123", "690")] == [False, False, True, True]
    assert rows["500"].startswith("500 More than 1 action in 1 minute 2 ")


def _cells(row: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", row).split())


# The form


def test_the_form_is_what_is_declared(client: FlaskClient) -> None:
    """Each parameter with its value, unit, bounds, default and reason, and what holds for each rating."""
    answer = client.get(PAGE)
    assert (value_of(answer, "threshold"), value_of(answer, "window"), value_of(answer, "high.threshold")) == (
        "200.00",
        "30",
        "",
    )
    assert 'placeholder="100.00"' in answer.text  # at high risk
    page = said(answer)
    assert "Half a minute holds a burst" in page
    assert "0 s to 1 hour, 30 s by default." in page
    assert "Nothing differs from version 1." in page
    assert client.get("/desk/rules/7").status_code == 404


def test_a_read_only_caller_sees_it_and_changes_nothing(client: FlaskClient, sessions: Sessions) -> None:
    """Neither buttons nor fields to type in; the server refuses anyway."""
    key = add_key(sessions, scopes=["read"])
    look(client.application)
    page = client.get(PAGE, headers=bearer(key))
    assert '<fieldset class="card settings" disabled' in page.text
    assert not re.search(r"Save as a new|>Try it<|Restore", page.text)
    for path in (PAGE, f"{PAGE}/try", f"{PAGE}/restore", f"{PAGE}/review", f"{PAGE}/try/1/cancel"):
        assert client.post(path, data={"threshold": "1.00"}, headers=bearer(key)).status_code == 403


def test_a_review_says_what_would_change(client: FlaskClient) -> None:
    """As a part of the page while one types, and as the whole page without scripts; a note that was typed stays."""
    typed = {"threshold": "150.00", "high.window": "60", "new-note": "Why <not>", "new-status": "shadow"}
    part = client.post(f"{PAGE}/review", data=typed, headers=HTMX | {"HX-Target": "section#review"})
    assert said(part).startswith("What would change status Active → Shadow threshold 200.00 → 150.00")
    assert "window at high risk not set → 1 minute" in said(part)
    assert "These values were not tried" in said(part)
    assert "<form" not in part.text
    page = client.post(f"{PAGE}/review", data=typed)
    assert (value_of(page, "threshold"), "Why &lt;not&gt;</textarea>" in page.text) == ("150.00", True)
    assert entered(client)["version"] == 1


def test_activating_lists_its_consequences_first(client: FlaskClient) -> None:
    """For a rule in shadow or off they stand there before anything is sent."""
    page = said(client.get("/desk/rules/500"))
    assert "If it were made active It holds for every event of every user that is judged after the answer" in page
    assert "How many alerts a day that makes is not known: try these values first." in page


BAD_FORMS: Any = [
    ({"threshold": "much", "window": "-1"}, ["new-note", "threshold", "window"]),
    ({"new__note": "So.", "high_at_window": "0.5"}, ["high.window"]),
    ({"new__note": "So.", "new__status": "asleep"}, ["new-status"]),
    ({"new__note": "x" * 2001, "window": "31"}, ["new-note"]),
]


def test_faults_stand_at_their_fields(client: FlaskClient) -> None:
    """All of them at once; what was typed stays, and nothing is stored."""
    for fields, faults in BAD_FORMS:
        answer = save(client, **fields)
        assert answer.status_code == 400
        assert faults_in(answer) == faults
        for name in ("threshold", "window"):
            if name in fields:
                assert value_of(answer, name) == fields[name]
    assert entered(client)["version"] == 1


def test_values_that_contradict_each_other(client: FlaskClient) -> None:
    """They are a fault of the one that was changed."""
    answer = save(client, "/desk/rules/600", margin="20000.00", new__note="So.")
    assert "Must be at most threshold, which is 10000.00" in said(answer, 400)


def test_nothing_to_save(client: FlaskClient) -> None:
    """What is stored already makes no version."""
    assert "Nothing differs from what is stored." in said(save(client, new__note="So."), 400)
    assert entered(client)["version"] == 1


def test_saving_makes_a_version(client: FlaskClient) -> None:
    """With the note and who it was; emptying the field of a rating takes its value away."""
    answer = save(client, threshold="150", high_at_threshold="40", new__status="shadow", new__note="Quieter.")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{PAGE}?saved=2")
    stored = entered(client)
    assert (stored["version"], stored["status"], stored["note"], stored["author"]) == (
        2,
        "shadow",
        "Quieter.",
        "anonymous",
    )
    assert (stored["parameters"], stored["by_risk"]) == (
        {"threshold": "150.00", "window": 30},
        {"high": {"threshold": "40.00"}},
    )
    page = said(client.get(answer.headers["Location"]))
    assert "Saved as version 2." in page
    assert "Version 2 Shadow anonymous" in page
    assert "threshold 200.00 → 150.00" in page
    assert save(client, high_at_threshold="", new__note="All alike.").status_code == 303
    assert entered(client)["by_risk"] == {}


# Two people at once


def test_a_rule_that_has_moved(client: FlaskClient) -> None:
    """A 412 that stores nothing, shows what each has changed and marks conflicts; the next form saves the choices."""
    assert save(client, threshold="180.00", window="40", new__note="Theirs.", seen__version="1").status_code == 303
    mine = {"threshold": "150.00", "window": "30", "low.window": "9", "new-note": "Mine."}
    answer = client.post(PAGE, data=mine | {"seen-version": "1"})
    page = said(answer, 412)
    assert "anonymous was first" in page
    assert entered(client)["version"] == 2
    (conflict,) = re.findall(r'<tr class="conflict">.*?</tr>', answer.text, re.DOTALL)
    assert _cells(conflict) == "threshold conflict 200.00 Take theirs: 180.00 Keep mine: 150.00"
    chosen = dict(re.findall(r'name="([a-z._-]+)" value="([^"]*)" checked', answer.text))
    assert chosen == {"threshold": "150.00", "window": "40", "low.window": "9"}
    seen = re.search(r'name="seen-version" value="(\d+)"', answer.text)
    assert seen is not None
    assert ">Mine.</textarea>" in answer.text
    kept = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', answer.text))
    merged = kept | chosen | {"new-note": "Both."}
    assert client.post(PAGE, data=merged).status_code == 303
    assert (entered(client)["parameters"], entered(client)["by_risk"]) == (
        {"threshold": "150.00", "window": 40},
        {"low": {"window": 9}},
    )


def test_restoring_makes_a_new_version(client: FlaskClient) -> None:
    """With a note; a version that there is not, or that is the present one, cannot be restored."""
    assert save(client, threshold="150.00", new__note="Quieter.").status_code == 303

    def restore(**fields: str) -> TestResponse:
        return save(client, f"{PAGE}/restore", seen__version="2", **fields)

    refused = restore(version="1")
    assert ("Is needed: why is it changed?" in said(refused, 400), value_of(refused, "threshold")) == (True, "200.00")
    assert "Version 2 says what is stored now." in said(restore(version="2", new__note="So."), 400)
    assert restore(version="9", new__note="So.").status_code == 404
    assert restore(version="1", new__note="As it was.").status_code == 303
    stored = entered(client)
    assert (stored["version"], stored["parameters"]["threshold"], stored["note"]) == (3, "200.00", "As it was.")
    assert save(client, f"{PAGE}/restore", version="1", seen__version="2", new__note="So.").status_code == 412


def test_many_versions_come_page_by_page(client: FlaskClient) -> None:
    """Ten at a time, each with its difference to the one before, also at the end of a page."""
    for number in range(11):
        client.put("/rules/123", json={"parameters": {"window": 40 + number}, "note": f"n{number}"})
    first = client.get(PAGE)
    older = re.search(r'href="([^"]*before=\d+)"', first.text)
    assert older is not None
    assert re.findall(r"<b>Version (\d+)</b>", first.text) == [str(one) for one in range(12, 2, -1)]
    rest = client.get(older[1])
    assert re.findall(r"<b>Version (\d+)</b>", rest.text) == ["2", "1"]
    assert "window 41 s → 42 s" not in said(rest)
    assert "window 30 s → 40 s" in said(rest)


# Trying


def tried(client: FlaskClient, **fields: str) -> str:
    """Try the form and wait until it is done; returns the address of the try."""
    answer = save(client, f"{PAGE}/try", **fields)
    assert answer.status_code == 303, said(answer, answer.status_code)
    page, _, _ = answer.headers["Location"].partition("#")
    number = page.rpartition("=")[2]
    wait_for(lambda: client.get(f"/backtests/{number}").get_json()["status"] == "done")
    return page


@pytest.fixture
def history(client: FlaskClient) -> FlaskClient:
    """A client of a service with three alerts of 123 on two days, one closed as true and one as false."""
    for user_id, time, amount in ((1, 10, "250.00"), (2, 20, "300.00"), (3, 90_000, "400.00"), (4, 90_001, "190.00")):
        codes(client, user_id=user_id, time=time, amount=amount)
    for alert, outcome in (("1-1-123", "true_positive"), ("2-1-123", "false_positive")):
        client.patch(f"/alerts/{alert}", json={"status": "closed", "outcome": outcome})
    return client


def test_what_a_try_finds_is_what_the_command_finds(history: FlaskClient) -> None:
    """Before and after, true lost and false spared, examples, each step of a sweep, and the first within the budget."""
    page = tried(
        history,
        threshold="300.00",
        sweep="threshold",
        sweep__from="150.00",
        sweep__to="350.00",
        sweep__step="100.00",
        at__most="1",
    )
    options = ["--set", "threshold=300.00", "--sweep", "threshold=150:350:100", "--at-most", "1", "--json"]
    command = history.application.test_cli_runner().invoke(args=["backtest", "--rule", "123", *options])
    found = json.loads(command.stdout)
    answer = history.get(page)
    shown = said(answer)
    assert (found["then"]["alerts_per_day"], found["now"]["alerts_per_day"], found["true_lost"]) == (1.5, 0.5, 1)
    assert f"Alerts a day {found['then']['alerts_per_day']:.2f} {found['now']['alerts_per_day']:.2f}" in shown
    assert f"Users hit {found['then']['users']} {found['now']['users']}" in shown
    assert f"{found['true_lost']} true lost of {found['true_positives']} closed as true (100 %)" in shown
    assert f"{found['false_spared']} false spared of {found['false_positives']} closed as false (100 %)" in shown
    assert [one["id"] for one in found["removed_alerts"]] == re.findall(r"/desk/alerts/([0-9-]+)\">Alert", answer.text)
    assert "Alert 1-1-123 true lost" in shown
    assert "Alert 2-1-123 false spared" in shown
    steps = re.findall(r"<tr[^>]*>\s*<td class=\"number nowrap\">.*?</tr>", answer.text, re.DOTALL)
    assert [_cells(step) for step in steps] == [
        " ".join(
            [
                one["value"],
                f"{one['alerts_per_day']:.2f}",
                *(str(one[name]) for name in ("users", "added", "removed", "true_lost", "false_spared")),
            ]
        )
        for one in found["sweep"]
    ]
    assert f"threshold {found['quiet_enough']} is the first within the budget: 1.00 alerts a day" in shown
    assert (value_of(answer, "threshold"), value_of(answer, "at-most")) == ("300.00", "1")


def test_a_step_of_the_sweep_fills_the_form(history: FlaskClient) -> None:
    """Its link is an address; the page says that the form has changed since the try, and what was not tried."""
    page = tried(history, threshold="300.00", sweep="threshold", sweep__from="150", sweep__to="350", sweep__step="100")
    shown = said(history.get(page))
    assert ("These values were tried in #" in shown, "The form has changed since this try" in shown) == (True, False)
    link = re.search(r'href="([^"]*threshold=250.00)#form"', history.get(page).text)
    assert link is not None
    step = history.get(html.unescape(link[1]))
    assert value_of(step, "threshold") == "250.00"
    assert "The form has changed since this try" in said(step)
    assert "These values were not tried" in said(step)
    saved = save(history, threshold="250.00", new__note="Within the budget.")
    assert saved.status_code == 303
    assert "It was tried beside version 1; the rule is at version 2 now." in said(history.get(page))


BAD_TRIES: Any = [
    ({"threshold": "much", "sweep": "threshold"}, ["threshold"]),
    ({"sweep": "colour"}, ["sweep"]),
    ({"sweep": "threshold", "sweep__from": "x", "sweep__step": "0"}, ["sweep-from", "sweep-step"]),
    ({"sweep": "threshold", "sweep__to": "99999", "sweep__step": "0.01"}, ["sweep-step"]),
    ({"at__most": "10"}, ["at-most"]),
    ({"period__from": "20", "period__to": "10"}, ["period-to"]),
    ({"period__from": "yesterday", "at__most": "few", "sweep": "window"}, ["at-most", "period-from"]),
]


def test_what_cannot_be_tried(client: FlaskClient) -> None:
    """Each field says why, and nothing is started."""
    for fields, faults in BAD_TRIES:
        answer = save(client, f"{PAGE}/try", **fields)
        assert answer.status_code == 400
        assert faults_in(answer) == faults
    assert client.get("/backtests").get_json()["backtests"] == []


def test_a_sweep_through_values_that_contradict_others(client: FlaskClient) -> None:
    """It is refused as a whole."""
    answer = save(client, "/desk/rules/670/try", sweep="count", sweep__from="10", sweep__to="30", sweep__step="10")
    assert faults_in(answer) == ["sweep"]


def test_progress_is_asked_for_until_it_is_done(client: FlaskClient, run_is: Any, tmp_path: Path) -> None:
    """A part of the page that asks for itself again, later and later; when it has ended, the whole try in its place."""
    with lasting(tmp_path) as command:
        run_is(*command)
        answer = save(client, f"{PAGE}/try", window="60")
        page, _, _ = answer.headers["Location"].partition("#")
        number = page.rpartition("=")[2]
        running = client.get(page)
        assert f'hx-get="{PAGE}/try/{number}" hx-trigger="load delay:' in running.text
        part = client.get(f"{PAGE}/try/{number}", headers=HTMX)
        assert (part.text.strip().startswith('<div id="try-progress"'), "HX-Retarget" in part.headers) == (True, False)
        assert client.get(f"{PAGE}/try/{number}").headers["Location"] == f"{page}#try"
        other = save(client, "/desk/rules/30/try", count="4")
        assert "Another backtest is running #" in said(other, 409)
        assert f'href="{page}"' in other.text
        assert ("started by anonymous" in said(other, 409), value_of(other, "count")) == (True, "4")
        assert client.post(f"{PAGE}/try/{number}/cancel", data={"x": ""}).status_code == 303
        ended = client.get(f"{PAGE}/try/{number}", headers=HTMX)
        assert (ended.headers["HX-Retarget"], "It was cancelled" in said(ended)) == ("#try", True)
        assert 'hx-trigger="load delay' not in ended.text


def test_a_result_of_an_earlier_release(client: FlaskClient, sessions: Sessions, run_is: Any) -> None:
    """It does not say what alerts turned out to be: the page shows a dash there, and all the rest."""
    run_is("true")
    page, _, _ = save(client, f"{PAGE}/try", window="60", sweep="window").headers["Location"].partition("#")
    figures = {"alerts": 1, "users": 1, "alerts_per_day": 1.0}
    with_day = figures | {"busiest_day": None}
    step = {"value": 60, **figures, "added": 0, "removed": 0}
    sample = {"id": "1-1-123", "user_id": 1, "seq": 1, "code": 123, "time": 10, "evidence": {}}
    result = {"actions": 1, "users": 1, "from": 0, "to": 0, "days": 1, "then": with_day, "now": with_day, "added": 0}
    result |= {"removed": 1, "added_alerts": [], "removed_alerts": [sample], "sweep": [step]}
    with transaction(sessions) as session:
        session.execute(text("UPDATE backtests SET status = 'running'"))
        backtests.end(session.connection(), int(page.rpartition("=")[2]), status="done", result=json.dumps(result))
    shown = said(client.get(page))
    assert "– true lost not known of this older try" in shown
    assert "60 1.00 1 0 0 – –" in shown


def test_a_try_of_something_else(client: FlaskClient, run_is: Any) -> None:
    """A backtest of another rule, or of several, has no place here."""
    run_is("true")
    number = client.post("/backtests", json={"rules": {"30": {}}}).get_json()["id"]
    assert client.get(f"{PAGE}?try={number}").status_code == 404
    assert client.get(f"/desk/rules/30?try={number}").status_code == 200
    assert client.get(f"{PAGE}?try=999").status_code == 404


# In shadow


def test_a_rule_in_shadow_shows_what_it_raised(client: FlaskClient) -> None:
    """The newest of its shadow alerts, each with a link."""
    client.put("/rules/1100", json={"status": "shadow", "note": "A look."})
    assert client.post("/event", json=an_event(type="withdraw", amount="150.00", time=10)).get_json()["alert"] is False
    answer = client.get("/desk/rules/1100")
    assert "What it raised in shadow, the newest" in said(answer)
    assert 'href="/desk/alerts/1-1-1100">Alert 1-1-1100' in answer.text


def test_what_people_wrote_is_text(client: FlaskClient) -> None:
    """A note is no markup, wherever it is shown."""
    note = "<script>alert(1)</script>"
    client.put("/rules/123", json={"parameters": {"window": 9}, "note": note})
    page = client.get(PAGE)
    moved = save(client, window="10", seen__version="1", new__note=note)
    assert (note in page.text, note in moved.text) == (False, False)
    assert html.escape(note) in page.text
