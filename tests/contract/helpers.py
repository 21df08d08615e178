"""What the contract's tests share: a valid event, ways to post it, and how to look at an answer and at the tables."""

import json
import re
from typing import Any

from flask.testing import FlaskClient
from jsonschema import Draft202012Validator, FormatChecker
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

JSON = "application/json"
PROBLEM_FIELDS = {"type", "title", "status", "detail", "request_id"}
TABLES = ("users", "user_actions", "alerts")

# Statements after which PostgreSQL answers to an INSERT into the table as with a full disk.
FULL_DISK = """
    CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER no_room BEFORE INSERT ON {table} EXECUTE FUNCTION no_room()
"""

Sessions = sessionmaker[Session]


def an_event(**fields: Any) -> dict[str, Any]:
    """A valid event, overlaid with `fields`; a field of None is kept, and `without` removes one."""
    return {"type": "deposit", "amount": "42.00", "user_id": 1, "time": 10} | fields


def without(data: dict[str, Any], *names: str) -> dict[str, Any]:
    """`data` without the fields called `names`."""
    return {name: value for name, value in data.items() if name not in names}


def with_raw(field: str, raw: str) -> bytes:
    """The body of a valid event whose `field` is written exactly as in `raw`."""
    marked = json.dumps(an_event(**{field: "@@"}))
    return marked.replace('"@@"', raw).encode()


def post_raw(client: FlaskClient, body: bytes, path: str = "/event", **headers: str) -> TestResponse:
    """Post `body` as it is, as JSON."""
    return client.post(path, data=body, content_type=JSON, headers=headers)


def codes(client: FlaskClient, **fields: Any) -> list[int]:
    """Post a valid event overlaid with `fields` and return its alert codes."""
    answer = client.post("/event", json=an_event(**fields))
    assert answer.status_code == 200, answer.text
    return list(answer.get_json()["alert_codes"])


def problem(answer: TestResponse, status: int) -> dict[str, Any]:
    """The problem document of `answer`, checked to be one of `status`."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    document: dict[str, Any] = answer.get_json()
    assert set(document) - {"errors", *(["example"] if status == 405 else [])} == PROBLEM_FIELDS
    assert document["status"] == status
    assert document["request_id"] == answer.headers["X-Request-ID"]
    return document


def pointers(answer: TestResponse) -> list[str]:
    """The JSON pointers of the fields that a 400 names, sorted."""
    return sorted(error["pointer"] for error in problem(answer, 400)["errors"])


def counts(sessions: Sessions) -> dict[str, int]:
    """How many rows each table has."""
    with sessions() as session:
        return {table: session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in TABLES}


NOTHING = dict.fromkeys(TABLES, 0)


# What OpenAPI adds to the formats of JSON Schema.
FORMATS = FormatChecker()
FORMATS.checks("int64")(lambda value: not isinstance(value, int) or -(2**63) <= value < 2**63)


def valid(document: dict[str, Any], schema: dict[str, Any], value: Any) -> bool:
    """Whether `value` is what `schema`, a schema within the OpenAPI document, describes."""
    whole = _for_python(schema) | {"components": _components(document)}
    return bool(Draft202012Validator(whole, format_checker=FORMATS).is_valid(value))


_converted: dict[int, tuple[Any, Any]] = {}


def _components(document: dict[str, Any]) -> Any:
    components = document["components"]
    if id(components) not in _converted:
        _converted[id(components)] = components, _for_python(components)  # the first, so that its id stays its own
    return _converted[id(components)][1]


def _for_python(schema: Any) -> Any:
    """The same with patterns as Python reads them: there, "$" also matches before a line break at the end."""
    if isinstance(schema, dict):
        return {
            name: re.sub(r"\$$", r"\\Z", one) if name == "pattern" and isinstance(one, str) else _for_python(one)
            for name, one in schema.items()
        }
    return [_for_python(one) for one in schema] if isinstance(schema, list) else schema
