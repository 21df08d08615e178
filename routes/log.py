"""The log: every change by anybody, of alerts, rules, settings, keys, mutes, views, backtests, exports and sign-ins."""

from collections.abc import Iterator, Sequence
from functools import partial

from flask import Blueprint, Response

from database.change_log import LogLine, LogPlace, page_of_log, to_microseconds
from routes.http.answers import json_answer
from routes.http.csv_answer import CSV, PAGE
from routes.http.exports import export
from routes.http.hooks import service
from routes.http.operation import Operation, Text, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, Problem
from routes.schemas.log import COLUMNS, CSV_EXAMPLE, LogAnswer, LogFilters, LogLineAnswer, LogQuery
from rules.payload import FieldProblem

blueprint = Blueprint("log", __name__)


@blueprint.get("/log")
@describe(Operation(needs="read", query=LogQuery, answers={200: LogAnswer}, problems=(BAD_QUERY, DATABASE_AWAY)))
def list_log() -> Response:
    """List every change by anybody, newest first.

    A change must match all filters given; `from` and `to` bound its moment (RFC 3339, both included). `next` is the
    cursor of the next page, to be sent with the same filters. Changes that are made in the meantime neither shift a
    page nor appear on two.
    """
    query = read_query(LogQuery)
    before = place(query)
    _must_be_within(query, before)
    found = service().read(lambda session: page_of_log(session, query.filter(), query.to_read, before))
    page, following = cut(found, query, lambda line: line.in_log)
    return json_answer(LogAnswer(log=[LogLineAnswer.of(line) for line in page], next=following))


@blueprint.get("/log.csv")
@describe(
    Operation(
        needs="read",
        query=LogFilters,
        answers={200: Text(CSV, "All changes that match, one a line.", CSV_EXAMPLE)},
        problems=(BAD_QUERY, DATABASE_AWAY),
        streams=True,
    )
)
def export_log() -> Response:
    """Export the log as CSV: every change that matches.

    The filters and the order are those of the list; what is made in the meantime is left out. Except of alerts, `from`
    and `to` are JSON. Text that a spreadsheet would take for a formula has an apostrophe before it. At most two exports
    at a time; each is an entry in the log.
    """
    query = read_query(LogFilters)
    ours, wanted = service(), query.filter()

    def pages() -> Iterator[Sequence[LogLine]]:
        before: LogPlace | None = None
        while True:
            page = ours.read(partial(page_of_log, wanted=wanted, limit=PAGE, before=before))
            yield page
            if len(page) < PAGE:
                return
            before = page[-1].in_log

    return export("log", query, COLUMNS, pages())


def _must_be_within(query: LogQuery, before: LogPlace | None) -> None:
    """Raise Problem 400 if the page that a cursor comes from cannot have been one of the same list."""
    if before is None:
        return
    start = None if query.start is None else to_microseconds(query.start)
    end = None if query.end is None else to_microseconds(query.end)
    if (start is not None and before[0] < start) or (end is not None and before[0] > end):
        raise Problem(400, BAD_QUERY.detail, errors=[FieldProblem("/cursor", "is of a list with another from or to")])
