"""The page that sends an event: tried first, then stored as the call would; presets make each rule fire."""

import html
import json
import re
import shlex
from typing import Any

import pytest
from flask.testing import FlaskClient

from routes.desk.send import MOST_EVENTS
from rules.registry import REGISTRY
from tests.conftest import ClientMaker
from tests.contract.helpers import NOTHING, Sessions, an_event, counts
from tests.keys import add_key, bearer, look

EVENT = {"type": "withdraw", "amount": "150.00", "user_id": "7", "time": "10", "event_id": "a"}


def sent(client: FlaskClient, act: str, how: str = "form", **fields: Any) -> str:
    """The page after sending its form."""
    answer = client.post("/desk/send", data={"do": act, "as": how, **fields})
    assert answer.status_code == 200, answer.text
    return html.unescape(answer.text)


def statuses(page: str) -> list[int]:
    """Those of the answers on the page."""
    return [int(status) for status in re.findall(r'class="card answer" data-status="(\d+)"', page)]


def bodies(page: str) -> list[Any]:
    """The bodies of the answers on the page."""
    return [json.loads(body) for body in re.findall(r'The body of the answer">(.*?)</pre>', page, re.S)]


def typed(page: str) -> Any:
    """The JSON in the text field of the page."""
    return json.loads(re.findall(r"<textarea[^>]*>(.*?)</textarea>", page, re.S)[0])


def test_tried_and_sent(client: FlaskClient, sessions: Sessions) -> None:
    """Trying stores nothing; sending answers as the call does, with a link to the alert, and once however often."""
    tried = sent(client, "try", **EVENT)
    assert counts(sessions) == NOTHING
    assert "Not stored. It would raise" in tried
    dry = client.post("/event?dry_run=true", json=EVENT | {"user_id": 7, "time": 10}).get_json()
    assert (statuses(tried), bodies(tried)) == ([200], [dry])
    stored = sent(client, "send", **EVENT)
    assert "Stored. It raised 1 alert" in stored
    assert 'href="/desk/alerts/7-1-1100"' in stored
    assert bodies(stored) == [{"alert": True, "alert_codes": [1100], "user_id": 7}]
    assert "Idempotent-Replayed" not in stored
    assert "Idempotent-Replayed" in sent(client, "send", **EVENT)
    assert counts(sessions)["user_actions"] == 1


@pytest.mark.parametrize("act", ["try", "send"])
def test_refused(client: FlaskClient, sessions: Sessions, act: str) -> None:
    """Each fault stands at its field with what was typed, and in the answer as the call would give it."""
    page = sent(client, act, type="deposit", amount="1.234", user_id="x", time="<b>")
    (body,) = bodies(page)
    assert [error["pointer"] for error in body["errors"]] == ["/amount", "/user_id", "/time"]
    assert statuses(page) == [400]
    for name in ("amount", "user_id", "time"):
        assert f'id="{name}-fault"' in page
    assert 'value="1.234"' in page
    assert counts(sessions) == NOTHING


def test_a_conflict(client: FlaskClient) -> None:
    """The same id with another payload is the conflict that the call answers."""
    sent(client, "send", **EVENT)
    assert statuses(sent(client, "send", **EVENT | {"amount": "1.00"})) == [409]


@pytest.mark.parametrize(
    "text", ["", "{", "[1", "\x00", "7", '"x"', '{"a": "<script>alert(1)</script>"}', "[[]]", "[1]"]
)
def test_odd_json(client: FlaskClient, sessions: Sessions, text: str) -> None:
    """Whatever is typed is kept, and none of it is a defect or stored."""
    for act in ("try", "send"):
        answer = client.post("/desk/send", data={"do": act, "as": "json", "json": text})
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
    assert counts(sessions) == NOTHING


def test_several_as_json(client: FlaskClient, sessions: Sessions) -> None:
    """They are sent together and in order; tried, each is judged by itself."""
    events = [
        an_event(amount=f"{amount}.00", time=time, event_id=f"e{time}") for time, amount in ((1, 10), (2, 20), (3, 30))
    ]
    tried = sent(client, "try", "json", json=json.dumps(events))
    assert statuses(tried) == [200, 200, 200]
    assert all(body["alert_codes"] == [] for body in bodies(tried))
    assert counts(sessions) == NOTHING
    page = sent(client, "send", "json", json=json.dumps([*events, {}]))
    (body,) = bodies(page)
    assert (body["accepted"], body["rejected"]) == (3, 1)
    assert 'href="/desk/alerts/1-3-300"' in page


def test_too_many(client: FlaskClient, sessions: Sessions) -> None:
    """The page has a bound of its own."""
    assert statuses(sent(client, "send", "json", json=json.dumps([{}] * (MOST_EVENTS + 1)))) == [413]
    answer = client.post("/desk/send", data={"as": "json", "json": "x" * 60_000})
    assert answer.status_code == 400
    assert counts(sessions) == NOTHING


@pytest.mark.parametrize("overdraft", ["allow", "reject"])
def test_each_preset_makes_its_rule_fire(make_client: ClientMaker, overdraft: str) -> None:
    """Switched on and sent as it is offered, each raises an alert of its rule, for a user who was not there before."""
    client = make_client(overdraft=overdraft, rules=list(REGISTRY))
    for code in REGISTRY:
        page = html.unescape(client.get(f"/desk/send?preset={code}&as=json").text)
        offered = typed(page)
        after = sent(client, "send", "json", json=json.dumps(offered))
        assert f'-{code}"><span class="rule">{code}</span> ' in after, after


def test_the_example_is_of_now(make_client: ClientMaker) -> None:
    """Where times count seconds since 1970, the event that the form begins with could have happened just now."""
    page = make_client(time_is_epoch=True).get("/desk/send").text
    assert len(re.findall(r'name="time" value="(\d{10})"', page)) == 1


def test_the_command(client: FlaskClient) -> None:
    """It is what the page would send, quoted for a shell."""
    page = html.unescape(client.get("/desk/send", query_string=EVENT | {"event_id": "it's"}).text)
    (command,) = re.findall(r'aria-label="The command">(.*?)</pre>', page, re.S)
    words = shlex.split(command)
    assert words[:3] == ["curl", "-i", "http://localhost/event"]
    assert json.loads(words[-1]) == EVENT | {"user_id": 7, "time": 10, "event_id": "it's"}


@pytest.mark.parametrize("query", ["?preset=7", "?preset=x", "?as=xml", "?amount=" + "9" * 201, "?preset=0"])
def test_odd_addresses(client: FlaskClient, query: str) -> None:
    """An unknown rule is passed over; what cannot be is refused."""
    assert client.get(f"/desk/send{query}").status_code == (200 if query == "?preset=7" else 400)


def test_who_may(make_client: ClientMaker, sessions: Sessions) -> None:
    """To try an event, reading is enough; to send one takes the scope for that, and the page says so."""
    reader, sender = (add_key(sessions, name, scopes) for name, scopes in (("R", ("read",)), ("S", ("read", "ingest"))))
    client = make_client()
    look(client.application)
    assert "Send for real" not in client.get("/desk/send", headers=bearer(reader)).text
    data = {"as": "form", **EVENT}
    assert client.post("/desk/send", data=data | {"do": "try"}, headers=bearer(reader)).status_code == 200
    refused = client.post("/desk/send", data=data | {"do": "send"}, headers=bearer(reader))
    assert (refused.status_code, "the scope ingest." in refused.text) == (403, True)
    assert counts(sessions) == NOTHING
    page = client.post("/desk/send", data=data | {"do": "send"}, headers=bearer(sender))
    assert "/desk/alerts/7-1-1100" in page.text
    assert "$KEY" in page.text
