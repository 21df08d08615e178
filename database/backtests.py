"""The backtests that were asked for over the API: every statement on their table, each a named function.

One runs at a time, over all processes of the service: an index lets no second row say so. A run tells twice a second
that it is alive; one that has not for SILENT_SECONDS is taken for dead.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text
from sqlalchemy.orm import Session

SILENT_SECONDS = 15

# What is known of one, but for its result. A run that is silent is not heard of any more, whatever its row says.
_KNOWN = """
backtest_id, CASE WHEN status = 'running' AND heartbeat_at < clock_timestamp() - CAST(:silence AS interval)
    THEN 'interrupted' ELSE status END AS status, request, done, total, error, created_at, finished_at
"""
_SILENCE = {"silence": f"{SILENT_SECONDS} seconds"}
_BURY = text("""
UPDATE backtests SET status = 'interrupted', finished_at = heartbeat_at
WHERE status = 'running' AND heartbeat_at < clock_timestamp() - CAST(:silence AS interval)
""")
_START = text("""
INSERT INTO backtests (request) VALUES (CAST(:request AS json))
ON CONFLICT (status) WHERE status = 'running' DO NOTHING RETURNING backtest_id
""")
_RUNNING = text("SELECT backtest_id FROM backtests WHERE status = 'running'")
_GET = text(f"SELECT {_KNOWN}, result FROM backtests WHERE backtest_id = :backtest_id")  # noqa: S608
_PAGE = text(f"""
SELECT {_KNOWN} FROM backtests WHERE CAST(:before AS bigint) IS NULL OR backtest_id < :before
ORDER BY backtest_id DESC LIMIT :limit
""")  # noqa: S608


def start(session: Session, request: str) -> int | None:
    """Enter a new backtest as running, with what is asked as JSON text. None: another one runs."""
    session.execute(_BURY, _SILENCE)
    return session.execute(_START, {"request": request}).scalar()


def running(session: Session) -> int | None:
    """The one that runs, if there is one."""
    return session.execute(_RUNNING).scalar()


def get(session: Session, backtest_id: int) -> Row[Any] | None:
    """A backtest with its result, or None where there is no such."""
    return session.execute(_GET, _SILENCE | {"backtest_id": backtest_id}).one_or_none()


def page(session: Session, limit: int, before: int | None) -> Sequence[Row[Any]]:
    """Up to `limit` backtests without their results, newest first, those older than `before` if it is given."""
    return session.execute(_PAGE, _SILENCE | {"limit": limit, "before": before}).all()


def cancel(session: Session, backtest_id: int) -> None:
    """Stop it if it runs: the run notices."""
    session.execute(_BURY, _SILENCE)
    end(session.connection(), backtest_id, "cancelled")


# For the run itself

_BEAT = text("""
UPDATE backtests SET heartbeat_at = clock_timestamp(), done = :done, total = :total
WHERE backtest_id = :backtest_id AND status = 'running'
""")
_END = text("""
UPDATE backtests SET status = :status, result = CAST(:result AS json), error = :error, finished_at = clock_timestamp(),
    done = CASE WHEN :status = 'done' THEN total ELSE done END
WHERE backtest_id = :backtest_id AND status = 'running'
""")


def request(connection: Connection, backtest_id: int) -> dict[str, Any]:
    """What was asked."""
    asked = text("SELECT request FROM backtests WHERE backtest_id = :backtest_id")
    found: dict[str, Any] = connection.execute(asked, {"backtest_id": backtest_id}).scalar_one()
    return found


def beat(connection: Connection, backtest_id: int, done: int, total: int) -> bool:
    """Tell that the run is alive, and that it has done so many of all actions. False: it is to end."""
    values = {"backtest_id": backtest_id, "done": done, "total": total}
    return connection.execute(_BEAT, values).rowcount > 0


def end(
    connection: Connection, backtest_id: int, status: str, result: str | None = None, error: str | None = None
) -> None:
    """Enter how it ended, unless that is known: `result` is JSON text, `error` a sentence."""
    values = {"backtest_id": backtest_id, "status": status, "result": result, "error": error}
    connection.execute(_END, values)
