"""Numbers in the database that are as large as they can be."""

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.postgres import transaction

LAST = 2**63 - 1

# What is as large as it can be, and a request that would need the next one.
CASES = {
    "ids of users": (f"SELECT setval('users_user_id_seq', {LAST})", "POST", "/users", {}),
    "versions of a user's settings": (
        f"UPDATE users SET settings_version = {LAST}",
        "PATCH",
        "/users/1",
        {"risk": "high"},
    ),
    "changes of all rules": (
        f"UPDATE rule_versions SET number = {LAST} WHERE number = (SELECT max(number) FROM rule_versions)",
        "PUT",
        "/rules/30",
        {"status": "off"},
    ),
    "versions of a rule": (
        f"UPDATE rule_versions SET version = {LAST} WHERE code = 30",
        "PUT",
        "/rules/30",
        {"status": "off"},
    ),
    "backtests": (
        f"SELECT setval('backtests_backtest_id_seq', {LAST})",
        "POST",
        "/backtests",
        {"rules": {"30": {}}},
    ),
}


@pytest.mark.parametrize(("full", "method", "path", "body"), CASES.values(), ids=CASES)
def test_there_is_no_next_number(
    client: FlaskClient, sessions: sessionmaker[Session], full: str, method: str, path: str, body: dict[str, object]
) -> None:
    """It is a 409 that says so, and events go on."""
    client.post("/users", json={"user_id": 1})
    client.get("/rules")
    with transaction(sessions) as session:
        session.execute(text(full))
    found = client.open(path, method=method, json=body)
    assert (found.status_code, found.get_json()["type"]) == (409, "urn:problem:exhausted")
    event = {"type": "deposit", "amount": "1.00", "user_id": 1, "time": 1}
    assert client.post("/event", json=event).status_code == 200
