"""Backtests: what other rules would have raised, over the stored history; each in processes of its own."""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from flask import Blueprint, Response
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import backtests
from routes.http.answers import json_answer
from routes.http.hooks import service
from routes.http.json_body import parse_object, read_json, validate
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import BAD_FIELDS, DATABASE_AWAY, NOT_JSON, TOO_LARGE, Problem
from routes.schemas.backtest_answers import BacktestAnswer, BacktestDetailAnswer, BacktestsAnswer
from routes.schemas.backtests import BacktestRequest, BacktestsQuery, BacktestWanted, RuleTrial
from rules.base import RuleSetting
from rules.hindsight.question import Question, Sweep, tried
from rules.service import Service

blueprint = Blueprint("backtests", __name__)

ID = {"backtest_id": {"example": 1}}
ROOT = Path(__file__).resolve().parent.parent
# A run that is cancelled leaves it to Python's resource tracker to tidy up, which would complain about that. The module
# is named and not imported: only app knows the commands.
RUN = (sys.executable, "-W", "ignore::UserWarning:multiprocessing.resource_tracker", "-m", "rules.hindsight.run")


def unknown_backtest(backtest_id: int) -> Problem:
    """The answer where there is no such backtest."""
    return Problem(404, f"There is no backtest {backtest_id}.", kind="unknown-backtest")


def backtest_running(backtest_id: int) -> Problem:
    """The answer where another one is to be started."""
    detail = f"Backtest {backtest_id} is running: wait until it is done, or cancel it."
    return Problem(409, detail, kind="backtest-running")


@blueprint.post("/backtests")
@describe(
    Operation(
        body=BacktestRequest,
        answers={202: BacktestAnswer},
        problems=(BAD_FIELDS, backtest_running(1), TOO_LARGE, NOT_JSON, DATABASE_AWAY),
    )
)
def create_backtest() -> Response:
    """Ask what other rules would have raised.

    All stored actions are judged once more by the rules as they would be, in the background and at lowest priority,
    and compared with the alerts that are stored. Read the `Location` until the status is no longer `running`. One runs
    at a time: a 409 names the one that does.
    """
    wanted = validate(BacktestRequest, parse_object(read_json()))
    present = service().run(service().rules)
    question = _question(wanted, {code: change.setting for code, change in present.items()})
    backtest_id = service().run(lambda session: _enter(session, question))
    _start(backtest_id)
    row = service().run(lambda session: _existing(session, backtest_id))
    return json_answer(BacktestAnswer.of(row), 202, {"Location": f"/backtests/{backtest_id}"})


@blueprint.get("/backtests")
@describe(Operation(query=BacktestsQuery, answers={200: BacktestsAnswer}, problems=(BAD_QUERY, DATABASE_AWAY)))
def list_backtests() -> Response:
    """List backtests, newest first.

    They come without their results. `next` is the cursor of the next page.
    """
    query = read_query(BacktestsQuery)
    before = place(query)
    # One more than the page shows whether there is a next one.
    found = service().run(lambda session: backtests.page(session, query.limit + 1, before[0] if before else None))
    page, following = cut(found, query, lambda row: (row.backtest_id,))
    return json_answer(BacktestsAnswer(backtests=[BacktestAnswer.of(row) for row in page], next=following))


@blueprint.get("/backtests/<id:backtest_id>")
@describe(Operation(path=ID, answers={200: BacktestDetailAnswer}, problems=(unknown_backtest(7), DATABASE_AWAY)))
def get_backtest(backtest_id: int) -> Response:
    """Read a backtest, with its result once it is done."""
    row = service().run(lambda session: _existing(session, backtest_id))
    return json_answer(BacktestDetailAnswer.of(row, result=row.result))


@blueprint.delete("/backtests/<id:backtest_id>")
@describe(Operation(path=ID, answers={202: BacktestAnswer}, problems=(unknown_backtest(7), DATABASE_AWAY)))
def cancel_backtest(backtest_id: int) -> Response:
    """Cancel a backtest.

    Its processes end within a second. One that has ended before stays as it is.
    """

    def cancel(session: Session) -> Any:
        backtests.cancel(session, backtest_id)
        return _existing(session, backtest_id)

    return json_answer(BacktestAnswer.of(service().run(cancel)), 202)


def _question(wanted: BacktestWanted, present: Mapping[int, RuleSetting]) -> Question:
    asked = wanted.sweep
    sweep = Sweep(asked.rule, asked.parameter, asked.given()) if asked else None
    if wanted.rules is not None:
        versions = [_tried(present[code], trial) for code, trial in wanted.rules.given().items()]
    elif sweep:
        versions = [tried(present[sweep.code], {})]
    else:
        versions = [version for version in present.values() if version.status == "active"]
        if not versions:
            raise Problem(400, "No rule is active: name those to try in rules.")
    at_most = wanted.at_most_per_day if "at_most_per_day" in wanted.model_fields_set else None
    return Question(tuple(versions), wanted.start, wanted.end, sweep, at_most)


def _tried(present: RuleSetting, trial: RuleTrial) -> RuleSetting:
    parameters = trial.parameters.values() if trial.parameters else {}
    return tried(present, parameters, None if trial.by_risk is None else trial.by_risk.values())


def _enter(session: Session, question: Question) -> int:
    request = json.dumps(question.written())
    while (backtest_id := backtests.start(session, request)) is None:
        # It may have ended between the two statements.
        if (other := backtests.running(session)) is not None:
            raise backtest_running(other)
    return backtest_id


def _start(backtest_id: int) -> None:
    """Start the run. It lives as long as its standard input is open, so it ends with this process at the latest."""
    used = service()
    asked = json.dumps({"backtest_id": backtest_id, "url": used.url}).encode() + b"\n"
    process = None
    with suppress(OSError):  # what did not start has ended
        process = subprocess.Popen(RUN, cwd=ROOT, stdin=subprocess.PIPE, bufsize=0)
        cast(IO[bytes], process.stdin).write(asked)
    args = (used, backtest_id, process)
    threading.Thread(target=_attend, args=args, daemon=True, name="backtest").start()


def _attend(used: Service, backtest_id: int, process: "subprocess.Popen[bytes] | None") -> None:
    """Wait for the run's end, and say so where it could not do that itself."""
    if process is not None:
        process.wait()
        cast(IO[bytes], process.stdin).close()
    with suppress(SQLAlchemyError):  # then its silence tells
        used.run(lambda session: backtests.end(session.connection(), backtest_id, "interrupted"))


def _existing(session: Session, backtest_id: int) -> Any:
    row = backtests.get(session, backtest_id)
    if row is None:
        raise unknown_backtest(backtest_id)
    return row
