"""What is counted of a stretch of time, and adding it to the figures of its day and its minutes."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import InstrumentedAttribute, aliased

from database.figures import (
    ALERTS,
    BUCKETS_PER_DOUBLING,
    CLOSING,
    EVERYBODY,
    FIRST_TOUCH,
    MINUTES,
    SHADOW_ALERTS,
    SUPERSEDED,
    TO_CLOSE,
)
from database.figures_progress import CLOCK, DAY, day_of
from database.figures_users import add_users, within
from database.models import Alert, AlertChange, DailyFigure, MinuteFigure, UserAction

_MOMENT = DateTime(timezone=True)
_UNIT = bindparam("unit", type_=Text)
_Moment = ColumnElement[Any] | InstrumentedAttribute[datetime]
_Figures = dict[tuple[date, str, int, int], int]  # by day, what it is, code and bucket


def _day(moment: _Moment) -> ColumnElement[date]:
    return cast(func.timezone("UTC", moment), Date)


def _bucket(begun: _Moment, ended: _Moment) -> ColumnElement[int]:
    """Into which bucket a time falls; below a second, and if a clock was set back, into the first."""
    seconds = func.greatest(func.extract("epoch", ended - begun), 0)
    doublings = func.log(2, 1 + seconds)
    return cast(func.floor(doublings * BUCKETS_PER_DOUBLING), Integer)


def _minute(moment: _Moment) -> ColumnElement[datetime]:
    return func.date_trunc(_UNIT, moment, type_=_MOMENT)


_EVENTS = (
    select(_minute(UserAction.created_at), UserAction.type, func.count())
    .where(within(UserAction.created_at))
    .group_by(_minute(UserAction.created_at), UserAction.type)
)
_RAISED = (
    select(_minute(Alert.created_at), Alert.code, Alert.shadow, func.count(), func.count().filter(Alert.superseded))
    .where(within(Alert.created_at))
    .group_by(_minute(Alert.created_at), Alert.code, Alert.shadow)
)


def _changes(*columns: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Select[Any]:
    """How many changes of alerts (not of those in shadow) there were in the stretch, by these columns."""
    same = and_(*(getattr(Alert, name) == getattr(AlertChange, name) for name in ("user_id", "seq", "code")))
    counted = select(*columns, func.count()).join_from(AlertChange, Alert, same)
    return counted.where(within(AlertChange.at), ~Alert.shadow).group_by(*columns)


_TOUCHED = _changes(AlertChange.code, _bucket(Alert.created_at, AlertChange.at)).where(AlertChange.n == 1)
_DECIDED = _changes(AlertChange.code, AlertChange.after, _bucket(Alert.created_at, AlertChange.at)).where(
    AlertChange.what == "outcome", AlertChange.after.is_not(None)
)


def _undone() -> Select[Any]:
    """Decisions that stand no more, with the days on which they were made."""
    earlier = aliased(AlertChange, name="earlier")
    same = (getattr(earlier, name) == getattr(AlertChange, name) for name in ("user_id", "seq", "code"))
    made = (
        select(earlier.at)
        .where(*same, earlier.n < AlertChange.n, earlier.what == "outcome")
        .order_by(earlier.n.desc())
        .limit(1)
        .correlate(AlertChange)
        .lateral("made")
    )
    at = made.c[0]
    counted = _changes(AlertChange.code, AlertChange.before, _day(at), _bucket(Alert.created_at, at))
    return counted.join(made, true()).where(AlertChange.what == "outcome", AlertChange.before.is_not(None))


_UNDONE = _undone()
_was_closed, _is_closed = AlertChange.before == "closed", AlertChange.after == "closed"
_CLOSED = _changes(AlertChange.code, _day(Alert.created_at), _is_closed).where(
    AlertChange.what == "status", _was_closed != _is_closed
)


def count(connection: Connection, begin: datetime, end: datetime) -> None:
    """Count what was stored from `begin` to `end`, which are of one day."""
    day = day_of(begin)
    with_minutes = connection.execute(CLOCK).scalar_one() - end < timedelta(minutes=MINUTES)
    stretch = {"begin": begin, "end": end}
    by_minute = stretch | {"unit": "minute" if with_minutes else "day"}
    figures: _Figures = defaultdict(int)
    minutes: dict[datetime, list[int]] = defaultdict(lambda: [0, 0])
    for minute, kind, number in connection.execute(_EVENTS, by_minute):
        figures[day, kind, EVERYBODY, 0] += number
        minutes[minute][0] += number
    for minute, code, is_shadow, number, superseded in connection.execute(_RAISED, by_minute):
        figures[day, SHADOW_ALERTS if is_shadow else ALERTS, code, 0] += number
        if not is_shadow:
            figures[day, SUPERSEDED, code, 0] += superseded
            figures[day, TO_CLOSE, code, 0] += number
            minutes[minute][1] += number
    for code, bucket, number in connection.execute(_TOUCHED, stretch):
        figures[day, FIRST_TOUCH, code, bucket] += number
    for code, outcome, bucket, number in connection.execute(_DECIDED, stretch):
        figures[day, outcome, code, 0] += number
        figures[day, CLOSING, code, bucket] += number
    for code, outcome, made_on, bucket, number in connection.execute(_UNDONE, stretch):
        figures[made_on, outcome, code, 0] -= number
        figures[made_on, CLOSING, code, bucket] -= number
    for code, raised_on, is_closed, number in connection.execute(_CLOSED, stretch):
        figures[raised_on, TO_CLOSE, code, 0] += -number if is_closed else number
    _add(connection, figures)
    if with_minutes:
        _add_minutes(connection, minutes)
    add_users(connection, day, stretch)


# Storing

_DAYS = func.unnest(
    bindparam("days", type_=ARRAY(Date)),
    bindparam("whats", type_=ARRAY(Text)),
    bindparam("codes", type_=ARRAY(Integer)),
    bindparam("buckets", type_=ARRAY(Integer)),
    bindparam("numbers", type_=ARRAY(BigInteger)),
)
_new = _DAYS.table_valued("day", "what", "code", "bucket", "number").render_derived()
_FIGURE = (DailyFigure.day, DailyFigure.what, DailyFigure.code, DailyFigure.bucket)
_adding = insert(DailyFigure).from_select([*_FIGURE, DailyFigure.number], select(*_new.c))
_added = _adding.excluded[DailyFigure.number.key]
_ADD = _adding.on_conflict_do_update(index_elements=_FIGURE, set_={DailyFigure.number: DailyFigure.number + _added})
_PUT = _adding.on_conflict_do_update(index_elements=_FIGURE, set_={DailyFigure.number: _added})


def _add(connection: Connection, figures: Mapping[tuple[date, str, int, int], int], statement: Any = _ADD) -> None:
    rows = [(*key, number) for key, number in figures.items() if number or statement is _PUT]
    if rows:
        names = ("days", "whats", "codes", "buckets", "numbers")
        connection.execute(statement, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


_new_minutes = (
    func.unnest(
        bindparam("slots", type_=ARRAY(BigInteger)),
        bindparam("minutes", type_=ARRAY(_MOMENT)),
        bindparam("events", type_=ARRAY(BigInteger)),
        bindparam("alerts", type_=ARRAY(BigInteger)),
    )
    .table_valued("slot", "minute", "events", "alerts")
    .render_derived()
)
_adding_minutes = insert(MinuteFigure).from_select(
    [MinuteFigure.slot, MinuteFigure.minute, MinuteFigure.events, MinuteFigure.alerts], select(*_new_minutes.c)
)


def _of_minute(number: InstrumentedAttribute[int]) -> ColumnElement[int]:
    found = _adding_minutes.excluded
    same = MinuteFigure.minute == found[MinuteFigure.minute.key]
    return case((same, number + found[number.key]), else_=found[number.key])


_ADD_MINUTES = _adding_minutes.on_conflict_do_update(
    index_elements=[MinuteFigure.slot],
    set_={
        MinuteFigure.minute: _adding_minutes.excluded[MinuteFigure.minute.key],
        MinuteFigure.events: _of_minute(MinuteFigure.events),
        MinuteFigure.alerts: _of_minute(MinuteFigure.alerts),
    },
    where=MinuteFigure.minute <= _adding_minutes.excluded[MinuteFigure.minute.key],
)


def _add_minutes(connection: Connection, minutes: Mapping[datetime, list[int]]) -> None:
    # Of those that would share a slot, the newest.
    by_slot = {int(minute.timestamp()) // 60 % MINUTES: (minute, *minutes[minute]) for minute in sorted(minutes)}
    if by_slot:
        columns = map(list, zip(*by_slot.values(), strict=True))
        values = dict(zip(("minutes", "events", "alerts"), columns, strict=True))
        connection.execute(_ADD_MINUTES, {"slots": list(by_slot), **values})


# Superseded alerts

_SUPERSEDED = (
    select(Alert.code, func.count())
    .where(within(Alert.created_at), Alert.superseded, ~Alert.shadow)
    .group_by(Alert.code)
)
_KNOWN_SUPERSEDED = select(DailyFigure.code).where(
    DailyFigure.day == bindparam("day", type_=Date), DailyFigure.what == SUPERSEDED
)


def recount(connection: Connection, day: date, as_of: datetime) -> None:
    """Count the superseded alerts of a day again, those that arrived before `as_of`."""
    begin = datetime.combine(day, time(), UTC)
    known = connection.execute(_KNOWN_SUPERSEDED, {"day": day}).scalars()
    figures = {(day, SUPERSEDED, code, 0): 0 for code in known}
    for code, number in connection.execute(_SUPERSEDED, {"begin": begin, "end": min(begin + DAY, as_of)}):
        figures[day, SUPERSEDED, code, 0] = number
    _add(connection, figures, _PUT)
