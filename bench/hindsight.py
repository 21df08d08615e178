"""Judging the stored history again: backtest and verify, against PostgreSQL's own window functions.

SQL makes the history, with the columns as the service would write them. No two actions of a user have the same time,
because a RANGE frame includes all rows of the current time, but a rule sees only those that had arrived.
"""

import io
import json
import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, insert

from bench.ratios import Row, Spread
from bench.servers import Database, database
from database import history, models
from rules.base import RuleSetting
from rules.hindsight.all_users import over_all_users
from rules.hindsight.backtest import BacktestPlan, BacktestResult
from rules.hindsight.backtest_work import BacktestWork
from rules.hindsight.stored_columns import StoredActions, StoredUsers
from rules.hindsight.verify_report import VerifyReport
from rules.hindsight.verify_work import VerifyWork
from rules.judging.evidence import evidence_of
from rules.registry import REGISTRY
from rules.timeline import Timeline
from rules.values import LAST_TIME
from rules.versions import RuleSet, RuleVersions

CODES = (1100, 30, 300, 123, 500)  # the rules of the contract
EACH = 100  # actions of a user
SQL = Path(__file__).with_name("alerts.sql").read_text()

# Hashes instead of random(): every run gets the same history, about 40 seconds between two actions of a user.
_HISTORY = """
INSERT INTO users (user_id, last_seq) SELECT u, {each} FROM generate_series(1, {users}) AS u;
INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version, ordinal,
    running_total)
SELECT user_id, seq, type, amount, time, '{{}}', {number}, 0, row_number() OVER w, sum(amount) OVER w FROM (
    SELECT u AS user_id, s AS seq, CASE WHEN hashint8(u * 1000 + s) & 15 < 5 THEN 'withdraw' ELSE 'deposit' END AS type,
        (100 + (hashint8(s * 1000003 + u) & 8191)) / 100.0 AS amount,
        s * 40 + (hashint8(u * 77 + s * 13) & 31) AS time
    FROM generate_series(1, {each}) AS s CROSS JOIN generate_series(1, {users}) AS u
) AS a WINDOW w AS (PARTITION BY user_id, type ORDER BY time, seq);
UPDATE users AS u SET net = s.net FROM (
    SELECT user_id, sum(CASE type WHEN 'deposit' THEN amount ELSE -amount END) AS net FROM user_actions GROUP BY user_id
) AS s WHERE s.user_id = u.user_id
"""
_ANSWERS = """
UPDATE user_actions AS a SET alert_codes = l.codes FROM (
    SELECT user_id, seq, array_agg(code ORDER BY array_position('{1100,30,300,123,500}', code)) AS codes
    FROM alerts GROUP BY user_id, seq
) AS l WHERE (l.user_id, l.seq) = (a.user_id, a.seq)
"""
_DIFFERENT = f"""
SELECT count(*) FROM (SELECT user_id, seq, code FROM ({SQL}) AS a) AS s
FULL JOIN alerts AS l USING (user_id, seq, code) WHERE s.user_id IS NULL OR l.user_id IS NULL
"""


@dataclass(frozen=True)
class Hindsight:
    """The seconds that each way took in each round for `actions` actions, and what makes the run invalid."""

    actions: int
    alerts: int
    processes: int
    seconds: dict[str, list[float]]
    rows: list[Row]
    problems: list[str]


def measure(server: URL, actions: int, rounds: int, say: Callable[[str], None]) -> Hindsight:
    """Backtest the five rules over `actions`, verify them, and ask PostgreSQL for the same alerts, in turn."""
    with database(server, "hindsight") as made:
        entered = _enter_rules(made)
        settings = tuple(RuleSetting.initial(REGISTRY[code]) for code in CODES)
        users = max(1, actions // EACH)
        for statement in _HISTORY.format(users=users, each=EACH, number=entered.number).split(";"):
            made.do(statement)
        url = made.url.render_as_string(hide_password=False)
        _store_alerts(made, url, settings)
        made.do(_ANSWERS, "VACUUM ANALYZE", "CHECKPOINT")
        alerts, different = int(made.ask("SELECT count(*) FROM alerts")), int(made.ask(_DIFFERENT))
        problems = [f"hindsight: SQL and the rules differ in {different} alerts"] if different else []

        plan = BacktestPlan(candidates=settings, sweep=(), start=0, end=LAST_TIME)
        ways: dict[str, Callable[[], object]] = {
            "SQL": lambda: made.ask(f"SELECT count(*) FROM ({SQL}) AS a"),
            "backtest": lambda: _run(url, BacktestWork(plan), BacktestResult()),
            "verify": lambda: _run(url, VerifyWork(entered), VerifyReport()),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(1, rounds + 1):
            for way, run in ways.items():
                begun = time.perf_counter()
                found = run()
                seconds[way].append(time.perf_counter() - begun)
                say(f"round {number}/{rounds}  {way}: {users * EACH / seconds[way][-1]:,.0f} actions/s")
                if isinstance(found, BacktestResult) and (found.now[0].added or found.now[0].removed):
                    problems.append(f"backtest: {found.now[0].added} alerts added, {found.now[0].removed} removed")
                if isinstance(found, VerifyReport) and found.found:
                    problems.append(f"verify: {found.found} differences, such as {found.differences[0]}")
    return Hindsight(users * EACH, alerts, _cores(), seconds, _rows(users * EACH, seconds), problems)


def _rows(actions: int, seconds: dict[str, list[float]]) -> list[Row]:
    def times_as_fast(way: str, other: str) -> Spread:
        return Spread.of([b / a for a, b in zip(seconds[way], seconds[other], strict=True)])

    def per_core(way: str) -> Spread:
        return Spread.of([actions / took / _cores() / 1000 for took in seconds[way]])

    return [
        Row("rate, backtest / SQL window functions", times_as_fast("backtest", "SQL"), at_least=1.5),
        Row("backtest, thousand actions a second and core", per_core("backtest"), at_least=300),
        Row("verify, thousand actions a second and core", per_core("verify"), at_least=100),
    ]


def _run(url: str, work: Any, result: Any) -> Any:
    return over_all_users(url, work, result, _cores(), lambda *_: None)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _enter_rules(made: Database) -> RuleVersions:
    changes = RuleVersions().changes_for(CODES)
    with made.engine.connect() as connection:
        connection.execute(insert(models.RuleVersion), [change.columns() for change in changes])
    return RuleVersions(changes)


def _store_alerts(made: Database, url: str, settings: tuple[RuleSetting, ...]) -> None:
    """Judge all actions and store the alerts, with the evidence that verify will check."""
    rules = RuleSet(settings, risk="normal")
    with history.snapshot(url) as connection, closing(made.engine.raw_connection()) as target:
        cursor: Any = target.cursor()
        for users in history.stretches(connection, 100_000):
            rows = io.StringIO()
            stored = StoredUsers(StoredActions.copied(history.actions_to_backtest(connection, users, LAST_TIME)), {})
            for number, user_id in enumerate(stored.ids.tolist()):
                timeline = Timeline()
                for now in stored.actions_of(number):
                    timeline.add(now)
                    for rule in rules.by_type[now.type]:
                        if finding := rule.check(timeline.at(now), rule.parameters):
                            evidence = json.dumps(evidence_of(rule, finding))
                            rows.write(f"{user_id}\t{now.seq}\t{rule.code}\t{now.time}\t{evidence}\n")
            rows.seek(0)
            cursor.copy_expert("COPY alerts (user_id, seq, code, time, evidence) FROM STDIN", rows)
        target.commit()
