"""How the OpenAPI document describes the parameters of a call: in its path, its query and its headers."""

from operator import itemgetter
from typing import Any

from flask import Flask
from pydantic import TypeAdapter
from werkzeug.routing import BaseConverter, Rule

from routes.http.converters import PARAMETER
from routes.http.operation import Operation
from routes.schemas.fields import EventId
from routes.schemas.json_schema import QuerySchema, query_schema


def in_path(app: Flask, rule: Rule, operation: Operation) -> list[dict[str, Any]]:
    """The parameters in the path of `rule`."""
    found = sorted(PARAMETER.findall(rule.rule), key=itemgetter(1))
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            **_in_path(app.url_map.converters[kind or "default"]),
            **operation.path.get(name, {}),
        }
        for kind, name in found
    ]


def _in_path(converter: type[BaseConverter]) -> dict[str, Any]:
    # Our own converters describe themselves (routes/http/converters.py); Werkzeug's do not.
    described: dict[str, Any] = getattr(converter, "described", {"schema": {"type": "string"}})
    return described


def in_query(operation: Operation) -> list[dict[str, Any]]:
    """The parameters of its query."""
    if operation.query is None:
        return []
    properties = query_schema(operation.query)["properties"]
    # Pages show the description of a parameter, not that of its schema.
    return [
        {"name": name, "in": "query", "required": False, "description": schema.pop("description"), "schema": schema}
        for name, schema in properties.items()
    ]


def in_headers(operation: Operation) -> list[dict[str, Any]]:
    """The headers that it reads."""
    if operation.tagged and operation.body:
        match = "The ETag of what is to be changed; the answer is 412 if it has changed since. `*` matches any."
        return [_header("If-Match", match, {"type": "string", "examples": ["*"]})]
    if operation.tagged:
        none_match = "The ETag of an earlier answer; the answer is 304 if it is still current."
        return [_header("If-None-Match", none_match, {"type": "string", "examples": ['"1-5f0c1d4e"']})]
    if operation.idempotent:
        same = "The same as the field event_id; if both are given, they must be equal."
        written = TypeAdapter(EventId).json_schema(schema_generator=QuerySchema)
        return [_header("Idempotency-Key", same, written | {"examples": ["order-17"]})]
    return []


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}
