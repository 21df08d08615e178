"""Lists page by page: the conditions that rows of a page meet."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, tuple_
from sqlalchemy.orm import InstrumentedAttribute

Column = InstrumentedAttribute[Any]
AnyColumn = ColumnElement[Any] | Column  # also one of a subquery


def stretch(
    place: Sequence[AnyColumn], start: int | None, end: int | None, before: tuple[int, ...] | None
) -> Iterator[ColumnElement[bool]]:
    """The conditions for a time (the first of `place`) in [start, end] and a place before `before`."""
    return within_bounds(place, *one_bound(start, end, before))


def within_bounds(
    place: Sequence[AnyColumn],
    start: Any,
    end: Any,
    after: Sequence[Any] | None,
    within: Sequence[tuple[Column, Any]] = (),
    *,
    oldest_first: bool = False,
) -> Iterator[ColumnElement[bool]]:
    """The same for what `one_bound` returns, or parameters for that; with `oldest_first` for a place behind `after`.

    `within` has the columns that come before the time in the index that is to be read, and the value of each. They are
    compared together with the time, as places in that index: compared by themselves, they would leave PostgreSQL free
    to read another index, of all rows, and to skip those with other values.
    """
    first, values = [column for column, _ in within], [value for _, value in within]
    time = place[0]
    above, below = (after, None) if oldest_first else (None, after)
    if above is not None:
        yield tuple_(*first, *place) > tuple_(*values, *above)
    elif start is not None:
        yield tuple_(*first, time) >= tuple_(*values, start) if within else time >= start
    elif within:
        yield tuple_(*first) >= tuple_(*values)
    if below is not None:
        yield tuple_(*first, *place) < tuple_(*values, *below)
    elif end is not None:
        yield tuple_(*first, time) <= tuple_(*values, end) if within else time <= end
    elif within:
        yield tuple_(*first) <= tuple_(*values)


def one_bound(
    start: int | None, end: int | None, after: tuple[int, ...] | None, *, oldest_first: bool = False
) -> tuple[int | None, int | None, tuple[int, ...] | None]:
    """`start`, `end` and `after` without what follows from another of them.

    Given two bounds on one side, PostgreSQL may begin at the wider one and walk to the other.
    """
    if after is None:
        return start, end, None
    if oldest_first:
        return (start, end, None) if start is not None and after[0] < start else (None, end, after)
    return (start, end, None) if end is not None and after[0] > end else (start, None, after)
