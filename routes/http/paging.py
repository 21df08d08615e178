"""Lists page by page: the query of a list, where the next page starts, and its cursor."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from flask import request
from pydantic import BaseModel

from routes.http.problems import Problem
from routes.schemas.fields import Page, Period
from rules.payload import MORE_THAN_ONCE, BadPayload, FieldProblem, pointer, validate
from rules.spelling import unknown
from rules.values import MAX_ID

QueryT = TypeVar("QueryT", bound=BaseModel)
RowT = TypeVar("RowT")


BAD_QUERY = Problem(400, "The query has bad parameters.", errors=[FieldProblem("/limit", "must be a whole number")])

NO_QUERY = Problem(400, BAD_QUERY.detail, errors=[FieldProblem("/limit", unknown("limit", ()))])


def read_query(model: type[QueryT]) -> QueryT:
    """The current request's query as an instance of `model`.

    Raises Problem 400, which names every bad, unknown or repeated parameter.
    """
    twice = [FieldProblem(pointer((name,)), MORE_THAN_ONCE) for name, values in request.args.lists() if len(values) > 1]
    try:
        return validate(model, request.args.to_dict(), twice)
    except BadPayload as bad:
        raise Problem(400, BAD_QUERY.detail, errors=bad.errors) from None


def place(query: Page) -> tuple[int, ...] | None:
    """The last place on the previous page, read from the cursor; None on the first page.

    Raises Problem 400 if that page cannot have been one of the same list: its time is out of bounds.
    """
    if not query.cursor:
        return None
    found = tuple(min(int(part), MAX_ID) for part in query.cursor.split("-"))
    if isinstance(query, Period) and not query.start <= found[0] <= query.end:
        raise Problem(400, BAD_QUERY.detail, errors=[FieldProblem("/cursor", "is of a list with another from or to")])
    return found


def cut(
    found: Sequence[RowT],
    query: Page,
    place_of: Callable[[RowT], tuple[int, ...]],
    broke_off_at: tuple[int, ...] | None = None,
) -> tuple[Sequence[RowT], str | None]:
    """The page, and the cursor of the next one (None on the last page).

    `found` must have one row more than the page if there is a next page; `place_of` returns the place of a row. If the
    search for rows broke off, the next page goes on at that place.
    """
    page = found[: query.limit]
    end = place_of(page[-1]) if len(found) > len(page) else broke_off_at
    return page, "-".join(map(str, end)) if end else None
