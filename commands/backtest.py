"""`flask --app app backtest`: what other parameters would have raised, over the stored history."""

from typing import Any

import click
from flask.cli import with_appcontext

from commands.backtest_question import AskedOptions, question_options, show_result
from commands.endings import Command, check_database, service
from commands.terminal import json_option, over_all, processes_option
from rules.hindsight.backtest_work import BacktestWork


@click.command(cls=Command)
@question_options
@processes_option
@json_option
@with_appcontext
def backtest(processes: int, as_json: bool, **options: Any) -> None:
    """Judge all stored actions again, and compare the result with the stored alerts.

    Without --rule they are judged by all active rules as they are. With --rule, by that rule alone, as if it were
    active, with its present parameters except for those given by --set. Nothing is changed, and the service keeps
    running. Exit status: 0 if done, 2 if it could not be done, 130 after Ctrl+C.
    """
    asked = AskedOptions(**options)
    check_database()
    present = {code: change.setting for code, change in service().run(service().rules).items()}
    question = asked.question(present)
    result, seconds = over_all("Judging", BacktestWork(question.plan), question.empty_result(), processes)
    show_result(
        question,
        present,
        result,
        seconds=seconds,
        as_json=as_json,
        time_is_epoch=service().policy.time_is_epoch,
    )
