"""Exports are in the log: what is handed out, to whom, and how much of it."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from flask import request
from sqlalchemy.exc import SQLAlchemyError

from database.log_entries import add_log_entry
from routes.http.access import caller
from routes.http.hooks import service

log = structlog.get_logger()


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
