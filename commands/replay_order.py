"""Bringing a replay's lines in order of time, within a bound of memory: what does not fit waits in a temporary file.

Which alerts stand does not depend on the order of arrival, but the work does: an event that comes after later ones of
its user has them judged again.
"""

import marshal
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import merge
from itertools import islice
from typing import IO, Any

from commands.replay_columns import Rejected
from commands.replay_file import Entry, batches
from rules.model import Event

IN_MEMORY = 100_000  # lines that are sorted in memory: some 60 MB
AT_ONCE = 64  # sorted runs that are merged at a time
USERS = 1_000_000  # users whose last time is remembered: some 150 MB
_CHUNK = 500  # lines that are written, and read back, together

# A line as it is written: its place in the order, its number, and the event's fields or the reasons for having none.
_Packed = tuple[tuple[int, int], int, Any]


@dataclass
class Direction:
    """How the times of a file's lines run, each user's by themselves; `add` is called with each event in turn."""

    rises: int = 0
    falls: int = 0
    is_in_order: bool = True  # no user's event is older than one above it; may be False for more than USERS users
    _last: dict[int, int] | None = field(default_factory=dict)
    _before: int = 0
    _newest: int = 0

    def add(self, event: Event) -> None:
        """Compare its time with that of its user's event before it."""
        if self._last is None:  # too many users: they are all compared with one another
            last, newest = self._before, self._newest
        else:
            last = newest = self._last.get(event.user_id, event.time)
            self._last[event.user_id] = event.time
            if len(self._last) > USERS:
                self._last = None
        self.rises += event.time > last
        self.falls += event.time < last
        self.is_in_order = self.is_in_order and event.time >= newest
        self._before, self._newest = event.time, max(event.time, self._newest)

    @property
    def is_newest_first(self) -> bool:
        """Whether the file mostly runs backwards: then, of equal times, the lower line is the older one."""
        return self.falls > self.rises

    def __str__(self) -> str:
        if not self.rises:
            return "The file is newest first: it is stored from its last line to its first."
        equal = "the lower line" if self.is_newest_first else "the upper line"
        return f"The file is not in order of time: it is stored sorted by time, and of equal times {equal} first."


class Arranged:
    """The lines of a file, oldest first; those that hold no event come before all others.

    A file that is in order already keeps it. `lines` can be read once, until `files` is closed.
    """

    def __init__(self, entries: Iterable[Entry], files: ExitStack) -> None:
        self._files = files
        self.direction = Direction()
        self.count = 0
        entries = self._looked_at(entries)
        kept = list(islice(entries, IN_MEMORY))
        self.lines: Iterator[Entry]
        if len(kept) < IN_MEMORY:
            if not self.direction.is_in_order:
                kept.sort(key=self._place)
            self.lines = iter(kept)
        else:
            self.lines = self._by_file(kept, entries)

    def _looked_at(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            self.count += 1
            if isinstance(entry[1], Event):
                self.direction.add(entry[1])
            yield entry

    def _place(self, entry: Entry) -> tuple[int, int]:
        number, event = entry
        if not isinstance(event, Event):
            return -1, number
        return event.time, -number if self.direction.is_newest_first else number

    def _by_file(self, first: list[Entry], rest: Iterable[Entry]) -> Iterator[Entry]:
        """The same for more lines than fit in memory; `first` is emptied."""
        unsorted = self._temporary()
        _write(unsorted, map(self._packed, first))
        first.clear()
        _write(unsorted, map(self._packed, rest))
        if self.direction.is_in_order:
            return map(_unpacked, _read(unsorted, 0, unsorted.tell()))
        # Only now is it known which of equal times comes first.
        file = self._temporary()
        runs = []
        lines = map(_unpacked, _read(unsorted, 0, unsorted.tell()))
        for run in batches(lines, IN_MEMORY):
            runs.append(_write(file, sorted(map(self._packed, run))))
        unsorted.close()
        while len(runs) > AT_ONCE:
            fewer = self._temporary()
            runs = [_write(fewer, merge(*(_read(file, *run) for run in some))) for some in batches(runs, AT_ONCE)]
            file.close()
            file = fewer
        return map(_unpacked, merge(*(_read(file, *run) for run in runs)))

    def _temporary(self) -> IO[bytes]:
        return self._files.enter_context(tempfile.TemporaryFile())

    def _packed(self, entry: Entry) -> _Packed:
        number, event = entry
        if isinstance(event, Event):
            fields: Any = (event.user_id, event.type, str(event.amount), event.time, event.event_id)
        else:
            fields = event and event.reasons
        return self._place(entry), number, fields


@contextmanager
def arrange(entries: Iterable[Entry]) -> Iterator[Arranged]:
    """The same lines, oldest first, for as long as the `with` block lasts.

    Raises OSError if a temporary file cannot be written.
    """
    with ExitStack() as files:
        yield Arranged(entries, files)


def _unpacked(packed: _Packed) -> Entry:
    _, number, fields = packed
    if not isinstance(fields, tuple):
        return number, Rejected(fields) if fields else None
    user_id, kind, amount, time, event_id = fields
    return number, Event(user_id=user_id, type=kind, amount=Decimal(amount), time=time, event_id=event_id)


def _write(file: IO[bytes], lines: Iterable[_Packed]) -> tuple[int, int]:
    """Write the lines at the end of `file`; returns where they begin and end."""
    begin = file.seek(0, 2)
    for chunk in batches(lines, _CHUNK):
        written = marshal.dumps(chunk)
        file.write(len(written).to_bytes(4) + written)
    file.flush()
    return begin, file.tell()


def _read(file: IO[bytes], begin: int, end: int) -> Iterator[_Packed]:
    """The lines written between these two places; several may be read from one file in turns."""
    while begin < end:
        file.seek(begin)
        size = int.from_bytes(file.read(4))
        # Written by this process, to a file that has no name.
        chunk = marshal.loads(file.read(size))  # noqa: S302
        begin += 4 + size
        yield from chunk
