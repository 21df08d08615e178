"""Reading the log of all changes: work on alerts (their histories) and all else (the log's own entries), as one list.

It is in order of time; at equal times changes of alerts are newer than others, and each kind has its own order. Either
table is read in the order of an index, no further than a page reaches.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, Select, Text, cast, literal, null, select, tuple_, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from database.models import AlertChange, LogEntry

ALERT = "alert"  # the kind of changes of alerts

# The time in microseconds since 1970, which of the two tables, and the place there at that time.
LogPlace = tuple[int, ...]
_OTHERS, _ALERTS = 0, 1

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND

Column = InstrumentedAttribute[Any]
_ALERT_PLACE: tuple[Column, ...] = (AlertChange.user_id, AlertChange.seq, AlertChange.code, AlertChange.n)
_ENTRY_PLACE: tuple[Column, ...] = (LogEntry.entry_id,)


def who_started(session: Session, backtest_id: int, created_at: datetime) -> str | None:
    """Who started the backtest that was stored at `created_at`; None if the log does not say."""
    # It is noted in the same transaction, so it is among the first of that time.
    noted = (
        select(LogEntry.who)
        .where(
            LogEntry.kind == "backtest",
            LogEntry.at >= created_at,
            LogEntry.subject == str(backtest_id),
            LogEntry.what == "started",
        )
        .order_by(LogEntry.at, LogEntry.entry_id)
        .limit(1)
    )
    return session.execute(noted).scalar()


class LogFilter(NamedTuple):
    """Ask for the changes that match every field that is not None; `start` and `end` are both included."""

    who: str | None = None
    kind: str | None = None
    start: datetime | None = None
    end: datetime | None = None


class LogLine(NamedTuple):
    """A change: who did what to which subject, from what to what. Of an alert the subject is its place.

    `before` and `after` are text; except of alerts they are JSON.
    """

    at: datetime
    table: int
    place: tuple[int, ...]
    who: str
    kind: str
    what: str
    subject: str | None
    before: str | None
    after: str | None
    note: str | None

    @property
    def in_log(self) -> LogPlace:
        """Its place among all lines."""
        return (to_microseconds(self.at), self.table, *self.place)


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970: that exactly is how PostgreSQL keeps a moment."""
    return (moment - _EPOCH) // _MICROSECOND


def page_of_log(session: Session, wanted: LogFilter, limit: int, before: LogPlace | None) -> list[LogLine]:
    """Up to `limit` lines of the log, newest first, those before the place `before` unless that is None."""
    pages = []
    if wanted.kind in (None, ALERT):
        pages.append(_alerts(wanted, limit, before))
    if wanted.kind != ALERT:
        pages.append(_others(wanted, limit, before))
    # One statement, so that both are read in one state of the database.
    rows = session.execute(union_all(*pages))
    found = [
        LogLine(at, table, tuple(one for one in (a, b, c, d) if one is not None), *rest)
        for at, table, a, b, c, d, *rest in rows
    ]
    return sorted(found, key=lambda line: line.in_log, reverse=True)[:limit]


def _alerts(wanted: LogFilter, limit: int, before: LogPlace | None) -> Select[*tuple[Any, ...]]:
    fixed = [(AlertChange.who, wanted.who)]
    page = select(
        AlertChange.at,
        literal(_ALERTS, Integer),
        *_ALERT_PLACE,
        AlertChange.who,
        literal(ALERT, Text).label("kind"),
        AlertChange.what,
        cast(null(), Text).label("subject"),
        AlertChange.before,
        AlertChange.after,
        AlertChange.note,
    )
    return _page(page, (AlertChange.at, *_ALERT_PLACE), _ALERTS, fixed, wanted, limit, before)


def _others(wanted: LogFilter, limit: int, before: LogPlace | None) -> Select[*tuple[Any, ...]]:
    fixed = [(LogEntry.who, wanted.who), (LogEntry.kind, wanted.kind)]
    nothing = [cast(null(), column.type).label(column.key) for column in _ALERT_PLACE[1:]]
    page = select(
        LogEntry.at,
        literal(_OTHERS, Integer),
        *_ENTRY_PLACE,
        *nothing,
        LogEntry.who,
        LogEntry.kind,
        LogEntry.what,
        LogEntry.subject,
        cast(LogEntry.before, Text),
        cast(LogEntry.after, Text),
        LogEntry.note,
    )
    return _page(page, (LogEntry.at, *_ENTRY_PLACE), _OTHERS, fixed, wanted, limit, before)


def _page(
    page: Select[*tuple[Any, ...]],
    place: Sequence[Column],
    table: int,
    fixed: Sequence[tuple[Column, str | None]],
    wanted: LogFilter,
    limit: int,
    before: LogPlace | None,
) -> Select[*tuple[Any, ...]]:
    """A page of one table; `fixed` are the columns that come first in the index that is read, if they are asked for."""
    within = [(column, value) for column, value in fixed if value is not None]
    bounded = page.where(*_bounds(place, table, within, wanted, before))
    order = [column.desc() for column in (*(column for column, _ in within), *place)]
    return select(bounded.order_by(*order).limit(limit).subquery())


def _bounds(
    place: Sequence[Column],
    table: int,
    within: Sequence[tuple[Column, str | None]],
    wanted: LogFilter,
    before: LogPlace | None,
) -> Iterator[ColumnElement[bool]]:
    # Compared together, as places in one index: by themselves they would leave PostgreSQL free to read another one, of
    # all rows, and to skip those with other values.
    first, values = [column for column, _ in within], [value for _, value in within]
    at = tuple_(*first, place[0])
    if wanted.start is not None:
        yield at >= tuple_(*values, wanted.start)
    elif within:
        yield tuple_(*first) >= tuple_(*values)
    if before is not None:
        micros, of, *rest = before
        moment = _EPOCH + min(micros, _LAST) * _MICROSECOND
        if of == table:
            yield tuple_(*first, *place) < tuple_(*values, moment, *rest)
        elif of > table:
            yield at <= tuple_(*values, moment)
        else:
            yield at < tuple_(*values, moment)
    elif wanted.end is not None:
        yield at <= tuple_(*values, wanted.end)
    elif within:
        yield tuple_(*first) <= tuple_(*values)
