"""The known ways in: what users of earlier services of this kind rely on, a group of tests for each."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import make_url, text

from config_loader import load_settings
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, an_event, codes, counts, problem, without
from tests.postgres import transaction


class TestEventsAPI:
    """Settings as parts of the database's address, `POST /api/events`, and the tables by their names."""

    def test_the_settings_make_a_database_url(self, tmp_path: Path) -> None:
        """A `.env` file with DB_HOST and its companions names the PostgreSQL to use and where to listen."""
        env_file = tmp_path / ".env"
        env_file.write_text(
            "GLOBAL_TEST_FLAG=true\nBACKEND_PORT=5050\nDB_HOST=db.example\nDB_PORT=6543\nDB_NAME=events\n"
            "DB_USER=eve\nDB_PASSWORD='p@ss:w/rd%'\n"
        )
        settings = load_settings(env_file)
        url = make_url(str(settings.database))
        assert (url.host, url.port, url.database) == ("db.example", 6543, "events")
        assert (url.username, url.password) == ("eve", "p@ss:w/rd%")
        assert (settings.global_test_flag, settings.backend_port) == (True, 5050)

    def test_post_api_events(self, client: FlaskClient) -> None:
        """`POST /api/events` takes an event and answers its codes."""
        answer = client.post("/api/events", json=an_event(type="withdraw", amount="100.01"))
        assert (answer.status_code, answer.get_json()) == (
            200,
            {"alert": True, "alert_codes": [1100], "user_id": 1},
        )

    def test_an_unknown_user_is_not_found(self, make_client: ClientMaker) -> None:
        """Under UNKNOWN_USERS=reject an event for an unknown user is a 404."""
        problem(make_client(unknown_users="reject").post("/api/events", json=an_event()), 404)

    def test_the_tables(self, sessions: Sessions) -> None:
        """Users, actions and alerts are in tables called users, user_actions and alerts."""
        with sessions() as session:
            tables = session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        assert set(tables) >= {"users", "user_actions", "alerts"}

    def test_a_user_inserted_by_hand(self, make_client: ClientMaker, sessions: Sessions) -> None:
        """A user made by SQL with nothing but an id can be read and can act, even where unknown users cannot."""
        with transaction(sessions) as session:
            session.execute(text("INSERT INTO users (user_id) VALUES (1);"))
        client = make_client(unknown_users="reject")
        made = {"id": 1, "name": None, "total": "0.00", "balance": "0.00", "risk": "normal"}
        assert client.get("/users/1").get_json() == made
        assert codes(client, amount="200.01") == [123]
        assert client.get("/users/1").get_json()["balance"] == "200.01"


class TestPracticeFlask:
    """`/event`, the velocity rule switched on, risk ratings, and data that outlives the process."""

    def test_a_large_deposit(self, client: FlaskClient) -> None:
        """A deposit of 217.00 for user 11 at time 35 raises 123 by itself."""
        answer = client.post("/event", json={"type": "deposit", "amount": "217.00", "user_id": 11, "time": 35})
        assert answer.get_json() == {"alert": True, "alert_codes": [123], "user_id": 11}

    def test_more_than_five_actions_in_a_minute(self, make_client: ClientMaker) -> None:
        """With 500 switched on the sixth action within 60 seconds raises it, both ends included."""
        client = make_client(rules="1100,30,300,123,500")
        kinds = ["deposit", "withdraw"]
        for at in range(5):
            assert codes(client, type=kinds[at % 2], amount="1.00", time=10 * at) == []
        assert codes(client, type="withdraw", amount="1.00", time=60) == [500]
        assert codes(client, amount="1.00", time=71) == []

    @pytest.mark.parametrize(("risk", "expected"), [("low", []), ("normal", [1100]), ("high", [1100])])
    def test_the_rating_decides(self, client: FlaskClient, risk: str, expected: Any) -> None:
        """A withdrawal of 150.00 passes only for a user of low risk."""
        client.post("/users", json={"user_id": 1, "risk": risk})
        assert codes(client, type="withdraw", amount="150.00") == expected

    def test_data_outlives_the_application(self, make_client: ClientMaker) -> None:
        """A second application on the same database continues where the first one stopped."""
        first, second = make_client(), make_client()
        assert codes(first, type="withdraw", amount="1.00", time=0) == []
        assert codes(first, type="withdraw", amount="1.00", time=1) == []
        assert codes(second, type="withdraw", amount="1.00", time=2) == [30]


class TestActivityEventsAPI:
    """The time called `t`, and tests that use only a database of their own."""

    def test_the_time_is_called_t(self, client: FlaskClient, sessions: Sessions) -> None:
        """A withdrawal of 100.00 at `t` 0 is taken and raises nothing."""
        answer = client.post("/event", json={"type": "withdraw", "amount": "100.00", "user_id": 1, "t": 0})
        assert (answer.status_code, answer.get_json()) == (200, {"alert": False, "alert_codes": [], "user_id": 1})
        with sessions() as session:
            assert session.scalars(text("SELECT time FROM user_actions")).all() == [0]

    def test_t_and_time_mix(self, client: FlaskClient) -> None:
        """Events with `t` and with `time` share one timeline."""
        assert codes(client, amount="150.00", time=0) == []
        answer = client.post("/event", json=without(an_event(amount="60.00", t=30), "time"))
        assert answer.get_json()["alert_codes"] == [123]

    def test_a_test_has_a_database_of_its_own(
        self, client: FlaskClient, sessions: Sessions, server_url: str, database_url: str
    ) -> None:
        """A test writes into a database made for it alone, on the server but not in the one its URL names."""
        codes(client)
        assert counts(sessions)["user_actions"] == 1
        own = make_url(database_url).database
        assert own is not None
        assert own.startswith("alerts_test_")
        assert own != make_url(server_url).database


class TestJuniorTask:
    """Callers' plain mistakes are reported to them, and the window of deposits is right."""

    @pytest.mark.parametrize("field", ["type", "amount", "user_id", "time"])
    def test_a_missing_or_invalid_field(self, client: FlaskClient, field: str) -> None:
        """A missing or an invalid field is a 400 that names it, never a 500."""
        for body in (without(an_event(), field), an_event(**{field: None}), an_event(**{field: "nonsense"})):
            document = problem(client.post("/event", json=body), 400)
            assert [error["pointer"] for error in document["errors"]] == [f"/{field}"]

    @pytest.mark.parametrize("amount", ["-1", "-0.01", "-100.00", -1, -0.01])
    def test_a_negative_amount(self, client: FlaskClient, amount: Any) -> None:
        """A negative amount is a 400, as text as well as a number."""
        problem(client.post("/event", json=an_event(amount=amount)), 400)

    def test_two_deposits_in_a_window(self, client: FlaskClient) -> None:
        """A deposit of 100 at 10 and one of 120 at 20 are over 200 in 30 seconds: the second raises 123."""
        assert codes(client, amount="100.00", time=10) == []
        assert codes(client, amount="120.00", time=20) == [123]


class TestFastAPIVersion:
    """Users made over HTTP with a name and a total, and a balance that can be kept from going below zero."""

    def test_post_user(self, client: FlaskClient) -> None:
        """`POST /user` with a name and a total as a number makes a user and answers the id."""
        answer = client.post("/user", data='{"name": "Ada", "total": 100.00}', content_type="application/json")
        made = answer.get_json()
        assert answer.status_code == 201
        assert (made["name"], made["total"]) == ("Ada", "100.00")
        assert client.get(f"/users/{made['id']}").get_json() == made

    def test_no_withdrawal_below_zero(self, make_client: ClientMaker) -> None:
        """Under OVERDRAFT=reject a withdrawal can empty the account but not overdraw it."""
        client = make_client(overdraft="reject")
        user_id = client.post("/user", json={"name": "Ada", "total": 100}).get_json()["id"]
        problem(client.post("/event", json=an_event(user_id=user_id, type="withdraw", amount="100.01")), 409)
        assert codes(client, user_id=user_id, type="withdraw", amount="100.00") == []
        assert client.get(f"/users/{user_id}").get_json()["balance"] == "0.00"

    @pytest.mark.parametrize("total", [-1, -0.01, "-100.00"])
    def test_a_negative_total(self, client: FlaskClient, total: Any) -> None:
        """A negative total is a 400 that names it, and makes no user."""
        document = problem(client.post("/user", json={"name": "Ada", "total": total}), 400)
        assert [error["pointer"] for error in document["errors"]] == ["/total"]
