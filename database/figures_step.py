"""Counting one stretch of time for the figures, in one transaction with how far they have come then.

So whatever is killed or lost, each stretch is counted once or not yet. Whoever counts has locked the one row of
figures_progress: stretches follow one another without a gap, and no two are counted at the same time.

A stretch may be counted when nothing that belongs to it can still be committed. `created_at` is when its transaction
began, and transactions commit in any order. So a stretch ends before the beginning of the oldest transaction that runs
in this database: pg_stat_activity is read after our own transaction has begun, and what began before ours is then
either running, and seen there, or over, and what it committed is seen by the statements that follow. Two things remain.
A transaction has its time for a moment before it shows there, so a stretch also ends some seconds (`settled`) before
our own transaction began. And a transaction that has written nothing for LONGEST is taken for one that only reads, such
as a backup or a verification, which no figure has to wait for: those that store anything are far shorter. Sessions of
other roles show no time, unless our role may see it (pg_read_all_stats): the services on one database share a role, or
have `settled` at least.

Work on alerts is noted at a time that is read within its transaction, so the same holds for it.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, DateTime, column, func, literal, or_, select, table

from database import figures_clock
from database.figures_counts import count, recount
from database.figures_progress import (
    ADVANCE,
    CLOCK,
    DAY,
    LIMITS,
    LOCK_PROGRESS,
    NEXT_RECOUNT,
    SHORTEN,
    SHORTEST,
    begin_figures,
    day_of,
    midnight_after,
)

LONGEST = timedelta(minutes=10)
# A stretch is to take about so long to count, in seconds: it is made longer or shorter accordingly.
QUICK, SLOW = 0.1, 0.3
LONGEST_STRETCH = 86_400.0  # seconds; no stretch reaches over midnight
RECOUNTED_DAYS = 56  # how far back superseded alerts are counted again

_MOMENT = DateTime(timezone=True)


class Counted(NamedTuple):
    """What a step has come to: everything before `as_of` is counted; `is_last`: nothing more can be for now."""

    as_of: datetime
    is_last: bool


def count_stretch(connection: Connection, settled: timedelta) -> Counted:
    """Count the next stretch of time, up to `settled` ago at most, in a transaction that has done nothing yet."""
    begin_figures(connection)
    at = connection.execute(LOCK_PROGRESS).one()
    limit = _may_be_counted(connection, settled)
    if limit <= at.as_of:
        return Counted(at.as_of, True)
    full = at.as_of + timedelta(seconds=at.stretch_seconds)
    end = min(full, midnight_after(at.as_of), limit)
    began = connection.execute(CLOCK).scalar_one()
    count(connection, at.as_of, end)
    took = (connection.execute(CLOCK).scalar_one() - began).total_seconds()
    stretch = at.stretch_seconds
    if took > SLOW:
        stretch = max(stretch / 2, SHORTEST)
    elif took < QUICK and end == full:
        stretch = min(stretch * 2, LONGEST_STRETCH)
    connection.execute(ADVANCE, {"end": end, "stretch": stretch})
    return Counted(end, end >= limit)


def shorten_stretch(connection: Connection) -> None:
    """After a stretch that took too long to count: make the next one far shorter."""
    connection.execute(SHORTEN)


def count_superseded(connection: Connection) -> None:
    """Count the superseded alerts of the newest day again, and of one of those before it.

    Whether an alert is superseded can change at any time after it was counted. Each time it is another day's turn.
    """
    connection.execute(LIMITS)
    at = connection.execute(LOCK_PROGRESS).one()
    newest = day_of(at.as_of)
    oldest = max(day_of(at.begun_at), newest - timedelta(days=RECOUNTED_DAYS))
    turn = at.recount_day if oldest <= at.recount_day < newest else newest - DAY
    for day in {newest, max(turn, oldest)}:
        recount(connection, day, at.as_of)
    connection.execute(NEXT_RECOUNT, {"next_day": turn - DAY})


_running = table(
    "pg_stat_activity",
    *map(column, ("datname", "pid", "backend_type", "backend_xid")),
    column("xact_start", _MOMENT),
)
_OLDEST_RUNNING = select(figures_clock.began(), func.min(_running.c.xact_start)).where(
    _running.c.datname == func.current_database(),
    _running.c.pid != func.pg_backend_pid(),
    _running.c.backend_type == "client backend",
    or_(_running.c.backend_xid.is_not(None), _running.c.xact_start > figures_clock.now() - literal(LONGEST)),
)


def _may_be_counted(connection: Connection, settled: timedelta) -> datetime:
    """The moment before which everything that will ever be there is there."""
    began, oldest = connection.execute(_OLDEST_RUNNING).one()
    limit: datetime = began - settled
    return limit if oldest is None else min(limit, oldest)
