"""Lists as CSV (RFC 4180), written page by page: however many rows there are, one page of them is in memory."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from io import StringIO
from typing import Any, TypeVar

from flask import Response, request

from rules.values import written_moment

RowT = TypeVar("RowT")

CSV = "text/csv; charset=utf-8"
PAGE = 1_000  # rows that are read and written at a time
# Text that begins so is a formula to a spreadsheet, which may send what is in the file elsewhere.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_answer(
    file_name: str,
    columns: Mapping[str, Callable[[RowT], Any]],
    pages: Iterable[Sequence[RowT]],
    ended: Callable[[int, bool], None],
) -> Response:
    """A file of this name: a line with the names of the columns, and one for each row.

    `columns` has for each name what is in it, given a row: text, a number, a moment, a truth value, or None for
    nothing. The first page is read at once, so that what fails there is answered as usual. What fails later must break
    the answer off. At the end, `ended` is called with the number of rows and whether these were all.
    """
    if request.method == "HEAD":
        return _response(file_name, ())
    rest = iter(pages)
    lines = _CsvPieces(columns, next(rest, ()), rest)
    response = _response(file_name, lines)
    response.call_on_close(lambda: ended(lines.rows, lines.is_whole))
    return response


def _response(file_name: str, lines: Iterable[bytes]) -> Response:
    headers = {"Content-Type": CSV, "Content-Disposition": f'attachment; filename="{file_name}"'}
    return Response(lines, headers=headers)


class _CsvPieces:
    """The file in pieces; how many rows it has so far, and whether these are all."""

    def __init__(
        self, columns: Mapping[str, Callable[[RowT], Any]], first: Sequence[RowT], rest: Iterator[Sequence[RowT]]
    ) -> None:
        self.rows, self.is_whole = 0, False
        self._pieces = self._written(columns, first, rest)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def _written(
        self, columns: Mapping[str, Callable[[RowT], Any]], first: Sequence[RowT], rest: Iterator[Sequence[RowT]]
    ) -> Iterator[bytes]:
        page, heads = first, [list(columns)]
        while True:
            text = StringIO()
            csv.writer(text).writerows(heads)
            csv.writer(text).writerows([cell(of(row)) for of in columns.values()] for row in page)
            if text.tell():
                yield text.getvalue().encode()
            self.rows, heads = self.rows + len(page), []
            following = next(rest, None)
            if following is None:
                break
            page = following
        self.is_whole = True


def cell(value: object) -> object:
    """What is written for a value. A formula becomes text by an apostrophe before it."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    return written_moment(value) if isinstance(value, datetime) else value
