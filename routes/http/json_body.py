"""Reading the JSON in the body of the current request: one object, or many items."""

import io
from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel

from routes.http.bodies import read_body
from routes.http.problems import Problem, refused
from rules.payload import BadPayload, read_json, read_object, validate

ModelT = TypeVar("ModelT", bound=BaseModel)

JSON, NDJSON = "application/json", "application/x-ndjson"


def json_body() -> bytes:
    """The body of the current request, whose content type must be JSON.

    Raises Problem 415 for another content type, and what `read_body` raises.
    """
    if request.mimetype != JSON:
        raise Problem(415, f"The Content-Type must be {JSON}.")
    return read_body()


def read_model(model: type[ModelT]) -> ModelT:
    """The JSON object in the body of the current request, as an instance of `model`.

    Raises BadPayload, which names every bad field, and what `json_body` raises.
    """
    return validate(model, read_object(json_body()))


def read_items(most: int, limit: int) -> list[Any]:
    """The items of the JSON array or JSON lines in the body of the current request, which may be gzip.

    In place of a line that is not JSON comes its Problem, so that it does not spoil the others; blank lines are
    skipped. Raises BadPayload if the body is not a JSON array in UTF-8, Problem 415 for another content type, Problem
    413 for more than `most` items, and what `read_body` raises with `limit` (in bytes).
    """
    if request.mimetype not in (JSON, NDJSON):
        raise Problem(415, f"The Content-Type must be {JSON} or {NDJSON}.")
    body = read_body(limit, may_be_gzip=True)
    items = list(islice(_lines(body), most + 1)) if request.mimetype == NDJSON else _array(body)
    if len(items) > most:
        raise Problem(413, f"The body has more than {most:,} events.")
    return items


def _array(body: bytes) -> list[Any]:
    value = read_json(body)
    if not isinstance(value, list):
        raise BadPayload("The body must be a JSON array.")
    return value


def _lines(body: bytes) -> Iterator[Any]:
    return (_line(line.strip()) for line in io.BytesIO(body) if not line.isspace())


def _line(raw: bytes) -> Any:
    try:
        return read_json(raw, "line")
    except BadPayload as bad:
        return refused(bad)
