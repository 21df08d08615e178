"""Who may call: keys and their scopes, at both doors; and what is open as long as no key was ever made."""

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from access.caller import SCOPES
from access.key_format import make_key
from access.keyring import Keyring, KeysUnknown
from database.session import make_sessions
from routes.http.operation import needs_of
from routes.http.origins import HEALTH_PATHS
from routes.http.pages import DESK
from tests.conftest import ClientMaker
from tests.contract.helpers import NOTHING, Sessions, an_event, counts, problem
from tests.keys import add_key, bearer, look, revoke_key
from tests.postgres import engine_on
from tests.service import Service
from tests.waiting import PATIENCE, wait_until

# Paths where some method needs no key.
FREE = {"/desk/assets/desk.css", *HEALTH_PATHS, "/favicon.ico", "/session", "/sign-in", "/desk/sign-out"}
CHALLENGE = 'Bearer realm="transaction-alerts"'

# What each call needs, apart from what needs a scope of its own by what it says.
PATH_VALUES = {
    "user_id": 7,
    "code": 30,
    "alert_id": "7-1-30",
    "key_id": "0000000",
    "backtest_id": 1,
    "posted": "event",
    "filename": "docs.js",
    "name": "desk.css",
}


def calls(app: Flask) -> Iterator[tuple[str, str, object]]:
    """Every method and path of the application, with values for what stands in it, and its view."""
    for rule in app.url_map.iter_rules():
        values = {name: PATH_VALUES.get(name, 1) for name in rule.arguments}
        built = rule.build(values, append_unknown=False)
        assert built is not None
        for method in sorted(rule.methods or ()):
            yield method, built[1], app.view_functions[rule.endpoint]


def test_every_call_says_what_it_needs(client: FlaskClient) -> None:
    """There is no view without a scope, and only health and signing in need no key, nor the icon that browsers want."""
    needs = {(method, path): needs_of(view, "") for method, path, view in calls(client.application)}
    assert [call for call, scope in needs.items() if scope is None] == []
    free = {path for (_, path), scope in needs.items() if scope == "nothing"}
    assert free == FREE


def test_a_view_without_scope_is_refused_to_everybody(client: FlaskClient) -> None:
    """Whoever forgets to say it notices: nobody can make the call, with or without a key."""
    client.application.add_url_rule("/forgotten", view_func=lambda: "told")
    assert problem(client.get("/forgotten"), 403)["type"] == "urn:problem:scope"


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_and_each_call(make_client: ClientMaker, sessions: Sessions, scope: str) -> None:
    """A key makes the calls of its scope and those that any key makes; every other is a 403 that names the scope.

    For a page of the desk one also has to read, whatever else it needs.
    """
    headers = bearer(add_key(sessions, scopes=[scope]))
    client = make_client()
    for method, path, view in calls(client.application):
        if path in FREE and method == "OPTIONS":
            continue  # whichever view is found first answers
        needs = "any" if method == "OPTIONS" else needs_of(view, "")
        if needs == scope and path.startswith(f"{DESK}/"):
            needs = "read"
        if needs in ("any", "nothing", scope) and method not in ("GET", "HEAD", "OPTIONS"):
            continue  # it would do what it does
        with client.open(path, method=method, headers=headers) as answer:
            assert (answer.status_code == 403) == (needs not in ("any", "nothing", scope)), (method, path)
            assert answer.status_code != 401
            if answer.status_code == 403 and method != "HEAD":
                told = answer.get_json()
                assert (told["type"], f"the scope {needs}." in told["detail"]) == ("urn:problem:scope", True)
    assert counts(sessions) == NOTHING


def test_no_key(make_client: ClientMaker, sessions: Sessions) -> None:
    """Once a key was made, every call without one is a 401, before anything else is told; health needs none."""
    add_key(sessions)
    client = make_client()
    for method, path, view in calls(client.application):
        with client.open(path, method=method) as answer:
            if needs_of(view, "") == "nothing":
                assert answer.status_code != 401 or path == "/sign-in"  # which says that no key was sent
            elif (method, path) != ("OPTIONS", "/session"):
                assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, CHALLENGE), (method, path)
    for method, path in (("GET", "/nowhere"), ("PUT", "/event"), ("GET", "/rules?limit=x"), ("GET", "/%6detrics")):
        assert problem(client.open(path, method=method), 401)["type"] == "urn:problem:no-key"
    assert problem(client.get("/rules", headers={"Host": "evil.test"}), 403)["type"] == "urn:problem:untrusted-host"
    assert counts(sessions) == NOTHING


def test_a_revoked_key_leaves_the_service_closed(make_client: ClientMaker, sessions: Sessions) -> None:
    """When its last key is revoked or has expired, the service does not open again; the other keys stay good."""
    key = add_key(sessions)
    expired = add_key(sessions, "Bob", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    client = make_client()
    assert client.get("/rules", headers=bearer(key)).status_code == 200
    revoke_key(sessions, key)
    look(client.application)
    for refused in (key, expired):
        answer = client.get("/rules", headers=bearer(refused))
        assert problem(answer, 401)["type"] == "urn:problem:bad-key"
        assert answer.headers["WWW-Authenticate"] == f'{CHALLENGE}, error="invalid_token"'
    problem(client.get("/rules"), 401)


def test_health_looks_at_no_key(make_client: ClientMaker, sessions: Sessions) -> None:
    """Probes are answered whatever they send along."""
    add_key(sessions)
    client = make_client()
    for path in HEALTH_PATHS:
        assert client.get(path, headers=bearer("junk")).status_code == 200


@pytest.mark.parametrize(
    ("peer", "is_open"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("192.0.2.7", False),
        ("2001:db8::1", False),
        ("", False),
    ],
)
def test_callers_from_elsewhere_without_keys(
    make_client: ClientMaker, sessions: Sessions, peer: str, is_open: bool
) -> None:
    """`flask run --host` listens where the settings do not say: whatever name others use, they are not answered."""
    from_there = {"environ_overrides": {"REMOTE_ADDR": peer}}
    client = make_client()
    if is_open:
        assert client.get("/rules", **from_there).status_code == 200
    else:
        assert problem(client.get("/rules", **from_there), 403)["type"] == "urn:problem:needs-key"
        assert problem(client.post("/event", json=an_event(), **from_there), 403)["type"] == "urn:problem:needs-key"
        assert counts(sessions) == NOTHING
    everybody = make_client(allow_anonymous=True)
    assert everybody.get("/rules", **from_there).status_code == 200
    key = bearer(add_key(sessions))
    look(client.application)
    assert client.get("/rules", headers=key, **from_there).status_code == 200


def test_hosts_without_keys(make_client: ClientMaker, sessions: Sessions) -> None:
    """Until a key is made, names of loopback alone are answered, and others are told how to make one."""
    client = make_client(trusted_hosts="alerts.example")
    for method, path in (("POST", "/event"), ("GET", "/rules")):
        answer = client.open(path, method=method, json=an_event(), headers={"Host": "alerts.example"})
        document = problem(answer, 403)
        assert (document["type"], "keys create" in document["detail"]) == ("urn:problem:needs-key", True)
    assert client.get("/healthz", headers={"Host": "alerts.example"}).status_code == 200
    assert counts(sessions) == NOTHING
    key = add_key(sessions)
    look(client.application)
    answer = client.post("/event", json=an_event(), headers=bearer(key) | {"Host": "alerts.example"})
    assert answer.status_code == 200


@pytest.mark.parametrize("listens_on", ["127.0.0.1", "0.0.0.0", "alerts.example"])
def test_allow_anonymous(make_client: ClientMaker, sessions: Sessions, listens_on: str) -> None:
    """ALLOW_ANONYMOUS opens every address and every trusted name, until the first key is made."""
    settings: dict[str, Any] = {"backend_host": listens_on, "trusted_hosts": "alerts.example"}
    client = make_client(**settings, allow_anonymous=True)
    for host in ("alerts.example", "localhost"):
        assert client.get("/rules", headers={"Host": host}).status_code == 200
    closed = make_client(**settings)
    assert closed.get("/rules").status_code == (200 if listens_on == "127.0.0.1" else 401)
    add_key(sessions)
    look(client.application)
    problem(client.get("/rules"), 401)


def test_while_nobody_knows_the_keys(
    make_client: ClientMaker, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the last look at the keys is too old, nothing is answered but health: 503, to be tried again."""
    key = add_key(sessions)
    client = make_client()

    def unknown(*_: object) -> None:
        raise KeysUnknown

    monkeypatch.setattr(Keyring, "_fresh", unknown)
    for headers in (bearer(key), {}):
        answer = client.get("/rules", headers=headers)
        assert problem(answer, 503)["type"] == "urn:problem:keys-unknown"
        assert answer.headers["Retry-After"] == "1"
    assert client.get("/healthz").status_code == 200


def test_pages_of_elsewhere_with_a_key(make_client: ClientMaker, sessions: Sessions) -> None:
    """A page of another origin cannot change anything, whatever key it knows."""
    headers = bearer(add_key(sessions)) | {"Origin": "https://evil.test"}
    assert problem(make_client().post("/event", json=an_event(), headers=headers), 403)["type"].endswith("other-origin")


# Both doors


class Keys(NamedTuple):
    """Keys of one database."""

    ingest: str
    read: str
    revoked: str


class Door(NamedTuple):
    """A way to post an event, and the keys that hold there."""

    post: Callable[[Any], int]
    keys: Keys


@pytest.fixture(scope="module")
def closed(shared_service: Service, shared_database_url: str) -> tuple[Service, Keys]:
    """The running service, once its keys are known in all of its workers."""
    with engine_on(shared_database_url) as engine:
        sessions = make_sessions(engine)
        keys = Keys(
            ingest=add_key(sessions, "ingest", ["ingest"]),
            read=add_key(sessions, "read", ["read"]),
            revoked=add_key(sessions, "revoked"),
        )
        revoke_key(sessions, keys.revoked)
    for _ in range(20):  # whichever worker answers
        wait_until(lambda: requests.get(f"{shared_service.url}/rules", timeout=PATIENCE).status_code == 401)
    return shared_service, keys


@pytest.fixture(params=["flask", "server"])
def door(request: pytest.FixtureRequest, closed: tuple[Service, Keys], make_client: ClientMaker) -> Door:
    """Flask, and the server with its data plane."""
    service, keys = closed
    if request.param == "flask":
        client = make_client(database_url=request.getfixturevalue("shared_database_url"))

        def post(headers: Any) -> int:
            return client.post("/event", json=an_event(), headers=list(headers)).status_code
    else:

        def post(headers: Any) -> int:
            return _raw(service, headers)

    return Door(post, keys)


def _raw(service: Service, headers: Any) -> int:
    """The status of an event posted over a socket, with headers exactly as they are."""
    body = json.dumps(an_event())
    lines = [
        "POST /event HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    lines += [f"{name}: {value}" for name, value in headers]
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as caller,
        caller.makefile("rb") as answers,
    ):
        caller.sendall("\r\n".join([*lines, "Connection: close", "", body]).encode("latin-1"))
        return int(answers.read().split(b" ", 2)[1])


NAME = "Authorization"
HEADERS: dict[str, tuple[Callable[[Keys], list[tuple[str, str]]], int]] = {
    "a key": (lambda keys: [(NAME, f"Bearer {keys.ingest}")], 200),
    "lower case": (lambda keys: [(NAME.lower(), f"bearer {keys.ingest}")], 200),
    "spaces": (lambda keys: [(NAME, f"Bearer   {keys.ingest}  ")], 200),
    "another scope": (lambda keys: [(NAME, f"Bearer {keys.read}")], 403),
    "a revoked key": (lambda keys: [(NAME, f"Bearer {keys.revoked}")], 401),
    "none": (lambda _: [], 401),
    "an empty one": (lambda _: [(NAME, "")], 401),
    "no token": (lambda _: [(NAME, "Bearer")], 401),
    "no scheme": (lambda keys: [(NAME, keys.ingest)], 401),
    "Basic": (lambda keys: [(NAME, f"Basic {keys.ingest}")], 401),
    "two schemes": (lambda keys: [(NAME, f"Bearer Bearer {keys.ingest}")], 401),
    "more behind": (lambda keys: [(NAME, f"Bearer {keys.ingest} x")], 401),
    "a tab": (lambda keys: [(NAME, f"Bearer\t{keys.ingest}")], 401),
    "twice": (lambda keys: [(NAME, f"Bearer {keys.ingest}"), (NAME, f"Bearer {keys.ingest}")], 401),
    "a bad one first": (lambda keys: [(NAME, "Bearer x"), (NAME, f"Bearer {keys.ingest}")], 401),
    "a bad one after": (lambda keys: [(NAME, f"Bearer {keys.ingest}"), (NAME, "Bearer x")], 401),
    "cut off": (lambda keys: [(NAME, f"Bearer {keys.ingest[:-1]}")], 401),
    "in other case": (lambda keys: [(NAME, f"Bearer {keys.ingest.swapcase()}")], 401),
    "made up": (lambda _: [(NAME, f"Bearer {make_key().key}")], 401),
    "huge": (lambda _: [(NAME, "Bearer " + "x" * 15_000)], 401),
    "not ASCII": (lambda _: [(NAME, "Bearer také_\xb2")], 401),
    "with a cookie": (lambda keys: [(NAME, f"Bearer {keys.ingest}"), ("Cookie", "a=b")], 200),
    "a cookie alone": (lambda keys: [("Cookie", f"transaction-alerts={keys.ingest}")], 401),
    "another header": (lambda keys: [("X-Authorization", f"Bearer {keys.ingest}")], 401),
    "a name for the door": (lambda _: [("transaction-alerts.caller", "x"), ("HTTP_AUTHORIZATION", "x")], 401),
}


@pytest.mark.parametrize("name", HEADERS)
def test_keys_at_both_doors(door: Door, name: str) -> None:
    """The same headers are taken, or refused, whichever door a request comes to."""
    headers, status = HEADERS[name]
    assert door.post(headers(door.keys)) == status


def test_the_document_over_the_server(closed: tuple[Service, Keys]) -> None:
    """Every call of the running service is a 401 without a key: none is let through on the way to its view."""
    service, keys = closed
    url = service.url
    document = requests.get(f"{url}/openapi.json", headers=bearer(keys.read), timeout=PATIENCE).json()
    for path, operations in document["paths"].items():
        if path in FREE:
            continue
        for method in (*operations, "options", "head"):
            place = path.replace("{", "").replace("}", "")
            assert requests.request(method, url + place, timeout=PATIENCE).status_code == 401, (method, place)
