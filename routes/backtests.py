"""Backtests: what other settings would have raised over the stored history; each runs in processes of its own."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from database import backtests
from routes.http.access import caller
from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.hooks import reader, service
from routes.http.json_body import read_model
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, EXHAUSTED, NOT_JSON, Problem
from routes.http.unknown import unknown_backtest
from routes.schemas.backtest_answers import BacktestAnswer, BacktestDetailAnswer, BacktestsAnswer
from routes.schemas.backtests import BacktestRequest, BacktestsQuery, BacktestWanted
from rules.base import RuleSetting
from rules.hindsight.question import Question, Sweep, shown_result
from rules.hindsight.start import AnotherRuns, NoneActive, ask, cancel, start
from rules.payload import FieldProblem

blueprint = Blueprint("backtests", __name__)

BAD_PERIOD = Problem(
    400, "The request has missing or bad fields.", errors=[FieldProblem("/to", "must not be before from")]
)
ID = {"backtest_id": {"description": "The number of a backtest.", "example": 1}}


def backtest_running(backtest_id: int, is_ending: bool = False) -> Problem:
    """The answer to a new backtest while `backtest_id` is still running, or its processes are ending."""
    detail = f"Backtest {backtest_id} is running: wait until it is done, or cancel it."
    if is_ending:
        detail = f"Backtest {backtest_id} has ended, but not all of its processes have yet: try again in a moment."
    return Problem(409, detail, kind="backtest-running")


@blueprint.post("/backtests")
@describe(
    Operation(
        needs="tune",
        body=BacktestRequest,
        answers={202: BacktestAnswer},
        problems=(BAD_PERIOD, backtest_running(1), EXHAUSTED, TOO_LARGE, NOT_JSON, DATABASE_AWAY),
    )
)
def create_backtest() -> Response:
    """Start a backtest: which alerts other settings would have raised.

    All stored actions are judged again by the rules with the settings given, in the background and at low priority,
    and the result is compared with the stored alerts. Poll the `Location` until the status is no longer `running`.
    Only one backtest runs at a time: a 409 names the one that is running, or was cancelled and has processes that have
    not ended yet.
    """
    wanted = read_model(BacktestWanted)
    present = service().run(service().rules)
    question = _question(wanted, {code: change.setting for code, change in present.items()})
    try:
        backtest_id = start(reader(), question, who=caller().name)
    except AnotherRuns as other:
        raise backtest_running(other.backtest_id, is_ending=not other.is_running) from None
    row = service().run(lambda session: _existing(session, backtest_id))
    return json_answer(BacktestAnswer.of(row), 202, {"Location": f"/backtests/{backtest_id}"})


@blueprint.get("/backtests")
@describe(
    Operation(needs="read", query=BacktestsQuery, answers={200: BacktestsAnswer}, problems=(BAD_QUERY, DATABASE_AWAY))
)
def list_backtests() -> Response:
    """List backtests, newest first.

    Their results are left out. `next` is the cursor of the next page.
    """
    query = read_query(BacktestsQuery)
    before = place(query)
    found = service().read(lambda session: backtests.page(session, query.to_read, before[0] if before else None))
    page, following = cut(found, query, lambda row: (row.backtest_id,))
    return json_answer(BacktestsAnswer(backtests=[BacktestAnswer.of(row) for row in page], next=following))


@blueprint.get("/backtests/<id:backtest_id>")
@describe(
    Operation(needs="read", path=ID, answers={200: BacktestDetailAnswer}, problems=(unknown_backtest(7), DATABASE_AWAY))
)
def get_backtest(backtest_id: int) -> Response:
    """Read a backtest, with its result once it is done."""
    row = service().read(lambda session: _existing(session, backtest_id))
    result = None if row.result is None else shown_result(row.result, service().policy.time_is_epoch)
    return json_answer(BacktestDetailAnswer.of(row, result=result))


@blueprint.delete("/backtests/<id:backtest_id>")
@describe(
    Operation(needs="tune", path=ID, answers={202: BacktestAnswer}, problems=(unknown_backtest(7), DATABASE_AWAY))
)
def cancel_backtest(backtest_id: int) -> Response:
    """Cancel a backtest.

    Its processes soon end, and only then can another one start. A backtest that has already ended stays as it is.
    """

    service().run(lambda session: cancel(session, backtest_id, who=caller().name))
    return json_answer(BacktestAnswer.of(service().run(lambda session: _existing(session, backtest_id))), 202)


def _question(wanted: BacktestRequest, present: Mapping[int, RuleSetting]) -> Question:
    asked, rules = wanted.sweep, wanted.rules
    try:
        return ask(
            present,
            None if rules is None else {code: one.wanted() for code, one in rules.by_code().items()},
            start=wanted.start,
            end=wanted.end,
            sweep=Sweep(code=asked.rule, parameter=asked.parameter, values=asked.in_turn()) if asked else None,
            at_most=wanted.at_most_per_day if "at_most_per_day" in wanted.model_fields_set else None,
        )
    except NoneActive:
        raise Problem(400, "No rule is active: name the rules to test in rules.") from None


def _existing(session: Session, backtest_id: int) -> Any:
    row = backtests.get(session, backtest_id)
    if row is None:
        raise unknown_backtest(backtest_id)
    return row
