"""Lists page by page: the conditions that rows of a page meet."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, tuple_
from sqlalchemy.orm import InstrumentedAttribute


def stretch(
    place: tuple[InstrumentedAttribute[int], ...], start: int | None, end: int | None, before: tuple[int, ...] | None
) -> Iterator[ColumnElement[bool]]:
    """The conditions for a time (the first of `place`) in [start, end] and a place before `before`."""
    time = place[0]
    if start is not None:
        yield time >= start
    # One upper bound, the tighter: given both, PostgreSQL may begin at the wider one and walk down to the other.
    if before is not None and (end is None or before[0] <= end):
        yield tuple_(*place) < tuple_(*before)
    elif end is not None:
        yield time <= end
