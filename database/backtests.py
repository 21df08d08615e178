"""The backtests that were asked for over the API: every statement on their table, each a named function.

One runs at a time, across all processes of the service: a unique index keeps a second row from saying so. The next one
starts when the processes of the last one have ended: another unique index. A run shows twice a second that it is alive;
one that has not for SILENT_SECONDS is taken for dead, and its processes for gone.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Row,
    Text,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSON, insert
from sqlalchemy.orm import Session

from database.models import Backtest

SILENT_SECONDS = 15

# The columns of a backtest except its result: id, status, request, done, total, error, created_at, finished_at.
BacktestRow = Row[int, str, dict[str, Any], int, int, str | None, datetime, datetime | None]
BacktestWithResult = Row[
    int, str, dict[str, Any], int, int, str | None, datetime, datetime | None, dict[str, Any] | None
]

_ID = bindparam("id", type_=BigInteger)
_now = func.clock_timestamp(type_=DateTime(timezone=True))
_is_running = Backtest.status == "running"
# A run that is silent is taken for dead, whatever its row says.
_gives_no_sign = Backtest.heartbeat_at < _now - literal(timedelta(seconds=SILENT_SECONDS))
_is_silent = and_(_is_running, _gives_no_sign)

_KNOWN = select(
    Backtest.backtest_id,
    case((_is_silent, "interrupted"), else_=Backtest.status).label(Backtest.status.key),
    Backtest.request,
    Backtest.done,
    Backtest.total,
    Backtest.error,
    Backtest.created_at,
    Backtest.finished_at,
)
_GET = _KNOWN.add_columns(Backtest.result).where(Backtest.backtest_id == _ID)
_IN_THE_WAY = (
    select(Backtest.backtest_id, _is_running).where(or_(_is_running, Backtest.has_processes)).order_by(~_is_running)
)
_END_SILENT = (
    update(Backtest)
    .where(_is_silent)
    .values({Backtest.status: "interrupted", Backtest.finished_at: Backtest.heartbeat_at})
)
_FREE_SILENT = update(Backtest).where(Backtest.has_processes, _gives_no_sign).values({Backtest.has_processes: false()})
_START = (
    insert(Backtest)
    .values({Backtest.request: cast(bindparam("asked", type_=Text), JSON), Backtest.has_processes: true()})
    .on_conflict_do_nothing()
    .returning(Backtest.backtest_id)
)


def start(session: Session, request: str) -> int | None:
    """Store a new backtest as running, with what is asked as JSON text. Returns its id.

    None if another one runs or has processes left.
    """
    connection = session.connection()
    connection.execute(_END_SILENT)
    connection.execute(_FREE_SILENT)
    return connection.execute(_START, {"asked": request}).scalar()


class InTheWay(NamedTuple):
    """The backtest that keeps others from starting: it runs, or its processes are still ending."""

    backtest_id: int
    is_running: bool


def in_the_way(session: Session) -> InTheWay | None:
    """What keeps another backtest from starting, or None."""
    row = session.execute(_IN_THE_WAY).first()
    return None if row is None else InTheWay(*row)


def get(session: Session, backtest_id: int) -> BacktestWithResult | None:
    """A backtest with its result, or None."""
    return session.execute(_GET, {"id": backtest_id}).one_or_none()


def page(session: Session, limit: int, before: int | None) -> Sequence[BacktestRow]:
    """Up to `limit` backtests without their results, newest first, those older than `before` if it is given."""
    page = _KNOWN if before is None else _KNOWN.where(Backtest.backtest_id < before)
    return session.execute(page.order_by(Backtest.backtest_id.desc()).limit(limit)).all()


def cancel(session: Session, backtest_id: int) -> bool:
    """Mark it as cancelled if it runs; the run notices and ends. Returns whether it ran."""
    connection = session.connection()
    connection.execute(_END_SILENT)
    return end(connection, backtest_id, status="cancelled")


# For the run itself

_own = update(Backtest).where(Backtest.backtest_id == _ID, _is_running)
_REQUEST = select(Backtest.request).where(Backtest.backtest_id == _ID)
_BEAT = _own.values(
    {
        Backtest.heartbeat_at: _now,
        Backtest.done: bindparam("so_far", type_=BigInteger),
        Backtest.total: bindparam("of_all", type_=BigInteger),
    }
)
_ENDING = bindparam("ending", type_=Text)
_END = _own.values(
    {
        Backtest.status: _ENDING,
        Backtest.result: cast(bindparam("found", type_=Text), JSON),
        Backtest.error: bindparam("why", type_=Text),
        Backtest.finished_at: _now,
        Backtest.done: case((_ENDING == "done", Backtest.total), else_=Backtest.done),
    }
)


def request(connection: Connection, backtest_id: int) -> dict[str, Any]:
    """What was asked, as JSON data."""
    asked: dict[str, Any] = connection.execute(_REQUEST, {"id": backtest_id}).scalar_one()
    return asked


def beat(connection: Connection, backtest_id: int, done: int, total: int) -> bool:
    """Store that the run is alive and has judged `done` of `total` actions. Returns False if it is to end."""
    return connection.execute(_BEAT, {"id": backtest_id, "so_far": done, "of_all": total}).rowcount > 0


_FREE = update(Backtest).where(Backtest.backtest_id == _ID).values({Backtest.has_processes: false()})


def free(connection: Connection, backtest_id: int) -> None:
    """Store that its processes have ended, so that another one can start."""
    connection.execute(_FREE, {"id": backtest_id})


def end(
    connection: Connection, backtest_id: int, *, status: str, result: str | None = None, error: str | None = None
) -> bool:
    """Store how it ended, unless that is known: `result` is JSON text, `error` a sentence. Returns whether it ran."""
    return connection.execute(_END, {"id": backtest_id, "ending": status, "found": result, "why": error}).rowcount == 1
