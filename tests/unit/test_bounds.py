"""Everything has a documented bound: the table of docs/operations.md, and what no other test goes beyond."""

import ast
import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from config_loader import Settings
from rules import versions
from rules.base import RuleSetting
from rules.hindsight import backtester
from rules.hindsight.backtest import AlertSample, BacktestPlan, BacktestResult
from rules.hindsight.backtester import Backtester
from rules.hindsight.verify_report import LISTED, VerifyReport
from rules.registry import REGISTRY
from rules.versions import RiskAndOverrides, RuleVersions
from tests.bounds import BOUNDS, KEEPERS

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("access", "alembic", "commands", "database", "routes", "rules", "work")
KINDS = {
    *("lru_cache", "cache", "deque", "Queue", "LifoQueue", "SimpleQueue", "Semaphore", "BoundedSemaphore"),
    *("ThreadPoolExecutor", "ProcessPoolExecutor", "Thread", "Popen", "WSGIMiddleware"),
}


class Row(NamedTuple):
    """One row of the table."""

    name: str
    value: str
    setting: str
    beyond: str


def table() -> list[Row]:
    """The rows of the tables under the heading "Bounds"."""
    page = (ROOT / "docs/operations.md").read_text()
    section = page.partition("\n## Bounds\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| bound ")]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


def test_every_bound_is_documented() -> None:
    """The table has a row for each bound, once, and nothing else, with the values of the code."""
    rows = table()
    assert [row.name for row in rows] == list(dict.fromkeys(row.name for row in rows))
    assert {row.name: row.value for row in rows} == {name: bound.value for name, bound in BOUNDS.items()}
    assert [row.name for row in rows if not (row.setting and row.beyond)] == []


def test_a_test_goes_beyond_every_bound() -> None:
    """Each bound names a test that exists."""
    missing = []
    for name, bound in BOUNDS.items():
        path, _, function = bound.test.partition("::")
        if function not in functions(ROOT / "tests" / path):
            missing.append((name, bound.test))
    assert missing == []


@cache
def functions(path: Path) -> set[str]:
    """The names of the functions of a module, if there is one."""
    nodes = ast.walk(ast.parse(path.read_text())) if path.exists() else ()
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_settings_of_the_table_exist() -> None:
    """What the table calls a setting is one, and every setting that is a bound stands there."""
    named = {word for row in table() for word in re.findall(r"`([A-Z][A-Z_]+)`", row.setting)}
    assert named - {name.upper() for name in Settings.model_fields} == set()
    bounding = {name.upper() for name, field in Settings.model_fields.items() if field.annotation in (int, float)}
    assert bounding - named == {"BACKEND_PORT", "DB_PORT", "RETENTION_YEARS"}


def kept() -> set[str]:
    """Everything in the code that holds things or runs beside its caller: file and kind."""
    paths = [*ROOT.glob("*.py"), *(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))]
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            makers = [node.func] if isinstance(node, ast.Call) else []
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                makers += node.decorator_list
            for maker in makers:
                name = maker.attr if isinstance(maker, ast.Attribute) else getattr(maker, "id", "")
                if name in KINDS:
                    found.add(f"{path.relative_to(ROOT)} {name}")
    return found


def test_every_keeper_is_bounded() -> None:
    """Every cache, queue, thread and process of the code says what bounds it."""
    assert kept() == set(KEEPERS)


# What no test elsewhere goes beyond


def settings_number(number: int) -> str:
    """Overrides of one user, as stored: others for each number."""
    return f'{{"1100": {{"threshold": "{number}.00"}}}}'


def test_rule_sets_beyond_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more users who have overrides of their own than are remembered, each is judged by its own."""
    monkeypatch.setattr(versions, "_REMEMBERED", 3)
    changes = RuleVersions(RuleVersions().changes_for({1100})[:1])
    for number in [*range(1, 8), *range(1, 8)]:
        (rule,) = changes.newest.rule_set("normal", settings_number(number)).all
        assert rule.values["threshold"] == number
        assert len(changes._worked_out.rule_sets) <= 3


def test_rule_sets_of_a_backtest_beyond_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a backtest."""
    monkeypatch.setattr(backtester, "REMEMBERED", 3)
    plan = BacktestPlan(candidates=(RuleSetting.initial(REGISTRY[1100]),), sweep=(), start=0, end=100)
    backtest = Backtester(plan)
    for number in [*range(1, 8), *range(1, 8)]:
        ((rule,),) = [one.all for one in backtest.steps_for(RiskAndOverrides("normal", settings_number(number)))]
        assert rule.values["threshold"] == Decimal(number)
        assert len(backtest._in_force) <= 3


def test_samples_of_a_backtest() -> None:
    """Of all parts together, the first added and removed alerts are shown."""
    together = BacktestResult()
    for user_id in (2, 1):
        samples = [AlertSample((user_id, seq, 123), 0, None) for seq in range(1, 16)]
        together.add(BacktestResult(added=list(samples), removed=list(samples)))
    keys = [(1, seq, 123) for seq in range(1, 16)] + [(2, seq, 123) for seq in range(1, 6)]
    assert [one.key for one in together.added] == keys
    assert [one.key for one in together.removed] == keys
    true = AlertSample((3, 1, 123), 0, None, "true_positive")
    together.add(BacktestResult(removed=[true]))
    assert [one.key for one in together.removed] == [true.key, *keys[:-1]]


def test_differences_beyond_those_listed() -> None:
    """All differences are counted, in one part and in all of them together, and the first are listed."""
    one, other = VerifyReport(), VerifyReport()
    for seq in range(1, LISTED + 3):
        one.note(2, seq, None, "it is not so")
        other.note(1, seq, None, "it is not so")
    assert (one.found, len(one.differences)) == (LISTED + 2, LISTED)
    one.add(other)
    assert (one.found, {difference.user_id for difference in one.differences}) == (2 * LISTED + 4, {1})
