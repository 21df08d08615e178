"""A history in which everything happens that a backtest minds, and what a backtest of the database itself finds."""

import json
from random import Random
from typing import Any

from sqlalchemy import text

from app import create_app
from config_loader import load_settings
from database.records import Users
from database.session import Transaction
from rules.base import RuleSetting
from rules.hindsight.backtest import BacktestPlan, BacktestResult
from rules.hindsight.backtest_work import BacktestWork
from rules.hindsight.question import Question, Sweep, candidate, report
from rules.model import ACTION_TYPES, ActionType, Event
from rules.registry import REGISTRY
from rules.rule_settings import read_versions
from rules.values import LAST_TIME, MAX_ID, MOST_MONEY
from tests.integration.test_hindsight import AMOUNTS, MOSTLY_ACTIVE, Live, Posted, _user_set, rule_set
from tests.integration.test_pruning import prune
from tests.postgres import Sessions, transaction
from tests.service import PATIENT

EVERYBODY = Users(first=1, last=MAX_ID, actions=0)


def make_history(sessions: Sessions) -> None:
    """Store it: late and superseded alerts, shadow rules, ratings, overrides, outcomes, removed actions, odd users."""
    random = Random(14)
    for number in range(12):
        live = Live(sessions)
        live.first = 100 * (number + 1)
        live.set_rules(rule_set(rule, random, MOSTLY_ACTIVE) for rule in REGISTRY.values())
        for _ in range(12):
            if random.random() < 0.3:
                live.do([_user_set(random.randint(1, 3), random)])
            live.do([Posted(tuple(_event(random) for _ in range(random.randint(1, 8))))], origin=number * 40_000)
        if number % 3 == 0:
            for user in (1, 2):
                prune(sessions, live.first + user, number * 40_000 + random.randint(30, 120))
    ends = Live(sessions)
    ends.post(
        Event(user_id, kind, MOST_MONEY, time, None)
        for user_id in (1, MAX_ID)
        for kind in ACTION_TYPES
        for time in (0, 5, LAST_TIME - 5, LAST_TIME)
    )
    ends.post([Event(5_000, "deposit", AMOUNTS[0], 7, None)])
    with transaction(sessions) as session:
        session.execute(text("INSERT INTO users (user_id, name) VALUES (4000, 'Ada Lovelace')"))
        session.execute(
            text("""
                UPDATE alerts SET status = 'closed', assignee = 'grace',
                    outcome = (ARRAY['true_positive', 'false_positive', 'inconclusive'])[1 + seq % 3]
                WHERE (seq + code) % 2 = 0
            """)
        )


def _event(random: Random) -> Event:
    time = random.choice([0, 10, 30, 60, 61, random.randint(0, 200)])
    kind: ActionType = "deposit" if random.random() < 0.6 else "withdraw"
    return Event(random.randint(1, 3), kind, random.choice(AMOUNTS), time, random.choice([None, "a secret id"]))


def present(sessions: Sessions) -> dict[int, RuleSetting]:
    """What all rules are set to."""
    with sessions() as session:
        return dict(read_versions(session).newest.settings)


def questions(settings: dict[int, RuleSetting]) -> dict[str, Question]:
    """Several backtests by name."""
    chosen = tuple(setting for setting in settings.values() if setting.status != "off")
    amount = REGISTRY[1100].declared[0]
    sweep = Sweep(code=1100, parameter="threshold", values=tuple(map(amount.read, ("0.10", "20.00", "60.00"))))
    swept = (candidate(settings[1100], {}),)
    return {
        "all rules": Question(candidates=chosen, start=0, end=LAST_TIME),
        "a period": Question(candidates=chosen, start=40_050, end=320_060),
        "a sweep": Question(candidates=swept, start=0, end=LAST_TIME, sweep=sweep, at_most=3),
        "the last moment": Question(candidates=chosen, start=LAST_TIME, end=LAST_TIME),
        "before everything": Question(candidates=chosen, start=1, end=3),
    }


def found(sessions: Sessions, plan: BacktestPlan) -> BacktestResult:
    """What a backtest of the database finds."""
    with sessions() as session, Transaction(session) as begun:
        work = BacktestWork(plan)
        result = work.part(begun.connection, EVERYBODY)
        work.complete(begun.connection, result)
    return result


def reported(question: Question, result: BacktestResult) -> Any:
    """The report as a command writes it, of a result to which others were added."""
    whole = question.empty_result()
    whole.add(result)
    return json.loads(json.dumps(report(question, whole)))


def run_command(url: str, *words: object) -> Any:
    """What came of a command of the application on the database at `url`, in this process."""
    app = create_app(load_settings(None, **(PATIENT | {"database_url": url, "secret_key": "a" * 32})))
    try:
        return app.test_cli_runner().invoke(args=[str(word) for word in words])
    finally:
        app.extensions["transaction-alerts"].dispose()
