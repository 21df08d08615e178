"""The OpenAPI document: valid, complete, true; and the page that shows it needs no other server."""

import ast
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Blueprint, Flask, Response
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, ConfigDict
from schemathesis.checks import CHECKS
from schemathesis.config import HealthCheck, SchemathesisConfig
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.engine import events, from_schema
from schemathesis.generation import GenerationMode
from schemathesis.openapi.checks import RejectedPositiveData, UseAfterFree
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from database import pruning
from database.judging import MOST_ACTIONS
from routes.health import NOT_READY
from routes.http.converters import IdConverter
from routes.http.operation import Operation, describe
from routes.http.problems import DATABASE_AWAY, Problem
from routes.schemas.rules import declared_schema
from rules.policy import LATE_LIMIT
from rules.registry import REGISTRY
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, an_event, problem, valid, without
from tests.keys import add_key, app_without_database, bearer
from tests.postgres import transaction

# The files of the page, its other names, and what browsers ask for by themselves are not calls of the service.
NOT_LISTED = {
    "/docs/assets/<path:filename>",
    "/docs/examples/<path:posted>.json",
    "/docs/",
    "/docs/index.html",
    "/favicon.ico",
    "/sign-in",
}


def not_a_page(rule: str) -> bool:
    """Whether the document lists what is routed by this rule: pages, and what they load, are for people."""
    return rule not in NOT_LISTED and not rule.startswith("/desk/")


ASSETS = Path(__file__).parents[2] / "routes" / "static"


@pytest.fixture(scope="module")
def app() -> Any:
    """An application that never connects to its database: the document does not need one."""
    return app_without_database()


@pytest.fixture(scope="module")
def document(app: Flask) -> Any:
    """The document as it is served."""
    return app.test_client().get("/openapi.json").get_json()


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> Any:
    """Every operation by method and path."""
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


# Valid and complete


def test_it_is_openapi_3_1(app: Flask) -> None:
    """The document is served as JSON and says which version of OpenAPI it is."""
    answer = app.test_client().get("/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.get_json()["openapi"] == "3.1.0"


def test_it_is_valid(document: dict[str, Any]) -> None:
    """The document conforms to the specification of OpenAPI 3.1."""
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_route_is_listed(app: Flask, operations: dict[tuple[str, str], Any]) -> None:
    """Every route of the service is in the document with every method, and nothing else is."""
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not_a_page(rule.rule)
    }
    assert set(operations) == served
    assert {rule.rule for rule in app.url_map.iter_rules()} >= NOT_LISTED


def test_operation_ids_are_unique(operations: dict[tuple[str, str], Any]) -> None:
    """No two operations share a name."""
    ids = [operation["operationId"] for operation in operations.values()]
    assert sorted(ids) == sorted(set(ids))


# By operation: its answers, and the errors that are its own.
STATUSES = {
    ("POST", "/event"): {"200", "400", "404", "409", "413", "415"},
    ("POST", "/api/events"): {"200", "400", "404", "409", "413", "415"},
    ("POST", "/events"): {"200", "400", "413", "415"},
    ("POST", "/users"): {"201", "400", "409", "413", "415"},
    ("POST", "/user"): {"201", "400", "409", "413", "415"},
    ("GET", "/users/{user_id}"): {"200", "304", "404"},
    ("PATCH", "/users/{user_id}"): {"200", "400", "404", "409", "412", "413", "415"},
    ("DELETE", "/users/{user_id}"): {"202", "204", "400", "404", "409"},
    ("GET", "/users/{user_id}/export"): {"200", "404", "505"},
    ("GET", "/users/{user_id}/rules"): {"200", "404"},
    ("GET", "/users/{user_id}/actions"): {"200", "400", "404"},
    ("GET", "/users/{user_id}/mutes"): {"200", "404"},
    ("PUT", "/users/{user_id}/mutes/{code}"): {"200", "201", "400", "404", "413", "415"},
    ("DELETE", "/users/{user_id}/mutes/{code}"): {"200", "404"},
    ("GET", "/rules"): {"200"},
    ("GET", "/rules/{code}"): {"200", "304", "404"},
    ("PUT", "/rules/{code}"): {"200", "400", "404", "409", "412", "413", "415"},
    ("GET", "/rules/{code}/versions"): {"200", "400", "404"},
    ("POST", "/backtests"): {"202", "400", "409", "413", "415"},
    ("GET", "/backtests"): {"200", "400"},
    ("GET", "/backtests/{backtest_id}"): {"200", "404"},
    ("DELETE", "/backtests/{backtest_id}"): {"202", "404"},
    ("GET", "/alerts"): {"200", "400"},
    ("GET", "/alerts/{alert_id}"): {"200", "404"},
    ("PATCH", "/alerts/{alert_id}"): {"200", "400", "404", "412", "413", "415"},
    ("POST", "/alerts/{alert_id}/notes"): {"200", "400", "404", "412", "413", "415"},
    ("GET", "/alerts/{alert_id}/history"): {"200", "400", "404"},
    ("POST", "/alerts/{alert_id}/verify"): {"200", "404", "422"},
    ("POST", "/keys"): {"201", "400", "409", "413", "415"},
    ("GET", "/keys"): {"200", "400"},
    ("GET", "/keys/{key_id}"): {"200", "404"},
    ("DELETE", "/keys/{key_id}"): {"200", "404", "409"},
    ("POST", "/keys/{key_id}/rotate"): {"201", "400", "404", "409", "413", "415"},
    ("POST", "/alerts/bulk"): {"200", "400", "409", "413", "415"},
    ("POST", "/alerts/next"): {"200", "204", "400", "413", "415"},
    ("GET", "/alerts.csv"): {"200", "400", "505"},
    ("GET", "/alerts/counts"): {"200", "400"},
    ("GET", "/alerts/{alert_id}/around"): {"200", "400", "404"},
    ("GET", "/log"): {"200", "400"},
    ("GET", "/views"): {"200", "400"},
    ("POST", "/views"): {"201", "400", "409", "413", "415"},
    ("GET", "/views/{view_id}"): {"200", "404"},
    ("DELETE", "/views/{view_id}"): {"200", "404"},
    ("GET", "/log.csv"): {"200", "400", "505"},
    ("POST", "/webhooks"): {"201", "400", "409", "413", "415"},
    ("GET", "/webhooks"): {"200"},
    ("GET", "/webhooks/{webhook_id}"): {"200", "304", "404"},
    ("PATCH", "/webhooks/{webhook_id}"): {"200", "400", "404", "412", "413", "415"},
    ("DELETE", "/webhooks/{webhook_id}"): {"204", "404"},
    ("POST", "/webhooks/{webhook_id}/rotate"): {"200", "400", "404", "409", "413", "415"},
    ("POST", "/webhooks/{webhook_id}/test"): {"202", "404", "409"},
    ("GET", "/webhooks/{webhook_id}/deliveries"): {"200", "400", "404"},
    ("POST", "/webhooks/{webhook_id}/resend"): {"200", "400", "404", "413", "415"},
    ("POST", "/session"): {"200", "400", "401", "413", "415", "429"},
    ("GET", "/session"): {"200"},
    ("DELETE", "/session"): {"204"},
    ("GET", "/"): {"200"},
    ("GET", "/healthz"): {"200"},
    ("GET", "/readyz"): {"200"},
    ("GET", "/metrics"): {"200"},
    ("GET", "/openapi.json"): {"200", "304"},
    ("GET", "/docs"): {"200"},
}
# What any request can get: another host, method, too long a head, too much under way, or a defect.
EVERYWHERE = {"400", "403", "405", "414", "431", "500", "503"}
# What any request can get where a key is needed: a bad one, or one that has asked too often.
WITH_A_KEY = {"401", "429"}
NEED_NONE = {("GET", "/healthz"), ("GET", "/readyz"), ("POST", "/session"), ("DELETE", "/session")}
# What any key may do.
ANY_KEY = {("GET", "/session"), ("GET", "/"), ("GET", "/openapi.json"), ("GET", "/docs")}


def test_every_status_is_listed(operations: dict[tuple[str, str], Any]) -> None:
    """Every operation lists each status that it can answer with."""
    found = {key: set(operation["responses"]) for key, operation in operations.items()}
    late = {key: {"408"} if "requestBody" in operation else set() for key, operation in operations.items()}
    keys = {key: set() if key in NEED_NONE else WITH_A_KEY for key in STATUSES}
    assert found == {key: statuses | EVERYWHERE | late[key] | keys[key] for key, statuses in STATUSES.items()}


# The kinds of 403, 500 and 503 that any request of this method can get; "about:blank" is many things.
KINDS: dict[str, dict[str | None, set[str]]] = {
    "403": {"GET": {"untrusted-host"}, None: {"untrusted-host", "other-origin"}},
    "500": {None: {"database-unfit"}},
    "503": {"GET": {"requests-full", "reads-full"}, None: {"requests-full", "database-read-only"}},
}
KINDS_WITH_A_KEY = {
    "401": {"no-key", "bad-key", "bad-person"},
    "403": {"needs-key"},
    "429": {"rate", "bad-keys"},
    "503": {"keys-unknown"},
}
MORE_KINDS = {
    ("POST", "/event"): {"queue-full", "overloaded"},
    ("POST", "/api/events"): {"queue-full", "overloaded"},
    ("POST", "/events"): {"large-bodies-full", "overloaded"},
    ("PUT", "/rules/{code}"): {"overloaded"},
    ("POST", "/alerts/{alert_id}/verify"): {"overloaded"},
    ("GET", "/log.csv"): {"exports-full"},
    ("GET", "/users/{user_id}/export"): {"exports-full"},
    ("POST", "/keys"): {"key-changes-full"},
    ("DELETE", "/keys/{key_id}"): {"key-changes-full"},
    ("POST", "/keys/{key_id}/rotate"): {"key-changes-full"},
    ("POST", "/alerts/bulk"): {"overloaded"},
    ("POST", "/alerts/next"): {"overloaded"},
    ("GET", "/alerts.csv"): {"exports-full"},
    ("POST", "/session"): {"keys-unknown"},
}


def test_every_kind_is_listed(operations: dict[tuple[str, str], Any]) -> None:
    """Where a status alone does not tell errors apart, each kind has an example."""
    for (method, path), operation in operations.items():
        expected = {status: of.get(method, of[None]) for status, of in KINDS.items()}
        expected["503"] = expected["503"] | MORE_KINDS.get((method, path), set())
        expected["503"] |= {"bodies-full"} if "requestBody" in operation else set()
        if (method, path) not in NEED_NONE:
            expected |= {status: expected.get(status, set()) | kinds for status, kinds in KINDS_WITH_A_KEY.items()}
            expected["403"] = expected["403"] | ({"scope"} if (method, path) not in ANY_KEY else set())
        if (method, path) == ("DELETE", "/views/{view_id}"):
            expected["403"] = expected["403"] | {"not-yours"}
        for status, kinds in expected.items():
            shown = examples(operation["responses"][status]["content"]["application/problem+json"])
            found = {value["type"].removeprefix("urn:problem:") for value in shown} - {"about:blank"}
            assert found == kinds, (method, path, status)
    ready = examples(operations["GET", "/readyz"]["responses"]["503"]["content"]["application/problem+json"])
    assert len({value["detail"] for value in ready if value["type"] == "about:blank"}) == len(NOT_READY) + 1


def test_everything_is_described(operations: dict[tuple[str, str], Any]) -> None:
    """Every operation has a summary, a tag and a description of each answer."""
    for operation in operations.values():
        assert re.fullmatch(r"[A-Z].*[^.]", operation["summary"])
        assert len(operation["tags"]) == 1
        assert [r for r in operation["responses"].values() if not r["description"]] == []


def test_every_model_is_described(document: dict[str, Any]) -> None:
    """Every schema says in a sentence what it is."""
    schemas = document["components"]["schemas"]
    assert [name for name, schema in schemas.items() if not re.match(r"[A-Z].*\.", schema["description"])] == []


def media_types(operations: dict[tuple[str, str], Any]) -> Iterator[Any]:
    """Every body that is asked for or answered, with its location in words."""
    for (method, path), operation in operations.items():
        for kind, media in operation.get("requestBody", {"content": {}})["content"].items():
            yield f"{method} {path} body", None, kind, media
        for status, response in operation["responses"].items():
            for kind, media in response.get("content", {}).items():  # a 304 has none
                yield f"{method} {path} {status}", int(status), kind, media


def examples(media: Any) -> Any:
    """All examples of one body."""
    return [media["example"]] if "example" in media else [e["value"] for e in media["examples"].values()]


OTHER_MEDIA = {
    "POST /events body": {"application/json", "application/x-ndjson"},
    "GET /docs 200": {"text/html; charset=utf-8"},
    "GET /log.csv 200": {"text/csv; charset=utf-8"},
    "GET /metrics 200": {"text/plain"},
    "GET /alerts.csv 200": {"text/csv; charset=utf-8"},
}


def test_every_body_has_an_example_that_fits(document: dict[str, Any], operations: dict[tuple[str, str], Any]) -> None:
    """Every body that is asked for or answered, each error too, has an example of its own schema."""
    for place, status, kind, media in media_types(operations):
        shown = examples(media)
        assert shown, place
        assert [value for value in shown if not valid(document, media["schema"], value)] == [], place
        is_problem = status is not None and status >= 400
        expected = {"application/problem+json"} if is_problem else OTHER_MEDIA.get(place, {"application/json"})
        assert kind in expected, place
        if is_problem:
            assert {value["status"] for value in shown} == {status}, place


TAGGED = {
    ("GET", "/openapi.json"): "If-None-Match",
    ("GET", "/users/{user_id}"): "If-None-Match",
    ("PATCH", "/users/{user_id}"): "If-Match",
    ("GET", "/rules/{code}"): "If-None-Match",
    ("PUT", "/rules/{code}"): "If-Match",
    ("PATCH", "/alerts/{alert_id}"): "If-Match",
    ("POST", "/alerts/{alert_id}/notes"): "If-Match",
    ("GET", "/webhooks/{webhook_id}"): "If-None-Match",
    ("PATCH", "/webhooks/{webhook_id}"): "If-Match",
}

VERSIONED = {("GET", "/alerts/{alert_id}"), ("POST", "/alerts/next")}


def test_headers_are_listed(operations: dict[tuple[str, str], Any]) -> None:
    """Request ids, Allow, Location, ETag, Retry-After and Idempotent-Replayed are documented where they are sent."""
    for (method, path), operation in operations.items():
        for status, response in operation["responses"].items():
            expected = {"X-Request-ID"}
            expected |= {"Retry-After"} if status == "503" else set()
            expected |= {"Allow"} if status == "405" else set()
            expected |= {"WWW-Authenticate"} if status == "401" else set()
            expected |= {"Retry-After", "RateLimit-Policy", "RateLimit"} if status == "429" else set()
            expected |= {"Location"} if status == "201" or (method, status) == ("POST", "202") else set()
            expected |= {"Idempotent-Replayed"} if status == "200" and path in ("/event", "/api/events") else set()
            expected |= {"ETag"} if status in ("200", "304") and (method, path) in {*TAGGED, *VERSIONED} else set()
            assert set(response["headers"]) == expected, (path, status)


def test_conditions_are_listed(operations: dict[tuple[str, str], Any]) -> None:
    """What can be changed takes If-Match, and what is read with a tag takes If-None-Match."""
    for key, operation in operations.items():
        listed = {one["name"] for one in operation["parameters"] if one["in"] == "header"}
        assert listed - {"Idempotency-Key"} == ({TAGGED[key]} if key in TAGGED else set())


def test_a_tool_can_call_what_it_reads() -> None:
    """The first server in the document is the address that it was read from."""
    app = app_without_database(trusted_hosts="alerts.example")
    document = app.test_client().get("/openapi.json", base_url="https://alerts.example:8443").get_json()
    assert document["servers"][0]["url"] == "https://alerts.example:8443"


def test_a_new_resource_describes_itself(document: dict[str, Any]) -> None:
    """What a view says about itself is all the document needs: its models, its problems and what is in its path."""

    class GoldfishRequest(BaseModel):
        """A new goldfish."""

        model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Ada"}]})

        name: str

    class GoldfishAnswer(BaseModel):
        """A goldfish."""

        model_config = ConfigDict(json_schema_extra={"examples": [{"id": 3, "name": "Ada"}]})

        id: int
        name: str

    blueprint = Blueprint("goldfish", __name__)

    @blueprint.put("/tanks/<id:tank>/goldfish/<name>")
    @describe(
        Operation(
            needs="read",
            body=GoldfishRequest,
            answers={200: GoldfishAnswer},
            path={"tank": {"example": 3}},
            problems=(
                Problem(409, "The tank is full.", kind="tank-full"),
                Problem(409, "They do not get on.", kind="enemies"),
                DATABASE_AWAY,
            ),
        )
    )
    def put_goldfish(tank: int, name: str) -> Response:
        """Add a goldfish."""
        raise AssertionError("it is only described")

    app = app_without_database()
    app.register_blueprint(blueprint)
    new = app.test_client().get("/openapi.json").get_json()
    assert list(OpenAPIV31SpecValidator(new).iter_errors()) == []
    operation = new["paths"]["/tanks/{tank}/goldfish/{name}"]["put"]
    assert (operation["operationId"], operation["tags"]) == ("put_goldfish", ["goldfish"])
    assert operation["parameters"] == [
        {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "tank", "in": "path", "required": True} | IdConverter.described | {"example": 3},
    ]
    assert examples(operation["requestBody"]["content"]["application/json"]) == [{"name": "Ada"}]
    assert examples(operation["responses"]["200"]["content"]["application/json"]) == [{"id": 3, "name": "Ada"}]
    assert operation["security"] == [{"key": ["read"]}, {"session": []}]
    assert list(operation["responses"]) == [
        *("200", "409", "503", "400", "403", "401", "429", "405", "408", "414", "431", "500")
    ]
    shown = operation["responses"]["409"]["content"]["application/problem+json"]["examples"]
    assert {name: one["value"]["detail"] for name, one in shown.items()} == {
        "tank-full": "The tank is full.",
        "enemies": "They do not get on.",
    }
    # Nothing else has changed by this.
    del new["paths"]["/tanks/{tank}/goldfish/{name}"]
    for name in ("GoldfishRequest", "GoldfishAnswer"):
        del new["components"]["schemas"][name]
    assert new["tags"].pop() == {"name": "goldfish", "description": str(__doc__).partition("\n")[0]}
    assert new == document


KNOWS_NO_RESOURCE = {"routes.http", "routes.schemas.fields", "routes.schemas.json_schema", "routes.schemas.problems"}


def test_the_document_knows_no_resource() -> None:
    """Of our own modules it imports what all resources share, and only app imports it."""
    root = ASSETS.parents[1]

    def imported(path: Any) -> Iterator[Any]:
        """Our modules that a file imports, with the names taken from them."""
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                yield from (f"{node.module}.{name.name}" for name in node.names)
            elif isinstance(node, ast.Import):
                yield from (name.name for name in node.names)

    ours = [name for name in imported(root / "routes" / "openapi.py") if name.startswith(("routes.", "rules."))]
    assert [name for name in ours if not name.startswith(tuple(KNOWS_NO_RESOURCE))] == []
    importers = {
        path.name
        for folder in (".", "routes", "routes/http", "routes/schemas", "commands")
        for path in (root / folder).glob("*.py")
        if any(name.startswith("routes.openapi") for name in imported(path))
    }
    assert importers == {"app.py"}


# Read by tools


def everything(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value within a value, with the names that lead to it."""
    yield path, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from everything(part, (*path, str(name)))


def test_every_number_survives_javascript(document: dict[str, Any]) -> None:
    """No number is beyond those that a double holds exactly: JavaScript would send another one."""
    numbers = {path: value for path, value in everything(document) if type(value) is int}
    assert {path: value for path, value in numbers.items() if abs(value) > 2**53} == {}
    assert len(numbers) > 100


def test_big_ids_are_valid(document: dict[str, Any]) -> None:
    """Ids and times that only a 64-bit integer holds are valid by the format that says so."""
    schema = document["components"]["schemas"]["EventRequest"]
    for field in ("user_id", "time"):
        assert schema["properties"][field]["format"] == "int64"
        assert valid(document, schema, an_event(**{field: 2**63 - 1}))
        assert not valid(document, schema, an_event(**{field: 2**63}))


def test_generators_find_nothing_odd(document: dict[str, Any], operations: dict[tuple[str, str], Any]) -> None:
    """No keyword that they misread: a default in a body, const, multipleOf, or a type that is an object or another."""
    schemas = document["components"]["schemas"]
    keywords = {
        name
        for path, value in everything(schemas)
        if isinstance(value, dict) and path and path[-1] not in ("properties", "dependentSchemas")
        for name in value
        if "examples" not in path
    }
    assert keywords & {"const", "default", "multipleOf"} == set()
    assert "required" in keywords
    assert [
        name for name, one in schemas.items() if "properties" in one and {"oneOf", "anyOf", "allOf"} & set(one)
    ] == []
    assert [one for path, one in everything(operations) if path and path[-1] == "const"] == []


def test_parameters_are_described_where_pages_look(operations: dict[tuple[str, str], Any]) -> None:
    """Every parameter has its description beside its schema, not within."""
    for key, operation in operations.items():
        for parameter in operation["parameters"]:
            assert parameter["description"].endswith("."), (key, parameter["name"])
            assert "description" not in parameter["schema"]


def test_no_description_has_a_backslash(document: dict[str, Any]) -> None:
    """Generators copy them into strings."""
    texts = [value for path, value in everything(document) if path and path[-1] in ("description", "summary", "title")]
    assert [text for text in texts if isinstance(text, str) and "\\" in text] == []


def test_it_says_how_to_call(document: dict[str, Any], operations: dict[tuple[str, str], Any]) -> None:
    """Events come first; old paths are deprecated and others are not; no key is needed; each tag says what it holds."""
    assert [tag["name"] for tag in document["tags"]][:2] == ["events", "alerts"]
    assert [tag["name"] for tag in document["tags"] if not tag["description"].endswith(".")] == []
    assert {tag["name"] for tag in document["tags"]} == {operation["tags"][0] for operation in operations.values()}
    deprecated = {key for key, operation in operations.items() if operation.get("deprecated")}
    assert deprecated == {("POST", "/api/events"), ("POST", "/user")}
    security = {key: operation["security"] for key, operation in operations.items()}
    assert {key for key, needed in security.items() if not needed} == NEED_NONE
    assert {key for key, needed in security.items() if needed == [{"key": []}, {"session": []}]} == ANY_KEY
    assert security["POST", "/event"] == [{"key": ["ingest"]}, {"key": ["read"]}, {"session": []}]
    assert security["GET", "/alerts"] == [{"key": ["read"]}, {"session": []}]
    assert {"title", "version", "description", "contact", "license"} == set(document["info"])


# True


def test_the_examples_of_events_work(
    client: FlaskClient, document: dict[str, Any], operations: dict[tuple[str, str], Any]
) -> None:
    """Each example of an event can be posted as it is and is answered as its schema says."""
    for path in ("/event", "/api/events"):
        operation = operations["POST", path]
        for event in examples(operation["requestBody"]["content"]["application/json"]):
            answer = client.post(path, json=event)
            assert answer.status_code == 200
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            assert valid(document, schema, answer.get_json())


# By operation: a path, and a body for which the answer is the example of a 400.
BAD_BODIES = {
    ("POST", "/session"): ("/session", {}),
    ("POST", "/views"): ("/views", {"name": "New ones", "query": {"status": "new"}}),
    ("POST", "/event"): ("/event", {"type": "deposit", "user_id": 1, "time": 10}),
    ("POST", "/api/events"): ("/api/events", {"type": "deposit", "user_id": 1, "time": 10}),
    ("POST", "/users"): ("/users", {"total": "-1"}),
    ("POST", "/user"): ("/user", {"total": "-1"}),
    ("PATCH", "/users/{user_id}"): ("/users/7", {"risk": "huge"}),
    ("PUT", "/users/{user_id}/mutes/{code}"): ("/users/7/mutes/1100", {"until": "2020-01-01T00:00:00Z"}),
    ("PUT", "/rules/{code}"): ("/rules/1100", {"parameters": {"threshold": "-1"}}),
    ("POST", "/backtests"): ("/backtests", {"from": 10, "to": 9}),
    ("PATCH", "/alerts/{alert_id}"): ("/alerts/7-3-123", {"status": "done"}),
    ("POST", "/alerts/{alert_id}/notes"): ("/alerts/7-3-123/notes", {"note": ""}),
    ("POST", "/keys"): ("/keys", {"name": "payments", "scopes": ["write"]}),
    ("POST", "/webhooks"): ("/webhooks", {"url": "https://127.0.0.1/alerts", "events": ["alert.created"]}),
    ("PATCH", "/webhooks/{webhook_id}"): ("/webhooks/1", {"url": "https://127.0.0.1/alerts"}),
    ("POST", "/webhooks/{webhook_id}/rotate"): ("/webhooks/1/rotate", {"overlap_hours": -1}),
    ("POST", "/webhooks/{webhook_id}/resend"): ("/webhooks/1/resend", {"since": "2026-01-31T12:00:00Z", "delivery": 1}),
    ("POST", "/keys/{key_id}/rotate"): ("/keys/k3yI2d4/rotate", {"overlap_hours": -1}),
    ("POST", "/alerts/bulk"): ("/alerts/bulk", {"ids": ["7-3-123"], "set": {}}),
    ("POST", "/alerts/next"): ("/alerts/next", {"query": {"status": "done"}}),
}


def test_the_examples_of_bad_bodies_are_what_comes(client: FlaskClient, operations: dict[tuple[str, str], Any]) -> None:
    """Every 400 for a body is shown with a field of that body, and that is what such a body gets."""
    with_body = {key for key, operation in operations.items() if "requestBody" in operation}
    assert with_body - {("POST", "/events")} == set(BAD_BODIES)  # of which the next test knows
    for (method, path), (address, body) in BAD_BODIES.items():
        shown = examples(operations[method, path]["responses"]["400"]["content"]["application/problem+json"])
        answers = [client.open(to, method=method, json=body).get_json() for to in (address, f"{address}?limit=5")]
        assert [without(one, "request_id") for one in answers] == [without(one, "request_id") for one in shown]


def test_the_examples_of_many_events_are_what_comes(
    client: FlaskClient, operations: dict[tuple[str, str], Any]
) -> None:
    """The example of many events leads to the example of the answer, as an array and as lines, each error too."""
    operation = operations["POST", "/events"]
    content, responses = operation["requestBody"]["content"], operation["responses"]
    (array,) = examples(content["application/json"])
    (lines,) = examples(content["application/x-ndjson"])
    (expected,) = examples(responses["200"]["content"]["application/json"])
    assert client.post("/events", json=array).get_json() == expected
    replayed = [result | {"replayed": True} for result in expected["results"][:2]]
    again = client.post("/events", data=lines, content_type="application/x-ndjson").get_json()
    assert again == expected | {"results": [*replayed, expected["results"][2]]}
    for status, answer in {
        400: client.post("/events?atomic=true", json=[an_event(), without(an_event(), "amount")]),
        413: client.post("/events", json=[an_event()] * 10_001),
        415: client.post("/events", data=b"[]"),
    }.items():
        (shown,) = examples(responses[str(status)]["content"]["application/problem+json"])
        assert answer.status_code == status
        assert without(answer.get_json(), "request_id") == without(shown, "request_id")


def test_the_examples_of_users_work(
    make_client: ClientMaker, document: dict[str, Any], operations: dict[tuple[str, str], Any]
) -> None:
    """Each example of a user can be posted as it is, and its answer is the example of the answer but for the id."""
    client = make_client()
    operation = operations["POST", "/users"]
    (user,) = examples(operation["requestBody"]["content"]["application/json"])
    (expected,) = examples(operation["responses"]["201"]["content"]["application/json"])
    created = client.post("/users", json=user)
    assert created.status_code == 201
    assert without(created.get_json(), "id") == without(expected, "id")
    assert client.get(created.headers["Location"]).get_json() == created.get_json()
    taken = user | {"user_id": created.get_json()["id"]}
    problem(client.post("/user", json=taken), 409)


def test_the_example_of_actions_is_what_comes(client: FlaskClient, operations: dict[tuple[str, str], Any]) -> None:
    """The example of a page of actions is what the example of an event leads to."""
    client.post("/event", json=an_event())
    (expected,) = examples(
        operations["GET", "/users/{user_id}/actions"]["responses"]["200"]["content"]["application/json"]
    )
    assert client.get("/users/1/actions").get_json() == expected


def test_the_examples_of_alerts_are_what_comes(client: FlaskClient, operations: dict[tuple[str, str], Any]) -> None:
    """The examples of a page, of one alert and of an unknown one are what the service sends; only the times differ."""
    listed = operations["GET", "/alerts"]["responses"]
    read = operations["GET", "/alerts/{alert_id}"]["responses"]
    (missing,) = examples(read["404"]["content"]["application/problem+json"])
    assert without(problem(client.get("/alerts/7-3-123"), 404), "request_id") == without(missing, "request_id")
    (bad,) = examples(listed["400"]["content"]["application/problem+json"])
    assert without(problem(client.get("/alerts?limit=x"), 400), "request_id") == without(bad, "request_id")
    for event in (
        an_event(user_id=7, type="withdraw", time=0),
        an_event(user_id=7, amount="100.00", time=10),
        an_event(user_id=7, amount="120.00", time=25),
    ):
        client.post("/event", json=event)
    (page,) = examples(listed["200"]["content"]["application/json"])
    (detail,) = examples(read["200"]["content"]["application/json"])
    found, one = client.get("/alerts").get_json(), client.get("/alerts/7-3-123").get_json()
    moment = {name: found["alerts"][0][name] for name in ("created_at", "touched_at")}
    assert found == page | {"alerts": [page["alerts"][0] | moment]}
    assert one == detail | moment


def test_the_examples_of_rules_are_what_comes(client: FlaskClient, operations: dict[tuple[str, str], Any]) -> None:
    """The examples of a rule, of its versions and of errors are what the service sends; only the times differ."""
    read, listed = operations["GET", "/rules/{code}"]["responses"], operations["GET", "/rules"]["responses"]
    (shown,) = examples(read["200"]["content"]["application/json"])
    found = client.get("/rules/1100").get_json()
    moment = {"created_at": found["created_at"]}
    assert found == shown | moment
    assert examples(listed["200"]["content"]["application/json"]) == [{"rules": [shown]}]
    past = operations["GET", "/rules/{code}/versions"]["responses"]
    (page,) = examples(past["200"]["content"]["application/json"])
    assert client.get("/rules/1100/versions").get_json() == page | {"versions": [page["versions"][0] | moment]}

    setting = operations["PUT", "/rules/{code}"]
    (body,) = examples(setting["requestBody"]["content"]["application/json"])
    assert client.put("/rules/1100", json=body).status_code == 200
    for status, answer in {
        400: client.put("/rules/1100", json={"parameters": {"threshold": "x"}}),
        404: client.put("/rules/7", json=body),
        412: client.put("/rules/1100", json=body, headers={"If-Match": '"1"'}),
    }.items():
        expected = examples(setting["responses"][str(status)]["content"]["application/problem+json"])[0]
        assert without(problem(answer, status), "request_id") == without(expected, "request_id")


def test_the_examples_of_changed_users_are_what_comes(
    client: FlaskClient, operations: dict[tuple[str, str], Any]
) -> None:
    """The examples of a change of a user, and of the rules that judge one, are what the service sends."""
    client.post("/users", json={"user_id": 7, "name": "Ada", "total": "100.00", "risk": "high"})
    client.post("/event", json=an_event(user_id=7))
    rules = operations["GET", "/users/{user_id}/rules"]["responses"]["200"]["content"]["application/json"]
    found = client.get("/users/7/rules").get_json()
    assert examples(rules) == [found | {"rules": found["rules"][:1]}]
    change = operations["PATCH", "/users/{user_id}"]
    (body,) = examples(change["requestBody"]["content"]["application/json"])
    (expected,) = examples(change["responses"]["200"]["content"]["application/json"])
    assert client.patch("/users/7", json=body).get_json() == expected
    assert client.get("/users/7").get_json() == expected


def test_the_examples_of_problems_are_what_comes(
    make_client: ClientMaker, sessions: sessionmaker[Session], operations: dict[tuple[str, str], Any]
) -> None:
    """The examples of errors of an event are exactly the documents that such events are answered with."""
    rejecting = make_client(unknown_users="reject", overdraft="reject", out_of_order="reject")
    rejecting.post("/users", json={"user_id": 1})
    rejecting.post("/users", json={"user_id": 8})
    rejecting.post("/event", json=an_event(event_id="a"))
    rejecting.post("/event", json=an_event(user_id=8, time=9))
    with transaction(sessions) as session:
        pruning.prune_user(session.connection(), 8, before=10, most=1)
    before_the_cut = rejecting.post("/event", json=an_event(user_id=8, time=9))
    with transaction(sessions) as session:
        session.execute(text(f"UPDATE users SET last_seq = {MOST_ACTIONS} WHERE user_id = 8"))
    answers = [
        rejecting.post("/event", json=without(an_event(), "amount")),
        rejecting.post("/event?limit=5", json=an_event()),
        rejecting.post("/event", json=an_event(user_id=7)),
        rejecting.post("/event", json=an_event(event_id="a", amount="1.00")),
        before_the_cut,
        rejecting.post("/event", json=an_event(type="withdraw", amount="42.01")),
        rejecting.post("/event", json=an_event(time=9)),
        make_client(time_is_epoch=True, max_ahead=3600).post("/event", json=an_event(time=2**62)),
        make_client(late_limit=0).post("/event", json=an_event(time=9)),
        rejecting.post("/event", json=an_event(user_id=8)),
        rejecting.post("/event", data=b" " * 65537, content_type="application/json"),
        rejecting.post("/event", data=b"{}"),
    ]
    shown = [
        without(value, "request_id")
        for _, status, _, media in media_types({("POST", "/event"): operations["POST", "/event"]})
        if status in (400, 404, 409, 413, 415)
        for value in examples(media)
    ]
    answered = [without(answer.get_json(), "request_id") for answer in answers]
    assert json.loads(json.dumps(answered).replace("At most 0 of", f"At most {LATE_LIMIT:,} of")) == shown


EVENTS = [
    (an_event(), True),
    (an_event(amount=42), True),
    (an_event(amount=42.5), True),
    (an_event(event_id="a"), True),
    (an_event(extra=None), True),
    (without(an_event(t=10), "time"), True),
    (without(an_event(), "time"), False),
    (an_event(t=10), False),
    (an_event(t=None), False),
    (an_event(amount="0.00"), False),
    (an_event(amount=0), False),
    (an_event(amount="1e3"), False),
    (an_event(amount="1.234"), False),
    (an_event(amount=10**12), False),
    (an_event(user_id=0), False),
    (an_event(user_id=2**63), False),
    (an_event(user_id=True), False),
    (an_event(time="10"), False),
    (an_event(time=-1), False),
    (an_event(event_id=""), False),
    (an_event(event_id=None), False),
    (an_event(type="Deposit"), False),
]


USERS = [
    ({}, True),
    ({"name": "Ada", "total": 100.5, "risk": "low", "user_id": 7}, True),
    ({"user_id": 7, "extra": None}, False),
    ({"total": "0"}, True),
    ({"total": 0}, True),
    ({"total": -1}, False),
    ({"total": "-1.00"}, False),
    ({"total": None}, False),
    ({"name": ""}, False),
    ({"name": "x" * 201}, False),
    ({"name": "A\x00a"}, False),
    ({"name": None}, False),
    ({"risk": "medium"}, False),
    ({"user_id": 0}, False),
    ({"user_id": "7"}, False),
]


SETTINGS = [
    ({}, False),
    ({"status": "shadow", "note": None, "author": "anonymous"}, True),
    ({"status": "shadow", "extra": 1}, False),
    ({"parameters": {"threshold": "150.00", "window": 60}, "by_risk": {"low": {}, "high": {"window": 0}}}, True),
    ({"parameters": {"threshold": 150.5}}, True),
    ({"parameters": {"threshold": -1}}, False),
    ({"parameters": {"threshold": "1e3"}}, False),
    ({"parameters": {"threshold": None}}, False),
    ({"parameters": None}, False),
    ({"by_risk": {"medium": {}}}, False),
    ({"status": "on"}, False),
    ({"status": None}, False),
    ({"author": ""}, False),
    ({"note": 1}, False),
]


# What depends on the rule in the path, which the schema of a body cannot say.
NOT_FOR_THE_RULE: list[dict[str, Any]] = [
    {"parameters": {"window": "30"}},
    {"parameters": {"window": 3601}},
    {"parameters": {"count": 3}},
    {"by_risk": {"low": {"count": 3}}},
]


CHANGES_OF_USERS = [
    ({}, False),
    ({"risk": "high", "overrides": {"123": {"window": 60}, "30": {}}, "note": "a"}, True),
    ({"risk": "high", "extra": 1}, False),
    ({"overrides": {}}, True),
    ({"overrides": {"7": {}}}, False),
    ({"overrides": {"30": {"window": 60}}}, False),
    ({"overrides": {"30": {"count": "3"}}}, False),
    ({"overrides": {"30": None}}, False),
    ({"overrides": None}, False),
    ({"risk": None}, False),
]


@pytest.mark.parametrize(
    ("method", "path", "model", "cases"),
    [
        ("PUT", "/rules/123", "RuleRequest", SETTINGS),
        ("PATCH", "/users/1", "UserChangeRequest", CHANGES_OF_USERS),
    ],
)
def test_the_schemas_of_settings_agree_with_the_service(
    client: FlaskClient,
    document: dict[str, Any],
    subtests: pytest.Subtests,
    method: str,
    path: str,
    model: str,
    cases: Any,
) -> None:
    """What a schema of a setting takes or refuses the service takes or refuses too."""
    client.post("/users", json={"user_id": 1})
    for body, good in cases:
        with subtests.test(body=body):
            assert valid(document, document["components"]["schemas"][model], body) is good
            assert client.open(path, method=method, json=body).status_code == (200 if good else 400)


def test_every_rule_has_a_schema(document: dict[str, Any]) -> None:
    """The document says for every rule and parameter what it takes, its bounds, its default and why."""
    schemas = document["components"]["schemas"]
    by_code = schemas["Overrides"]["dependentSchemas"]
    assert set(by_code) == set(schemas["Overrides"]["propertyNames"]["enum"]) == {str(code) for code in REGISTRY}
    for code, rule in REGISTRY.items():
        properties = by_code[str(code)]["properties"][str(code)]["properties"]
        assert list(properties) == list(rule.defaults())
        for parameter in rule.declared:
            text = properties[parameter.name]["description"]
            assert text == f"{parameter.why} {parameter.least} to {parameter.most}; as declared {parameter.default}."


@pytest.mark.parametrize(
    ("path", "model", "accepted", "cases"),
    [("/event", "EventRequest", 200, EVENTS), ("/users", "UserRequest", 201, USERS)],
)
def test_the_schemas_agree_with_the_service(
    client: FlaskClient,
    document: dict[str, Any],
    subtests: pytest.Subtests,
    path: str,
    model: str,
    accepted: int,
    cases: Any,
) -> None:
    """What a schema takes or refuses the service takes or refuses too."""
    for body, good in cases:
        with subtests.test(body=body):
            assert valid(document, document["components"]["schemas"][model], body) is good
            assert client.post(path, json=body).status_code == (accepted if good else 400)


EXAMPLES_AN_OPERATION = 10

schemathesis.serializer.alias("application/x-ndjson", "text/plain")


def test_the_service_keeps_to_its_document(
    make_client: ClientMaker, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]
) -> None:
    """All that is derived from the document, good and bad, alone and in sequences, is answered as it says."""
    monkeypatch.setattr("rules.hindsight.start.COMMAND", ("true",))  # dozens of them would run at once
    # Its own profile of Hypothesis would not do: however long it takes to make an example, that is no fault.
    config = SchemathesisConfig(seed=1, suppress_health_check=[HealthCheck.too_slow])
    headers = bearer(add_key(sessions, "everything"))
    # With this bound it would post so many events, and then look through all their alerts again and again.
    events_request = without(document["components"]["schemas"]["EventsRequest"], "maxItems")
    schemas = document["components"]["schemas"] | {"EventsRequest": events_request}
    short = document | {"components": document["components"] | {"schemas": schemas}}
    schema = schemathesis.openapi.from_dict(short, config=config)
    schema.app, schema.location = make_client().application, "/openapi.json"
    schema.config.update(headers=headers)
    # It calls without a key, in a way that fails within a process; tests of access do so for every call.
    schema.config.checks.update(excluded_check_names=["ignored_auth"])
    schema.config.generation.update(max_examples=EXAMPLES_AN_OPERATION, database="none", deterministic=True)
    schema.hook("filter_failure")(is_against_the_contract)

    found, tried, checked = [], set(), set()
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if not isinstance(event, events.ScenarioFinished):
            continue
        for case in event.recorder.cases.values():
            tried.add((case.value.operation.label, case.value.meta and case.value.meta.generation.mode))
        for case_id, checks in event.recorder.checks.items():
            checked |= {check.name for check in checks}
            failures = [(check.name, check.failure_info.code_sample) for check in checks if check.failure_info]
            if failures:
                response = event.recorder.interactions[case_id].response
                found.append((failures, response and response.content))
    assert found == []
    assert checked == set(CHECKS.get_all_names()) - {"ignored_auth"}
    # It leaves out the document that it reads.
    assert {label for label, mode in tried if mode == GenerationMode.POSITIVE} == {
        f"{method} {path}" for method, path in STATUSES if path != "/openapi.json"
    }


def is_against_the_contract(context: Any, failure: Any, case: Any, response: Any) -> Any:
    """Whether a check failed for another reason than what OpenAPI cannot express.

    The header Idempotency-Key and the field event_id must agree. To JSON Schema 10.0 is an integer; the contract
    refuses floats. And 0.35000000000000003, which the generator takes for a multiple of 0.01, has too many
    decimals. And of many events the bad ones are reported among the good ones, those in lines of text too. The
    parameters of a rule are those of the rule in the path, and bounds hold for money in text too. What a backtest
    sweeps is a parameter of a rule that is tried, with a limited number of values, a period does not end before it
    begins, and a cursor is of its list. Parameters may not contradict each other. Any value of If-Match is wrong unless
    it was read a moment ago. A key and a mute end in the future, an account was closed in the past, and a key's name is
    printable. Webhooks lead where settings allow. And a backtest that is deleted is cancelled, a key revoked, a user
    erased, and all can still be read.
    """
    if isinstance(failure, UseAfterFree):
        return not {"backtest_id", "key_id", "user_id"} & set(case.path_parameters)
    if isinstance(failure, AcceptedNegativeData):
        return not (response.content and response.json().get("rejected"))
    if isinstance(failure, RejectedPositiveData) and response.status_code == 412:
        return "If-Match" not in case.headers
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 400:
        return True
    document = response.json()
    if document["detail"] == "The parameters contradict each other.":
        return False
    if "results" not in document:
        return _could_be_said(case, case.body, document)
    refused = [result["problem"] for result in document["results"]]
    if case.media_type == "application/x-ndjson":
        return False
    return any(_could_be_said(case, event, why) for event, why in zip(case.body, refused, strict=True))


def _could_be_said(case: Any, body: Any, why: Any) -> Any:
    if why["status"] in (409, 424):  # an event_id twice among many, and the others with it
        return False
    return not all(_cannot_be_said(case, body, error["pointer"].removeprefix("/")) for error in why["errors"])


def _cannot_be_said(case: Any, body: Any, name: Any) -> Any:
    if name.partition("/")[0] == "sweep" or name in ("to", "cursor", "at_most_per_day"):
        return "code" not in case.path_parameters
    if name.partition("/")[0] in ("parameters", "by_risk", "overrides", "rules"):
        # Bounds of text, and what is a float.
        return not _is_for_the_rule_of_its_path(case, body) or isinstance(_at(body, name), str | float)
    if name in ("t", "time") and ("t" in body) is ("time" in body):
        return True  # the schema does say it, but the generator does not look there
    if name == "url" or (name.startswith("codes/") and isinstance(_at_index(body, name), float)):
        return True  # where webhooks may lead
    # A moment in the future, an outcome for what is closed, a printable name, tags of what is named, and floats.
    if name.removeprefix("set/") in ("snoozed_until", "outcome", "assignee", "etags", "query") or "query/" in name:
        return True
    if name in ("until", "closed_at") or (name in ("name", "expires_at", "rate") and "scopes" in body):
        return True
    if name == "author":
        return True  # it is the name of the key
    value = body.get(name)
    if name == "event_id":
        return value != case.headers["Idempotency-Key"]
    if name in ("amount", "total"):
        return _has_too_many_decimals(value)
    return name in ("user_id", "time", "t", "from", "overlap_hours", "expect", "delivery") and isinstance(value, float)


def _is_for_the_rule_of_its_path(case: Any, body: Any) -> Any:
    if "code" not in case.path_parameters:
        return True
    declared = declared_schema(REGISTRY[int(case.path_parameters["code"])])
    groups = [body.get("parameters", {}), *body.get("by_risk", {}).values()]
    return all(valid({"components": {}}, declared, group) for group in groups)


def _at(value: Any, path: Any) -> Any:
    for name in path.split("/"):
        value = value[name]
    return value


def _at_index(body: Any, name: Any) -> Any:
    list_name, _, index = name.partition("/")
    return body[list_name][int(index)]


def _has_too_many_decimals(value: Any) -> Any:
    return isinstance(value, float) and int(Decimal(repr(value)).as_tuple().exponent) < -2


# The page


class Links(HTMLParser):
    """Collects what a page loads or points to, and the scripts and styles inside it."""

    def __init__(self, page: Any) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: Any, attrs: Any) -> None:
        """Note every address in the tag, and any code in it."""
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]
        self.inline += [name for name, _ in attrs if name.startswith("on")]
        if tag in ("script", "style") and "src" not in dict(attrs):
            self.inline.append(tag)


@pytest.fixture
def page(app: Flask) -> Any:
    """The answer with the page."""
    return app.test_client().get("/docs")


def test_the_page_loads_only_its_own(app: Flask, page: Any) -> None:
    """The page loads nothing from another host, and all that it loads is there, of the right type."""
    assert (page.status_code, page.content_type) == (200, "text/html; charset=utf-8")
    links = [link for link in Links(page.text).links if not link.startswith("data:")]
    links.remove("/desk/")  # it leads there
    assert sorted(links) == [
        "/docs/assets/docs.js",
        "/docs/assets/swagger-ui/swagger-ui-bundle.js",
        "/docs/assets/swagger-ui/swagger-ui.css",
    ]
    types = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
    for link in links:
        with app.test_client().get(link) as asset:
            assert (asset.status_code, asset.content_type) == (200, types[link.rpartition(".")[2]])
            assert asset.data == (ASSETS / link.removeprefix("/docs/assets/")).read_bytes()


def test_the_page_may_not_load_anything_else(page: Any) -> None:
    """The page's own policy forbids other hosts and inline code, and the page has none."""
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'self'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "form-action": "'self'",
        **dict.fromkeys(("object-src", "base-uri", "frame-ancestors"), "'none'"),
    }
    assert Links(page.text).inline == []


def test_the_page_shows_this_document(app: Flask) -> None:
    """The page's script reads the document of this service and asks no other host to check it."""
    script = (ASSETS / "docs.js").read_text()
    assert 'url: "/openapi.json"' in script
    assert "validatorUrl: null" in script
    assert "//" not in script


def test_the_page_keeps_the_licence_of_what_it_uses() -> None:
    """The licence of Swagger UI is next to it."""
    assert "Apache License" in (ASSETS / "swagger-ui" / "LICENSE").read_text()
