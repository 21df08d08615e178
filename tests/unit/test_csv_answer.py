"""CSV: how cells are written, and that pages are read as the caller takes them."""

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from flask import Flask, Response

from routes.http.csv_answer import cell, csv_answer

CELLS: dict[str, tuple[object, object]] = {
    "nothing": (None, None),
    "text": ("plain, with = inside", "plain, with = inside"),
    "empty text": ("", ""),
    "a formula": ("=1+1", "'=1+1"),
    "a plus": ("+1", "'+1"),
    "a minus": ("-1", "'-1"),
    "an at sign": ("@SUM(A1)", "'@SUM(A1)"),
    "a tab": ("\t=1", "'\t=1"),
    "a carriage return": ("\r=1", "'\r=1"),
    "a negative number is no text": (-1, -1),
    "nor is money": (Decimal("-1.50"), Decimal("-1.50")),
    "true": (True, "true"),
    "false": (False, "false"),
    "a moment": (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00.000000Z"),
}


@pytest.mark.parametrize(("value", "written"), CELLS.values(), ids=CELLS)
def test_cells(value: object, written: object) -> None:
    """Text that a spreadsheet would take for a formula gets an apostrophe; all else is as it is."""
    assert cell(value) == written


COLUMNS: dict[str, Any] = {"number": lambda row: row, "text": lambda row: f'"{row}",\n'}


class Export:
    """An answer of these pages; what was read of them, and what it said at its end."""

    def __init__(self, pages: Sequence[Sequence[int]], method: str = "GET", fails: bool = False) -> None:
        self._pages, self._fails = pages, fails
        self.read: list[Sequence[int]] = []
        self.ended: list[tuple[int, bool]] = []
        with Flask("test").test_request_context(method=method):
            self.answer: Response = csv_answer("a.csv", COLUMNS, self._each(), lambda *end: self.ended.append(end))
        self.lines = iter(self.answer.response)

    def _each(self) -> Iterator[Sequence[int]]:
        for page in self._pages:
            self.read.append(page)
            yield page
        if self._fails:
            raise RuntimeError


def test_a_file() -> None:
    """A line of names, then one for each row; lines end as RFC 4180 says."""
    export = Export([[1, 2], [3]])
    text = export.answer.get_data(as_text=True)
    assert text.startswith("number,text\r\n1,")
    assert list(csv.reader(StringIO(text, newline=""))) == [
        ["number", "text"],
        *([str(n), f'"{n}",\n'] for n in (1, 2, 3)),
    ]
    export.answer.close()
    assert export.ended == [(3, True)]
    assert export.answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert export.answer.headers["Content-Disposition"] == 'attachment; filename="a.csv"'


@pytest.mark.parametrize("pages", [[], [[]]], ids=["no page", "an empty page"])
def test_no_rows(pages: list[list[int]]) -> None:
    """The names are there all the same."""
    export = Export(pages)
    assert export.answer.get_data() == b"number,text\r\n"
    export.answer.close()
    assert export.ended == [(0, True)]


def test_pages_are_read_as_they_are_taken() -> None:
    """The first at once, so that a failure is answered as usual, and each other one after the last was taken."""
    export = Export([[1], [2], [3]])
    assert export.read == [[1]]
    next(export.lines)
    assert export.read == [[1]]
    next(export.lines)
    assert export.read == [[1], [2]]
    export.answer.close()
    assert export.ended == [(1, False)]  # the caller has gone, perhaps without the second


def test_a_failure_is_no_end() -> None:
    """It is raised where the next piece would be, and the file does not count as whole."""
    export = Export([[1]], fails=True)
    next(export.lines)
    with pytest.raises(RuntimeError):
        next(export.lines)
    export.answer.close()
    assert export.ended == [(1, False)]


def test_head_exports_nothing() -> None:
    """It reads no page, and says nothing of an end."""
    export = Export([[1]], method="HEAD")
    export.answer.close()
    assert (export.read, export.ended) == ([], [])
    assert export.answer.headers["Content-Type"] == "text/csv; charset=utf-8"
