"""Retries: the same `event_id` is answered the same and stored once, however it comes again."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, an_event, codes, counts, pointers, problem, without

pytestmark = pytest.mark.forms

KEY = "payment-1"


def by_field(event: Any, key: Any = KEY) -> dict[str, Any]:
    """How to post `event` with its id in the body."""
    return {"json": event | {"event_id": key}}


def by_header(event: Any, key: Any = KEY) -> dict[str, Any]:
    """How to post `event` with its id in the header."""
    return {"json": event, "headers": {"Idempotency-Key": key}}


def by_both(event: Any, key: Any = KEY) -> dict[str, Any]:
    """How to post `event` with its id in both places."""
    return {"json": event | {"event_id": key}, "headers": {"Idempotency-Key": key}}


WAYS = [by_field, by_header, by_both]
LOUD = an_event(amount="250.00")


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_the_same_event_again(client: FlaskClient, sessions: Sessions, first: Any, second: Any) -> None:
    """A repeat is answered byte for byte as the first time, says so in a header, and stores nothing."""
    original = client.post("/event", **first(LOUD))
    assert (original.status_code, original.get_json()["alert_codes"]) == (200, [123])
    assert "Idempotent-Replayed" not in original.headers
    stored = counts(sessions)
    for path in ("/event", "/api/events", "/event"):
        repeat = client.post(path, **second(LOUD))
        assert (repeat.status_code, repeat.data) == (200, original.data)
        assert repeat.content_type == original.content_type
        assert repeat.headers["Idempotent-Replayed"] == "true"
    assert counts(sessions) == stored
    assert client.get("/users/1").get_json()["balance"] == "250.00"


SAME = {
    "the amount as a number": LOUD | {"amount": 250},
    "the amount with fewer decimals": LOUD | {"amount": "250.0"},
    "the amount with leading zeros": LOUD | {"amount": "0250.00"},
    "the time called t": without(LOUD, "time") | {"t": 10},
    "other unknown fields": LOUD | {"sent_at": "later"},
}


@pytest.mark.parametrize("event", SAME.values(), ids=SAME.keys())
def test_the_same_event_in_other_words(client: FlaskClient, event: Any) -> None:
    """What counts is what the payload means, not how it is written."""
    original = client.post("/event", **by_field(LOUD))
    repeat = client.post("/event", **by_field(event))
    assert (repeat.status_code, repeat.data) == (200, original.data)
    assert repeat.headers["Idempotent-Replayed"] == "true"


OTHER = {"amount": {"amount": "250.01"}, "time": {"time": 11}, "type": {"type": "withdraw"}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER.keys())
def test_another_payload(client: FlaskClient, sessions: Sessions, way: Any, change: Any) -> None:
    """The same event_id with another payload is a 409, stores nothing, and does not spoil the first answer."""
    original = client.post("/event", **way(LOUD))
    stored = counts(sessions)
    problem(client.post("/event", **way(LOUD | change)), 409)
    assert counts(sessions) == stored
    assert client.post("/event", **way(LOUD)).data == original.data


def test_header_and_field_that_differ(client: FlaskClient, sessions: Sessions) -> None:
    """A header and a field with different ids are a 400, and nothing is stored."""
    answer = client.post("/event", json=an_event(event_id="a"), headers={"Idempotency-Key": "b"})
    assert pointers(answer) == ["/event_id"]
    assert counts(sessions)["user_actions"] == 0


@pytest.mark.parametrize("field", [None, 5, "", "payment-1 ", "PAYMENT-1"])
def test_a_field_that_is_not_the_header(client: FlaskClient, sessions: Sessions, field: Any) -> None:
    """The field must agree with the header exactly; a good header does not hide a bad field."""
    answer = client.post("/event", json=an_event(event_id=field), headers={"Idempotency-Key": KEY})
    assert set(pointers(answer)) == {"/event_id"}
    assert counts(sessions)["user_actions"] == 0


def test_the_id_is_the_users_own(client: FlaskClient, sessions: Sessions) -> None:
    """The same event_id for another user is another event."""
    for user_id in (1, 2):
        answer = client.post("/event", **by_field(LOUD | {"user_id": user_id}))
        assert answer.get_json()["user_id"] == user_id
        assert "Idempotent-Replayed" not in answer.headers
    assert counts(sessions)["user_actions"] == 2


@pytest.mark.parametrize("other", ["Payment-1", "payment-1 ", " payment-1", "payment-11"])
def test_ids_are_compared_to_the_letter(client: FlaskClient, sessions: Sessions, other: str) -> None:
    """Ids that differ in case or in a space are two ids."""
    client.post("/event", **by_field(LOUD))
    assert "Idempotent-Replayed" not in client.post("/event", **by_field(LOUD, other)).headers
    assert counts(sessions)["user_actions"] == 2


def test_without_an_id(client: FlaskClient, sessions: Sessions) -> None:
    """Without an event_id every request is a new event, however alike."""
    for _ in range(3):
        assert "Idempotent-Replayed" not in client.post("/event", json=LOUD).headers
    assert counts(sessions)["user_actions"] == 3


def test_the_first_answer_stays(client: FlaskClient) -> None:
    """A repeat is not judged again: it gives the first answer, whatever has happened since."""
    event = an_event(type="withdraw", amount="1.00", time=100)
    original = client.post("/event", **by_field(event))
    assert original.get_json()["alert_codes"] == []
    codes(client, type="withdraw", amount="1.00", time=98)
    codes(client, type="withdraw", amount="1.00", time=99)
    assert client.post("/event", **by_field(event)).data == original.data


def test_several_codes_stay_in_order(client: FlaskClient) -> None:
    """A repeat lists several codes in the order of the first answer."""
    for time, amount in enumerate(["10.00", "90.00"]):
        codes(client, time=time, amount=amount)
    original = client.post("/event", **by_field(an_event(time=2, amount="200.00")))
    assert original.get_json()["alert_codes"] == [300, 123]
    assert client.post("/event", **by_field(an_event(time=2, amount="200.00"))).data == original.data


def test_a_refused_event_does_not_take_its_id(client: FlaskClient) -> None:
    """The event_id of a refused request is free for the corrected one."""
    assert pointers(client.post("/event", **by_field(LOUD | {"amount": "0"}))) == ["/amount"]
    answer = client.post("/event", **by_field(LOUD))
    assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (200, False)


def test_a_repeat_after_a_restart(make_client: ClientMaker, sessions: Sessions) -> None:
    """Another instance of the application on the same database answers a repeat as the first instance did."""
    original = make_client().post("/event", **by_field(LOUD))
    repeat = make_client().post("/event", **by_field(LOUD))
    assert repeat.data == original.data
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert counts(sessions)["user_actions"] == 1


def test_a_repeat_under_other_rules(make_client: ClientMaker) -> None:
    """A repeat answers the codes of its first time even if other rules are active now."""
    original = make_client().post("/event", **by_field(LOUD))
    assert make_client(rules="1100").post("/event", **by_field(LOUD)).data == original.data


@pytest.mark.parametrize("policy", [{"overdraft": "reject"}, {"out_of_order": "reject"}])
def test_a_repeat_under_a_policy_that_would_refuse_it_now(make_client: ClientMaker, policy: Any) -> None:
    """A repeat of a stored event is answered even if the event itself would be refused by now."""
    client = make_client(**policy)
    client.post("/users", json={"user_id": 1, "total": "42.00"})
    event = an_event(type="withdraw")
    original = client.post("/event", **by_field(event))
    assert original.status_code == 200
    if "out_of_order" in policy:
        assert codes(client, time=99) == []
    repeat = client.post("/event", **by_field(event))
    assert (repeat.status_code, repeat.data) == (200, original.data)


def test_a_repeat_leaves_no_gap(client: FlaskClient, sessions: Sessions) -> None:
    """Repeats and conflicts use up none of the numbers that count a user's actions."""
    client.post("/event", **by_field(LOUD))
    client.post("/event", **by_field(LOUD))
    client.post("/event", **by_field(LOUD | {"time": 11}))
    client.post("/event", json=LOUD)
    with sessions() as session:
        assert session.scalars(text("SELECT seq FROM user_actions ORDER BY seq")).all() == [1, 2]
        assert session.scalars(text("SELECT last_seq FROM users")).all() == [2]
