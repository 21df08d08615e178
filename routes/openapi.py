"""The OpenAPI document, and a page to try out each call.

The document is built from the routes and the models that validate their requests.
"""

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, current_app, render_template, request, send_from_directory
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from routes.http import openapi_parameters, openapi_security, openapi_webhooks
from routes.http.answers import json_bytes
from routes.http.converters import template_of
from routes.http.etags import tagged_bytes
from routes.http.everywhere import problems_of
from routes.http.kept import Kept
from routes.http.operation import Nothing, Operation, Text, describe, needs
from routes.http.problems import RETRY_AFTER, Problem
from routes.http.safe_headers import PAGE_POLICY
from routes.schemas.json_schema import REF, BodySchema, query_schema
from routes.schemas.problems import ProblemAnswer
from version import VERSION

blueprint = Blueprint("docs", __name__, template_folder="templates")
blueprint.record_once(lambda state: state.app.extensions.setdefault(_KEPT, Kept(math.inf)))

# Making the document takes a third of a second, so each application makes it once.
_KEPT = "openapi-document"
_ASSETS = Path(__file__).parent / "static"
_ADDRESS = "urn:address"  # stands in it for the address at which it is served
_DESCRIPTION = """\
Post each deposit and withdrawal of a user; the answer names the alerts it raises.

Once a key was made, each call needs one that has its scope: `Authorization: Bearer tak_...`. Until then a service that
listens on loopback answers whoever is on that machine. Keys are made by `flask --app app keys create`, or POST /keys.

Money is text with two decimals, and times are whole seconds. Every error is a problem document (RFC 9457), whose
`errors` name each bad field of the request at once.

Some things a schema cannot say: whole numbers are written without a decimal point (7, not 7.0); money that is sent as a
number has at most two decimals; JSON has no NaN, and text no half of a surrogate pair; a member that appears twice in
an object is refused, except in events, where the last one counts."""
_REQUEST_ID = {"X-Request-ID": {"required": True, "schema": {"type": "string"}, "description": "The id in the log."}}
_ETAG = {"ETag": {"required": True, "schema": {"type": "string"}, "description": "For If-Match and If-None-Match."}}
_LOCATION = {"Location": {"required": True, "schema": {"type": "string"}, "description": "Where to read it."}}


def _described(app: Flask) -> Iterator[tuple[Rule, Operation]]:
    for rule in app.url_map.iter_rules():
        view: Any = app.view_functions[rule.endpoint]
        if (operation := getattr(view, "operation", None)) is not None:
            yield rule, operation


def build(app: Flask, url: str) -> dict[str, Any]:
    """The OpenAPI document of all described routes of `app`, as plain data. `url` is where `app` is served."""
    schemas = _schemas(app)
    paths: dict[str, dict[str, Any]] = {}
    for rule, operation in _described(app):
        path = template_of(rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _operation(app, schemas, rule, method, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Transaction alerts",
            "version": VERSION,
            "description": _DESCRIPTION,
            "contact": {"name": "The transaction alerts authors"},
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            # Absolute, so that a tool that imports the document knows where to send its calls.
            {"url": url, "description": "Where this document was read from."},
            {"url": "/", "description": "The same host, behind a proxy that changes the address."},
        ],
        "security": [],  # each call has its own
        "tags": list(_tags(app)),
        "paths": paths,
        "webhooks": {
            name: sent
            for rule, operation in _described(app)
            for name, sent in openapi_webhooks.described(operation.messages, schemas, _tag(rule)).items()
        },
        "components": {"schemas": schemas, "securitySchemes": openapi_security.SCHEMES},
    }


def _schemas(app: Flask) -> dict[str, Any]:
    """The schemas that have names."""
    models: set[type[BaseModel]] = {ProblemAnswer}
    named: dict[str, Any] = {}
    for _, operation in _described(app):
        models |= {answer for answer in operation.answers.values() if not isinstance(answer, Text | Nothing)}
        models |= {operation.refusal, *operation.messages.values(), *([operation.body] if operation.body else [])}
        named |= query_schema(operation.query).get("$defs", {}) if operation.query else {}
    _, schemas = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template=REF,
        schema_generator=BodySchema,
    )
    return dict(sorted((named | schemas["$defs"]).items()))


def _tag(rule: Rule) -> str:
    # The calls of a resource may be in several blueprints: "alerts work" is part of "alerts".
    return str(rule.endpoint).partition(".")[0].partition(" ")[0]


def _tags(app: Flask) -> Iterator[dict[str, str]]:
    """One for each resource in the order of `app`, described by the first line of its module."""
    described = {_tag(rule) for rule, _ in _described(app)}
    for name, one in app.blueprints.items():
        if name in described:
            yield {"name": name, "description": str(sys.modules[one.import_name].__doc__).partition("\n")[0]}


def _operation(app: Flask, schemas: dict[str, Any], rule: Rule, method: str, operation: Operation) -> dict[str, Any]:
    summary, _, description = (app.view_functions[rule.endpoint].__doc__ or "").partition("\n")
    problems = (*operation.problems, *problems_of(method, operation))
    described: dict[str, Any] = {
        "operationId": rule.endpoint.partition(".")[2],
        "tags": [_tag(rule)],
        "summary": summary.strip().rstrip("."),
        "security": openapi_security.needed(operation),
        "parameters": [
            *openapi_parameters.in_path(app, rule, operation),
            *openapi_parameters.in_query(operation),
            *openapi_parameters.in_headers(operation),
        ],
        "responses": {
            str(status): _answer(schemas, method, status, answer, operation)
            for status, answer in operation.answers.items()
        }
        | {
            # Each status once, in the order given.
            str(status): _problem(status, [one for one in problems if one.status == status], operation)
            for status in dict.fromkeys(problem.status for problem in problems)
        },
    }
    if operation.tagged and not operation.body:
        described["responses"]["304"] = {
            "description": "Unchanged since If-None-Match.",
            "headers": _REQUEST_ID | _ETAG,
        }
    sentences = " ".join(description.split()) or f"{described['summary']}."
    described["description"] = f"{sentences} {openapi_security.sentence(operation)}"
    if rule.rule in operation.deprecated:
        described["deprecated"] = True
    if operation.body:
        content = {"application/json": _media(schemas, operation.body)}
        if operation.lines:
            content["application/x-ndjson"] = _lines(content["application/json"]["example"])
        described["requestBody"] = {"required": not operation.may_lack_body, "content": content}
    return described


def _media(schemas: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"$ref": REF.format(model=model.__name__)}}
    examples = schemas[model.__name__].get("examples")
    return media | ({"example": examples[0]} if examples else {})


def _lines(items: list[Any]) -> dict[str, Any]:
    # JSON Schema cannot describe the content of text.
    schema = {"type": "string", "description": "One item of the array per line."}
    return {"schema": schema, "example": "".join(json.dumps(item) + "\n" for item in items)}


def _answer(
    schemas: dict[str, Any],
    method: str,
    status: int,
    answer: type[BaseModel] | Text | Nothing,
    operation: Operation,
) -> dict[str, Any]:
    if isinstance(answer, Nothing):
        return {"description": answer.description, "headers": _REQUEST_ID}
    headers: dict[str, Any] = (
        _REQUEST_ID
        | (_LOCATION if status == 201 or (method, status) == ("POST", 202) else {})
        | (_ETAG if operation.tagged or operation.versioned else {})
    )
    if operation.idempotent:
        replayed = {"type": "string", "pattern": "^true$"}
        headers["Idempotent-Replayed"] = {"schema": replayed, "description": "Sent if the event was stored before."}
    if isinstance(answer, Text):
        # Of an object it says nothing, lest generators make a type of it.
        schema = {"type": "string"} if isinstance(answer.example, str) else {}
        content = {answer.media_type: {"schema": schema, "example": answer.example}}
        return {"description": answer.description, "headers": headers, "content": content}
    return {
        "description": (answer.__doc__ or "").strip().partition("\n")[0],
        "headers": headers,
        "content": {"application/json": _media(schemas, answer)},
    }


def _problem(status: int, problems: list[Problem], operation: Operation) -> dict[str, Any]:
    headers: dict[str, Any] = _REQUEST_ID | openapi_security.headers(status)
    if status == 503:
        seconds = {"type": "integer", "minimum": 0, "examples": [RETRY_AFTER]}
        headers["Retry-After"] = {"required": True, "schema": seconds, "description": "Seconds."}
    if status == 405:
        headers["Allow"] = {"required": True, "schema": {"type": "string"}, "description": "The methods of this path."}
    model = operation.refusal if status == 400 else ProblemAnswer
    request_id = {"request_id": "5f0c1d4e8f7b4d55a3f2f0f1a6a0c9de"}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers,
        "content": {
            "application/problem+json": {
                "schema": {"$ref": REF.format(model=model.__name__)},
                "examples": {name: {"value": problem.document() | request_id} for name, problem in _by_name(problems)},
            }
        },
    }


def _by_name(problems: list[Problem]) -> Iterator[tuple[str, Problem]]:
    """The problems, each with a name of its own."""
    count: Counter[str] = Counter()
    for problem in problems:
        name = problem.kind or problem.document()["title"]
        count[name] += 1
        yield (name if count[name] == 1 else f"{name} ({count[name]})"), problem


@blueprint.get("/openapi.json")
@describe(
    Operation(
        needs="any",
        answers={200: Text("application/json", "An OpenAPI 3.1 document.", {"openapi": "3.1.0"})},
        tagged=True,
    )
)
def get_openapi_document() -> Response:
    """Read this document."""
    kept: Kept[tuple[bytes, bytes]] = current_app.extensions[_KEPT]
    before, after = kept.get(_written)
    return tagged_bytes(before + json.dumps(request.root_url.rstrip("/")).encode() + after, VERSION)


def _written() -> tuple[bytes, bytes]:
    """The document as JSON, before and after the address at which it is served.

    The caller chooses that address, so it is no part of what is kept.
    """
    before, after = json_bytes(build(current_app, _ADDRESS)).split(json.dumps(_ADDRESS).encode())
    return before, after


@blueprint.get("/docs")
@describe(Operation(needs="any", answers={200: Text("text/html; charset=utf-8", "The page.", "<!doctype html>")}))
def get_docs_page() -> Response:
    """Read this document as a page that can try out each call.

    Everything on the page is served from this host.
    """
    page = Response(render_template("docs.html"), content_type="text/html; charset=utf-8")
    page.headers["Content-Security-Policy"] = PAGE_POLICY
    return page


@blueprint.get("/docs/assets/<path:filename>")
@needs("any")
def asset(filename: str) -> Response:
    """What the page loads: its styles and its scripts."""
    return send_from_directory(_ASSETS, filename)
