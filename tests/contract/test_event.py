"""One event in, one answer out: what `POST /event` takes, refuses, stores and answers."""

import json
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.conftest import ClientMaker
from tests.contract.helpers import (
    NOTHING,
    Sessions,
    an_event,
    codes,
    counts,
    pointers,
    post_raw,
    problem,
    with_raw,
    without,
)

LARGEST = 2**63 - 1
LONG = "1" + "0" * 5000
PATHS = ("/event", "/api/events")


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Any:
    """Each path that takes one event."""
    return request.param


def test_the_answer_has_exactly_three_fields(client: FlaskClient, path: Any) -> None:
    """A quiet event is answered with alert, alert_codes and user_id, and nothing else."""
    answer = client.post(path, json=an_event())
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.get_json() == {"alert": False, "alert_codes": [], "user_id": 1}


def test_alert_is_true_with_codes(client: FlaskClient, path: Any) -> None:
    """An event that raises a code is answered with alert true and the code."""
    answer = client.post(path, json=an_event(type="withdraw", amount="100.01"))
    assert answer.get_json() == {"alert": True, "alert_codes": [1100], "user_id": 1}


ACCEPTED = {
    "type": ['"deposit"', '"withdraw"', '"\\u0064eposit"'],
    "amount": [
        *('"42"', '"42.5"', '"42.00"', '"0.01"', '"00.01"', '"007"', '"999999999999"', '"999999999999.99"'),
        *("42", "42.5", "42.00", "0.01", "1", "999999999999", "999999999999.99"),
    ],
    "user_id": ["1", "42", str(2**31), str(2**53 + 1), str(LARGEST)],
    "time": ["0", "1", "-0", str(2**53 + 1), str(LARGEST)],
    "t": ["0", "10", str(LARGEST)],
    "event_id": ['"a"', '" "', '"~"', json.dumps("x" * 128), json.dumps("".join(map(chr, range(32, 127))))],
    "extra": ["1", "null", "1e999", LONG, '{"amount": [1]}', '"\\ud800"', '"\\u0000"'],
}

WRONG_WHOLE_NUMBERS = [
    *("null", "true", "false", '"1"', '""', "[]", "[1]", "{}", '{"a": 1}'),
    *("1.0", "1.5", "1e0", "1E3", "-1", "-9223372036854775808", str(2**63), str(2**70), LONG, "-" + LONG),
    *('"\\u0661"', '"\\ud800"', '"\\u0000"'),
]

REFUSED = {
    "type": [
        *("null", "true", "1", "[]", '["deposit"]', "{}", '""', '"Deposit"', '"DEPOSIT"', '"withdrawal"'),
        *('"transfer"', '" deposit"', '"deposit "', '"deposit\\n"', '"deposit\\u0000"', '"\\ud800"'),
    ],
    "amount": [
        *("null", "true", "false", "[]", '["42.00"]', "{}", '{"a": 1}', '""', '" "'),
        # As a JSON number: read as it is written.
        *("0", "0.0", "0.00", "-0", "-1", "-0.01", "1e3", "1E3", "1e0", "4.2e1", "100.000", "0.001", "1e-2"),
        *("1000000000000", "1000000000000.00", LONG, "1." + "0" * 5000, "1e5000"),
        # As text.
        *('"0"', '"0.0"', '"0.00"', '"000"', '"-1"', '"-0.01"', '"+1"', '"1e3"', '"1E3"', '"NaN"', '"Infinity"'),
        *('"-Infinity"', '"inf"', '" 42 "', '" 42"', '"42 "', '"42\\n"', '"\\t42"', '"4_2"', '"42."', '".5"', '"."'),
        *('"1.234"', '"42.000"', '"1,5"', '"1,000.00"', '"$1"', '"0x10"', '"4 2"', '"4.2.1"', '"1000000000000"'),
        *('"1000000000000.00"', '"0000000000001"', f'"{LONG}"', '"deposit"'),
        # Digits of other scripts: Arabic-Indic, full-width, Devanagari, superscript, mathematical bold.
        *('"\\u0661"', '"4\\u0662"', '"\\uff14\\uff12"', '"\\u0967"', '"\\u00b2"', '"\\ud835\\udfd2"'),
        *('"\\ud800"', '"42\\ud800"', '"\\u0000"', '"42\\u0000"', '"\\u221242"'),
    ],
    "user_id": ["0", "-0", *WRONG_WHOLE_NUMBERS],
    "time": WRONG_WHOLE_NUMBERS,
    "t": WRONG_WHOLE_NUMBERS,
    "event_id": [
        *("null", "true", "1", "1.5", "[]", "{}", '["a"]', '""', json.dumps("x" * 129), LONG),
        *('"\\n"', '"a\\tb"', '"a\\u0000"', '"\\u007f"', '"\\u001f"', '"\\u00e9"', '"\\u0661"', '"\\ud83d\\ude00"'),
        *('"\\ud800"', '"a\\n"'),
    ],
}


# All values of a table share a database: what is refused leaves it empty, and what is accepted is counted.


@pytest.mark.parametrize("field", ACCEPTED)
def test_the_accepted_values_of_a_field(
    client: FlaskClient, sessions: Sessions, subtests: pytest.Subtests, field: Any
) -> None:
    """Every value that the contract accepts is taken as it is written on the wire."""
    for before, raw in enumerate(ACCEPTED[field]):
        with subtests.test(raw=raw[:40]):
            body = with_raw(field, raw)
            answer = post_raw(client, body.replace(b'"time": 10, ', b"") if field == "t" else body)
            assert answer.status_code == 200, answer.text
            assert set(answer.get_json()) == {"alert", "alert_codes", "user_id"}
            assert counts(sessions)["user_actions"] == before + 1


@pytest.mark.parametrize("field", REFUSED)
def test_the_refused_values_of_a_field(
    client: FlaskClient, sessions: Sessions, subtests: pytest.Subtests, field: Any
) -> None:
    """Every value that the contract refuses is a 400 that names the field, and nothing is stored."""
    for raw in REFUSED[field]:
        with subtests.test(raw=raw[:40]):
            body = with_raw(field, raw)
            answer = post_raw(client, body.replace(b'"time": 10, ', b"") if field == "t" else body)
            assert pointers(answer) == [f"/{field}"]
            assert counts(sessions) == NOTHING


@pytest.mark.parametrize("t", [10, 11, None, "x"])
def test_time_and_t_at_once(client: FlaskClient, sessions: Sessions, t: Any) -> None:
    """`time` and `t` mean the same, so both at once are refused, even where they agree."""
    assert pointers(client.post("/event", json=an_event(t=t))) == ["/t"]
    assert counts(sessions) == NOTHING


@pytest.mark.parametrize("field", ["type", "amount", "user_id", "time"])
def test_a_missing_field(client: FlaskClient, sessions: Sessions, field: str) -> None:
    """A missing field is a 400 that names it."""
    assert pointers(client.post("/event", json=without(an_event(), field))) == [f"/{field}"]
    assert counts(sessions) == NOTHING


ALL_BAD = {
    "nothing given": ({}, ["/amount", "/time", "/type", "/user_id"]),
    "all of wrong type": (
        {"type": 1, "amount": [], "user_id": "1", "time": "10", "event_id": 5},
        ["/amount", "/event_id", "/time", "/type", "/user_id"],
    ),
    "some bad, some missing": ({"type": "x", "amount": "42.00", "time": -1}, ["/time", "/type", "/user_id"]),
    "both times among other faults": (an_event(amount="0", t=10), ["/amount", "/t"]),
}


@pytest.mark.parametrize(("body", "named"), ALL_BAD.values(), ids=ALL_BAD.keys())
def test_every_bad_field_is_named_at_once(
    client: FlaskClient, sessions: Sessions, path: Any, body: Any, named: Any
) -> None:
    """One answer names all that is wrong, each with a sentence."""
    answer = client.post(path, json=body)
    assert pointers(answer) == named
    assert all(error["detail"] for error in answer.get_json()["errors"])
    assert counts(sessions) == NOTHING


@pytest.mark.parametrize("key", ["", " " * 129, "x" * 129, "a\tb", "é"], ids=["empty", "spaces", "long", "tab", "é"])
def test_a_refused_idempotency_key(client: FlaskClient, sessions: Sessions, key: str) -> None:
    """The header Idempotency-Key is refused for the same values as the field event_id."""
    assert pointers(client.post("/event", json=an_event(), headers={"Idempotency-Key": key})) == ["/event_id"]
    assert counts(sessions) == NOTHING


@pytest.mark.parametrize("key", ["a", "x" * 128, "~!@#$%^&*() {}"])
def test_an_accepted_idempotency_key(client: FlaskClient, sessions: Sessions, key: str) -> None:
    """The header Idempotency-Key becomes the stored event_id."""
    answer = client.post("/event", json=an_event(), headers={"Idempotency-Key": key})
    assert answer.status_code == 200
    assert stored(sessions, "event_id") == [key]


def test_unknown_fields_are_ignored(client: FlaskClient, sessions: Sessions) -> None:
    """Fields that the contract does not know change nothing, whatever they hold."""
    extra = {"currency": "EUR", "T": 99, "Amount": "1e3", "alert_codes": [1], "seq": 7, "": None, "/": {}}
    answer = client.post("/event", json=an_event(**extra))
    assert answer.get_json() == {"alert": False, "alert_codes": [], "user_id": 1}
    assert stored(sessions, "seq", "time") == [(1, 10)]


def test_the_last_of_a_field_given_twice_counts(client: FlaskClient, sessions: Sessions) -> None:
    """A JSON object that names a field twice counts as its last value, as JSON readers do."""
    body = b'{"type": "x", "type": "deposit", "amount": "1.00", "amount": "2.00", "user_id": 1, "time": 10}'
    assert post_raw(client, body).status_code == 200
    assert stored(sessions, "amount") == [Decimal("2.00")]


EXACT = ["0.01", "0.1", "0.10", "0.29", "1.15", "42", "33.33", "123456789012.34", "999999999999.99"]


def test_money_is_stored_exactly(client: FlaskClient, sessions: Sessions) -> None:
    """The amount is stored to the cent as written, whether it came as text or as a plain number."""
    raws = [*EXACT, *(f'"{amount}"' for amount in EXACT), '"0000000.07"']
    for raw in raws:
        assert post_raw(client, with_raw("amount", raw)).status_code == 200
    assert stored(sessions, "amount") == [Decimal(raw.strip('"')) for raw in raws]


def test_what_is_stored(client: FlaskClient, sessions: Sessions) -> None:
    """An accepted event is one action with its type, amount, time and codes, and one alert for each code."""
    client.post("/event", json=an_event(user_id=7, amount="100.00", time=10))
    client.post("/event", json=an_event(user_id=7, amount="150.50", time=20))
    assert stored(sessions, "user_id", "seq", "type", "amount", "time", "event_id", "alert_codes") == [
        (7, 1, "deposit", Decimal("100.00"), 10, None, []),
        (7, 2, "deposit", Decimal("150.50"), 20, None, [123]),
    ]
    assert counts(sessions) == {"users": 1, "user_actions": 2, "alerts": 1}


def test_an_unknown_user_is_made(client: FlaskClient, sessions: Sessions) -> None:
    """An event for an unknown user creates that user with an opening balance of zero."""
    client.post("/event", json=an_event(user_id=LARGEST))
    answer = client.get(f"/users/{LARGEST}")
    assert answer.get_json() == {
        "id": LARGEST,
        "name": None,
        "total": "0.00",
        "balance": "42.00",
        "risk": "normal",
    }


def test_a_refused_event_changes_nothing_of_a_known_user(client: FlaskClient, sessions: Sessions) -> None:
    """A refused event leaves the actions and the balance of its user as they were."""
    client.post("/event", json=an_event())
    client.post("/event", json=an_event(time=-1))
    assert counts(sessions) == {"users": 1, "user_actions": 1, "alerts": 0}
    assert client.get("/users/1").get_json()["balance"] == "42.00"


def test_codes_of_a_withdrawal_in_order(client: FlaskClient) -> None:
    """A third withdrawal in a row that is also over 100 answers 1100 before 30."""
    assert codes(client, type="withdraw", amount="100.00", time=0) == []
    assert codes(client, type="withdraw", amount="100.00", time=100) == []
    assert codes(client, type="withdraw", amount="100.01", time=200) == [1100, 30]


def test_codes_of_a_deposit_in_order(client: FlaskClient) -> None:
    """A third growing deposit that brings the window over 200 answers 300 before 123."""
    assert codes(client, amount="10.00", time=0) == []
    assert codes(client, amount="90.00", time=10) == []
    assert codes(client, amount="100.01", time=20) == [300, 123]


def test_500_comes_last(make_client: ClientMaker) -> None:
    """Switched on, 500 comes after the other codes, whatever the order in the setting."""
    client = make_client(rules="500,123,300,30,1100")
    for time in range(5):
        assert 500 not in codes(client, type="withdraw", amount="1.00", time=time)
    assert codes(client, type="withdraw", amount="500.00", time=5) == [1100, 30, 500]
    assert codes(client, amount="200.01", time=6) == [123, 500]


def test_500_is_off_by_default(client: FlaskClient) -> None:
    """More than five actions in a minute raise nothing until 500 is switched on."""
    assert [codes(client, type=kind, amount="1.00", time=1) for kind in ("deposit", "withdraw") * 4] == [[]] * 8


# Each row is one event (type, amount, time) and its codes; the rows of a table share a user.
TIMELINES = {
    "1100 is over 100, not 100 itself": [
        ("withdraw", "100.00", 0, []),
        ("deposit", "1.00", 1, []),
        ("withdraw", "100.01", 2, [1100]),
        ("deposit", "100.01", 100, []),
    ],
    "30 fires on the third, the fourth and the fifth, and starts anew after a deposit": [
        ("withdraw", "1.00", 0, []),
        ("withdraw", "1.00", 1000, []),
        ("withdraw", "1.00", 2000, [30]),
        ("withdraw", "1.00", 3000, [30]),
        ("withdraw", "1.00", 4000, [30]),
        ("deposit", "1.00", 5000, []),
        ("withdraw", "1.00", 6000, []),
        ("withdraw", "1.00", 7000, []),
        ("withdraw", "1.00", 8000, [30]),
    ],
    "300 needs strictly increasing deposits and ignores withdrawals": [
        ("deposit", "10.00", 0, []),
        ("withdraw", "5.00", 100, []),
        ("deposit", "20.00", 200, []),
        ("withdraw", "5.00", 300, []),
        ("deposit", "20.01", 400, [300]),
        ("deposit", "20.01", 500, []),
        ("deposit", "30.00", 600, []),
        ("deposit", "40.00", 700, [300]),
    ],
    "123 sums the last 30 seconds, both ends included, and is over 200, not 200 itself": [
        ("deposit", "100.00", 0, []),
        ("deposit", "100.00", 30, []),
        ("deposit", "100.01", 60, [123]),
        ("deposit", "99.99", 91, []),
        ("deposit", "99.99", 92, []),
        ("deposit", "200.00", 123, []),
        ("deposit", "1.00", 160, []),
        ("deposit", "200.01", 200, [123]),
    ],
    "an event that arrives late is judged on what is stored at or before its time": [
        ("deposit", "150.00", 100, []),
        ("deposit", "60.00", 90, []),
        ("deposit", "60.00", 101, [123]),
        ("withdraw", "1.00", 5, []),
        ("withdraw", "1.00", 5, []),
        ("withdraw", "1.00", 5, [30]),
        ("withdraw", "1.00", 4, []),
    ],
}


@pytest.mark.parametrize("timeline", TIMELINES.values(), ids=TIMELINES.keys())
def test_a_timeline(client: FlaskClient, timeline: Any) -> None:
    """The codes of each event of a user follow from the user's own actions up to it."""
    answered = [codes(client, type=kind, amount=amount, time=time) for kind, amount, time, _ in timeline]
    assert answered == [expected for *_, expected in timeline]


def test_users_never_affect_each_other(client: FlaskClient) -> None:
    """The same events spread over two users raise nothing of what they would raise for one."""
    for time in range(4):
        assert codes(client, type="withdraw", amount="100.00", time=time, user_id=1 + time % 2) == []


def test_both_names_reach_the_same_service(client: FlaskClient) -> None:
    """What came in by one path is history for the other."""
    for at, way in enumerate(["/event", "/api/events", "/event"]):
        answer = client.post(way, json=an_event(type="withdraw", time=at))
    assert answer.get_json()["alert_codes"] == [30]


def test_both_names_answer_alike(client: FlaskClient) -> None:
    """Accepted or refused, both paths give the same status, type and body."""
    bodies = [an_event(), an_event(amount="0"), {}, [], "x"]
    answers = [[client.post(way, json=body, headers={"X-Request-ID": "same"}) for body in bodies] for way in PATHS]
    one, other = [[(a.status_code, a.content_type, a.data) for a in of_one] for of_one in answers]
    assert one == other
    assert [status for status, *_ in one] == [200, 400, 400, 400, 400]


def test_a_body_that_is_no_object(client: FlaskClient, sessions: Sessions) -> None:
    """An event must be a JSON object; anything else is a 400 without a field."""
    assert "errors" not in problem(client.post("/event", json=[an_event()]), 400)
    assert counts(sessions) == NOTHING


def stored(sessions: Sessions, *columns: Any) -> list[Any]:
    """The given columns of all actions, in order; bare values if one column is asked for."""
    with sessions() as session:
        names = ", ".join(columns)
        rows = session.execute(text(f"SELECT {names} FROM user_actions ORDER BY user_id, seq")).all()
    return [row[0] if len(columns) == 1 else tuple(row) for row in rows]
