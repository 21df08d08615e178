"""Reading a replay's file: its lines, NDJSON or CSV, plain or gzip, become events."""

import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO, TypeVar, cast

from commands.endings import Stopped
from commands.replay_columns import Columns, Rejected, UnknownColumn, text_of
from rules.model import Event
from rules.payload import BadPayload, read_event, read_object

T = TypeVar("T")

LONGEST_LINE = 64 * 1024  # bytes: the most that POST /event accepts for one event

_GZIP = b"\x1f\x8b"
_OTHER_KINDS = {
    b"PK\x03\x04": "a zip archive (or a spreadsheet): unpack it, or save it as CSV",
    b"BZh": "packed by bzip2: unpack it, as with bzcat FILE | flask --app app replay -",
    b"\xfd7zXZ": "packed by xz: unpack it, as with xzcat FILE | flask --app app replay -",
    b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it, as with zstdcat FILE | flask --app app replay -",
    b"\xff\xfe": "text in UTF-16: save it as UTF-8, or convert it with iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "text in UTF-16: save it as UTF-8, or convert it with iconv -f UTF-16 -t UTF-8",
}

# A line's number, and the event in it, why there is none, or None if it is to be skipped.
Entry = tuple[int, Event | Rejected | None]


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """All of `items`, `size` at a time."""
    items = iter(items)
    while some := list(itertools.islice(items, size)):
        yield some


@contextmanager
def peekable(file: BinaryIO) -> Iterator[io.BufferedReader]:
    """`file` as a reader that can peek at the next bytes and knows how far it has read."""
    reader = io.BufferedReader(cast(Any, file))
    try:
        yield reader
    finally:
        reader.detach()  # the caller closes `file`


def entries(
    file: io.BufferedReader, *, name: str, form: str, source: str, columns: Columns, separator: str = ","
) -> Iterator[Entry]:
    """Each line of `file`, plain or gzipped: its number, and the event in it or why there is none.

    `form` is csv or ndjson; `columns` say how the file writes an event, and `separator` what is between the cells of
    CSV; `source` starts the ids given to events that have none. Raises Stopped, which mentions `name`, if the file
    cannot be read further or its CSV header does not name the fields.
    """
    begin = file.peek(8)
    for magic, what in _OTHER_KINDS.items():
        if begin.startswith(magic):
            raise Stopped(f"{name} is {what}.")
    if form == "ndjson" and begin.lstrip().startswith(b"["):
        raise Stopped(f"{name} is one JSON array: write one event per line, as with jq -c '.[]'.")
    packed = begin.startswith(_GZIP)
    lines = _lines(cast(IO[bytes], gzip.GzipFile(fileobj=file) if packed else file), name)
    if form == "csv":
        return _csv_entries(lines, name, source, columns, separator)
    read = read_event if columns.are_ours else _object_reader(columns)
    return ((number, _event(line, read, f"{source}:{number}")) for number, line in lines)


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


def _object_reader(columns: Columns) -> Callable[[bytes], Event | None]:
    """Reads one JSON object by the names and forms that `columns` say."""
    names = {name: columns.names.get(name, name) for name in columns.read}

    def read(line: bytes) -> Event | None:
        found = read_object(line)
        if "time" in names and "time" not in columns.names and "time" not in found and "t" in found:
            found["time"] = found["t"]
        texts = {name: text_of(found[key]) for name, key in names.items() if found.get(key) not in (None, "")}
        return columns.event(texts)

    return read


def _csv_entries(
    lines: Iterator[tuple[int, bytes | None]], name: str, source: str, columns: Columns, separator: str
) -> Iterator[Entry]:
    """The events below the header. Raises Stopped if there is none, or it does not name the fields."""
    number, line = next(lines, (0, None))
    if number == 0:
        raise Stopped(f"{name} is empty: CSV begins with a header that names its columns.")
    header = [cell.strip() for cell in _header_cells(number, line, separator)]
    try:
        places = columns.places(header)
    except UnknownColumn as error:
        raise Stopped(f"The CSV header in line {number}: {error}. {_named(header, separator)}") from None

    def read(raw: bytes) -> Event | None:
        cells, not_text = _cells(raw, separator)
        if any(cells[len(header) :]):
            raise Rejected([f"The line has {len(cells)} cells, more than the {len(header)} of the header."])
        texts = {name: cells[place] for name, place in places.items() if place < len(cells) and cells[place]}
        if not_text is not None and any("\udc80" <= sign <= "\udcff" for text in texts.values() for sign in text):
            raise Rejected([f"The line is not UTF-8: byte {not_text}."])
        return columns.event(texts)

    for number, line in lines:
        yield number, _event(line, read, f"{source}:{number}")


def _header_cells(number: int, line: bytes | None, separator: str) -> list[str]:
    if line is None:
        raise Stopped(f"The CSV header in line {number} is longer than {LONGEST_LINE} bytes.")
    if b"\0" in line:
        raise Stopped("The file is not text in UTF-8; perhaps it is UTF-16, which iconv -f UTF-16 -t UTF-8 converts.")
    try:
        return _cells(line, separator)[0]
    except Rejected as rejected:
        raise Stopped(f"The CSV header in line {number}: {rejected}") from None


def _named(header: list[str], separator: str) -> str:
    """What the header has, and what to do if that is not what is wanted."""
    if len(header) == 1:
        for other, option in ((",", ","), (";", "';'"), ("\t", "tab"), ("|", "'|'")):
            if other in header[0] and other != separator:
                return f"The cells may be separated by {option}: see the option --separator."
    some = ", ".join(header[:30]).encode(errors="backslashreplace").decode() + (", ..." if len(header) > 30 else "")
    return f"It has: {some}. The option --map says which column holds what."


def _cells(raw: bytes, separator: str) -> tuple[list[str], int | None]:
    """The cells of a line, and the first byte that is not UTF-8, if there is one."""
    # One line at a time: a quote that is never closed must not swallow the events after it.
    not_text = None
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        text, not_text = raw.decode(errors="surrogateescape"), error.start
    try:
        return next(csv.reader([text], strict=True, delimiter=separator)), not_text
    except csv.Error as error:
        raise Rejected([f"The line is not CSV: {error}."]) from None


def _event(line: bytes | None, read: Callable[[bytes], Event | None], place: str) -> Event | Rejected | None:
    """The event in `line`, validated as if it were posted."""
    if line is None:
        return Rejected([f"The line is longer than {LONGEST_LINE} bytes."])
    try:
        event = read(line)
    except Rejected as rejected:
        return Rejected(rejected.reasons)  # a new one, without the traceback that keeps frames alive
    except BadPayload as bad:
        return Rejected([f"{pointer}: {detail}" for pointer, detail in bad.errors] or [bad.detail])
    if event is not None and event.event_id is None:
        # The same on every run, and different for every line; see docs/decisions/replay.md.
        event = event._replace(event_id=f"{place}:{event.type}:{event.amount}:{event.time}")
    return event
