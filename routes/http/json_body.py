"""From a request's raw bytes to a validated model, naming every bad field at once."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from routes.http.bodies import read_body
from routes.http.problems import FieldProblem, Problem

ModelT = TypeVar("ModelT", bound=BaseModel)

JSON, NDJSON = "application/json", "application/x-ndjson"

_LONGEST_INT = 20  # digits; longer ones are out of every range here, and Python refuses to parse the longest


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number as it was written, kept as text where a float would lose that."""

    text: str


def read_json() -> bytes:
    """The body of the request under way, which claims to be JSON.

    Raises Problem: 415 for another content type, and what `read_body` raises.
    """
    if request.mimetype != JSON:
        raise Problem(415, f"The Content-Type must be {JSON}.")
    return read_body()


def read_items(most: int, limit: int) -> list[Any]:
    """The items of the JSON array, or of the JSON lines, in the body of the request under way, which may be gzip.

    A line that is no JSON comes as the Problem with it, so that it does not spoil the others; blank lines are left
    out. Raises Problem: 415 for another content type, 400 for what is no JSON array in UTF-8, 413 for over `most`
    items, and what `read_body` raises, with `limit` bytes.
    """
    if request.mimetype not in (JSON, NDJSON):
        raise Problem(415, f"The Content-Type must be {JSON} or {NDJSON}.")
    body = read_body(limit, may_be_gzip=True)
    items = list(islice(_lines(body), most + 1)) if request.mimetype == NDJSON else _array(body)
    if len(items) > most:
        raise Problem(413, f"The body has more than {most:,} events.")
    return items


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`; numbers that are not short integers come as `Number`.

    Raises Problem 400 for what is no JSON object in UTF-8.
    """
    value = _parse(raw, "body")
    if not isinstance(value, dict):
        raise Problem(400, "The body must be a JSON object.")
    return value


def validate(model: type[ModelT], data: dict[str, Any], also: Sequence[FieldProblem] = ()) -> ModelT:
    """`data` as an instance of `model`. Raises Problem 400 naming every bad field, those in `also` too."""
    problems = list(also)
    try:
        valid = model.model_validate(data)
    except ValidationError as error:
        problems += field_problems(error)
    if problems:
        raise Problem(400, "The request has missing or bad fields.", errors=problems)
    return valid


def field_problems(error: ValidationError) -> list[FieldProblem]:
    """What pydantic found, as JSON pointers with a sentence each."""
    return [
        FieldProblem(
            "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in detail["loc"]),
            detail["msg"],
        )
        for detail in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _array(body: bytes) -> list[Any]:
    value = _parse(body, "body")
    if not isinstance(value, list):
        raise Problem(400, "The body must be a JSON array.")
    return value


def _lines(body: bytes) -> Iterator[Any]:
    return (_line(line.strip()) for line in io.BytesIO(body) if not line.isspace())


def _line(raw: bytes) -> Any:
    try:
        return _parse(raw, "line")
    except Problem as problem:
        return problem


def _parse(raw: bytes, what: str) -> Any:
    try:
        return _DECODER.decode(raw.decode())
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"The {what} is not JSON in UTF-8: {_short(error)}.") from None


def _integer(text: str) -> int | Number:
    return int(text) if len(text) <= _LONGEST_INT else Number(text)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


# One for all: making it takes longer than reading one event with it.
_DECODER = json.JSONDecoder(parse_float=Number, parse_int=_integer, parse_constant=_no_constant)


def _short(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno}, " if "\n" in error.doc else ""
        return f"{error.msg} at {line}column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
