"""Every error is a problem document, no input answers 500, and a refused request stores nothing."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from database import readiness
from rules.judging.engine import RuleEngine
from tests.contract.helpers import FULL_DISK, JSON, NOTHING, Sessions, an_event, counts, post_raw, problem
from tests.keys import app_without_database
from tests.postgres import engine_on, transaction
from tests.service import free_port

GOOD = json.dumps(an_event()).encode()
LIMIT = 64 * 1024

MALFORMED = {
    "empty": b"",
    "space": b" \n\t",
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16 without mark": GOOD.decode().encode("utf-16-le"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "bytes that are not UTF-8": GOOD.replace(b"deposit", b"d\xff\xfeposit"),
    "a surrogate in UTF-8": GOOD.replace(b"deposit", b"\xed\xa0\x80"),
    "an overlong NUL": GOOD.replace(b"deposit", b"\xc0\x80"),
    "truncated": GOOD[:-1],
    "truncated within a string": GOOD[:10],
    "trailing garbage": GOOD + b"x",
    "two objects": GOOD + GOOD,
    "two lines": GOOD + b"\n" + GOOD,
    "single quotes": GOOD.replace(b'"', b"'"),
    "a comment": GOOD + b" // yes",
    "a trailing comma": GOOD[:-1] + b",}",
    "NaN": GOOD.replace(b'"42.00"', b"NaN"),
    "Infinity": GOOD.replace(b'"42.00"', b"Infinity"),
    "minus Infinity": GOOD.replace(b'"42.00"', b"-Infinity"),
    "NaN in an unknown field": GOOD[:-1] + b', "x": NaN}',
    "a leading zero": GOOD.replace(b'"42.00"', b"042"),
    "a plus sign": GOOD.replace(b'"42.00"', b"+42"),
    "a bare point": GOOD.replace(b'"42.00"', b".5"),
    "a raw NUL": GOOD + b"\x00",
    "a raw NUL in a string": GOOD.replace(b"deposit", b"depo\x00sit"),
    "a raw newline in a string": GOOD.replace(b"deposit", b"depo\nsit"),
    "arrays 30,000 deep": b"[" * 30_000,
    "closed arrays 30,000 deep": b"[" * 30_000 + b"]" * 30_000,
    "objects 10,000 deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep within an unknown field": GOOD[:-1] + b', "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "form fields": b"type=deposit&amount=42.00&user_id=1&time=10",
}

NO_OBJECTS = {
    "array": b"[]",
    "array with an event": b"[" + GOOD + b"]",
    "string": b'"deposit"',
    "number": b"42",
    "huge number": b"1" * 60_000,
    "fraction": b"4.2",
    "true": b"true",
    "null": b"null",
}

POSTS = ("/event", "/api/events", "/users", "/user")


@pytest.mark.parametrize("path", POSTS)
def test_malformed_json(client: FlaskClient, sessions: Sessions, subtests: pytest.Subtests, path: Any) -> None:
    """A body that is not JSON in UTF-8 is a 400 that says so, and stores nothing."""
    for name, body in MALFORMED.items():
        with subtests.test(name):
            document = problem(post_raw(client, body, path), 400)
            assert document["detail"].startswith("The body is not JSON in UTF-8: ")
            assert "errors" not in document
            assert counts(sessions) == NOTHING


@pytest.mark.parametrize("path", POSTS)
def test_json_that_is_no_object(client: FlaskClient, sessions: Sessions, subtests: pytest.Subtests, path: Any) -> None:
    """A JSON value other than an object is a 400 that says so, and stores nothing."""
    for name, body in NO_OBJECTS.items():
        with subtests.test(name):
            document = problem(post_raw(client, body, path), 400)
            assert document["detail"] == "The body must be a JSON object."
            assert counts(sessions) == NOTHING


def test_a_problem_document(client: FlaskClient) -> None:
    """A refused payload is answered with the members of RFC 9457, the bad fields and the request id."""
    answer = client.post("/event", json=an_event(amount="0"), headers={"X-Request-ID": "abc"})
    assert answer.status_code == 400
    assert answer.get_json() == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "The request has missing or bad fields.",
        "errors": [{"pointer": "/amount", "detail": "must be greater than 0"}],
        "request_id": "abc",
    }


# 415


OTHER_TYPES = [
    *(None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"),
    *("application/x-ndjson", "application/problem+json", "text/json", "json", "application", "*/*"),
    *("application/json, text/plain", "text/plain, application/json", "text/plain; application/json"),
    *("application/json, application/json", "application/json/x", "ápplication/json"),
]


@pytest.mark.parametrize("path", POSTS)
def test_another_content_type(client: FlaskClient, sessions: Sessions, subtests: pytest.Subtests, path: Any) -> None:
    """A missing Content-Type, or one other than application/json, is a 415 and stores nothing."""
    for content_type in OTHER_TYPES:
        with subtests.test(content_type=content_type):
            headers = {} if content_type is None else {"Content-Type": content_type}
            problem(client.post(path, data=GOOD, headers=headers), 415)
            assert counts(sessions) == NOTHING


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON ; x=y"],
)
def test_the_content_type_may_have_parameters(client: FlaskClient, content_type: str) -> None:
    """application/json is taken in any case and with any parameters."""
    assert client.post("/event", data=GOOD, content_type=content_type).status_code == 200


# 413


@pytest.mark.parametrize("path", POSTS)
def test_the_largest_body(client: FlaskClient, path: Any) -> None:
    """A body of exactly 64 KiB is read."""
    body = json.dumps({"name": "Ada"} if "user" in path else an_event()).encode()
    body += b" " * (LIMIT - len(body))
    assert post_raw(client, body, path).status_code in (200, 201)


@pytest.mark.parametrize("path", POSTS)
def test_a_body_over_the_limit(client: FlaskClient, sessions: Sessions, path: Any) -> None:
    """A body of one byte over 64 KiB is a 413 that says so, and stores nothing."""
    document = problem(post_raw(client, GOOD + b" " * (LIMIT + 1 - len(GOOD)), path), 413)
    assert document["detail"] == "The body has more than 65,536 bytes."
    assert counts(sessions) == NOTHING


# 404 and 405


UNKNOWN_PATHS = [
    *("/events/", "/event/", "/event/1", "/EVENT", "/api", "/api/event", "/api/events/1"),
    *("/users/", "/user/", "/users/1/", "/users/1/action", "/users/1/actions/", "/users/1/actions/1", "/user/1"),
    *("/docs/assets/", "/docs/assets/no", "/docs/assets/../openapi.py"),
    *("/docs/assets/%2e%2e/openapi.py", "/..%2f..%2fetc/passwd", "/%00", "/é", "/%ff", "/" + "x" * 5000),
]


def test_an_unknown_path(client: FlaskClient, subtests: pytest.Subtests) -> None:
    """A path that the service does not have is a 404, never a redirect."""
    for path in UNKNOWN_PATHS:
        with subtests.test(path=path[:40]):
            problem(client.get(path), 404)


NO_USERS = [
    *("1", "42", "9223372036854775807", "0", "-1", "+1", "007", "01", "1.0", "1e0", "x", "1x", "%20", "1%20", "%201"),
    *("1%00", "%00", "null", "true", "9223372036854775808", "18446744073709551617", "1" * 5000, "٠", "١", "１", "²"),
    *("%D9%A1", "1%0A", "1;2", "1,2"),
]


def test_an_unknown_user(client: FlaskClient, subtests: pytest.Subtests) -> None:
    """A user that does not exist, whether or not the id could exist, is a 404."""
    for user_id in NO_USERS:
        with subtests.test(user_id=user_id[:40]):
            problem(client.get(f"/users/{user_id}"), 404)
            problem(client.get(f"/users/{user_id}/actions"), 404)


@pytest.mark.parametrize("user_id", ["0", "-1", "007", "01", "9223372036854775808", "١", "１", "1%00", "1%20", "1.0"])
def test_an_odd_id_never_means_another(client: FlaskClient, user_id: str) -> None:
    """An id that only looks like another one does not find that user."""
    client.post("/users", json={"user_id": 1})
    client.post("/users", json={"user_id": 7})
    problem(client.get(f"/users/{user_id}"), 404)


WRITES, READS = ["GET", "PUT", "PATCH", "DELETE", "TRACE"], ["POST", "PUT", "DELETE", "TRACE"]


@pytest.mark.parametrize(
    ("path", "allowed", "wrong"),
    [
        *((path, "POST", WRITES) for path in POSTS),
        *((path, "GET", READS) for path in ("/users/1/actions", "/healthz", "/readyz", "/docs")),
        ("/users/1", "GET", ["POST", "PUT", "TRACE"]),
        ("/openapi.json", "GET", READS),
    ],
)
def test_a_wrong_method(client: FlaskClient, sessions: Sessions, path: Any, allowed: Any, wrong: Any) -> None:
    """A method that a path does not have is a 405 whose Allow header names those that it has."""
    for method in wrong:
        answer = client.open(path, method=method, json=an_event())
        problem(answer, 405)
        names = answer.headers["Allow"].split(", ")
        assert (allowed in names, method in names) == (True, False)
    assert counts(sessions) == NOTHING


TOO_LARGE = ["/users/9223372036854775808", "/alerts/9223372036854775808-1-1100", "/alerts/1-1-2147483648"]


@pytest.mark.parametrize("path", TOO_LARGE)
def test_an_id_that_cannot_be_has_no_methods(client: FlaskClient, path: str) -> None:
    """Whatever the method, the path is one that there is not."""
    for method in ("GET", "PATCH", "DELETE", "OPTIONS"):
        problem(client.open(path, method=method, json={"note": "x"}), 404)


# The request id


@pytest.mark.parametrize("given_id", ["abc", "7", "A-Z_a.z:0/9+=", "x" * 128])
def test_a_request_id_comes_back(client: FlaskClient, given_id: str) -> None:
    """A harmless X-Request-ID is on the answer, good or bad, and in the problem document."""
    headers = {"X-Request-ID": given_id}
    assert client.post("/event", json=an_event(), headers=headers).headers["X-Request-ID"] == given_id
    for answer in (
        client.post("/event", json={}, headers=headers),
        client.get("/nowhere", headers=headers),
        client.get("/event", headers=headers),
    ):
        assert answer.headers["X-Request-ID"] == given_id
        assert answer.get_json()["request_id"] == given_id


BAD_IDS = [None, "", " ", "x" * 129, "a b", "a\tb", "é", "<b>", '"', "a;b", "a,b", "{}"]


def test_a_bad_request_id_is_replaced(client: FlaskClient, subtests: pytest.Subtests) -> None:
    """Without a harmless X-Request-ID the service makes one of its own."""
    for given_id in BAD_IDS:
        with subtests.test(given_id=given_id):
            headers = {} if given_id is None else {"X-Request-ID": given_id}
            answer = client.post("/event", json={}, headers=headers)
            made = answer.headers["X-Request-ID"]
            assert re.fullmatch("[0-9a-f]{32}", made)
            assert problem(answer, 400)["request_id"] == made


def test_every_request_has_an_id_of_its_own(client: FlaskClient) -> None:
    """Two requests without an id get two ids."""
    one, other = (client.get("/healthz").headers["X-Request-ID"] for _ in range(2))
    assert one != other


# Whatever comes

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["type", "amount", "user_id", "time", "t", "event_id", "extra"])
mutated = st.builds(
    lambda changes, gone: {k: v for k, v in (an_event() | changes).items() if k not in gone},
    st.dictionaries(fields, anything, max_size=3),
    st.lists(fields, max_size=2),
)
in_json = (anything | mutated).map(lambda value: json.dumps(value).encode())
cut = st.builds(lambda body, start, end: body[start : len(body) - end], in_json, st.integers(0, 3), st.integers(0, 3))
payloads = in_json | cut | st.binary(max_size=200) | st.text().map(lambda value: value.encode("utf-8", "replace"))


@settings(max_examples=150)
@given(body=payloads, key=st.none() | st.text(st.characters(codec="latin-1", exclude_characters="\r\n")))
@example(body=GOOD, key=None)
@example(body=json.dumps(an_event(event_id="\ud800")).encode(), key=None)
@example(body=json.dumps(an_event(event_id="a")).encode(), key="\xff")
def test_no_input_answers_500(client: FlaskClient, sessions: Sessions, body: Any, key: Any) -> None:
    """Whatever is posted is answered 200 and stored, or refused with a problem document and not stored."""
    before = counts(sessions)
    answer = post_raw(client, body, **({} if key is None else {"Idempotency-Key": key}))
    replayed = answer.headers.get("Idempotent-Replayed") == "true"
    if answer.status_code == 200 and not replayed:
        assert counts(sessions)["user_actions"] == before["user_actions"] + 1
        return
    if not replayed:
        assert answer.status_code in (400, 409)
        problem(answer, answer.status_code)
    assert counts(sessions) == before


@settings(max_examples=100)
@given(body=st.dictionaries(st.sampled_from(["user_id", "name", "total", "risk"]), anything, max_size=3))
@example(body={"name": "\x00"})
@example(body={"name": "\ud800"})
def test_no_input_for_a_user_answers_500(client: FlaskClient, sessions: Sessions, body: Any) -> None:
    """Whatever is posted as a user is answered 201 and stored, or refused with a problem document and not stored."""
    before = counts(sessions)
    answer = post_raw(client, json.dumps(body).encode(), "/users")
    if answer.status_code == 201:
        assert counts(sessions)["users"] == before["users"] + 1
        return
    assert answer.status_code in (400, 409)
    problem(answer, answer.status_code)
    assert counts(sessions) == before


# 503: the database is unavailable or too slow


@pytest.fixture
def make_away() -> Iterator[Any]:
    """Makes a client of an application whose database is at the given URL and cannot be used."""
    apps = []

    def make(url: str, **overrides: Any) -> FlaskClient:
        apps.append(app_without_database(database_url=url, db_timeout=0.5, **overrides))
        return apps[-1].test_client()

    yield make
    for app in apps:
        app.extensions["transaction-alerts"].dispose()


def check_away(client: FlaskClient) -> None:
    """What a client gets while the database is away."""
    for answer in (
        client.post("/event", json=an_event()),
        client.post("/api/events", json=an_event()),
        client.post("/users", json={}),
        client.get("/users/1"),
        client.get("/users/1/actions"),
        client.get("/readyz"),
    ):
        problem(answer, 503)
        assert answer.headers["Retry-After"] == "1"
    assert client.get("/healthz").get_json() == {"status": "ok"}
    problem(client.post("/event", json={}), 400)


def test_a_closed_port(make_away: Any) -> None:
    """With nothing listening at the database's address all that needs it is a 503, and the process is alive."""
    check_away(make_away(f"postgresql://nobody@127.0.0.1:{free_port()}/none"))


def test_a_database_that_does_not_exist(make_away: Any, database_url: str) -> None:
    """A database that does not exist on the server is a 503."""
    check_away(make_away(database_url.replace("alerts_test_", "alerts_gone_")))


def test_a_database_without_tables(make_away: Any, empty_database_url: str) -> None:
    """A database that was never migrated is a 500 of its own type, and nothing is created in it."""
    client = make_away(empty_database_url)
    assert problem(client.post("/event", json=an_event()), 500)["type"] == "urn:problem:database-unfit"
    problem(client.get("/readyz"), 503)
    with engine_on(empty_database_url) as engine, engine.connect() as connection:
        tables = connection.execute(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")).scalar_one()
    assert tables == 0


@pytest.mark.parametrize(
    "statement", ["UPDATE alembic_version SET version_num = '0000'", "DELETE FROM alembic_version"]
)
def test_migrations_that_are_not_current(
    client: FlaskClient, sessions: Sessions, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the tables at a migration other than the code's the service is not ready, and says what to do."""
    monkeypatch.setattr(readiness, "FRESH", 0)
    assert client.get("/readyz").get_json() == {"status": "ok"}
    with transaction(sessions) as session:
        session.execute(text(statement))
    assert "alembic upgrade head" in problem(client.get("/readyz"), 503)["detail"]
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("table", ["users", "user_actions", "alerts"])
def test_a_full_disk(client: FlaskClient, sessions: Sessions, subtests: pytest.Subtests, table: str) -> None:
    """A full disk, wherever PostgreSQL meets it, is a 503 and stores nothing; once there is room all is well again."""
    event = an_event(type="withdraw", amount="150.00")
    client.post("/event", json=an_event(user_id=9))  # from here on the rules are known
    with transaction(sessions) as session:
        session.execute(text(FULL_DISK.format(table=table)))
    before = counts(sessions)
    for path, body in (("/event", event), ("/events", [event, event])):
        with subtests.test(path):
            answer = client.post(path, json=body)
            problem(answer, 503)
            assert answer.headers["Retry-After"] == "1"
    assert counts(sessions) == before
    with transaction(sessions) as session:
        session.execute(text(f"DROP TRIGGER no_room ON {table}"))
    assert client.post("/event", json=event).get_json()["alert_codes"] == [1100]


def test_a_lock_that_is_held_too_long(
    client: FlaskClient, make_away: Any, sessions: Sessions, database_url: str
) -> None:
    """An event that waits too long for its user is a 503, stores nothing, and goes through when posted again."""
    client.post("/event", json=an_event())
    with transaction(sessions) as session:
        session.execute(text("SELECT * FROM users WHERE user_id = 1 FOR UPDATE"))
        answer = make_away(database_url).post("/event", json=an_event())
        problem(answer, 503)
        assert answer.headers["Retry-After"] == "1"
    assert counts(sessions)["user_actions"] == 1
    assert client.post("/event", json=an_event()).status_code == 200


# 500: a defect

SECRET = "S3CRET-1234.56"


@pytest.mark.parametrize(
    "defect",
    [
        ZeroDivisionError(SECRET),
        RuntimeError(SECRET),
        RecursionError(SECRET),
        IntegrityError(SECRET, {"amount": SECRET}, Exception(SECRET)),
    ],
    ids=lambda defect: type(defect).__name__,
)
def test_a_defect(client: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, defect: Any) -> None:
    """A defect is a 500 that carries the request id and nothing of the internals."""

    def broken(*_: Any, **__: Any) -> None:
        raise defect

    monkeypatch.setattr(RuleEngine, "process", broken)
    answer = client.post("/event", json=an_event(), headers={"X-Request-ID": "find-me"})
    assert problem(answer, 500) == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "The service has a defect; the log has more under this request id.",
        "request_id": "find-me",
    }
    assert counts(sessions) == NOTHING


def test_a_database_error_without_a_code_is_away(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks before the database has answered is a 503, not a defect."""

    def broken(*_: Any, **__: Any) -> None:
        raise OperationalError(SECRET, {}, Exception(SECRET))

    monkeypatch.setattr(RuleEngine, "process", broken)
    answer = client.post("/event", json=an_event())
    problem(answer, 503)
    assert SECRET not in answer.text


def test_the_service_goes_on_after_a_defect(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in one request leaves the next one alone."""
    with monkeypatch.context() as patch:
        patch.setattr(RuleEngine, "process", lambda *_, **__: 1 / 0)
        problem(client.post("/event", json=an_event()), 500)
    assert client.post("/event", json=an_event()).status_code == 200


@pytest.mark.parametrize("path", ["/event", "/users", "/nowhere"])
def test_errors_are_never_html(client: FlaskClient, path: str) -> None:
    """A browser that asks for HTML gets its errors as a problem document all the same."""
    answer = client.post(path, data=b"{", content_type=JSON, headers={"Accept": "text/html"})
    assert answer.content_type == "application/problem+json"
