"""`python -m rules.hindsight.run`: a backtest that was asked for over the API, as a process of its own.

The service starts it (`start.py`), and says on its standard input which backtest to run and where the database is. The
run ends when that input is closed: with the process that started it, however that ends. All that it finds out goes into
the table of backtests.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.util import get_temp_dir

import log_output
import structlog
from sqlalchemy.exc import SQLAlchemyError

import logs
from database import backtests
from database.session import make_backtest_engine
from rules.hindsight.all_users import Busy, cores, end_processes, over_all_users
from rules.hindsight.backtest import BacktestResult
from rules.hindsight.backtest_work import BacktestWork
from rules.hindsight.question import Question, report

BEAT = 0.5  # seconds between two signs of life; a cancel is heeded within the same time
# A run that was cancelled a moment ago may still be on its way out; somebody at a terminal may be busy for longer.
PATIENCE = 10.0
ENDING = 10.0  # seconds that its processes have to end; at low priority, on a busy machine, that can take some

log = structlog.get_logger()


class Run:
    """A run of one backtest, whose row says what is asked."""

    def __init__(self, backtest_id: int, url: str, history_url: str) -> None:
        self._id, self._history_url = backtest_id, history_url
        self._engine = make_backtest_engine(url)
        self._done, self._total = 0, 0
        self._ending = threading.Lock()

    def run(self) -> None:
        """Do it, store what came out, and end the process."""
        for watch in (self._watch_parent, self._give_signs):
            threading.Thread(target=watch, daemon=True).start()
        for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(ending, lambda *_: self._end("interrupted"))
        try:
            with self._engine.connect() as connection:
                question = Question.read(backtests.request(connection, self._id))
            result = json.dumps(report(question, self._judge(question)))
        except Busy as error:
            self._end("failed", error=str(error))
        except SQLAlchemyError as error:
            log.warning("backtest_failed", backtest_id=self._id, error=_kind(error))
            self._end("failed", error="The database was away, too slow, or could not be read.")
        except Exception as error:
            if not self._ending.locked():  # else it is the processes' end that it noticed
                log.error("backtest_failed", backtest_id=self._id, error=_kind(error), exc_info=error)
            self._end("failed", error="It broke off; the log of the service says more.")
        else:
            self._end("done", result)
        time.sleep(60)  # another thread is ending the process

    def _judge(self, question: Question) -> BacktestResult:
        processes = max(1, cores() - 1)  # one core is left for live events
        work, patience = BacktestWork(question.plan), time.monotonic() + PATIENCE
        while True:
            try:
                return over_all_users(self._history_url, work, question.empty_result(), processes, self._progress)
            except Busy:
                if time.monotonic() > patience:
                    raise
                time.sleep(BEAT)

    def _progress(self, done: int, total: int) -> None:
        self._done, self._total = done, total

    def _give_signs(self) -> None:
        heard = time.monotonic()
        while True:
            try:
                with self._engine.connect() as connection:
                    wanted = backtests.beat(connection, self._id, self._done, self._total)
            except SQLAlchemyError:
                wanted = time.monotonic() < heard + backtests.SILENT_SECONDS  # then it is taken for dead
            else:
                heard = time.monotonic()
            if not wanted:
                self._end("interrupted")  # or cancelled, if its row says so
            time.sleep(BEAT)

    def _watch_parent(self) -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        self._end("interrupted")

    def _end(self, status: str, result: str | None = None, error: str | None = None) -> None:
        """Store how it ended, unless its row says that, and end the process, unless that is being done already.

        The processes that judge end first: then the next backtest may begin.
        """
        if not self._ending.acquire(blocking=False):
            return
        try:
            end_processes(ENDING)
            with self._engine.connect() as connection:
                backtests.end(connection, self._id, status=status, result=result, error=error)
                backtests.free(connection, self._id)
        finally:
            # It has the socket by which processes are forked; Python would remove it at an end that is not so abrupt.
            with suppress(OSError):
                shutil.rmtree(get_temp_dir())  # which makes one if there is none yet
            log_output.flush()
            os._exit(0)


def _kind(error: Exception) -> str:
    # The message of a database error can contain values.
    return type(getattr(error, "orig", None) or error).__name__


def order(backtest_id: int, url: str, history_url: str) -> bytes:
    """The line of standard input that says which backtest of the database at `url` to run, on the history at another.

    That is a replica, or the same.
    """
    return json.dumps({"backtest_id": backtest_id, "url": url, "history_url": history_url}).encode() + b"\n"


def main() -> None:
    """Run the backtest that standard input names."""
    if line := sys.stdin.buffer.readline():
        log_output.never_wait()
        logs.configure(readable=False)
        Run(**json.loads(line)).run()


if __name__ == "__main__":
    main()
