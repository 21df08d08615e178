"""What a view takes and answers, declared next to the view; the OpenAPI document is built from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl

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


@dataclass(frozen=True)
class Nothing:
    """An answer without a body, and what it means."""

    description: str


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a view takes and answers.

    `needs` is the scope that a caller must have, and `dry_run_needs` the one for `?dry_run=true`. `answers` has the
    models by status. `problems` has at least one example of each error it can answer, except those that all views share
    (405 and 500). `path` adds to what the converters say about path parameters, by name.
    """

    needs: Needs
    dry_run_needs: Needs | None = None
    answers: Mapping[int, type[BaseModel] | Text | Nothing]
    problems: tuple[Problem, ...] = ()
    path: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    body: type[BaseModel] | None = None
    may_lack_body: bool = False
    max_body: int = MAX_BODY  # bytes; the server reads no more
    query: type[BaseModel] | None = None
    idempotent: bool = False
    tagged: bool = False  # with an ETag, and If-None-Match or If-Match
    versioned: bool = False  # with an ETag for the If-Match of other calls
    deprecated: tuple[str, ...] = ()  # of its paths, those that only old callers should use
    streams: bool = False  # the answer is sent piece by piece, few of them at once (routes/flask_streams.py)
    lines: bool = False  # the body is an array, or its items one per line
    refusal: type[BaseModel] = ProblemAnswer  # the model of 400
    messages: Mapping[str, type[BaseModel]] = field(default_factory=dict)  # what it makes the service send, by type


def describe(operation: Operation) -> Callable[[ViewT], ViewT]:
    """Attach `operation` to the decorated view, for the OpenAPI document.

    The first line of the view's docstring is the summary, the rest is the description.
    """

    def decorate(view: ViewT) -> ViewT:
        view.operation = operation  # type: ignore[attr-defined]
        return view

    return decorate


def needs(scope: Needs, *, max_body: int | None = None) -> Callable[[ViewT], ViewT]:
    """Say which scope the decorated view needs, which has no operation: the document does not describe it.

    If it reads a body, that has `max_body` bytes at most.
    """

    def decorate(view: ViewT) -> ViewT:
        view.needs, view.max_body = scope, max_body  # type: ignore[attr-defined]
        return view

    return decorate


def max_body_of(view: object) -> int | None:
    """How many bytes of a body `view` reads at most; None if it reads none."""
    operation: Operation | None = getattr(view, "operation", None)
    if operation is None:
        return getattr(view, "max_body", None)
    return operation.max_body if operation.body else None


def needs_of(view: object, query: str) -> Needs | None:
    """The scope that a request with this query string needs to be answered by `view`; None if nobody may make it."""
    operation: Operation | None = getattr(view, "operation", None)
    if operation is None:
        return getattr(view, "needs", None)
    if operation.dry_run_needs is not None and query and _is_dry_run(query):
        return operation.dry_run_needs
    return operation.needs


def _is_dry_run(query: str) -> bool:
    # Read as the view will read it: one that repeats the parameter is refused there.
    values = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "dry_run"]
    return values[:1] == ["true"]
