"""One contract, two ways: the server takes a plain `POST /event` past Flask, and the answer does not show it.

The same requests, plain and odd, go to the Flask application and over a socket to the running service, each with a
database of its own; answers and stored rows must be the same.
"""

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from typing import Any, NamedTuple

import pytest
import requests
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.conftest import ClientMaker
from tests.contract.helpers import JSON, Sessions, an_event, with_raw, without
from tests.contract.test_errors import GOOD, LIMIT, MALFORMED, NO_OBJECTS, OTHER_TYPES
from tests.contract.test_event import ACCEPTED, ALL_BAD, REFUSED
from tests.contract.test_hosts import OTHER_HOSTS, OTHER_PAGES, OWN_HOSTS, OWN_PAGES
from tests.postgres import Databases, engine_on, transaction
from tests.service import Service
from tests.waiting import PATIENCE

KEY = "Idempotency-Key"
CLOCKS = "{created_at,touched_at,transaction_id}"  # columns that differ from run to run
SHOWN = (
    *("Content-Type", "Allow", "Retry-After", "Idempotent-Replayed", "Content-Length", "Cache-Control", "Server"),
    *("X-Content-Type-Options", "X-Frame-Options", "Content-Security-Policy", "Cross-Origin-Resource-Policy"),
    "Referrer-Policy",
)


class Sent(NamedTuple):
    """A request, as it goes over the wire."""

    body: bytes = GOOD
    headers: tuple[tuple[str, str], ...] = (("Content-Type", JSON),)
    method: str = "POST"
    path: str = "/event"
    chunked: bool = False


class Got(NamedTuple):
    """An answer, apart from its request id; `given` is whether that is the caller's own."""

    status: int
    headers: dict[str, str | None]
    body: str
    given: bool


def of_type(content_type: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Type", content_type),)


def keyed(event: dict[str, Any], key: str | None = None) -> Sent:
    """An event, with that Idempotency-Key header."""
    return Sent(json.dumps(event).encode(), of_type(JSON) + (((KEY, key),) if key is not None else ()))


def bodies() -> Iterator[tuple[str, bytes]]:
    """Good and bad bodies."""
    for field, raws in (ACCEPTED | {"refused " + field: raws for field, raws in REFUSED.items()}).items():
        name = field.removeprefix("refused ")
        for raw in raws:
            body = with_raw(name, raw)
            yield f"{field} {raw[:30]}", body.replace(b'"time": 10, ', b"") if name == "t" else body
    yield from MALFORMED.items()
    yield from NO_OBJECTS.items()
    for name, (event, _) in ALL_BAD.items():
        yield name, json.dumps(event).encode()
    for field in an_event():
        yield f"without {field}", json.dumps(without(an_event(), field)).encode()
    yield "time and t", json.dumps(an_event(t=10)).encode()
    yield "the largest", GOOD + b" " * (LIMIT - len(GOOD))
    yield "too large", GOOD + b" " * (LIMIT + 1 - len(GOOD))
    yield "far too large", GOOD + b" " * 10 * LIMIT


WITHDRAWAL = an_event(user_id=2, type="withdraw", amount="150.00")

REQUESTS: dict[str, Sent] = {
    **{name: Sent(body) for name, body in bodies()},
    **{
        f"chunked, {name}": Sent(body, chunked=True)
        for name, body in [("good", GOOD), ("bad", GOOD[:-1]), ("empty", b""), ("too large", GOOD + b" " * LIMIT)]
    },
    # The id of an event.
    "an id": keyed(WITHDRAWAL | {"event_id": "a"}),
    "the id again": keyed(WITHDRAWAL | {"event_id": "a"}),
    "the id again as a header": keyed(WITHDRAWAL, "a"),
    "the id again in both places": keyed(WITHDRAWAL | {"event_id": "a"}, "a"),
    "the id again, to the other path": keyed(WITHDRAWAL, "a")._replace(path="/api/events"),
    "the id with another payload": keyed(WITHDRAWAL | {"amount": "151.00"}, "a"),
    "two ids that differ": keyed(WITHDRAWAL | {"event_id": "a"}, "b"),
    "two ids that differ, and no amount": keyed(without(WITHDRAWAL, "amount") | {"event_id": "a"}, "b"),
    "two ids of which one is bad": keyed(WITHDRAWAL | {"event_id": 5}, "b"),
    "an id as a header": keyed(WITHDRAWAL, "c"),
    "an empty id": keyed(WITHDRAWAL, ""),
    "the longest id": keyed(WITHDRAWAL, "x" * 128),
    "an id too long": keyed(WITHDRAWAL, "x" * 129),
    "an id with a tab": keyed(WITHDRAWAL, "a\tb"),
    "an id in Latin-1": keyed(WITHDRAWAL, "é"),
    "an id as a header with underscores": Sent(GOOD, (*of_type(JSON), (KEY.replace("-", "_"), "e"))),
    # The type and the packing of the body.
    **{f"type {kind!r}": Sent(headers=of_type(kind) if kind is not None else ()) for kind in OTHER_TYPES},
    **{
        f"type {kind!r}": Sent(headers=of_type(kind))
        for kind in (f"{JSON}; charset=utf-8", f"{JSON};charset=utf-8", f"{JSON};charset=latin-1", "Application/JSON")
    },
    **{
        f"coding {coding!r}": Sent(headers=(*of_type(JSON), ("Content-Encoding", coding)))
        for coding in ("gzip", "identity", "br", "")
    },
    # The path and the method.
    **{
        f"{method} {path}": Sent(b"" if method in ("GET", "HEAD") else GOOD, method=method, path=path)
        for path in (
            "/event",
            "/api/events",
            "/event?x=1",
            "/event?x=%ff&y=1",
            "/%65vent",
            "/event/",
            "/EVENT",
            "/./event",
            "/x/../event",
            "/event%2f",
            "/event%252f",
            "/%2565vent",
            "/event%20",
            "/event%00",
            "/api%2Fevents",
            "/api\\events",
        )
        for method in ("POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW")
    },
    # The request's id, and headers that mean nothing here.
    **{
        f"request id {given!r}": Sent(body, (*of_type(JSON), ("X-Request-ID", given)))
        for given in ("abc", "A-Z_a.z:0/9+=", "x" * 128, "x" * 129, "", "a b", "é", "<b>", "a,b")
        for body in (GOOD, b"{}")
    },
    # The host, and where a browser's request comes from.
    **{f"host {host!r}": Sent(headers=(*of_type(JSON), ("Host", host))) for host in (*OWN_HOSTS, *OTHER_HOSTS)},
    **{
        f"{'other' if 'other' in name else 'own'} {method} {name}": Sent(
            b"" if method == "GET" else GOOD, (*of_type(JSON), ("Host", "localhost:5000"), *headers), method
        )
        for name, headers in (OWN_PAGES | OTHER_PAGES).items()
        for method in ("POST", "PUT", "GET")
    },
    "two request ids": Sent(headers=(*of_type(JSON), ("X-Request-ID", "a"), ("X-Request-ID", "b"))),
    "other headers": Sent(headers=(*of_type(JSON), ("Accept", "text/html"), ("Cookie", "a=b"), ("X-Other", "é"))),
    "another method in a header": Sent(headers=(*of_type(JSON), ("X-HTTP-Method-Override", "GET"))),
    "100-continue": Sent(headers=(*of_type(JSON), ("Expect", "100-continue"))),
}


def to_flask(client: Any, sent: Sent) -> Got:
    """What the Flask application answers."""
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"} if sent.chunked else {}
    path, _, query = sent.path.partition("?")
    answer = client.open(
        path=path,
        query_string=query,
        method=sent.method,
        headers=list(sent.headers),
        environ_overrides=chunked,
        **({"input_stream": BytesIO(sent.body)} if sent.chunked else {"data": sent.body}),
    )
    return got(sent, answer.status_code, answer.headers, answer.data)


def to_service(service: Any, sent: Sent) -> Got:
    """What the running service answers."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)
    with closing(connection):
        has_host = any(name == "Host" for name, _ in sent.headers)
        connection.putrequest(sent.method, sent.path, skip_accept_encoding=True, skip_host=True)
        if not has_host:
            connection.putheader("Host", "localhost")  # as Flask's client says: some answers name the address
        for name, value in sent.headers:
            connection.putheader(name, value.encode("latin-1"))
        if sent.chunked:
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders([sent.body] if sent.body else [], encode_chunked=True)
        else:
            if sent.body or sent.method == "POST":
                connection.putheader("Content-Length", str(len(sent.body)))
            connection.endheaders(sent.body)
        answer = connection.getresponse()
        return got(sent, answer.status, answer.headers, answer.read())


def got(sent: Sent, status: int, headers: Any, body: bytes) -> Got:
    """The answer in the form in which two can be compared."""
    request_id = headers["X-Request-ID"]
    given = [value for name, value in sent.headers if name == "X-Request-ID"]
    kept = {name: headers.get(name) for name in SHOWN}
    if kept["Allow"] is not None:
        kept["Allow"] = ", ".join(sorted(kept["Allow"].split(", ")))
    kept["Content-Length"] = str(int(kept["Content-Length"]) - body.count(request_id.encode()) * len(request_id))
    return Got(status, kept, body.decode().replace(request_id, "…"), request_id in given)


def stored(url: str) -> list[Any]:
    """All rows of all tables, apart from the times of the clock."""
    with engine_on(url) as engine, engine.connect() as connection:
        return [
            connection.execute(text(f"SELECT to_jsonb(t) - '{CLOCKS}'::text[] FROM {table} t ORDER BY 1"))
            .scalars()
            .all()
            for table in ("users", "user_actions", "alerts")
        ]


@pytest.fixture
def service_url(databases: Databases, template: str) -> Iterator[str]:
    """A second migrated, empty database."""
    with databases.copy(template) as name:
        yield databases.url(name)


def test_one_contract(
    client: FlaskClient,
    start_service: Callable[..., Service],
    database_url: str,
    service_url: str,
    subtests: pytest.Subtests,
) -> None:
    """Every request gets the same answer both ways, and what is stored is the same."""
    service = start_service(DATABASE_URL=service_url)
    statuses = set()
    for name, sent in REQUESTS.items():
        with subtests.test(name):
            expected = to_flask(client, sent)
            statuses.add(expected.status)
            assert to_service(service, sent) == expected
    assert statuses == {200, 400, 403, 404, 405, 409, 413, 415}
    for there, here in zip(stored(service_url), stored(database_url), strict=True):
        assert [row for row in there if row not in here] == []
        assert [row for row in here if row not in there] == []
        assert len(there) == len(here)


def test_one_contract_of_what_a_policy_refuses(
    make_client: ClientMaker, start_service: Callable[..., Service], service_url: str
) -> None:
    """What a setting refuses gets the same answer both ways."""
    policies = ("unknown_users", "overdraft", "out_of_order")
    client = make_client(**dict.fromkeys(policies, "reject"))
    service = start_service(DATABASE_URL=service_url, **{policy.upper(): "reject" for policy in policies})
    statuses = []

    def post(event: Any, path: str = "/event") -> None:
        sent = Sent(json.dumps(event).encode(), path=path)
        expected = to_flask(client, sent)
        statuses.append(expected.status)
        assert to_service(service, sent) == expected

    post(an_event())
    post({"user_id": 1}, "/users")
    for event in (an_event(), an_event(type="withdraw", amount="99.00"), an_event(time=1)):
        post(event)
    assert statuses == [404, 201, 200, 409, 409]


def test_one_contract_of_a_database_that_cannot_serve(
    client: FlaskClient, start_service: Callable[..., Service], sessions: Sessions
) -> None:
    """A database without its tables gets the same answer both ways."""
    service = start_service()
    with transaction(sessions) as session:
        session.execute(text("ALTER TABLE users RENAME TO gone"))
    expected = to_flask(client, Sent())
    assert (expected.status, expected.headers["Retry-After"]) == (500, None)
    assert "urn:problem:database-unfit" in expected.body
    assert to_service(service, Sent()) == expected


def test_one_contract_of_a_defect(
    client: FlaskClient, start_service: Callable[..., Service], sessions: Sessions
) -> None:
    """A defect gets the same answer both ways."""
    service = start_service()
    with transaction(sessions) as session:
        session.execute(text("ALTER TABLE user_actions ADD CHECK (amount < 1)"))
    expected = to_flask(client, Sent())
    assert expected.status == 500
    assert to_service(service, Sent()) == expected


# What Flask's test client cannot send.


def test_two_content_types(shared_service: Service) -> None:
    """Two Content-Types count as one other than application/json."""
    for types in (JSON, JSON), (JSON, "text/plain"), ("text/plain", JSON):
        sent = Sent(headers=tuple(("Content-Type", kind) for kind in types))
        assert to_service(shared_service, sent).status == 415
    assert requests.get(f"{shared_service.url}/users/1", timeout=PATIENCE).status_code == 404  # nothing is stored


def test_a_query_in_other_scripts(shared_service: Service) -> None:
    """A query with raw UTF-8, which it should not have, is read all the same."""
    with (
        socket.create_connection(("127.0.0.1", shared_service.port), timeout=PATIENCE) as caller,
        caller.makefile("rb") as answers,
    ):
        caller.sendall("GET /alerts?code=é HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = answers.read().decode()
    assert answer.startswith("HTTP/1.1 400 ")
    assert "/code" in answer
