"""The pages of users: the list, the story and its figures, how a user is judged, and what is changed there."""

import random
import re
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from database import user_lists
from database.models import LogEntry, User, UserAction, UserSettings
from routes.desk import user_timeline
from tests.contract.helpers import Sessions, codes
from tests.keys import add_key, bearer, look

HTML = {"Accept": "text/html"}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin", **HTML}
HOSTILE = '<script>alert("1")</script>'


def text_of(answer: TestResponse) -> str:
    """What is written on a page, in one line."""
    words = re.sub(r"<[^>]*>", " ", answer.text)
    return " ".join(unescape(words).split())


def send(client: FlaskClient, path: str, **fields: object) -> TestResponse:
    """Send a form from a page."""
    return client.post(path, data=fields, headers=SAME_ORIGIN)


def settings(client: FlaskClient, user_id: int = 1) -> dict[str, Any]:
    """How the API shows a user."""
    answer: dict[str, Any] = client.get(f"/users/{user_id}").get_json()
    return answer


# The list.


def test_the_list(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each user with name, balance, rating and open alerts; page by page, and by id."""
    monkeypatch.setattr("routes.desk.users.SIZE", 2)
    assert "There are no users yet" in text_of(client.get("/desk/users"))
    client.post("/users", json={"user_id": 1, "name": HOSTILE, "total": "100.00"})
    client.post("/users", json={"user_id": 2, "risk": "high"})
    client.post("/users", json={"user_id": 30})
    codes(client, type="withdraw", amount="150.00", time=1)
    codes(client, type="withdraw", amount="150.00", time=2)
    client.patch("/alerts/1-2-1100", json={"status": "closed", "outcome": "false_positive"})
    first = client.get("/desk/users")
    assert f"1 {HOSTILE} Normal -200.00 2 1 2 – High 0.00 0 –" in text_of(first)
    assert HOSTILE not in first.text
    assert "/desk/users?after=2" in first.text
    assert "30 – Normal" in text_of(client.get("/desk/users?after=2"))
    assert client.get("/desk/users?user=30").headers["Location"] == "/desk/users/30"
    assert "There is no user 31." in text_of(client.get("/desk/users?user=31"))
    assert client.get("/desk/users?risk=odd").status_code == 400


def test_users_with_a_rating(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked for among so many users at a time; the search goes on where it broke off."""
    monkeypatch.setattr(user_lists, "LOOKED_AT", 3)
    monkeypatch.setattr(user_lists, "_PAGE", {True: user_lists._page(with_risk=True)})
    for number in range(1, 8):
        client.post("/users", json={"user_id": number, "risk": "high" if number == 5 else "normal"})
    seen = client.get("/desk/users?risk=high")
    assert "None of the users up to 3 is rated high" in text_of(seen)
    assert "/desk/users?risk=high&amp;after=3" in seen.text
    found = client.get("/desk/users?risk=high&after=3")
    assert "5 – High" in text_of(found)
    assert "after=6" in found.text
    assert "No users here" in text_of(client.get("/desk/users?risk=high&after=6"))


def test_open_alerts_are_counted_among_the_newest(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many of a user's alerts are looked at; that there are others is said."""
    monkeypatch.setattr(user_lists, "NEWEST", 1)
    monkeypatch.setattr(user_lists, "_PAGE", {False: user_lists._page(with_risk=False)})
    codes(client, type="withdraw", amount="150.00", time=1)
    assert "-150.00 1 1" in text_of(client.get("/desk/users"))
    codes(client, type="withdraw", amount="150.00", time=2)
    assert "-300.00 2 1+" in text_of(client.get("/desk/users"))


def test_alerts_opened_from_a_user_are_the_users(client: FlaskClient) -> None:
    """Closing one leads to the next alert of that user, not to somebody else's, and then back."""
    for user_id in (1, 2):
        codes(client, type="withdraw", amount="150.00", user_id=user_id)
    page = client.get("/desk/users/1").text
    links = set(re.findall(r'href="(/desk/alerts/[^"]*)"', page))
    assert links == {"/desk/alerts/1-1-1100?list=user_id%3D1"}
    assert 'data-list="user_id=1"' in page
    form = {"etag": 0, "outcome": "true_positive", "then": "next", "list": "user_id=1"}
    answer = client.post("/desk/alerts/1-1-1100/work", data=form)
    assert answer.headers["Location"] == "/desk/?user_id=1&done=1-1-1100%401-2"


# The story.


def story(client: FlaskClient, query: str = "", user_id: int = 1) -> dict[str, Any]:
    """The stretch of the story that the script draws."""
    answer = client.get(f"/desk/users/{user_id}/timeline{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def post_many(client: FlaskClient, number: int, seed: int = 1) -> None:
    """Post events of user 1, of which some are late."""
    chance = random.Random(seed)
    events, time = [], 1_000
    for _ in range(number):
        time += chance.choice((0, 1, 3, 50))
        late = chance.random() < 0.05
        events.append(
            {
                "type": chance.choice(("deposit", "withdraw")),
                "amount": f"{chance.randint(1, 9_000) / 100:.2f}",
                "user_id": 1,
                "time": max(time - chance.randint(1, 5_000), 0) if late else time,
            }
        )
    for start in range(0, number, 1_000):
        assert client.post("/events", json=events[start : start + 1_000]).status_code == 200


def stored(sessions: Sessions) -> list[tuple[int, int, Decimal]]:
    """The stored actions in order of time: time, seq, and the amount, negative if it was withdrawn."""
    with sessions() as session:
        rows = session.scalars(select(UserAction).order_by(UserAction.time, UserAction.seq)).all()
        return [(row.time, row.seq, row.amount if row.type == "deposit" else -row.amount) for row in rows]


def check_columns(found: dict[str, Any], actions: list[tuple[int, int, Decimal]], *, exact: bool) -> None:
    """The columns say of each stretch what the stored actions say of it."""
    within = [one for one in actions if found["from"] <= one[0] <= found["to"]]
    balance = Decimal("100.00") + sum((amount for time, _, amount in actions if time < found["from"]), Decimal(0))
    assert (found["size"], Decimal(found["before"]), found["sampled"]) == (len(within), balance, not exact)
    counted, ends = 0, found["from"] - 1
    for start, end, deposits, deposited, withdrawals, withdrawn, least, most, after in found["columns"]:
        assert ends < start <= end
        ends = end
        own = [amount for time, _, amount in within if start <= time <= end]
        balances = [balance]
        for amount in own:
            balances.append(balances[-1] + amount)
        paid_in, paid_out = [one for one in own if one > 0], [-one for one in own if one < 0]
        assert (deposits, Decimal(deposited)) == (len(paid_in), sum(paid_in, Decimal(0)))
        assert (withdrawals, Decimal(withdrawn)) == (len(paid_out), sum(paid_out, Decimal(0)))
        if exact:
            assert (Decimal(least), Decimal(most)) == (min(balances), max(balances))
        else:
            assert min(balances) <= Decimal(least) <= Decimal(most) <= max(balances)
        balance = balances[-1]
        assert Decimal(after) == balance
        counted += len(own)
    assert counted == len(within)


def test_each_action_of_a_short_story(client: FlaskClient, sessions: Sessions) -> None:
    """In order of time, with the balance after it; alerts that came late or were superseded are told."""
    client.post("/users", json={"user_id": 1, "total": "100.00"})
    for time in (100, 110, 120):
        codes(client, type="withdraw", amount="10.00", time=time)
    codes(client, type="deposit", amount="90.00", time=115)  # late: no longer three withdrawals in a row
    codes(client, type="deposit", amount="150.00", time=200)
    codes(client, type="deposit", amount="60.00", time=190)  # late: with it, the sum is over 200.00
    found = story(client)
    assert [one[:1] + one[3:] for one in found["actions"]] == [
        [1, 100, "90.00"],
        [2, 110, "80.00"],
        [4, 115, "170.00"],
        [3, 120, "160.00"],
        [6, 190, "220.00"],
        [5, 200, "370.00"],
    ]
    assert (found["first"], found["last"], found["before"], found["columns"]) == (100, 200, "100.00", [])
    told = {one["id"]: (one["late"], one["superseded"]) for one in found["alerts"]}
    assert told == {"1-3-30": (False, True), "1-5-123": (True, False)}
    assert [one[0] for one in story(client, "?from=111&to=130")["actions"]] == [4, 3]
    assert story(client, "?from=111&to=130")["before"] == "80.00"
    page = client.get("/desk/users/1")
    assert 'aria-label="The balance over time: 6 actions, from 80.00 to 370.00, 370.00 at the end"' in page.text
    shown = text_of(page)
    assert "4 115 Deposit 90.00 – – now late" in shown
    assert "3 120 Withdrawal 10.00 30 30 superseded now 4" in shown
    assert "5 200 Deposit 150.00 – 123 late now 6" in shown


def test_columns_of_a_long_story(client: FlaskClient, sessions: Sessions) -> None:
    """Of 6,000 actions, some of them late, the figures of all columns are those of the stored actions."""
    client.post("/users", json={"user_id": 1, "total": "100.00"})
    post_many(client, 6_000)
    actions = stored(sessions)
    found = story(client)
    assert (found["actions"], found["size"]) == ([], 6_000)
    assert len(found["columns"]) > 100
    check_columns(found, actions, exact=True)
    middle = (found["first"] + found["last"]) // 2
    closer = story(client, f"?from={middle}&to={middle + 500}")
    assert [one[0] for one in closer["actions"]] == [seq for time, seq, _ in actions if middle <= time <= middle + 500]


@pytest.mark.parametrize("summed", [0, 10_000], ids=["at moments", "of all"])
def test_columns_however_they_are_read(
    summed: int, client: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With cuts of late events, in stretches of the story, and with the balance at some moments only."""
    monkeypatch.setattr("database.late_counts.STRETCH", 5)  # so that many stretches have something to be added
    monkeypatch.setattr(user_timeline, "SUMMED", summed)
    client.post("/users", json={"user_id": 1, "total": "100.00"})
    post_many(client, 150, seed=2)
    actions = stored(sessions)
    first, last = actions[0][0], actions[-1][0]
    for start, end, columns in ((0, last, 7), (first + 40, last - 300, 30), (first, last + 9, 400), (0, 2**63 - 1, 1)):
        with sessions() as session:
            user = session.get_one(User, 1)
            found = user_timeline.read_story(session, user, start, end, points=3, columns=columns)
        assert found is not None
        check_columns(found.shown(), actions, exact=bool(summed))


def test_alerts_of_a_long_story(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of each column; that there are more is said."""
    monkeypatch.setattr(user_timeline.read_story, "__kwdefaults__", {"points": 3, "columns": 2, "with_alerts": True})
    monkeypatch.setattr(user_timeline, "ALERTS_OF_COLUMN", 1)
    for time in (10, 11, 100):
        assert 1100 in codes(client, type="withdraw", amount="150.00", time=time)
    assert [one["id"] for one in story(client, "?from=10&to=99")["alerts"]] == ["1-1-1100", "1-2-1100"]
    codes(client, type="deposit", amount="1.00", time=50)
    found = story(client)
    assert len(found["columns"]) == 2
    assert ([one["time"] for one in found["alerts"]], found["more_alerts"]) == ([11, 100], True)


def test_nothing_to_show(client: FlaskClient) -> None:
    """A user without actions has a page; one who is not there is a 404."""
    client.post("/users", json={"user_id": 1, "name": HOSTILE})
    page = client.get("/desk/users/1")
    assert "No actions yet" in text_of(page)
    assert HOSTILE not in page.text
    assert story(client) == {}
    for path in ("", "/timeline", "/settings"):
        assert client.get(f"/desk/users/7{path}", headers=HTML).status_code == 404
    assert client.get("/desk/users/1/timeline?from=x").status_code == 400


def test_pages_of_actions(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest event time first; a page can be asked for by itself."""
    monkeypatch.setattr("routes.desk.user.ACTIONS", 2)
    for time in (10, 20, 30):
        codes(client, time=time)
    first = client.get("/desk/users/1")
    assert "3 30 Deposit" in text_of(first)
    assert "/desk/users/1?actions=20-2#actions" in first.text
    part = client.get("/desk/users/1?actions=20-2", headers={"HX-Request": "true", "HX-Target": "section#actions"})
    assert part.text.startswith("<section")
    assert "1 10 Deposit" in text_of(part)
    assert "2 20 Deposit" not in text_of(part)


def test_late_by_the_last_arrivals(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An action is late if one of so many that arrived before it has a later time."""
    for time in (10, 99, 20, 30):
        codes(client, time=time)
    assert text_of(client.get("/desk/users/1")).count("now late") == 2
    monkeypatch.setattr(user_lists, "ARRIVALS", 1)
    assert text_of(client.get("/desk/users/1")).count("now late") == 1


# How a user is judged.


def test_values_in_force(client: FlaskClient) -> None:
    """Each with its origin, and what a version changed."""
    client.post("/users", json={"user_id": 1})
    client.put("/rules/123", json={"by_risk": {"high": {"window": 60}}, "note": "x"})
    client.patch("/users/1", json={"risk": "high", "overrides": {"1100": {"threshold": "70.00"}}, "note": HOSTILE})
    page = client.get("/desk/users/1")
    shown = text_of(page)
    assert "1100 Withdrawal over 70.00 threshold 70.00 own value" in shown
    assert "threshold 100.00 scaled by rating window 1 minute for the rating" in shown
    assert "30 3 withdrawals in a row count 3 default" in shown
    assert "by anonymous rating Normal → became High 1100 threshold none → became 70.00" in shown
    assert HOSTILE in shown
    assert HOSTILE not in page.text


def test_a_change(client: FlaskClient, sessions: Sessions) -> None:
    """Rating and values, with a note; what is left empty is taken away."""
    client.post("/users", json={"user_id": 1})
    path = "/desk/users/1/settings"
    assert "Money thresholds scale by 0.5" in text_of(client.get(path))
    form = {"version": "0", "risk": "high", "own-1100-threshold": "70", "own-123-window": "60", "note": "Watched."}
    answer = send(client, path, **form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/desk/users/1?said=settings")
    user = settings(client)
    assert (user["risk"], user["overrides"]) == ("high", {"123": {"window": 60}, "1100": {"threshold": "70.00"}})
    assert "Saved." in text_of(client.get(answer.headers["Location"]))
    assert 'value="70.00"' in client.get(path).text
    assert send(client, path, version="1", risk="low", note="No longer.").status_code == 303
    user = settings(client)
    assert (user["risk"], "overrides" in user) == ("low", False)
    with sessions() as session:
        rows = session.scalars(select(UserSettings).order_by(UserSettings.version)).all()
        assert [(row.author, row.note) for row in rows] == [("anonymous", "Watched."), ("anonymous", "No longer.")]
        assert len(session.scalars(select(LogEntry).where(LogEntry.kind == "user")).all()) == 2


def test_what_would_change(client: FlaskClient) -> None:
    """It is shown before anything is saved."""
    client.post("/users", json={"user_id": 1})
    path = "/desk/users/1/settings"
    form = {"version": "0", "risk": "high", "own-123-window": "60", "do": "check", "note": "Typed."}
    answer = send(client, path, **form)
    assert answer.status_code == 200
    shown = text_of(answer)
    assert "threshold, scaled by rating 100.00 50.00" in shown
    assert "window, own value 30 s 1 minute" in shown
    assert "620" not in shown.partition("What would change")[2].partition("Why")[0]  # it is off
    assert ">Typed.</textarea>" in answer.text
    assert settings(client)["risk"] == "normal"
    assert "No value in force would change." in text_of(send(client, path, version="0", risk="normal", do="check"))


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"own-1100-threshold": "x"}, "own-1100-threshold", "must be money"),
        ({"own-123-window": "1.5"}, "own-123-window", "must be a whole number of seconds"),
        ({"risk": "odd"}, "risk", "Input should be"),
        ({"note": ""}, "note", "Say why"),
        ({"note": "x" * 2_001}, "note", "at most 2000"),
        ({"own-650-count": "9", "own-650-among": "5"}, "own-650", "must be"),
        ({"version": ""}, "", "lost the version"),
        ({"version": "9"}, "", "lost the version"),
    ],
)
def test_a_refused_change(fields: dict[str, str], field: str, sentence: str, client: FlaskClient) -> None:
    """The fault stands at its field, and what was typed stays."""
    client.post("/users", json={"user_id": 1})
    form = {"version": "0", "risk": "high", "note": "Typed.", "own-300-count": "7"} | fields
    answer = send(client, "/desk/users/1/settings", **form)
    assert answer.status_code == (412 if fields.get("version") else 400)
    assert sentence in text_of(answer)
    assert f'id="{field}' in answer.text
    assert re.search(r'name="own-300-count"[^>]*value="7"', answer.text)
    assert settings(client)["risk"] == "normal"


def test_somebody_was_quicker(client: FlaskClient) -> None:
    """What was changed meanwhile is shown, what was typed stays, and it can be saved after all."""
    client.post("/users", json={"user_id": 1})
    client.patch("/users/1", json={"risk": "low", "note": "Before."})
    client.patch("/users/1", json={"overrides": {"30": {"count": 5}}, "note": "Meanwhile."})
    form = {"version": "1", "risk": "high", "own-1100-threshold": "70", "note": "Mine."}
    answer = send(client, "/desk/users/1/settings", **form)
    assert answer.status_code == 412
    shown = text_of(answer)
    assert "Version 2" in shown
    assert "30 count none → became 5 Meanwhile." in shown
    assert "Before." not in shown
    assert re.search(r'name="own-1100-threshold"[^>]*value="70"', answer.text)
    assert ">Mine.</textarea>" in answer.text
    assert settings(client)["risk"] == "low"
    for more in ({"do": "check"}, {"note": ""}):  # whatever one asks for, one is told
        told = text_of(send(client, "/desk/users/1/settings", **form | more))
        assert "30 count none → became 5 Meanwhile." in told
    (version,) = re.findall(r'name="version" value="(\d+)"', answer.text)
    assert send(client, "/desk/users/1/settings", **form | {"version": version}).status_code == 303
    assert settings(client)["overrides"] == {"1100": {"threshold": "70.00"}}


# Mutes.


def test_mutes(client: FlaskClient) -> None:
    """A rule is muted for a number of days with a note, and no longer."""
    client.post("/users", json={"user_id": 1})
    answer = send(client, "/desk/users/1/mutes", code="1100", days="180", note=HOSTILE)
    assert answer.status_code == 303
    assert [mute["note"] for mute in client.get("/users/1/mutes").get_json()["mutes"]] == [HOSTILE]
    page = client.get("/desk/users/1")
    assert "by anonymous" in text_of(page)
    assert HOSTILE not in page.text
    assert send(client, "/desk/users/1/mutes/1100/end").status_code == 303
    assert client.get("/users/1/mutes").get_json() == {"mutes": []}
    assert send(client, "/desk/users/1/mutes/1100/end").status_code == 303  # it has ended already
    bad = send(client, "/desk/users/1/mutes", code="1100", days="5", note="Typed.")
    assert bad.status_code == 400
    assert ">Typed.</textarea>" in bad.text
    assert send(client, "/desk/users/1/mutes", code="7", days="7").status_code == 404
    assert send(client, "/desk/users/9/mutes", code="1100", days="7").status_code == 404


def test_who_may_what(client: FlaskClient, sessions: Sessions) -> None:
    """Who may only read sees no forms, and is refused; muting needs `work`, and changing how one is judged `tune`."""
    codes(client, type="withdraw", amount="150.00")
    keys = {scope: bearer(add_key(sessions, scope, sorted({"read", scope}))) for scope in ("read", "work", "tune")}
    look(client.application)
    mute = {"code": "1100", "days": "7"}
    change = {"version": "0", "risk": "high", "note": "x"}
    for scope, key in keys.items():
        page = client.get("/desk/users/1", headers=key | HTML)
        assert page.status_code == 200
        assert ("Mute a rule" in page.text) == (scope == "work")
        assert ("Change rating" in page.text) == (scope == "tune")
        answers = [
            client.post("/desk/users/1/mutes", data=mute, headers=key),
            client.post("/desk/users/1/mutes/1100/end", headers=key),
            client.get("/desk/users/1/settings", headers=key),
            client.post("/desk/users/1/settings", data=change, headers=key),
        ]
        allowed = {"read": [], "work": [0, 1], "tune": [2, 3]}[scope]
        assert [at for at, answer in enumerate(answers) if answer.status_code != 403] == allowed
