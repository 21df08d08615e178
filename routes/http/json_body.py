"""Reading the JSON in the body of the current request: one object, or many items."""

import io
from collections.abc import Iterator
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel

from routes.http.bodies import MAX_BODY, read_body
from routes.http.problems import Problem, refused
from rules import json_text
from rules.payload import BadPayload, not_json, read_json, read_strictly
from rules.plain_event import plain_event, plain_events

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

    Raises BadPayload, which names every bad, unknown or repeated member, and what `json_body` raises.
    """
    return read_strictly(model, json_body())


def has_body() -> bool:
    """Whether the current request says that it has a body."""
    return bool(request.content_length) or "Transfer-Encoding" in request.headers


def read_items(most: int, limit: int) -> Iterator[Any]:
    """The items of the JSON array or JSON lines in the body of the current request, which may be gzip.

    Plain events (see `plain_event`) come as such, all else as JSON values. They come one by one, to be used at once:
    together they can be thirty times as large as the body. In place of a line that is not JSON or longer than
    `MAX_BODY` comes its Problem, so that it does not spoil the others; blank lines are skipped. Raises BadPayload
    if the body is not a JSON array in UTF-8, Problem 415 for another content type, Problem 413 for more than `most`
    items or blank lines and for an item of an array that is too long, and what `read_body` raises with
    `limit` (in bytes).
    """
    if request.mimetype not in (JSON, NDJSON):
        raise Problem(415, f"The Content-Type must be {JSON} or {NDJSON}.")
    body = read_body(limit, may_be_gzip=True)
    return _at_most(most, _lines(body, most) if request.mimetype == NDJSON else _array(body))


def _at_most(most: int, items: Iterator[Any]) -> Iterator[Any]:
    for count, item in enumerate(items, 1):
        if count > most:
            raise Problem(413, f"The body has more than {most:,} events.")
        yield item


def _array(body: bytes) -> Iterator[Any]:
    try:
        yield from json_text.items(body, MAX_BODY, plain_events)
    except json_text.NoArray:
        raise BadPayload("The body must be a JSON array.") from None
    except json_text.BadJson as error:
        raise not_json("body", str(error)) from None
    except json_text.TooLong as error:
        raise Problem(413, f"The event with index {error.index} has more than {MAX_BODY:,} characters.") from None


def _lines(body: bytes, most_blank: int) -> Iterator[Any]:
    blank = 0
    for line in io.BytesIO(body):
        raw = line.strip()
        if not raw:
            blank += 1
            if blank > most_blank:
                raise Problem(413, f"The body has more than {most_blank:,} blank lines.")
        elif len(raw) > MAX_BODY:
            yield Problem(413, f"The line has more than {MAX_BODY:,} bytes.")
        else:
            yield plain_event(raw) or _line(raw)


def _line(raw: bytes) -> Any:
    try:
        return read_json(raw, "line")
    except BadPayload as bad:
        return refused(bad)
