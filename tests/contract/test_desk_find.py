"""Finding an alert, a user or a rule by its id or code."""

import pytest
from flask.testing import FlaskClient

from tests.contract.helpers import codes


@pytest.fixture
def client(client: FlaskClient) -> FlaskClient:
    """A client of a service with the users 7 and 30, who have the ids of no rule and of one, and an alert."""
    assert codes(client, type="withdraw", amount="150.00", user_id=7) == [1100]
    assert codes(client, user_id=30) == []
    return client


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("7-1-1100", "/desk/alerts/7-1-1100"),
        ("7", "/desk/users/7"),
        (" 7 ", "/desk/users/7"),
        ("1100", "/desk/rules/1100"),
    ],
)
def test_one_thing(client: FlaskClient, wanted: str, path: str) -> None:
    """It leads there at once."""
    answer = client.get("/desk/find", query_string={"q": wanted})
    assert (answer.status_code, answer.headers["Location"]) == (303, path)


def test_two_things(client: FlaskClient) -> None:
    """A number that is a code and an id offers both."""
    page = client.get("/desk/find?q=30")
    assert page.status_code == 200
    assert 'href="/desk/rules/30"' in page.text
    assert 'href="/desk/users/30"' in page.text


@pytest.mark.parametrize(
    "wanted",
    [
        *("7-2-1100", "8", "07", "7-1", "-1", "0", "٣", "1.0", "Ada", "<script>alert(1)</script>", "9" * 19, "9" * 40),
        *("9223372036854775808-1-30", "1-9223372036854775808-30", "1-1-9999999999", "7\x001", "%", "'"),
    ],
)
def test_nothing(client: FlaskClient, wanted: str) -> None:
    """Then the page says what can be found, and keeps what was asked for."""
    page = client.get("/desk/find", query_string={"q": wanted})
    assert page.status_code == 200
    assert "Nothing is called" in page.text
    assert "<script>alert" not in page.text


@pytest.mark.parametrize("query", ["", "?q=", "?q=%20"])
def test_no_question(client: FlaskClient, query: str) -> None:
    """The page by itself says what can be found."""
    page = client.get(f"/desk/find{query}")
    assert page.status_code == 200
    assert "Nothing is called" not in page.text


def test_a_long_question(client: FlaskClient) -> None:
    """More than an id can have is no question."""
    assert client.get("/desk/find", query_string={"q": "7" * 61}).status_code == 400
