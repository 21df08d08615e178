"""`/keys`: making, listing, revoking and rotating keys over HTTP."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from access import key_changes
from access.key_format import hash_key, read_key_id
from access.keyring import Keyring
from database.session import CommitUncertain, Transaction
from routes.keys import KEY_UNCERTAIN, TOO_MANY_KEYS
from rules.service import Service
from tests.contract.helpers import Sessions, pointers, problem
from tests.keys import bearer
from tests.postgres import transaction


@pytest.fixture
def chief(client: FlaskClient) -> Any:
    """The headers of whoever manages keys. The first key can be made without one."""
    answer = client.post("/keys", json={"name": "chief", "scopes": ["admin"]})
    assert answer.status_code == 201, answer.text
    return bearer(answer.get_json()["key"])


@pytest.fixture
def make(client: FlaskClient, chief: dict[str, str]) -> Any:
    """Makes a key that reads: `make("a program", scopes=["ingest"])`."""

    def make(name: str, **more: Any) -> Any:
        answer = client.post("/keys", json={"name": name, "scopes": ["read"]} | more, headers=chief)
        assert answer.status_code == 201, answer.text
        return answer.get_json()

    return make


def status_with(client: FlaskClient, key: str) -> int:
    """How a read with this key is answered."""
    return client.get("/alerts", headers=bearer(key)).status_code


def test_a_key_is_made_and_shown_once(client: FlaskClient, chief: dict[str, str], sessions: Sessions) -> None:
    """The answer has all of it, the list and the database do not; who made it is known."""
    wanted = {"name": "payments", "scopes": ["read", "ingest", "read"], "rate": "100/second"}
    answer = client.post("/keys", json=wanted | {"expires_at": "2099-12-31T23:00:00-01:00"}, headers=chief)
    made = answer.get_json()
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    key = made.pop("key")
    assert read_key_id(key) == made["id"]
    assert answer.headers["Location"] == f"/keys/{made['id']}"
    assert made.pop("created_at")
    assert made == {
        "id": made["id"],
        "name": "payments",
        "status": "living",
        "scopes": ["ingest", "read"],
        "rate": "100/second",
        "created_by": "chief",
        "expires_at": "2100-01-01T00:00:00.000000Z",
        "revoked_at": None,
        "last_used_at": None,
        "requests": 0,
    }
    assert status_with(client, key) == 200
    for path in ("/keys", f"/keys/{made['id']}"):
        read = client.get(path, headers=chief)
        assert read.status_code == 200
        assert key[12:] not in read.text
        assert hash_key(key).hex() not in read.text
    with sessions() as session:
        for table in ("keys", "log_entries"):
            assert key[12:] not in str(session.execute(text(f"SELECT * FROM {table}")).all())


def test_keys_are_listed_page_by_page(client: FlaskClient, chief: dict[str, str], make: Any) -> None:
    """Newest first, also those that have ended."""
    for name in ("first", "second", "third"):
        make(name)
    page = client.get("/keys?limit=3", headers=chief).get_json()
    assert [one["name"] for one in page["keys"]] == ["third", "second", "first"]
    client.delete(f"/keys/{page['keys'][0]['id']}", headers=chief)
    rest = client.get(f"/keys?limit=3&cursor={page['next']}", headers=chief).get_json()
    assert ([one["name"] for one in rest["keys"]], rest["next"]) == (["chief"], None)
    assert [one["status"] for one in client.get("/keys?limit=2", headers=chief).get_json()["keys"]] == [
        "revoked",
        "living",
    ]


def test_a_revoked_key_is_refused(client: FlaskClient, chief: dict[str, str], make: Any) -> None:
    """Revoking it again changes nothing. Its name is free."""
    made = make("a program")
    first = client.delete(f"/keys/{made['id']}", headers=chief)
    assert (first.status_code, first.get_json()["status"]) == (200, "revoked")
    assert status_with(client, made["key"]) == 401
    assert client.delete(f"/keys/{made['id']}", headers=chief).get_json() == first.get_json()
    make("a program")


def test_a_rotated_key_goes_on_for_the_overlap(client: FlaskClient, chief: dict[str, str], make: Any) -> None:
    """By default for a day; with none it is revoked. The new one is like it."""
    old = make("a program", scopes=["read", "work"], rate="9/second", expires_at="2090-01-01T00:00:00Z")
    answer = client.post(f"/keys/{old['id']}/rotate", json={}, headers=chief)
    new = answer.get_json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/keys/{new['id']}"
    for name in ("name", "scopes", "rate", "expires_at", "status"):
        assert new[name] == old[name]
    assert [status_with(client, one["key"]) for one in (old, new)] == [200, 200]
    ends = client.get(f"/keys/{old['id']}", headers=chief).get_json()["expires_at"]
    left = datetime.fromisoformat(ends) - datetime.now(UTC)
    assert timedelta(hours=22) < left < timedelta(hours=25)
    last = client.post(f"/keys/{new['id']}/rotate", json={"overlap_hours": 0}, headers=chief).get_json()
    assert [status_with(client, one["key"]) for one in (old, new, last)] == [200, 401, 200]
    ended = problem(client.post(f"/keys/{new['id']}/rotate", json={}, headers=chief), 409)
    assert ended["type"] == "urn:problem:key-ended"


@pytest.mark.parametrize(("seconds", "wait"), [(0, 40), (39, 40), (40, 20), (3600, 20)])
def test_how_long_a_rotation_waits(
    client: FlaskClient, make: Any, monkeypatch: pytest.MonkeyPatch, seconds: int, wait: int
) -> None:
    """Until the new key works everywhere; and if the old one may end meanwhile, until it is known not to."""
    waits: list[float] = []
    key_id, extensions = make("a program")["id"], client.application.extensions
    monkeypatch.setattr(key_changes, "REVOKED", 40)
    monkeypatch.setattr(key_changes, "MADE", 20)
    monkeypatch.setattr(key_changes, "time", SimpleNamespace(monotonic=lambda: 0, sleep=waits.append))
    changes = key_changes.KeyChanges(Service.of(extensions).run, Keyring.of(extensions))
    changes.rotate(key_id, overlap=timedelta(seconds=seconds), who="test")
    assert waits == [wait]


def test_an_expired_key_is_refused(client: FlaskClient, chief: dict[str, str], make: Any, sessions: Sessions) -> None:
    """It is listed as what it is."""
    made = make("a program")
    with transaction(sessions) as session:
        end = {"id": made["id"]}
        session.execute(text("UPDATE keys SET expires_at = '2020-01-01', changed = 99 WHERE key_id = :id"), end)
    make("another")  # after which the keys are read anew
    assert status_with(client, made["key"]) == 401
    assert client.get(f"/keys/{made['id']}", headers=chief).get_json()["status"] == "expired"


def test_the_last_admin_is_not_revoked(client: FlaskClient, chief: dict[str, str], make: Any) -> None:
    """Nobody locks everybody out by mistake; one's own key can be revoked if another remains."""
    (only,) = client.get("/keys", headers=chief).get_json()["keys"]
    assert problem(client.delete(f"/keys/{only['id']}", headers=chief), 409)["type"] == "urn:problem:last-admin"
    other = make("other", scopes=["admin"])
    assert client.delete(f"/keys/{only['id']}", headers=chief).status_code == 200
    problem(client.get("/keys", headers=chief), 401)
    assert client.get("/keys", headers=bearer(other["key"])).status_code == 200


def test_other_scopes_do_not_manage_keys(client: FlaskClient, make: Any) -> None:
    """Only admin does, and admin alone does nothing else."""
    made = make("everything else", scopes=["ingest", "read", "work", "tune"])
    headers = bearer(made["key"])
    for method, path in (
        ("POST", "/keys"),
        ("GET", "/keys"),
        ("GET", f"/keys/{made['id']}"),
        ("DELETE", f"/keys/{made['id']}"),
        ("POST", f"/keys/{made['id']}/rotate"),
    ):
        problem(client.open(path, method=method, json={} if method == "POST" else None, headers=headers), 403)


FUTURE = "2099-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["/name", "/scopes"]),
        ({"name": "", "scopes": []}, ["/name", "/scopes"]),
        ({"name": "x" * 65, "scopes": ["read", "write"]}, ["/name", "/scopes/1"]),
        ({"name": " a", "scopes": "read"}, ["/name", "/scopes"]),
        ({"name": "a\u0000", "scopes": [1]}, ["/name", "/scopes/0"]),
        ({"name": "a\u202e", "scopes": None}, ["/name", "/scopes"]),
        ({"name": "\ud800", "scopes": ["read"]}, ["/name"]),
        ({"name": "ANONYMOUS", "scopes": ["read"] * 21}, ["/name", "/scopes"]),
        ({"name": "\uff33ervice", "scopes": ["read"]}, ["/name"]),  # a wide S: looks alike
        ({"name": "Nobody", "scopes": ["read"]}, ["/name"]),
        ({"name": "command  line", "scopes": ["read"]}, ["/name"]),
        ({"name": "a", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, ["/expires_at"]),
        ({"name": "a", "scopes": ["read"], "expires_at": "9999-12-31T23:59:59-14:00"}, ["/expires_at"]),
        ({"name": "a", "scopes": ["read"], "expires_at": "2099-01-01T00:00:00"}, ["/expires_at"]),
        ({"name": "a", "scopes": ["read"], "expires_at": 4_000_000_000}, ["/expires_at"]),
        ({"name": "a", "scopes": ["read"], "expires_at": "", "rate": ""}, ["/expires_at", "/rate"]),
        ({"name": "a", "scopes": ["read"], "rate": "often"}, ["/rate"]),
        ({"name": "a", "scopes": ["read"], "rate": "9" * 41}, ["/rate"]),
        ({"name": "a", "scopes": ["read"], "key": "mine", "expires_at": FUTURE}, ["/key"]),
    ],
)
def test_what_is_wrong_with_a_new_key_is_named(client: FlaskClient, body: dict[str, Any], where: list[str]) -> None:
    """All of it at once, and nothing is stored."""
    assert pointers(client.post("/keys", json=body)) == where
    assert client.get("/keys").get_json()["keys"] == []


@pytest.mark.parametrize("hours", [-1, 721, "24", 1.5, None, True])
def test_an_overlap_is_a_number_of_hours(client: FlaskClient, hours: Any) -> None:
    """Up to thirty days."""
    assert pointers(client.post("/keys/k3yI2d4/rotate", json={"overlap_hours": hours})) == ["/overlap_hours"]


def test_a_name_that_is_taken_is_a_conflict(client: FlaskClient, chief: dict[str, str], make: Any) -> None:
    """The key that has it stays."""
    made = make("a program")
    taken = client.post("/keys", json={"name": "a program", "scopes": ["read"]}, headers=chief)
    assert problem(taken, 409)["type"] == "urn:problem:name-taken"
    assert status_with(client, made["key"]) == 200


def test_what_is_no_key_is_not_found(client: FlaskClient) -> None:
    """An id that no key has; what can be no id is no path."""
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
        body: Any = {} if method == "POST" else None
        missing = problem(client.open(f"/keys/0000000{path}", method=method, json=body), 404)
        assert (missing["type"], missing["detail"]) == ("urn:problem:unknown-key", "There is no key 0000000.")
        for wrong in ("000000", "00000000", "00000%C3%A9", "%00", "k3y-I2d", "tak_k3yI2d4"):
            problem(client.open(f"/keys/{wrong}{path}", method=method, json=body), 404)


def test_no_more_keys_than_may(client: FlaskClient, chief: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process has them all in memory."""
    monkeypatch.setattr(key_changes, "MOST_LIVING", 1)
    full = client.post("/keys", json={"name": "one more", "scopes": ["read"]}, headers=chief)
    assert problem(full, 409)["type"] == f"urn:problem:{TOO_MANY_KEYS.kind}"


def test_no_more_changes_at_once_than_may(
    client: FlaskClient, chief: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds a thread for seconds; nothing is stored."""
    with key_changes.turn(), key_changes.turn(), key_changes.turn(), key_changes.turn():
        full = client.post("/keys", json={"name": "one more", "scopes": ["read"]}, headers=chief)
    assert problem(full, 503)["type"] == "urn:problem:key-changes-full"
    assert full.headers["Retry-After"] == "1"
    assert len(client.get("/keys", headers=chief).get_json()["keys"]) == 1


def test_a_commit_of_which_nobody_knows(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection broke: the key was made or not, and its secret is lost; the list shows which."""

    def commit(self: Any) -> None:
        raise CommitUncertain

    monkeypatch.setattr(Transaction, "commit", commit)
    answer = client.post("/keys", json={"name": "a program", "scopes": ["read"]})
    assert problem(answer, 503)["detail"] == KEY_UNCERTAIN.detail
