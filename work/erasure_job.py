"""The thread that erases who is due: in every process that serves.

What one process erases, others pass over while it has the user locked. It stays out of the way of events: it works for
a second at most, and then rests for INTERVAL, or, while there is more to do, for RESTS times as long as it worked.
"""

import random
import threading
import time

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from database.errors import cause
from database.session import CommitUncertain, make_asking_engine, make_sessions, run
from work.erasure import erase_due
from work.retention import Retention

INTERVAL = 300.0  # seconds from one run to the next
RUN = 1.0  # seconds after which a run begins nothing more
RESTS = 10  # a rest is at least so many times as long as the run before it
STATEMENT = 5.0  # the longest that a statement may take, seconds

log = structlog.get_logger()


def watch(url: str, retention: Retention) -> None:
    """Start the thread, which erases in the database at `url` for as long as this process lives."""
    threading.Thread(target=_watch, args=(url, retention), name="erasure", daemon=True).start()


def _watch(url: str, retention: Retention) -> None:
    engine = make_asking_engine(url, "erasure", timeout=STATEMENT, keep=True)
    trouble = None
    while True:
        wait, failed = INTERVAL, None
        try:
            wait = run_once(engine, retention)
        except (SQLAlchemyError, CommitUncertain) as error:
            failed = cause(error) if isinstance(error, SQLAlchemyError) else type(error).__name__
        except Exception as error:
            failed = type(error).__name__
        engine.dispose()  # nobody needs a connection while it rests
        if failed != trouble:
            trouble = failed
            log.warning("erasures_not_done", cause=failed) if failed else log.info("erasures_not_done_no_more")
        time.sleep(wait + random.uniform(0.1, 1))  # noqa: S311 (no secret)


def run_once(engine: Engine, retention: Retention) -> float:
    """Erase for a while who is due. Returns in how many seconds to do so again. Raises what the database raises."""
    sessions = make_sessions(engine)
    began = time.monotonic()
    _, is_all = erase_due(lambda work: run(sessions, work), retention, seconds=RUN)
    return INTERVAL if is_all else RESTS * (time.monotonic() - began)
