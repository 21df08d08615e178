"""Users: made, read, changed, listed; and how ratings and policies change what an event is answered."""

import json
from concurrent.futures import ThreadPoolExecutor
from time import time as clock
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from database import users
from tests.conftest import ClientMaker
from tests.contract.helpers import NOTHING, Sessions, an_event, codes, counts, pointers, post_raw, problem
from tests.postgres import transaction

LARGEST = 2**63 - 1
LONG = "1" + "0" * 5000

PATHS = ("/users", "/user")


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Any:
    """Each path that makes a user."""
    return request.param


# Making one


def test_a_new_user(client: FlaskClient, path: Any) -> None:
    """A user is answered with 201, its Location and all its fields, and can be read there."""
    answer = client.post(path, json={"name": "Ada", "total": "100.00", "risk": "high", "user_id": 7})
    expected = {"id": 7, "name": "Ada", "total": "100.00", "balance": "100.00", "risk": "high"}
    assert (answer.status_code, answer.content_type) == (201, "application/json")
    assert answer.headers["Location"] == "/users/7"
    assert answer.get_json() == expected
    assert client.get("/users/7").get_json() == expected


def test_every_field_is_optional(client: FlaskClient, path: Any) -> None:
    """A user posted without any field gets an id, a total of zero and the normal rating."""
    answer = client.post(path, json={})
    made = answer.get_json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/users/{made['id']}"
    assert made == {"id": made["id"], "name": None, "total": "0.00", "balance": "0.00", "risk": "normal"}


def test_given_ids_differ(client: FlaskClient, path: Any) -> None:
    """Users posted without an id get ids that differ from all others'."""
    client.post(path, json={"user_id": 2})
    client.post("/event", json=an_event(user_id=3))
    ids = [client.post(path, json={}).get_json()["id"] for _ in range(4)]
    assert len({2, 3, *ids}) == 6


def test_the_largest_id_leaves_room_for_others(client: FlaskClient, path: Any) -> None:
    """A user under the largest id there is does not keep the service from giving ids to others."""
    client.post(path, json={"user_id": 1})
    assert client.post(path, json={"user_id": LARGEST}).status_code == 201
    answer = client.post(path, json={})
    assert answer.status_code == 201, answer.text
    assert answer.get_json()["id"] not in (1, LARGEST)


def test_an_id_that_exists(client: FlaskClient, sessions: Sessions, path: Any) -> None:
    """A user whose id exists already, made either way, is a 409 and stays as it was."""
    client.post(path, json={"user_id": 7, "name": "Ada"})
    client.post("/event", json=an_event(user_id=8))
    for user_id in (7, 8):
        before = client.get(f"/users/{user_id}").get_json()
        problem(client.post(path, json={"user_id": user_id, "name": "Eve", "total": "5.00"}), 409)
        assert client.get(f"/users/{user_id}").get_json() == before
    assert counts(sessions)["users"] == 2


ACCEPTED_TOTALS = {
    '"0"': "0.00",
    '"0.00"': "0.00",
    '"100"': "100.00",
    '"100.5"': "100.50",
    '"999999999999.99"': "999999999999.99",
    "0": "0.00",
    "0.0": "0.00",
    "100": "100.00",
    "100.0": "100.00",
    "100.00": "100.00",
    "0.29": "0.29",
    "999999999999.99": "999999999999.99",
}


@pytest.mark.parametrize(("raw", "total"), ACCEPTED_TOTALS.items())
def test_an_accepted_total(client: FlaskClient, raw: Any, total: Any) -> None:
    """The opening balance may be text or a plain number, zero included, and is kept to the cent."""
    answer = post_raw(client, f'{{"total": {raw}}}'.encode(), "/users")
    assert answer.status_code == 201, answer.text
    assert (answer.get_json()["total"], answer.get_json()["balance"]) == (total, total)


ACCEPTED_NAMES = [
    "A",
    "x" * 200,
    "Ada Lovelace",
    "山田太郎",
    "😀" * 200,
    "O'Brien; DROP TABLE users; --",
    " ",
    "\n",
    "%s",
]


@pytest.mark.parametrize("name", ACCEPTED_NAMES, ids=range(len(ACCEPTED_NAMES)))
def test_an_accepted_name(client: FlaskClient, name: Any) -> None:
    """A name of 1 to 200 characters of any script comes back as it was given."""
    made = client.post("/users", json={"name": name}).get_json()
    assert made["name"] == name
    assert client.get(f"/users/{made['id']}").get_json()["name"] == name


REFUSED = {
    "user_id": [
        *("null", "true", "false", '"7"', '""', "[]", "[7]", "{}", "7.0", "7.5", "7e0", "0", "-0", "-1"),
        *(str(2**63), str(2**70), LONG, '"\\u0661"'),
    ],
    "name": [
        *("null", "true", "1", "1.5", "[]", '["Ada"]', "{}", '""', json.dumps("x" * 201), LONG),
        *('"\\u0000"', '"Ada\\u0000"', '"\\ud800"', '"Ada\\udfff"'),
    ],
    "total": [
        *("null", "true", "false", "[]", "{}", '""', '"x"', '"NaN"', '"1e3"', '" 1 "', '"1_0"', '"1."', '".5"'),
        *('"-0.01"', '"-100.00"', '"0.001"', '"1000000000000"', '"\\u0661"', '"\\ud800"', '"\\u0000"'),
        *("-1", "-100.00", "-0.01", "1e3", "1.000", "0.001", "1000000000000", LONG),
    ],
    "risk": ["null", "true", "1", "[]", "{}", '""', '"NORMAL"', '"medium"', '" low"', '"\\ud800"'],
}


@pytest.mark.parametrize("field", REFUSED)
def test_a_refused_field(client: FlaskClient, sessions: Sessions, field: Any) -> None:
    """Every value that a field of a user cannot have is a 400 that names the field, and nothing is stored."""
    for raw in REFUSED[field]:
        answer = post_raw(client, f'{{"{field}": {raw}}}'.encode(), "/users")
        assert (raw, pointers(answer)) == (raw, [f"/{field}"])
    assert counts(sessions) == NOTHING


def test_every_bad_field_of_a_user_is_named_at_once(client: FlaskClient, sessions: Sessions, path: Any) -> None:
    """One answer names all that is wrong."""
    answer = client.post(path, json={"user_id": 0, "name": "", "total": "-1", "risk": "x", "more": None})
    assert pointers(answer) == ["/more", "/name", "/risk", "/total", "/user_id"]
    assert counts(sessions) == NOTHING


def test_what_was_read_of_a_user(client: FlaskClient, sessions: Sessions, path: Any) -> None:
    """What follows from other members cannot be set, and is named as such."""
    answer = client.post(path, json={"user_id": 7, "balance": "9.00", "last_seq": 3})
    errors = {e["pointer"]: e["detail"] for e in problem(answer, 400)["errors"]}
    assert errors == {
        "/balance": "is read-only: it cannot be set",
        "/last_seq": "is unknown: there are only user_id, name, total and risk",
    }
    assert counts(sessions) == NOTHING


# The balance


def test_the_balance(client: FlaskClient) -> None:
    """The balance is the opening balance plus deposits minus withdrawals; the opening balance stays."""
    client.post("/users", json={"user_id": 1, "total": "100.00"})
    client.post("/event", json=an_event(amount="0.10"))
    client.post("/event", json=an_event(amount="0.20"))
    client.post("/event", json=an_event(type="withdraw", amount="150.55"))
    answer = client.get("/users/1").get_json()
    assert (answer["total"], answer["balance"]) == ("100.00", "-50.25")


def test_the_balance_of_the_largest_amounts(client: FlaskClient) -> None:
    """The balance holds the largest amounts to the cent."""
    client.post("/users", json={"user_id": 1, "total": "999999999999.99"})
    for time in range(20):
        client.post("/event", json=an_event(amount="999999999999.99", time=time))
    assert client.get("/users/1").get_json()["balance"] == "20999999999999.79"


# Actions


def actions(client: FlaskClient, query: Any = "", user_id: int = 1) -> Any:
    """One page of a user's actions."""
    answer = client.get(f"/users/{user_id}/actions{query}")
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def seqs(client: FlaskClient, query: Any = "") -> list[Any]:
    """The `seq` of each action on one page."""
    return [action["seq"] for action in actions(client, query)["actions"]]


@pytest.fixture
def busy(client: FlaskClient) -> Any:
    """A client with a user whose actions arrived as seq 1 to 7 at the times 10, 20, 20, 5, 20, 30, 20."""
    for at, time in enumerate([10, 20, 20, 5, 20, 30, 20]):
        client.post("/event", json=an_event(type=("deposit", "withdraw")[at % 2], amount="1.00", time=time))
    client.post("/event", json=an_event(user_id=2))
    return client


def test_an_action(client: FlaskClient) -> None:
    """An action is listed with its seq, type, amount as text, time and event_id."""
    client.post("/event", json=an_event(amount=7, event_id="a"))
    client.post("/event", json=an_event(type="withdraw", amount="0.50", time=11))
    assert actions(client) == {
        "actions": [
            {"seq": 2, "type": "withdraw", "amount": "0.50", "time": 11, "event_id": None},
            {"seq": 1, "type": "deposit", "amount": "7.00", "time": 10, "event_id": "a"},
        ],
        "next": None,
    }


def test_a_user_without_actions(client: FlaskClient) -> None:
    """A user without actions has an empty list."""
    client.post("/users", json={"user_id": 1})
    assert actions(client) == {"actions": [], "next": None}


def test_newest_first(busy: FlaskClient) -> None:
    """Actions are listed newest first by time, equal times by arrival."""
    assert seqs(busy) == [6, 7, 5, 3, 2, 1, 4]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 500])
def test_pages(busy: FlaskClient, limit: int) -> None:
    """Following `next` gives every action once, in order, however long the page."""
    found, query = [], f"?limit={limit}"
    while query:
        page = actions(busy, query)
        assert 1 <= len(page["actions"]) <= limit
        found += [action["seq"] for action in page["actions"]]
        query = f"?limit={limit}&cursor={page['next']}" if page["next"] else ""
    assert found == [6, 7, 5, 3, 2, 1, 4]


def test_pages_stay_in_place(busy: FlaskClient) -> None:
    """An action that arrives between two pages does not shift the second one."""
    first = actions(busy, "?limit=3")
    busy.post("/event", json=an_event(time=99))
    assert seqs(busy, f"?limit=10&cursor={first['next']}") == [3, 2, 1, 4]


def test_fifty_a_page(client: FlaskClient) -> None:
    """A page is fifty actions long if no limit is asked for."""
    for time in range(51):
        client.post("/event", json=an_event(amount="1.00", time=time))
    assert len(actions(client)["actions"]) == 50
    assert len(actions(client, "?limit=51")["actions"]) == 51


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?from=20", [6, 7, 5, 3, 2]),
        ("?to=20", [7, 5, 3, 2, 1, 4]),
        ("?from=20&to=20", [7, 5, 3, 2]),
        ("?from=11&to=19", []),
        ("?from=0&to=9223372036854775807", [6, 7, 5, 3, 2, 1, 4]),
        ("?from=10&to=20&limit=2", [7, 5]),
        ("?from=10&to=20&limit=3&cursor=20-5", [3, 2, 1]),
        ("?cursor=0-0", []),
        ("?cursor=9999999999999999999-1", [6, 7, 5, 3, 2, 1, 4]),
    ],
)
def test_bounds(busy: FlaskClient, query: str, expected: Any) -> None:
    """`from` and `to` bound the time, both included, also after a cursor."""
    assert seqs(busy, query) == expected


BAD_QUERIES = {
    "limit": ["0", "-1", "501", "x", "", "1.0", "1e1", "%201", "1_0", "+1", "١", "%00", "9" * 19, "9" * 5000, "null"],
    "cursor": ["x", "1", "-", "1-", "-1", "1-2-3", "a-b", "1.0-2", "%00", "١-٢", "1-2%0A", "-1-2", "9" * 20 + "-1"],
    "from": ["-1", "x", "", "1.0", "1e1", "%201", "+1", "9223372036854775808", "9" * 5000, "%00"],
    "to": ["-1", "x", "", "1.0", "1e1", "%201", "+1", "9223372036854775808", "9" * 5000, "%00"],
}


@pytest.mark.parametrize("name", BAD_QUERIES)
def test_a_bad_query(busy: FlaskClient, name: Any) -> None:
    """A parameter that is unreadable or out of bounds is a 400 that names it."""
    for value in BAD_QUERIES[name]:
        answer = busy.get(f"/users/1/actions?{name}={value}")
        assert (value, pointers(answer)) == (value, [f"/{name}"])


def test_every_bad_parameter_is_named_at_once(busy: FlaskClient) -> None:
    """One answer names all that is wrong with a query."""
    assert pointers(busy.get("/users/1/actions?limit=0&cursor=x&from=-1&to=y")) == ["/cursor", "/from", "/limit", "/to"]


# Ratings


SCALED = {
    "low": {"withdraw": ("200.00", "200.01"), "deposit": ("400.00", "400.01")},
    "normal": {"withdraw": ("100.00", "100.01"), "deposit": ("200.00", "200.01")},
    "high": {"withdraw": ("50.00", "50.01"), "deposit": ("100.00", "100.01")},
}


@pytest.mark.parametrize("risk", SCALED)
def test_a_rating_scales_money(client: FlaskClient, risk: Any) -> None:
    """A low rating doubles the money thresholds, a high one halves them."""
    client.post("/users", json={"user_id": 1, "risk": risk})
    for time, (kind, code) in enumerate([("withdraw", 1100), ("deposit", 123)]):
        passes, fires = SCALED[risk][kind]
        assert codes(client, type=kind, amount=passes, time=1000 * time) == []
        assert codes(client, type=kind, amount=fires, time=1000 * time + 500) == [code]


@pytest.mark.parametrize("risk", SCALED)
def test_a_rating_leaves_counts_alone(client: FlaskClient, risk: Any) -> None:
    """Three withdrawals in a row and three growing deposits are three whatever the rating."""
    client.post("/users", json={"user_id": 1, "risk": risk})
    withdrawals = [codes(client, type="withdraw", amount="1.00", time=time) for time in range(3)]
    deposits = [codes(client, amount=f"{time}.00", time=time) for time in range(3, 6)]
    assert (withdrawals, deposits) == ([[], [], [30]], [[], [], [300]])


# Policies


def test_unknown_users_rejected(make_client: ClientMaker, sessions: Sessions) -> None:
    """Under UNKNOWN_USERS=reject an event for an unknown user is a 404 that stores nothing; a known one is served."""
    client = make_client(unknown_users="reject")
    problem(client.post("/event", json=an_event(event_id="a")), 404)
    assert counts(sessions) == NOTHING
    problem(client.get("/users/1"), 404)
    client.post("/users", json={"user_id": 1})
    assert client.post("/event", json=an_event(event_id="a")).status_code == 200
    assert counts(sessions) == {"users": 1, "user_actions": 1, "alerts": 0}


def test_overdraft_rejected(make_client: ClientMaker, sessions: Sessions) -> None:
    """Under OVERDRAFT=reject a withdrawal below zero is a 409 that stores nothing; down to zero it is served."""
    client = make_client(overdraft="reject")
    client.post("/users", json={"user_id": 1, "total": "100.00"})
    problem(client.post("/event", json=an_event(type="withdraw", amount="100.01")), 409)
    assert counts(sessions) == {"users": 1, "user_actions": 0, "alerts": 0}
    assert codes(client, type="withdraw", amount="100.00") == []
    problem(client.post("/event", json=an_event(type="withdraw", amount="0.01")), 409)
    assert client.get("/users/1").get_json()["balance"] == "0.00"
    assert [action["seq"] for action in actions(client)["actions"]] == [1]


def test_overdraft_rejected_for_an_unknown_user(make_client: ClientMaker, sessions: Sessions) -> None:
    """Under OVERDRAFT=reject the first withdrawal of an unknown user is a 409 that does not even make the user."""
    client = make_client(overdraft="reject")
    problem(client.post("/event", json=an_event(type="withdraw")), 409)
    assert counts(sessions) == NOTHING


def test_overdraft_allowed_by_default(client: FlaskClient) -> None:
    """By default a balance may go below zero."""
    assert codes(client, type="withdraw", amount="42.00") == []
    assert client.get("/users/1").get_json()["balance"] == "-42.00"


def test_out_of_order_rejected(make_client: ClientMaker, sessions: Sessions) -> None:
    """Under OUT_OF_ORDER=reject an event older than its user's newest is a 409 that stores nothing."""
    client = make_client(out_of_order="reject")
    assert codes(client, time=10) == []
    problem(client.post("/event", json=an_event(type="withdraw", time=9)), 409)
    assert counts(sessions)["user_actions"] == 1
    assert codes(client, type="withdraw", time=10) == []
    assert codes(client, time=0, user_id=2) == []
    assert [action["seq"] for action in actions(client)["actions"]] == [2, 1]


def test_too_far_ahead(make_client: ClientMaker, sessions: Sessions) -> None:
    """With TIME_IS_EPOCH an event further ahead of the clock than MAX_AHEAD is a 409, alone or among others."""
    client = make_client(time_is_epoch=True, max_ahead=3600)
    now = int(clock())
    for far in (now + 10_000, now * 1000):
        document = problem(client.post("/event", json=an_event(time=far)), 409)
        assert document["type"] == "urn:problem:too-far-ahead"
        assert document["detail"] == "The event is more than 3,600 s ahead of the clock."
    answer = client.post("/events", json=[an_event(time=now), an_event(time=now + 10_000)]).get_json()
    assert [one.get("problem", {}).get("type") for one in answer["results"]] == [None, "urn:problem:too-far-ahead"]
    answer = client.post("/events?atomic=true", json=[an_event(time=now), an_event(time=now + 10_000)])
    assert [one["problem"]["status"] for one in answer.get_json()["results"]] == [424, 409]
    assert counts(sessions)["user_actions"] == 1
    assert make_client().post("/event", json=an_event(time=now * 1000)).status_code == 200


def test_a_user_behind_the_far_future(make_client: ClientMaker, sessions: Sessions) -> None:
    """The way out for a user whose newest action is from the far future: nothing stored changes, and proofs hold."""
    strict = make_client(out_of_order="reject")
    now = int(clock())
    for at in (now - 30, now * 1000):
        assert strict.post("/event", json=an_event(time=at)).status_code == 200
    assert problem(strict.post("/event", json=an_event(time=now)), 409)["type"] == "urn:problem:out-of-order"
    bounded = make_client(out_of_order="reject", time_is_epoch=True, max_ahead=3600)
    assert bounded.post("/event", json=an_event(time=now, amount="200.00")).get_json()["alert_codes"] == [123]
    assert problem(bounded.post("/event", json=an_event(time=now - 1)), 409)["type"] == "urn:problem:out-of-order"
    assert bounded.post("/event", json=an_event(time=now + 1, amount="1.00")).status_code == 200
    listed = bounded.get("/users/1/actions").get_json()["actions"]
    assert [one["time"] for one in listed] == [now * 1000, now + 1, now, now - 30]
    assert bounded.get("/users/1").get_json()["balance"] == "285.00"
    result = bounded.application.test_cli_runner().invoke(args=["verify"])
    assert result.exit_code == 0, result.output


def test_out_of_order_accepted_by_default(client: FlaskClient) -> None:
    """By default an older event is taken and placed where its time puts it."""
    codes(client, time=10)
    codes(client, time=9)
    assert seqs(client) == [1, 2]


def test_all_policies_refuse_before_anything_is_stored(make_client: ClientMaker, sessions: Sessions) -> None:
    """With every policy on reject a refused event, however often it is posted, leaves its user untouched."""
    client = make_client(unknown_users="reject", overdraft="reject", out_of_order="reject")
    client.post("/users", json={"user_id": 1, "total": "10.00"})
    codes(client, amount="1.00", time=100)
    for _ in range(3):
        problem(client.post("/event", json=an_event(type="withdraw", amount="11.01", time=100)), 409)
        problem(client.post("/event", json=an_event(amount="1.00", time=99)), 409)
        problem(client.post("/event", json=an_event(user_id=2)), 404)
    assert counts(sessions) == {"users": 1, "user_actions": 1, "alerts": 0}
    assert client.get("/users/1").get_json()["balance"] == "11.00"
    assert codes(client, type="withdraw", amount="11.00", time=100) == []
    assert seqs(client) == [2, 1]


# Changing how a user is judged


def patch(client: FlaskClient, headers: dict[str, str] | None = None, user_id: int = 1, **fields: Any) -> Any:
    """Change a user and return it as answered."""
    answer = client.patch(f"/users/{user_id}", json=fields, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def settings(sessions: Sessions, user_id: int = 1) -> list[Any]:
    """All rows of a user's settings, oldest first, as (version, risk, overrides, author, note)."""
    columns = "version, risk, CAST(overrides AS text), author, note"
    with sessions() as session:
        rows = session.execute(text(f"SELECT {columns} FROM user_settings WHERE user_id = {user_id} ORDER BY version"))
        return [tuple(row) for row in rows]


def test_a_user_is_changed(client: FlaskClient, sessions: Sessions) -> None:
    """A rating and overrides are answered, shown from then on, and stored with who set them and why."""
    before = client.post("/users", json={"user_id": 1, "name": "Ada", "total": "10.00"}).get_json()
    changed = patch(client, risk="high", overrides={"1100": {"threshold": "50.00"}}, note="Watched.")
    assert changed == before | {"risk": "high", "overrides": {"1100": {"threshold": "50.00"}}}
    assert client.get("/users/1").get_json() == changed
    assert settings(sessions) == [(1, "high", '{"1100": {"threshold": "50.00"}}', "anonymous", "Watched.")]


def test_what_is_left_out_of_a_change_stays(client: FlaskClient, sessions: Sessions) -> None:
    """What is left out stays; overrides are replaced as a whole, and {} takes all of them away."""
    client.post("/users", json={"user_id": 1, "risk": "low"})
    patch(client, overrides={"1100": {"threshold": "50.00"}, "123": {"window": 60}})
    assert patch(client, risk="high")["overrides"] == {"123": {"window": 60}, "1100": {"threshold": "50.00"}}
    assert patch(client, overrides={"30": {"count": 5}})["overrides"] == {"30": {"count": 5}}
    changed = patch(client, overrides={})
    assert (changed["risk"], changed["overrides"]) == ("high", {})
    assert "overrides" not in client.get("/users/1").get_json()
    patch(client, note="Looked at.")
    assert [row[:3] for row in settings(sessions)] == [
        (1, "low", "{}"),
        (2, "low", '{"123": {"window": 60}, "1100": {"threshold": "50.00"}}'),
        (3, "high", '{"123": {"window": 60}, "1100": {"threshold": "50.00"}}'),
        (4, "high", '{"30": {"count": 5}}'),
        (5, "high", "{}"),
        (6, "high", "{}"),
    ]


def test_other_fields_of_a_user_stay(client: FlaskClient) -> None:
    """Name, opening balance and balance cannot be changed, and are named as such."""
    before = client.post("/users", json={"user_id": 1, "name": "Ada"}).get_json()
    answer = client.patch("/users/1", json={"name": "Eve", "total": "9.00", "balance": "9.00", "id": 2, "user_id": 2})
    errors = {e["pointer"]: e["detail"] for e in problem(answer, 400)["errors"]}
    assert errors == dict.fromkeys(("/name", "/total", "/balance", "/id", "/user_id"), "is read-only: it cannot be set")
    assert client.get("/users/1").get_json() == before


SAME = [
    '{"1100": {"threshold": "50.00"}, "123": {"window": 60, "threshold": "1.00"}}',
    '{"123": {"threshold": "1", "window": 60}, "1100": {"threshold": "50"}}',
    '{"123": {"window": 60, "threshold": 1}, "1100": {"threshold": 50.0}, "30": {}}',
]


def test_overrides_are_stored_in_one_form(client: FlaskClient, sessions: Sessions) -> None:
    """However the same overrides are written, they are stored in the same form."""
    client.post("/users", json={"user_id": 1})
    for raw in SAME:
        answer = client.patch("/users/1", data=f'{{"overrides": {raw}}}', content_type="application/json")
        assert answer.status_code == 200, answer.text
    assert len({row[2] for row in settings(sessions)}) == 1
    assert answer.get_json()["overrides"] == {
        "123": {"window": 60, "threshold": "1.00"},
        "1100": {"threshold": "50.00"},
    }


REFUSED_CHANGES = {
    '{"risk": "medium"}': ["/risk"],
    '{"risk": null}': ["/risk"],
    '{"overrides": null}': ["/overrides"],
    '{"overrides": []}': ["/overrides"],
    '{"overrides": {"7": {}}}': ["/overrides/7"],
    '{"overrides": {"01100": {}}}': ["/overrides/01100"],
    '{"overrides": {"of_1100": {}}}': ["/overrides/of_1100"],
    '{"overrides": {"1100": null}}': ["/overrides/1100"],
    '{"overrides": {"1100": "50.00"}}': ["/overrides/1100"],
    '{"overrides": {"1100": {"window": 30}}}': ["/overrides/1100/window"],
    '{"overrides": {"1100": {"threshold": null}}}': ["/overrides/1100/threshold"],
    '{"overrides": {"1100": {"threshold": "-1"}}}': ["/overrides/1100/threshold"],
    '{"overrides": {"123": {"window": 3601}}}': ["/overrides/123/window"],
    '{"overrides": {"123": {"window": 30.0}}}': ["/overrides/123/window"],
    '{"overrides": {"30": {"count": 0}}}': ["/overrides/30/count"],
    '{"note": 1, "author": ""}': ["/author", "/note"],
    '{"risk": "x", "overrides": {"1100": {"a": 1, "threshold": "x"}, "9": 1}, "note": []}': [
        "/note",
        "/overrides/1100/a",
        "/overrides/1100/threshold",
        "/overrides/9",
        "/risk",
    ],
}


def test_a_refused_change(client: FlaskClient, sessions: Sessions, subtests: pytest.Subtests) -> None:
    """All that is wrong with a change is named at once, and nothing is stored."""
    client.post("/users", json={"user_id": 1})
    for body, expected in REFUSED_CHANGES.items():
        with subtests.test(body=body):
            assert pointers(client.patch("/users/1", data=body, content_type="application/json")) == expected
    assert settings(sessions) == []


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_an_unknown_user_is_not_made(client: FlaskClient, sessions: Sessions, method: str) -> None:
    """A user who does not exist can neither be changed nor asked for rules, and is not made."""
    path = "/users/7" if method == "PATCH" else "/users/7/rules"
    assert problem(client.open(path, method=method, json={"risk": "low"}), 404)["type"] == "urn:problem:unknown-user"
    assert counts(sessions) == NOTHING


def test_a_change_holds_from_the_next_event_on(make_client: ClientMaker) -> None:
    """A rating and overrides hold for the user's next event, in every application, and for no other user's."""
    first, second = make_client(), make_client()
    first.post("/users", json={"user_id": 1})
    assert codes(second, type="withdraw", amount="60.00") == []
    patch(first, overrides={"1100": {"threshold": "50.00"}})
    assert codes(second, type="withdraw", amount="60.00", time=11) == [1100]
    assert codes(second, type="withdraw", amount="60.00", user_id=2) == []
    patch(second, overrides={}, risk="high")
    assert codes(first, type="withdraw", amount="50.01", time=9999) == [1100, 30]


def test_overrides_that_look_further_back_than_the_rules(make_client: ClientMaker) -> None:
    """Overrides count what lies further back than any rule looks for other users."""
    client = make_client()
    for user_id in (1, 2):
        codes(client, user_id=user_id, amount="150.00", time=0)
        for time in (10, 20, 30, 40):
            codes(client, user_id=user_id, type="withdraw" if time == 20 else "deposit", amount="1.00", time=time)
    patch(client, overrides={"123": {"window": 3000}, "30": {"count": 5}, "300": {"count": 5}})
    later = an_event(amount="100.00", time=2000)
    answer = client.post("/events", json=[later, later | {"user_id": 2}])
    assert [one["alert_codes"] for one in answer.get_json()["results"]] == [[123], []]
    assert client.get("/alerts/1-6-123").get_json()["evidence"]["actions"] == [1, 2, 4, 5, 6]
    assert [codes(client, type="withdraw", amount="1.00", time=2001 + at) for at in range(5)] == [[]] * 4 + [[30]]


def test_overrides_and_late_events(client: FlaskClient) -> None:
    """A late event far back changes what an override makes a later action look at."""
    codes(client, amount="120.00", time=2000)
    patch(client, overrides={"123": {"window": 3000}})
    codes(client, amount="150.00", time=8000)
    codes(client, amount="100.00", time=5500)
    assert [alert["id"] for alert in client.get("/alerts").get_json()["alerts"]] == ["1-2-123"]


def test_tags_of_a_user(client: FlaskClient) -> None:
    """A user is read with an ETag: 304 while nothing has changed, 412 for a change made without knowing the last."""
    client.post("/users", json={"user_id": 1})
    tag = client.get("/users/1").headers["ETag"]
    assert client.get("/users/1", headers={"If-None-Match": tag}).status_code == 304
    codes(client)
    assert client.get("/users/1", headers={"If-None-Match": tag}).get_json()["balance"] == "42.00"
    patch(client, {"If-Match": tag}, risk="low")
    document = problem(client.patch("/users/1", json={"risk": "high"}, headers={"If-Match": tag}), 412)
    assert document["type"] == "urn:problem:changed"
    assert client.get("/users/1").get_json()["risk"] == "low"


def test_of_two_who_change_a_user_one_wins(make_client: ClientMaker, sessions: Sessions) -> None:
    """Of simultaneous changes by callers that have read the same, exactly one succeeds; without a tag all do."""
    clients = [make_client() for _ in range(4)]
    clients[0].post("/users", json={"user_id": 1})
    tag = clients[0].get("/users/1").headers["ETag"]

    def at_once(headers: dict[str, str]) -> list[Any]:
        def change(client: FlaskClient) -> Any:
            return client.patch("/users/1", json={"risk": "high"}, headers=headers).status_code

        with ThreadPoolExecutor(len(clients)) as threads:
            return sorted(threads.map(change, clients))

    assert at_once({"If-Match": tag}) == [200, 412, 412, 412]
    assert at_once({}) == [200] * 4
    assert [row[0] for row in settings(sessions)] == [1, 2, 3, 4, 5]


def test_the_rules_of_a_user(client: FlaskClient) -> None:
    """All rules are listed as they judge the user, including those that are off, in the order of the registry."""
    client.post("/users", json={"user_id": 1, "risk": "high"})
    client.put("/rules/123", json={"status": "shadow", "by_risk": {"high": {"window": 60}}})
    patch(client, overrides={"30": {"count": 4}})
    found = client.get("/users/1/rules").get_json()
    assert (found["user_id"], found["risk"]) == (1, "high")
    assert [rule["code"] for rule in found["rules"]] == [
        rule["code"] for rule in client.get("/rules").get_json()["rules"]
    ]
    shown = {rule["code"]: rule for rule in found["rules"]}
    assert shown[30] == {
        "code": 30,
        "title": "4 withdrawals in a row",
        "status": "active",
        "version": 1,
        "parameters": {"count": {"value": 4, "origin": "override"}},
    }
    assert shown[123] == {
        "code": 123,
        "title": "Deposits over 100.00 in 1 minute",
        "status": "shadow",
        "version": 2,
        "parameters": {
            "threshold": {"value": "100.00", "origin": "risk"},
            "window": {"value": 60, "origin": "by_risk"},
        },
    }
    assert (shown[500]["status"], shown[500]["parameters"]["count"]) == ("off", {"value": 5, "origin": "default"})


# The rating stands on the user's alerts too


@pytest.mark.parametrize("many", [users.MANY_ALERTS, 0])
def test_alerts_know_whether_their_user_is_rated_high(
    client: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """New alerts and those that are there follow the present rating, closed ones too, however many there are."""
    monkeypatch.setattr(users, "MANY_ALERTS", many)
    marks = text("SELECT high_risk FROM alerts ORDER BY user_id, seq")

    def marked() -> list[bool]:
        with sessions() as session:
            return list(session.scalars(marks))

    codes(client, type="withdraw", amount="150.00")
    with transaction(sessions) as session:
        session.execute(text("UPDATE alerts SET status = 'closed', outcome = 'inconclusive'"))
    for rating, expected in (("low", False), ("high", True), ("normal", False)):
        assert client.patch("/users/1", json={"risk": rating}).status_code == 200
        codes(client, type="withdraw", amount="500.00", time=1000)
        assert set(marked()) == {expected}
    assert len(marked()) == 4 + 2  # from the third withdrawal on, two codes each
