"""From a request's raw bytes to a validated model, naming every bad field at once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from routes.problems import FieldProblem, Problem

ModelT = TypeVar("ModelT", bound=BaseModel)

_LONGEST_INT = 20  # digits; longer ones are out of every range here, and Python refuses to parse the longest


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number as it was written, kept as text where a float would lose that."""

    text: str


def read_object() -> dict[str, Any]:
    """The JSON object in the body of the request under way.

    Numbers that are not short integers come as `Number`. Raises Problem: 415 for another content type, 400
    for what is no JSON object in UTF-8.
    """
    if request.mimetype != "application/json":
        raise Problem(415, "The Content-Type must be application/json.")
    try:
        value = json.loads(
            request.get_data(cache=False).decode(),
            parse_float=Number,
            parse_int=_integer,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON in UTF-8: {_short(error)}.") from None
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


def _integer(text: str) -> int | Number:
    return int(text) if len(text) <= _LONGEST_INT else Number(text)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _short(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
