"""A try of a rule: a backtest of it alone, as its page shows it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

from markupsafe import Markup
from sqlalchemy import Row
from sqlalchemy.orm import Session

from database import backtests
from database.change_log import who_started
from routes.desk.sweep_chart import SweepPoint, sweep_curve
from routes.http.pages import DESK
from routes.http.problems import Problem
from routes.http.unknown import unknown_backtest
from routes.schemas.backtest_answers import BacktestAnswer
from rules.base import RuleSetting
from rules.hindsight.question import shown_result
from rules.parameters import read_values
from rules.registry import REGISTRY
from rules.values import LAST_TIME

_RECENT = 20  # backtests of which those of a rule are listed
_SLOWEST = 10.0  # seconds between two looks at the progress


class SweepStep(NamedTuple):
    """A value of a sweep: its text, what is reported of it, and where a click on it leads."""

    value: str
    figures: Mapping[str, Any]
    link: str
    is_within: bool
    is_present: bool


class Try(NamedTuple):
    """A backtest of one rule alone, and who started it.

    `setting` is what the rule was tried with; `result` is there once it is done, with sentences for people.
    """

    id: int
    status: str
    progress: float
    error: str | None
    who: str | None
    created_at: datetime
    finished_at: datetime | None
    request: Mapping[str, Any]
    setting: RuleSetting
    result: Mapping[str, Any] | None

    @property
    def is_running(self) -> bool:
        """Whether it is under way."""
        return self.status == "running"

    @property
    def is_done(self) -> bool:
        """Whether there are figures."""
        return self.result is not None

    @property
    def start(self) -> int | None:
        """Where its period begins, unless with the first event."""
        return self.request["from"] or None

    @property
    def end(self) -> int | None:
        """Where its period ends, unless with the last event."""
        return None if self.request["to"] == LAST_TIME else self.request["to"]

    @property
    def swept(self) -> str | None:
        """The parameter of the sweep, if it has one."""
        return (self.request.get("sweep") or {}).get("parameter")

    @property
    def sweep_bounds(self) -> tuple[Any, Any, Any] | None:
        """The first and the last value of its sweep, and the step between two of them."""
        values: Sequence[Any] = (self.request.get("sweep") or {}).get("values") or ()
        if len(values) < 2:
            return None
        step = abs(Decimal(values[1]) - Decimal(values[0]))
        return values[0], values[-1], step

    @property
    def budget(self) -> int | None:
        """How many alerts a day there may be."""
        return self.request.get("at_most_per_day")

    def pause(self, now: datetime) -> str:
        """In how many seconds to look at the progress again: the longer it takes, the later."""
        return f"{min(_SLOWEST, 0.5 + (now.astimezone(UTC) - self.created_at).total_seconds() / 20):.1f}"

    def link(self, values: Mapping[str, str] | None = None) -> str:
        """The address of this try on the page of its rule, with other `values` in the form."""
        return f"{DESK}/rules/{self.setting.code}?{urlencode({'try': self.id} | dict(values or {}))}"

    def steps(self, present: RuleSetting) -> list[SweepStep]:
        """Its sweep, if it is done and has one; `present` is what the rule is set to now."""
        if self.result is None or not self.swept:
            return []
        now, within = str(present.parameters.get(self.swept)), self.result.get("quiet_enough")
        return [
            SweepStep(
                value=str(one["value"]),
                figures=one,
                link=self.link({self.swept: str(one["value"])}) + "#form",
                is_within=one["value"] == within,
                is_present=str(one["value"]) == now,
            )
            for one in self.result.get("sweep") or ()
        ]

    def curve(self, present: RuleSetting) -> Markup:
        """Its sweep as a curve."""
        steps, swept = self.steps(present), self.swept or ""
        within = next((step.value for step in steps if step.is_within), None)
        points = [SweepPoint(step.value, step.figures["alerts_per_day"], step.link) for step in steps]
        now = str(present.parameters[swept]) if swept in present.parameters else None
        return sweep_curve(points, parameter=swept, present=now, budget=self.budget, within=within)


def read_try(session: Session, code: int, backtest_id: int, time_is_epoch: bool) -> Try:
    """The backtest as a try of the rule `code`. Raises Problem 404 if there is none, or if it is of other rules."""
    row = backtests.get(session, backtest_id)
    if row is None:
        raise unknown_backtest(backtest_id)
    if not _is_of(row, code):
        raise Problem(404, f"Backtest {backtest_id} is not of rule {code} alone.", kind="unknown-backtest")
    shown = BacktestAnswer.of(row)
    return Try(
        id=row.backtest_id,
        status=shown.status,
        progress=shown.progress,
        error=row.error,
        who=who_started(session, row.backtest_id, row.created_at),
        created_at=row.created_at,
        finished_at=row.finished_at,
        request=row.request,
        setting=_setting(row.request["rules"][0]),
        result=None if row.result is None else shown_result(row.result, time_is_epoch),
    )


def recent_tries(session: Session, code: int) -> Sequence[Any]:
    """The tries of the rule `code` among the newest backtests, newest first, without results."""
    return [row for row in backtests.page(session, _RECENT, None) if _is_of(row, code)]


def place_of(session: Session, backtest_id: int) -> tuple[str | None, str | None]:
    """Where the page of a backtest is, if it is of one rule alone, and who started it."""
    row = backtests.get(session, backtest_id)
    if row is None:
        return None, None
    codes = [one["code"] for one in row.request["rules"]]
    link = f"{DESK}/rules/{codes[0]}?try={backtest_id}" if len(codes) == 1 else None
    return link, who_started(session, backtest_id, row.created_at)


def _is_of(row: Row[*tuple[Any, ...]], code: int) -> bool:
    return [one["code"] for one in row.request["rules"]] == [code]


def _setting(written: Mapping[str, Any]) -> RuleSetting:
    rule = REGISTRY[written["code"]]
    return RuleSetting(
        rule=rule,
        version=written["version"],
        status="active",
        parameters=rule.defaults() | read_values(rule.declared, written["parameters"]),
        by_risk={risk: read_values(rule.declared, values) for risk, values in written["by_risk"].items()},
    )
