"""Judging stored history once more: the backtest and verify, against PostgreSQL's own window functions.

The history is made by SQL, with the columns as the service would write them. In it no two actions of a user have the same
time: a RANGE frame takes in all rows of the current time, and the rules only those that had arrived.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from bench.servers import Database, database
from commands.all_users import BacktestWork, Result, VerifyWork, Work, over_all_users
from database import long_reads
from rules.backtest import Outcome, Trial
from rules.base import RuleVersion
from rules.book import Entry, RuleBooks, written_values
from rules.evidence import evidence_of
from rules.model import LAST_TIME, Timeline
from rules.registry import REGISTRY
from rules.verify import Report

CODES = (1100, 30, 300, 123, 500)  # of the contract
EACH = 100  # actions of a user
GAP = 40  # seconds between two of them, on average

_HISTORY = (
    "INSERT INTO users (user_id, last_seq) SELECT u, {each} FROM generate_series(1, {users}) AS u",
    # Hashes instead of random(): every run gets the same history.
    """INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version, ordinal,
        running_total)
    SELECT user_id, seq, type, amount, time, '{{}}', {number}, 0, row_number() OVER w, sum(amount) OVER w FROM (
        SELECT u AS user_id, s AS seq, CASE WHEN hashint8(u * 1000 + s) & 15 < 5 THEN 'withdraw' ELSE 'deposit' END AS type,
            (100 + (hashint8(s * 1000003 + u) & 8191)) / 100.0 AS amount,
            s * {gap} + (hashint8(u * 77 + s * 13) & 31) AS time
        FROM generate_series(1, {each}) AS s CROSS JOIN generate_series(1, {users}) AS u
    ) AS a WINDOW w AS (PARTITION BY user_id, type ORDER BY time, seq)""",
    "UPDATE users AS u SET net = s.net FROM (SELECT user_id, sum(CASE type WHEN 'deposit' THEN amount ELSE -amount END)"
    " AS net FROM user_actions GROUP BY user_id) AS s WHERE s.user_id = u.user_id",
    "VACUUM ANALYZE",
    "CHECKPOINT",
)

# The five rules as a person would write them for PostgreSQL: one pass over the table, four sorts of windows.
_SQL = Path(__file__).with_name("alerts.sql").read_text()


@dataclass(frozen=True)
class Hindsight:
    """Seconds that each way took for so many actions, each round, and what makes the run invalid."""

    actions: int
    processes: int
    seconds: dict[str, list[float]]
    alerts: int
    problems: list[str]


def measure(server: URL, users: int, rounds: int, say: Callable[[str], None]) -> Hindsight:
    """Backtest the five rules over `users` with EACH actions, verify them, and ask PostgreSQL for the same alerts."""
    with database(server, "hindsight") as made:
        entries = _enter_rules(made)
        for statement in _HISTORY:
            made.do(statement.format(users=users, each=EACH, gap=GAP, number=entries[-1].number))
        say(f"hindsight: {users * EACH:,} actions are stored")
        made.do(
            f"INSERT INTO alerts (user_id, seq, code, time, evidence) SELECT user_id, seq, code, time, '{{}}' FROM ({_SQL}) AS a"
        )
        url = made.url.render_as_string(hide_password=False)
        versions = tuple(RuleVersion.initial(REGISTRY[code]) for code in CODES)
        backtest = BacktestWork(Trial(versions, (), 0, LAST_TIME))
        processes = len(os.sched_getaffinity(0))
        seconds: dict[str, list[float]] = {"SQL": [], "backtest": [], "verify": []}
        problems = []
        outcome = Outcome()
        for number in range(1, rounds + 1):
            begun = time.perf_counter()
            made.ask(f"SELECT count(*) FROM ({_SQL}) AS a")
            seconds["SQL"].append(time.perf_counter() - begun)
            took, outcome = _timed(url, backtest, Outcome(), processes)
            seconds["backtest"].append(took)
            say(f"round {number}/{rounds}  SQL {seconds['SQL'][-1]:.1f} s, backtest {took:.1f} s")
        now = outcome.now[0]
        if now.added or now.removed or now.alerts != outcome.then.alerts:
            problems.append(
                f"SQL finds {outcome.then.alerts} alerts, the backtest {now.alerts}: {outcome.added[:3]}, {outcome.removed[:3]}"
            )
        return Hindsight(users * EACH, processes, seconds, now.alerts, problems)


def _timed(url: str, work: Any, result: Any, processes: int) -> tuple[float, Any]:
    begun = time.perf_counter()
    over_all_users(url, work, result, processes, lambda done, total: None)
    return time.perf_counter() - begun, result


def _enter_rules(made: Database) -> list[Entry]:
    entries = RuleBooks([]).changes_for(CODES)
    for entry in entries:
        values = (entry.number, entry.code, entry.version, entry.status, json.dumps(entry.parameters))
        made.do(
            "INSERT INTO rule_versions (number, code, version, status, parameters, by_risk) VALUES (%d, %d, %d, '%s', '%s', '{}')"
            % values
        )
    return entries
