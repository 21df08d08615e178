"""Reading a replay's file: its lines, NDJSON or CSV, plain or gzip, become events."""

import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, BinaryIO, cast

from commands.endings import Stopped
from rules.model import Event
from rules.payload import BadPayload, event_of, read_event
from rules.values import read_whole_number

LONGEST_LINE = 64 * 1024  # bytes: the most that POST /event accepts for one event

_COLUMNS = {"type", "amount", "user_id"}  # and time or t
_GZIP = b"\x1f\x8b"


class Rejected(Exception):
    """A line is not an event that can be stored; `reasons` says why, in sentences."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(*reasons)
        self.reasons = reasons


Entry = tuple[int, Event | Rejected]


@contextmanager
def peekable(file: BinaryIO) -> Iterator[io.BufferedReader]:
    """`file` as a reader that can peek at the next bytes and knows how far it has read."""
    reader = io.BufferedReader(cast(Any, file))
    try:
        yield reader
    finally:
        reader.detach()  # the caller closes `file`


def entries(file: io.BufferedReader, *, name: str, form: str, source: str) -> Iterator[Entry]:
    """Each line of `file`, plain or gzipped: its number, and the event in it or why there is none.

    `form` is csv or ndjson; `source` starts the ids given to events that have none. Raises Stopped, which mentions
    `name`, if the file cannot be read further or its CSV header does not name the fields.
    """
    packed = file.peek(len(_GZIP)).startswith(_GZIP)
    lines = _lines(cast(IO[bytes], gzip.GzipFile(fileobj=file) if packed else file), name)
    return _csv_entries(lines, source) if form == "csv" else _ndjson_entries(lines, source)


def _lines(file: IO[bytes], name: str) -> Iterator[tuple[int, bytes | None]]:
    """Each line that is not blank, with its number from 1; None instead of a line that is too long for an event.

    Raises Stopped if the file cannot be read further.
    """
    for number in itertools.count(1):
        try:
            line = rest = file.readline(LONGEST_LINE)
            while rest and not rest.endswith(b"\n"):
                rest = file.readline(LONGEST_LINE)
                line = line[:LONGEST_LINE] + rest[:1]  # enough to know that it is too long
        except (OSError, EOFError, zlib.error) as error:
            raise Stopped(f"{name} cannot be read after line {number - 1}: {error}") from None
        if not line:
            return
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # the byte order mark that some programs put before UTF-8
        if len(line) > LONGEST_LINE:
            yield number, None
        elif line.strip():
            yield number, line


def _ndjson_entries(lines: Iterator[tuple[int, bytes | None]], source: str) -> Iterator[Entry]:
    for number, line in lines:
        yield number, _event(line, read_event, f"{source}:{number}")


def _csv_entries(lines: Iterator[tuple[int, bytes | None]], source: str) -> Iterator[Entry]:
    """The events below the header. Raises Stopped if the header does not name the fields."""
    number, header = next(lines, (1, b""))
    try:
        columns = [column.strip() for column in _cells(header or b"")]
    except Rejected as rejected:
        raise Stopped(f"The CSV header in line {number}: {rejected}") from None
    if not set(columns) >= _COLUMNS or not {"time", "t"} & set(columns) or len(set(columns)) < len(columns):
        raise Stopped(
            f"The CSV header in line {number} must name type, amount, user_id, time (or t) and, if there are ids, "
            "event_id, each once and separated by commas."
        )
    for number, line in lines:
        yield number, _event(line, lambda raw: event_of(_row(columns, raw)), f"{source}:{number}")


def _row(columns: Sequence[str], raw: bytes) -> dict[str, Any]:
    """The fields of one record; an empty cell is a missing field."""
    cells = _cells(raw)
    if len(cells) > len(columns):
        raise Rejected([f"The line has {len(cells)} cells, more than the {len(columns)} of the header."])
    return {
        column: _whole_number(cell) if column in ("user_id", "time", "t") else cell
        for column, cell in zip(columns, cells, strict=False)
        if cell
    }


def _whole_number(cell: str) -> int | str:
    try:
        return read_whole_number(cell)
    except ValueError:
        return cell  # validation reports it together with the other bad fields


def _cells(raw: bytes) -> list[str]:
    # One line at a time: a quote that is never closed must not swallow the events after it.
    try:
        return next(csv.reader([raw.decode()], strict=True))
    except UnicodeDecodeError as error:
        raise Rejected([f"The line is not UTF-8: byte {error.start}."]) from None
    except csv.Error as error:
        raise Rejected([f"The line is not CSV: {error}."]) from None


def _event(line: bytes | None, read: Callable[[bytes], Event], place: str) -> Event | Rejected:
    """The event in `line`, validated as if it were posted."""
    if line is None:
        return Rejected([f"The line is longer than {LONGEST_LINE} bytes."])
    try:
        event = read(line)
    except Rejected as rejected:
        return Rejected(rejected.reasons)  # a new one, without the traceback that keeps frames alive
    except BadPayload as bad:
        return Rejected([f"{pointer}: {detail}" for pointer, detail in bad.errors] or [bad.detail])
    if event.event_id is None:
        # The same on every run, and different for every line; see docs/decisions/replay.md.
        event = event._replace(event_id=f"{place}:{event.type}:{event.amount}:{event.time}")
    return event
