"""Asking for a backtest, starting it in a process of its own (`run.py`), and making sure that its end is stored."""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import backtests
from database.log_entries import add_log_entry
from database.session import Transaction
from rules.base import RuleSetting
from rules.hindsight import run
from rules.hindsight.question import Question, Sweep, WantedValues, candidate
from rules.payload import conflicting
from rules.service import Service

ROOT = Path(__file__).resolve().parents[2]
# A run that is cancelled leaves the tidying up to Python's resource tracker, which would complain about that.
COMMAND = (sys.executable, "-W", "ignore::UserWarning:multiprocessing.resource_tracker", "-m", run.__name__)


class NoneActive(Exception):
    """No rule was named, and none is active."""


class AnotherRuns(Exception):
    """There can be only one backtest, and another one runs, or its processes have not all ended yet."""

    def __init__(self, backtest_id: int, *, is_running: bool) -> None:
        super().__init__(backtest_id)
        self.backtest_id, self.is_running = backtest_id, is_running


def ask(
    present: Mapping[int, RuleSetting],
    wanted: Mapping[int, WantedValues] | None,
    *,
    start: int,
    end: int,
    sweep: Sweep | None = None,
    at_most: int | None = None,
) -> Question:
    """The question about the rules `wanted`, by code; None: about that of the sweep, or else all that are active.

    `present` is what all rules are set to now. Raises NoneActive, and BadPayload if values contradict each other.
    """
    if wanted is not None:
        candidates = [candidate(present[code], *one) for code, one in wanted.items()]
    elif sweep:
        candidates = [candidate(present[sweep.code], {})]
    else:
        candidates = [setting for setting in present.values() if setting.status == "active"]
        if not candidates:
            raise NoneActive
    question = Question(candidates=tuple(candidates), start=start, end=end, sweep=sweep, at_most=at_most)
    changed = wanted or {}
    found = question.conflicts(
        {code: one.parameters for code, one in changed.items()},
        {code: one.by_risk for code, one in changed.items() if one.by_risk is not None},
    )
    if found:
        raise conflicting(found.items())
    return question


def start(service: Service, question: Question, *, who: str) -> int:
    """Store a backtest of `who` and start its run, which ends with this process at the latest. Returns its id.

    Raises AnotherRuns.
    """
    backtest_id = service.run(lambda session: _enter(session, question, who))
    process = None
    with suppress(OSError):  # if it did not start, it has ended
        process = subprocess.Popen(COMMAND, cwd=ROOT, stdin=subprocess.PIPE, bufsize=0)
        _input(process).write(run.order(backtest_id, service.url, service.history_url))
    args = (service, backtest_id, process)
    threading.Thread(target=_attend, args=args, daemon=True, name="backtest").start()
    return backtest_id


def _enter(session: Session, question: Question, who: str) -> int:
    request = json.dumps(question.written())
    with Transaction(session) as transaction:
        while (backtest_id := backtests.start(session, request)) is None:
            # It may have ended between the two statements.
            if (other := backtests.in_the_way(session)) is not None:
                transaction.commit()  # those that fell silent have ended all the same
                raise AnotherRuns(other.backtest_id, is_running=other.is_running)
        subject = str(backtest_id)
        add_log_entry(session, who=who, kind="backtest", subject=subject, what="started", after=question.written())
        transaction.commit()
    return backtest_id


def cancel(session: Session, backtest_id: int, *, who: str) -> None:
    """End a backtest for `who`; one that has ended stays as it is. Its processes soon end."""
    with Transaction(session) as transaction:
        if backtests.cancel(session, backtest_id):
            add_log_entry(session, who=who, kind="backtest", subject=str(backtest_id), what="cancelled")
        transaction.commit()


def _attend(service: Service, backtest_id: int, process: "subprocess.Popen[bytes] | None") -> None:
    """Wait for the run's end, and store that if the run could not."""
    if process is not None:
        process.wait()
        _input(process).close()

    def end(session: Session) -> None:
        backtests.end(session.connection(), backtest_id, status="interrupted")
        backtests.free(session.connection(), backtest_id)

    with suppress(SQLAlchemyError):  # then its silence shows that it has ended
        service.run(end)


def _input(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    # The run lives as long as this is open.
    return cast(IO[bytes], process.stdin)
