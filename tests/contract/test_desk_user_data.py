"""The page on a user's account and data: what it shows, what its forms do, and who sees it."""

import pytest
from flask.testing import FlaskClient

from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions
from tests.keys import add_key, bearer

PAGE = "/desk/users/7/data"


@pytest.fixture
def ada(client: FlaskClient) -> FlaskClient:
    """A client of a service that knows user 7, Ada."""
    assert client.post("/users", json={"user_id": 7, "name": "Ada"}).status_code == 201
    return client


def test_closing_and_holding(ada: FlaskClient) -> None:
    """The day is the moment at which it begins, in UTC; the same day again changes nothing; both can be taken back."""
    ada.patch("/users/7", json={"closed_at": "2026-01-31T12:34:56Z"})
    assert 'value="2026-01-31"' in ada.get(PAGE).text
    form = {"closed_on": "2026-01-31", "legal_hold": "true", "note": "Asked by a court."}
    answer = ada.post("/desk/users/7/account", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, PAGE)
    held = ada.get("/users/7").get_json()
    assert (held["closed_at"], held["legal_hold"]) == ("2026-01-31T12:34:56.000000Z", True)
    assert "A legal hold keeps the data." in ada.get(PAGE).text
    ada.post("/desk/users/7/account", data={"closed_on": "2026-01-30"})
    assert ada.get("/users/7").get_json()["closed_at"] == "2026-01-30T00:00:00.000000Z"
    assert "Kept by law until" in ada.get("/desk/users/7").text
    ada.post("/desk/users/7/account", data={"closed_on": ""})
    assert "closed_at" not in ada.get("/users/7").get_json()
    for bad in ("2999-01-01", "soon"):
        assert ada.post("/desk/users/7/account", data={"closed_on": bad}).status_code == 400


def test_erasing(ada: FlaskClient) -> None:
    """It needs the number once more; an open account is only marked, which can be taken back, without a reason."""
    for bad in ({"confirm": ""}, {"confirm": "8"}, {"confirm": "7", "override": "Ada asked."}):
        assert ada.post("/desk/users/7/erasure", data=bad).status_code == 400
    assert ada.post("/desk/users/7/erasure", data={"confirm": "7"}).status_code == 303
    assert "Do not erase this user" in ada.get(PAGE).text
    assert "To be erased when nothing keeps the data" in ada.get("/desk/users/7").text
    assert ada.post("/desk/users/7/erasure/withdraw").status_code == 303
    assert "erasure_requested_at" not in ada.get("/users/7").get_json()
    assert ada.post("/desk/users/7/erasure", data={"confirm": "7", "override": "No bank."}).status_code == 303
    for path in (PAGE, "/desk/users/7", "/desk/users"):
        shown = ada.get(path).text
        assert ("Ada" in shown, "rased" in shown) == (False, True), path
    assert ada.get("/desk/users/8/data").status_code == 404


def test_who_sees_it(make_client: ClientMaker, sessions: Sessions) -> None:
    """Only who may erase; others see the state on the user's page, if there is anything to see."""
    read, admin = add_key(sessions, "reader", ["read"]), add_key(sessions, "admin", ["read", "ingest", "admin"])
    client = make_client()
    client.post("/users", json={"user_id": 7}, headers=bearer(admin))
    assert client.get(PAGE, headers=bearer(read)).status_code == 403
    assert "/users/7/export" in client.get(PAGE, headers=bearer(admin)).text
    assert "Account and data" not in client.get("/desk/users/7", headers=bearer(read)).text
    client.delete("/users/7", headers=bearer(admin))
    shown = client.get("/desk/users/7", headers=bearer(read)).text
    assert ("Account and data" in shown, "/data" in shown) == (True, False)
