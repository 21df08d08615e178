"""What a view takes and answers, declared next to the view; the OpenAPI document is built from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import Response
from pydantic import BaseModel

from access.caller import Needs
from routes.http.bodies import MAX_BODY
from routes.http.problems import Problem
from routes.schemas.problems import ProblemAnswer

ViewT = TypeVar("ViewT", bound=Callable[..., Response])


@dataclass(frozen=True)
class Text:
    """An answer that no model describes: its media type, what it is, and an example."""

    media_type: str
    description: str
    example: str | dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a view takes and answers.

    `needs` is the scope that a caller must have. `answers` has the models by status. `problems` has at least one
    example of each error it can answer, except those that all views share (405 and 500). `path` adds to what the
    converters say about path parameters, by name.
    """

    needs: Needs
    answers: Mapping[int, type[BaseModel] | Text]
    problems: tuple[Problem, ...] = ()
    path: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    body: type[BaseModel] | None = None
    max_body: int = MAX_BODY  # bytes; the server reads no more
    query: type[BaseModel] | None = None
    idempotent: bool = False
    tagged: bool = False  # with an ETag, and If-None-Match or If-Match
    deprecated: tuple[str, ...] = ()  # of its paths, those that only old callers should use
    streams: bool = False  # the answer is sent piece by piece, few of them at once (routes/flask_streams.py)
    lines: bool = False  # the body is an array, or its items one per line
    refusal: type[BaseModel] = ProblemAnswer  # the model of 400


def describe(operation: Operation) -> Callable[[ViewT], ViewT]:
    """Attach `operation` to the decorated view, for the OpenAPI document.

    The first line of the view's docstring is the summary, the rest is the description.
    """

    def decorate(view: ViewT) -> ViewT:
        view.operation = operation  # type: ignore[attr-defined]
        return view

    return decorate
