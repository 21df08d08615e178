"""Backtests: what other settings would have raised over the stored history; each runs in processes of its own."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from database import backtests
from database.log_entries import add_log_entry
from database.session import Transaction
from routes.http.access import caller
from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.hooks import service
from routes.http.json_body import read_model
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, EXHAUSTED, NOT_JSON, Problem
from routes.schemas.backtest_answers import BacktestAnswer, BacktestDetailAnswer, BacktestsAnswer
from routes.schemas.backtests import BacktestRequest, BacktestsQuery, BacktestWanted
from rules.base import RuleSetting
from rules.hindsight.question import Question, Sweep, candidate
from rules.hindsight.start import AnotherRuns, start
from rules.payload import FieldProblem, conflicting
from rules.wording import shown_evidence

blueprint = Blueprint("backtests", __name__)

BAD_PERIOD = Problem(
    400, "The request has missing or bad fields.", errors=[FieldProblem("/to", "must not be before from")]
)
ID = {"backtest_id": {"description": "The number of a backtest.", "example": 1}}


def unknown_backtest(backtest_id: int) -> Problem:
    """The answer when there is no such backtest."""
    return Problem(404, f"There is no backtest {backtest_id}.", kind="unknown-backtest")


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
        backtest_id = start(service(), question, who=caller().name)
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
    return json_answer(BacktestDetailAnswer.of(row, result=_shown(row.result)))


@blueprint.delete("/backtests/<id:backtest_id>")
@describe(
    Operation(needs="tune", path=ID, answers={202: BacktestAnswer}, problems=(unknown_backtest(7), DATABASE_AWAY))
)
def cancel_backtest(backtest_id: int) -> Response:
    """Cancel a backtest.

    Its processes soon end, and only then can another one start. A backtest that has already ended stays as it is.
    """

    def cancel(session: Session) -> Any:
        with Transaction(session) as transaction:
            if backtests.cancel(session, backtest_id):
                subject = str(backtest_id)
                add_log_entry(session, who=caller().name, kind="backtest", subject=subject, what="cancelled")
            row = _existing(session, backtest_id)
            transaction.commit()
        return row

    return json_answer(BacktestAnswer.of(service().run(cancel)), 202)


def _question(wanted: BacktestRequest, present: Mapping[int, RuleSetting]) -> Question:
    asked = wanted.sweep
    sweep = Sweep(code=asked.rule, parameter=asked.parameter, values=asked.in_turn()) if asked else None
    if wanted.rules is not None:
        candidates = [one.setting(present[code]) for code, one in wanted.rules.by_code().items()]
    elif sweep:
        candidates = [candidate(present[sweep.code], {})]
    else:
        candidates = [setting for setting in present.values() if setting.status == "active"]
        if not candidates:
            raise Problem(400, "No rule is active: name the rules to test in rules.")
    at_most = wanted.at_most_per_day if "at_most_per_day" in wanted.model_fields_set else None
    question = Question(candidates=tuple(candidates), start=wanted.start, end=wanted.end, sweep=sweep, at_most=at_most)
    asked_for = wanted.rules.by_code() if wanted.rules is not None else {}
    parameters = {code: one.parameters.values() for code, one in asked_for.items() if one.parameters}
    by_risk = {code: one.by_risk.values() for code, one in asked_for.items() if one.by_risk}
    if found := question.conflicts(parameters, by_risk):
        raise conflicting(found.items())
    return question


def _shown(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """A result as stored, with the sentences of its samples for people."""
    if result is None:
        return None
    shown = dict(result)
    for name in ("added_alerts", "removed_alerts"):
        shown[name] = [
            one | {"evidence": shown_evidence(one["evidence"] or {}, service().policy.time_is_epoch)}
            for one in result.get(name, [])
        ]
    return shown


def _existing(session: Session, backtest_id: int) -> Any:
    row = backtests.get(session, backtest_id)
    if row is None:
        raise unknown_backtest(backtest_id)
    return row
