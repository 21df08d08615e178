"""Lists page by page: the conditions that rows of a page meet."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, tuple_
from sqlalchemy.orm import InstrumentedAttribute

Column = InstrumentedAttribute[Any]


def stretch(
    place: Sequence[Column],
    start: int | None,
    end: int | None,
    before: tuple[int, ...] | None,
    within: Sequence[tuple[Column, Any]] = (),
) -> Iterator[ColumnElement[bool]]:
    """The conditions for a time (the first of `place`) in [start, end] and a place before `before`.

    `within` has the columns that come before the time in the index that is to be read, and the value of each. They are
    compared together with the time, as places in that index: compared by themselves, they would leave PostgreSQL free
    to read another index, of all rows, and to skip those with other values.
    """
    first, values = [column for column, _ in within], [value for _, value in within]
    time = place[0]
    if start is not None:
        yield tuple_(*first, time) >= tuple_(*values, start) if within else time >= start
    elif within:
        yield tuple_(*first) >= tuple_(*values)
    # One upper bound, the tighter: given both, PostgreSQL may begin at the wider one and walk down to the other.
    if before is not None and (end is None or before[0] <= end):
        yield tuple_(*first, *place) < tuple_(*values, *before)
    elif end is not None:
        yield tuple_(*first, time) <= tuple_(*values, end) if within else time <= end
    elif within:
        yield tuple_(*first) <= tuple_(*values)
