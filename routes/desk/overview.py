"""The overview: how much arrives, what it raises, how much of it is left and how long it takes; all from figures."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from flask import Blueprint, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict
from sqlalchemy.orm import Session

from database import figures
from database.alert_filters import AlertFilter
from database.figures import RuleFigures
from database.inbox import users_with_alerts
from routes.desk import charts
from routes.desk.forms import read_filters
from routes.desk.inbox_query import InboxQuery
from routes.desk.shell import page
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.pages import DESK
from routes.schemas.fields import digits
from rules.parameters import written_values
from rules.versions import RuleChange

blueprint = Blueprint("desk_overview", __name__, template_folder="../templates")

DAYS = (14, 56)
AGES = (2, 10, 30)  # days: alerts that are left to close are told apart by these
MINUTES = 60
TOP_USERS = 10
_STALE = timedelta(minutes=10)  # figures that are older have not caught up yet

_LEFT = InboxQuery(tab="all", closed=False)


class OverviewQuery(BaseModel):
    """Of how many days."""

    model_config = ConfigDict(frozen=True)

    days: Annotated[Literal[14, 56], BeforeValidator(digits)] = 14

    def path(self, days: int) -> str:
        """The path of the page with so many days."""
        return f"{DESK}/overview" if days == DAYS[0] else f"{DESK}/overview?days={days}"


class RuleLine(NamedTuple):
    """A rule that raised alerts in these days, or of which some were decided."""

    code: int
    title: str
    status: str
    figures: RuleFigures
    of_outcome: Mapping[str, int]
    superseded: int

    @property
    def raised(self) -> int:
        """Its alerts in these days."""
        return sum(self.figures.per_day)

    @property
    def in_shadow(self) -> int:
        """Those that it raised in shadow."""
        return sum(self.figures.shadow_per_day)

    def path(self, **asked: object) -> str:
        """The inbox with its alerts."""
        return InboxQuery(tab="all", code=self.code).path(**asked)


class AgeLine(NamedTuple):
    """Alerts that are left to close, by how many days ago they arrived; `share` is that among all of them.

    `path` is the inbox with them. It goes by the time of the event: with dates that is about when it arrived, without
    they are first or last.
    """

    name: str
    number: int
    share: float
    path: str


@blueprint.get(f"{DESK}/overview")
@needs("read")
def get_overview() -> Response:
    """The overview."""
    query = read_filters(OverviewQuery)
    # The frame around it reads by itself, so nothing is written while this has a connection.
    return page("desk/overview.html", **service().read(lambda session: _read(session, query)))


def _read(session: Session, query: OverviewQuery) -> dict[str, Any]:
    present = service().rules(session)
    known = figures.progress(session)
    rules = rule_lines(session, present, query.days)
    events = figures.days_of_events(session, query.days)
    minutes = figures.last_minutes(session, MINUTES)
    today = events[-1].day if service().policy.time_is_epoch else None
    is_behind = known is None or known.now - known.as_of > _STALE
    return {
        "query": query,
        "choices": DAYS,
        "known": known,
        "is_behind": is_behind,
        "is_empty": not is_behind and not any(one.deposits or one.withdrawals for one in events) and not rules,
        "events": events,
        "minutes": minutes,
        "since": 0 if today is None else _midnight(today, query.days - 1),
        "names": [_named(one.day, known and known.as_of) for one in events],
        "clock": [f"{one.minute:%H:%M} UTC" for one in minutes],
        "rules": [line for line in rules if line.raised],
        "decided": [line for line in rules if line.figures.decided or line.in_shadow],
        "ages": age_lines(figures.left_to_close(session, AGES), today),
        "weeks": figures.last_weeks(session),
        "users": users_with_alerts(session, AlertFilter(closed=False, superseded=False), TOP_USERS),
        "left": _LEFT,
        "closed": InboxQuery(tab="closed"),
        "inbox": InboxQuery(),
        "lately": InboxQuery(tab="all").path(start=_hour_ago(known) if today else 0),
        "fewest": figures.FEWEST_DECIDED,
        "decided_days": figures.DECIDED_DAYS,
        "charts": charts,
    }


def rule_lines(session: Session, present: Mapping[int, RuleChange], days: int) -> list[RuleLine]:
    """The rules that have any figures, those that raised most first."""
    found = figures.rule_figures(session, days)
    since = figures.last_days(session, figures.DECIDED_DAYS)[0]
    decisions: dict[tuple[str, int], int] = {}
    for (what, code, _), number in figures.by_day(session, (*figures.OUTCOMES, figures.SUPERSEDED), since).items():
        decisions[what, code] = decisions.get((what, code), 0) + number
    lines = [
        RuleLine(
            code=code,
            title=change.setting.rule.titled(written_values(change.setting.parameters)),
            status=change.setting.status,
            figures=found[code],
            of_outcome={outcome: decisions.get((outcome, code), 0) for outcome in figures.OUTCOMES},
            superseded=decisions.get((figures.SUPERSEDED, code), 0),
        )
        for code, change in present.items()
        if code in found
    ]
    lines = [line for line in lines if line.raised or line.in_shadow or line.figures.decided]
    return sorted(lines, key=lambda line: (-line.raised, -line.figures.decided))


def age_lines(numbers: Sequence[int], today: date | None) -> list[AgeLine]:
    """How many alerts are left to close, by age. `today` is for the paths, if the times of events are dates."""
    total, lines = sum(numbers), []
    for number, first, last in zip(numbers, (0, *(age + 1 for age in AGES)), (*AGES, None), strict=True):
        name = f"{first} to {last} days" if last is not None else f"over {first - 1} days"
        asked: dict[str, object] = {"sort": "oldest" if first else "newest"}
        if today is not None:
            asked |= {} if last is None else {"start": _midnight(today, last)}
            asked |= {"end": _midnight(today, first - 1) - 1} if first else {}
        lines.append(AgeLine(name, number, number / total if total else 0.0, _LEFT.path(**asked)))
    return lines


def _hour_ago(known: figures.Progress | None) -> int:
    """The beginning of the last MINUTES that are counted, in seconds since 1970."""
    return 0 if known is None else int(known.as_of.timestamp()) // 60 * 60 - 60 * MINUTES


def _midnight(today: date, ago: int) -> int:
    """The beginning of a day (UTC), in seconds since 1970."""
    return int(datetime.combine(today - timedelta(days=ago), time(), UTC).timestamp())


def _named(day: date, as_of: datetime | None) -> str:
    """A day as a chart names it: "3 Nov"; of the last one only a part is counted."""
    return f"{day.day} {day:%b}" + (" so far" if as_of is not None and as_of.date() == day else "")
