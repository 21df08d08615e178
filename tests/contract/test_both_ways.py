"""What the service takes is valid by its OpenAPI document, and what is valid by it the service takes.

The application that is asked here has no database: what it takes it answers with 503, what it refuses with 400.
"""

from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from routes.schemas.rules import declared_schema
from rules.registry import REGISTRY
from rules.values import DECIMAL, MAX_ID
from tests.contract.helpers import an_event, post_raw, valid
from tests.keys import app_without_database

EXAMPLES = 300


@pytest.fixture(scope="module")
def nowhere() -> FlaskClient:
    """A client of an application whose database is never there."""
    return app_without_database().test_client()


@pytest.fixture(scope="module")
def document(nowhere: FlaskClient) -> Any:
    """The document as it is served."""
    return nowhere.get("/openapi.json").get_json()


@pytest.fixture(scope="module")
def takes(nowhere: FlaskClient) -> Any:
    """Whether the service takes a body."""

    def takes(method: str, path: str, body: Any) -> bool:
        status = nowhere.open(path, method=method, json=body).status_code
        assert status in (400, 503), (body, status)
        return status == 503

    return takes


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The usual, but one time in fifteen the odd."""
    return st.integers(0, 14).flatmap(lambda n: odd if n == 7 else usual)


# Values at and beyond every bound, of every type.
ANYTHING = st.sampled_from([None, True, False, "7", "", [], {}, [1], {"a": 1}, 0.5, -1])
MONEY = mostly(
    st.one_of(
        st.from_regex(DECIMAL, fullmatch=True),
        st.sampled_from(
            ["100.00", "42.5", "0.07", "0.01", "999999999999.99", 42, 0.07, 0.29, 1.1, 4.35, 999999999999.99]
        ),
        st.decimals(min_value="0.01", max_value=10**12, places=2, allow_nan=False).map(float),
        st.integers(1, 10**12),
    ),
    st.sampled_from(
        [
            "0",
            "0.00",
            "1000000000000",
            "1.234",
            "-1",
            "1e3",
            ".5",
            "5.",
            " 1",
            "",
            "1\n",
            "٣",
            "1_0",
            "+1",
            0,
            -1,
            -0.01,
            10**12,
            1e300,
        ]
    ),
)
WHOLE = mostly(
    st.one_of(st.integers(1, 100), st.integers(2**53 - 2, 2**53 + 2), st.integers(MAX_ID - 1, MAX_ID)),
    st.sampled_from([-1, 0, MAX_ID + 1, 10**30]),
)
TEXT = mostly(
    st.one_of(st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1, max_size=9), st.just("x" * 128)),
    st.one_of(
        st.text(max_size=5),
        st.sampled_from(
            ["", "\0", "\x7f", "é", "a\n", "x" * 129, "é" * 200, "😀" * 200, "😀" * 201, "x" * 2000, "x" * 2001]
        ),
    ),
)
TYPE = mostly(st.sampled_from(["deposit", "withdraw"]), st.sampled_from(["Deposit", ""]))
RISK = mostly(st.sampled_from(["low", "normal", "high"]), st.sampled_from(["medium", ""]))
STATUS = mostly(st.sampled_from(["active", "shadow", "off"]), st.sampled_from(["on", ""]))
WINDOW = mostly(st.integers(0, 3600), st.sampled_from([-1, 3601]))
COUNT = mostly(st.integers(1, 100), st.sampled_from([0, 101]))


def members(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these members, now and then with a value of another type, or an unknown one."""
    listed = {name: mostly(value, ANYTHING) for name, value in values.items()}
    return mostly(
        st.fixed_dictionaries({}, optional=listed), st.fixed_dictionaries({"unknown": st.just(1)}, optional=listed)
    )


EVENT = st.builds(
    lambda good, odd, without: {name: value for name, value in (good | odd).items() if name != without},
    st.just(an_event()),
    members(type=TYPE, amount=MONEY, user_id=WHOLE, time=WHOLE, event_id=TEXT)
    | members(amount=MONEY, t=WHOLE, event_id=TEXT),
    st.sampled_from([None, "time", None, "time", "amount"]),
)
PARAMETERS = {
    "123": members(threshold=MONEY, window=WINDOW),
    "1100": members(threshold=MONEY),
    "30": members(count=COUNT),
    "650": members(share=MONEY, minimum=MONEY, window=WINDOW),
}


def by_risk(code: str) -> st.SearchStrategy[Any]:
    """Parameters of a rule for each rating."""
    return members(**dict.fromkeys(("low", "normal", "high"), PARAMETERS[code]))


CALLER = st.just("anonymous")  # nobody else may be named, which no schema can say
RULE = st.sampled_from(sorted(PARAMETERS)).flatmap(
    lambda code: st.tuples(
        st.just(int(code)),
        members(status=STATUS, parameters=PARAMETERS[code], by_risk=by_risk(code), note=TEXT, author=CALLER),
    )
)
USER = members(user_id=WHOLE, name=TEXT, total=MONEY, risk=RISK)
CHANGE = members(risk=RISK, overrides=members(**PARAMETERS), note=TEXT, author=CALLER)
CANDIDATES = members(**{code: members(parameters=PARAMETERS[code], by_risk=by_risk(code)) for code in PARAMETERS})
VALUES = st.lists(MONEY, min_size=1, max_size=2)
SWEEP = members(rule=st.just(123), parameter=st.just("threshold"), values=VALUES) | members(
    rule=st.sampled_from([123, 7]),
    parameter=st.sampled_from(["threshold", "count"]),
    **dict.fromkeys(("from", "to", "step"), MONEY),
)
BACKTEST = members(rules=CANDIDATES, **dict.fromkeys(("from", "to"), WHOLE)) | members(
    sweep=SWEEP, at_most_per_day=WHOLE
)

quietly = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def agree(document: Any, model: str, body: Any, is_taken: bool) -> None:
    """The schema and the service say the same of `body`, unless JSON Schema cannot say why it is refused."""
    is_valid = valid(document, document["components"]["schemas"][model], body)
    if is_taken:
        assert is_valid, body
    elif is_valid:
        assert cannot_be_said(body), body


def cannot_be_said(body: Any) -> bool:
    """Whether there is a number whose form matters, or text that has bounds.

    That is a whole number written as 1.0, a number with too many decimals, and the parameters of rule 650 as text.
    """
    if isinstance(body, dict):
        bounded = any(isinstance(body.get(name), str) for name in ("share", "minimum"))
        return bounded or any(map(cannot_be_said, body.values()))
    if isinstance(body, list):
        return any(map(cannot_be_said, body))
    return isinstance(body, float) and (body.is_integer() or Decimal(repr(body)).as_tuple().exponent < -2)  # type: ignore[operator]


@quietly
@given(body=EVENT)
@example(body=an_event(amount=0.07))
@example(body=an_event(user_id=MAX_ID))
def test_an_event(document: Any, takes: Any, body: Any) -> None:
    """One event."""
    agree(document, "EventRequest", body, takes("POST", "/event", body))


@quietly
@given(body=st.lists(EVENT, min_size=1, max_size=3))
def test_many_events(document: Any, nowhere: FlaskClient, body: Any) -> None:
    """An array of events, all or none."""
    answer = nowhere.post("/events?atomic=true", json=body)
    agree(document, "EventsRequest", body, answer.status_code == 503)


@quietly
@given(body=USER)
def test_a_user(document: Any, takes: Any, body: Any) -> None:
    """A new user."""
    agree(document, "UserRequest", body, takes("POST", "/users", body))


@quietly
@given(body=CHANGE)
def test_a_change_of_a_user(document: Any, takes: Any, body: Any) -> None:
    """A change of a user, with the parameters of each rule."""
    agree(document, "UserChangeRequest", body, takes("PATCH", "/users/7", body))


@quietly
@given(RULE)
def test_a_rule(document: Any, takes: Any, rule: tuple[int, Any]) -> None:
    """What to set a rule to; which parameters it has depends on the path, and stands where they are by code."""
    code, body = rule
    is_taken = takes("PUT", f"/rules/{code}", body)
    if is_taken or all(valid(document, declared_schema(REGISTRY[code]), group) for group in groups(body)):
        agree(document, "RuleRequest", body, is_taken)


def groups(body: Any) -> list[Any]:
    """The groups of parameters in what a rule is to be set to."""
    apart = body.get("by_risk", {})
    return [body.get("parameters", {}), *(apart.values() if isinstance(apart, dict) else ())]


@quietly
@given(body=BACKTEST)
def test_a_backtest(document: Any, takes: Any, body: Any) -> None:
    """A question to a backtest, except for what members mean for each other: said in words only."""
    is_taken = takes("POST", "/backtests", body)
    if is_taken or not (is_backwards(body) or "sweep" in body):
        agree(document, "BacktestRequest", body, is_taken)


def is_backwards(body: Any) -> bool:
    """Whether the period ends before it begins."""
    start, end = body.get("from", 0), body.get("to", MAX_ID)
    return isinstance(start, int) and isinstance(end, int) and start > end


@pytest.mark.parametrize(
    ("body", "is_taken"),
    [
        (b'{"type": "deposit", "amount": 1.234, "user_id": 1, "time": 10}', False),
        (b'{"type": "deposit", "amount": 1e2, "user_id": 1, "time": 10}', False),
        (b'{"type": "deposit", "amount": NaN, "user_id": 1, "time": 10}', False),
        (b'{"type": "deposit", "amount": "1", "user_id": 1.0, "time": 10}', False),
        (rb'{"type": "deposit", "amount": "1", "user_id": 1, "time": 10, "event_id": "\ud800"}', False),
        (b'{"type": "deposit", "amount": "1", "user_id": 1, "time": 1e1}', False),
        (b'{"type": "deposit", "amount": "1", "amount": "2", "user_id": 1, "time": 10}', True),
    ],
)
def test_what_no_schema_can_say(nowhere: FlaskClient, body: bytes, is_taken: bool) -> None:
    """How a number was written, and that a member stands twice, no schema sees: words say it."""
    assert post_raw(nowhere, body).status_code == (503 if is_taken else 400)
    description = nowhere.get("/openapi.json").get_json()["info"]["description"]
    for words in ("NaN", "surrogate", "twice", "decimal point", "two decimals"):
        assert words in description
