"""How far the figures have come, and whose turn it is to count on: one row, which whoever counts has locked."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from database import figures_clock
from database.models import DailyFigure, DailyUsers, FiguresProgress, MinuteFigure, UserAction

STATEMENT = 5.0  # the longest that a statement may take, in seconds
SHORTEST = 1.0  # seconds of a stretch

DAY = timedelta(days=1)
_MOMENT = DateTime(timezone=True)
LIMITS = text(
    f"SET LOCAL statement_timeout = {int(STATEMENT * 1000)}; SET LOCAL lock_timeout = {int(STATEMENT * 1000)}; "
    f"SET LOCAL idle_in_transaction_session_timeout = {int(STATEMENT * 1000)}; "
    # No more than one core; and however few rows PostgreSQL believes there are, not all of them.
    "SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL enable_seqscan = off; SET LOCAL work_mem = '16MB'"
)


# Whose turn it is

_clock = figures_clock.now()
CLOCK = select(_clock)
_SECONDS = bindparam("seconds", type_=BigInteger)


def _from_now(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    return _clock + seconds * literal_column("interval '1 second'")


_TAKE_TURN = (
    update(FiguresProgress)
    .where(FiguresProgress.rests_until <= _clock)
    .values({FiguresProgress.rests_until: _from_now(_SECONDS)})
    .returning(FiguresProgress.as_of)
)
_END_TURN = update(FiguresProgress).values({FiguresProgress.rests_until: _from_now(_SECONDS)})
_RESTS = select(FiguresProgress.as_of, func.extract("epoch", FiguresProgress.rests_until - _clock))


def take_turn(connection: Connection, seconds: int) -> bool:
    """Whether it is for the caller to count now; then nobody else does for so many seconds."""
    return connection.execute(_TAKE_TURN, {"seconds": seconds}).first() is not None


def end_turn(connection: Connection, rest: int) -> None:
    """Leave counting to whoever asks first after so many seconds."""
    connection.execute(_END_TURN, {"seconds": rest})


class Turn(NamedTuple):
    """How far the figures have come, and in how many seconds it is somebody's turn to count on."""

    as_of: datetime
    seconds: float


def turn(connection: Connection) -> Turn | None:
    """How far it is, and when it goes on; None if it has not begun."""
    row = connection.execute(_RESTS).one_or_none()
    return None if row is None else Turn(row[0], float(row[1]))


# Beginning

_BEFORE = bindparam("before", type_=_MOMENT)
_HAS_BEGUN = select(FiguresProgress.progress_id)
_EARLIER = select(select(literal(1)).where(UserAction.created_at < _BEFORE).exists())


def begin_figures(connection: Connection, *, anew: bool = False) -> None:
    """Make that row, unless it is there: the figures begin with the first event.

    With `anew`, what was counted is forgotten: for a history that was written into the past.
    """
    connection.execute(LIMITS)
    if connection.execute(_HAS_BEGUN).first() is None:
        values = {FiguresProgress.progress_id: 1, FiguresProgress.rests_until: _clock}
        values |= _beginning(_first_day(connection))
        connection.execute(insert(FiguresProgress).values(values).on_conflict_do_nothing())
    elif anew:
        connection.execute(LOCK_PROGRESS)
        connection.execute(update(DailyFigure).values({DailyFigure.number: 0}))
        connection.execute(update(DailyUsers).values({DailyUsers.user_ids: [], DailyUsers.registers: None}))
        connection.execute(update(MinuteFigure).values({MinuteFigure.events: 0, MinuteFigure.alerts: 0}))
        connection.execute(update(FiguresProgress).values(_beginning(_first_day(connection))))


def _first_day(connection: Connection) -> datetime:
    """The beginning of a day before which nothing arrived."""
    today = midnight_after(connection.execute(CLOCK).scalar_one() - DAY)
    begins, days = today, 1
    # An index that holds no rows can say that there is nothing before a moment, but not what comes first.
    while connection.execute(_EARLIER, {"before": begins}).scalar_one():
        begins, days = today - timedelta(days=days), 2 * days
    return begins


def _beginning(begins: datetime) -> dict[Any, Any]:
    return {
        FiguresProgress.begun_at: begins,
        FiguresProgress.as_of: begins,
        FiguresProgress.stretch_seconds: 3_600.0,
        FiguresProgress.recount_day: begins.date(),
    }


# How far

LOCK_PROGRESS = select(
    FiguresProgress.begun_at.label("begun_at"),
    FiguresProgress.as_of.label("as_of"),
    FiguresProgress.stretch_seconds.label("stretch_seconds"),
    FiguresProgress.recount_day.label("recount_day"),
).with_for_update()
_END = bindparam("end", type_=_MOMENT)
ADVANCE = update(FiguresProgress).values(
    {FiguresProgress.as_of: _END, FiguresProgress.stretch_seconds: bindparam("stretch")}
)
SHORTEN = update(FiguresProgress).values(
    {FiguresProgress.stretch_seconds: func.greatest(FiguresProgress.stretch_seconds / 8, SHORTEST)}
)
NEXT_RECOUNT = update(FiguresProgress).values({FiguresProgress.recount_day: bindparam("next_day", type_=Date)})


def midnight_after(moment: datetime) -> datetime:
    """The end of the day (UTC) of a moment."""
    return datetime.combine(day_of(moment) + DAY, time(), UTC)


def day_of(moment: datetime) -> date:
    """The day (UTC) of a moment."""
    return moment.astimezone(UTC).date()
