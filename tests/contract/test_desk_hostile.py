"""What no page of the desk sends: numbers, texts and lists that cannot be. Nothing of it is a defect."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.helpers import codes

LONG = "9" * 4300  # digits: Python writes no longer numbers
FAR = "1" + "0" * 15
DEEP = '{"a":' * 700 + "1" + "}" * 700
HALF = "\\ud800"  # of a character, as JSON writes it
AN_EVENT = '{"type": "deposit", "amount": "1.00", "user_id": 5, "time": 5, "event_id": "e", "more": %s}'

QUESTIONS = (
    ("/desk/pulse?since=0001-01-01T00:00:00Z", 200),
    ("/desk/pulse?since=0001-01-01T00:00:05Z", 200),
    ("/desk/rules/1100?before=1", 200),
    ("/desk/?from_day=0001-01-01", 303),
)
FORMS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("/desk/alerts/1-1-1100/work", {"do": "undo", "etag": 0, "first": 1, "last": FAR}, 412),
    ("/desk/alerts/1-1-1100/work", {"do": "undo", "etag": 0, "first": 1, "last": LONG}, 400),
    ("/desk/alerts/1-1-1100/work", {"do": "note", "note": "x", "etag": LONG}, 400),
    ("/desk/alerts/bulk", {"do": "take", "id": "9-9-9", "unnamed": LONG}, 400),
    ("/desk/alerts/bulk", {"do": "take", "id": "9-9-9", "matched": LONG}, 400),
    ("/desk/alerts/bulk", {"do": "take", "all": "yes", "list": "user_id=9", "refused": f"{LONG}9@1-1-1"}, 200),
    *(
        ("/desk/send", {"as": "json", "do": act, "json": AN_EVENT % more}, 200)
        for act in ("try", "send")
        for more in (f'"{HALF}"', "9" * 5000, DEEP, "1e999999999")
    ),
    ("/desk/send", {"as": "json", "do": "send", "json": f'{{"event_id": "{HALF}", "{HALF}": 1}}'}, 200),
)


@pytest.fixture(name="desk")
def fixture_desk(client: FlaskClient) -> FlaskClient:
    """A client of a service with alerts of two users."""
    for user_id in (1, 2):
        codes(client, type="withdraw", amount="150.00", user_id=user_id, time=10 * user_id)
    return client


def test_nothing_is_a_defect(desk: FlaskClient) -> None:
    """Of questions and of forms; an event of which the page cannot show all is stored nevertheless."""
    found = [(path, desk.get(path).status_code) for path, _ in QUESTIONS]
    assert found == list(QUESTIONS)
    assert [desk.post(path, data=fields).status_code for path, fields, _ in FORMS] == [form[2] for form in FORMS]
    assert desk.get("/users/5").get_json()["balance"] == "1.00"


def test_what_was_typed_as_json_is_what_the_command_sends(desk: FlaskClient) -> None:
    """To the letter, and with the fields of its event in the link to the form."""
    typed = '{"type": "deposit",\r\n "amount": 1.50, "user_id": 5, "time": 7e0}'
    page = desk.post("/desk/send", data={"as": "json", "do": "try", "json": typed}).text
    assert json.loads(typed)["amount"] == 1.5
    assert "-d &#39;{&#34;type&#34;: &#34;deposit&#34;,\n &#34;amount&#34;: 1.50, " in page
    assert "/desk/send?as=form&amp;type=deposit&amp;amount=1.50&amp;user_id=5&amp;time=7e0" in page


@pytest.mark.parametrize("of_list", ["user_id=x", "user=1", "code=30&no-filter=1", "tab=nowhere"])
def test_all_of_a_list_that_cannot_be_read(desk: FlaskClient, of_list: str) -> None:
    """Is nothing: the inbox as it is by itself would be everything that is open."""
    answer = desk.post("/desk/alerts/bulk", data={"all": "yes", "outcome": "true_positive", "list": of_list})
    assert answer.status_code == 400
    assert "This list cannot be read" in answer.text
    assert len(desk.get("/alerts?status=closed").get_json()["alerts"]) == 0


def test_a_file_under_another_version(desk: FlaskClient) -> None:
    """Is not kept for ever: a page of another release asks for it while both are served."""
    kept = desk.get("/desk/").text.partition('href="/desk/assets/desk.css?v=')[2].partition('"')[0]
    for version, for_ever in ((kept, True), ("0" * 12, False)):
        with desk.get(f"/desk/assets/desk.css?v={version}") as answer:
            assert ("immutable" in answer.headers["Cache-Control"]) == for_ever
