"""Exports are in the log: what is handed out, to whom, and how much of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog
from flask import Response, request
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from database.log_entries import add_log_entry
from routes.http.access import caller
from routes.http.csv_answer import csv_answer
from routes.http.hooks import service

RowT = TypeVar("RowT")

log = structlog.get_logger()


def export(
    subject: str, query: BaseModel, columns: Mapping[str, Callable[[RowT], Any]], pages: Iterable[Sequence[RowT]]
) -> Response:
    """The rows of `pages`, which are what `query` asks for of `subject`, as a CSV file; and two entries in the log.

    `columns` are those of `csv_answer`.
    """
    ended = noted_export(subject, query.model_dump(mode="json", by_alias=True, exclude_unset=True))
    return csv_answer(f"{subject}-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.csv", columns, pages, ended)


def noted_export(subject: str, filters: Mapping[str, Any]) -> Callable[[int, bool], None]:
    """Note that the caller begins to export `subject` with these filters, and return what notes the end.

    That takes the number of rows and whether these were all. What HEAD asks for is no export.
    """
    who, ours = caller().name, service()

    def note(what: str, after: Mapping[str, Any]) -> None:
        ours.run(
            lambda session: add_log_entry(
                session, who=who, kind="export", subject=subject, what=what, after=dict(after)
            )
        )

    def ended(rows: int, is_whole: bool) -> None:
        try:
            note("ended" if is_whole else "broke off", {"filters": dict(filters), "rows": rows})
        except SQLAlchemyError:  # it is away; the entry of the beginning stays
            log.warning("export_end_not_noted", subject=subject, rows=rows)

    if request.method != "HEAD":
        note("began", {"filters": dict(filters)})
    return ended
