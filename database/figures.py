"""Figures by day, week and minute, as they were counted (figures_step): reading them looks at no alert and no event.

Days are those of arrival, in UTC. The present day is unfinished; of all days, what was stored up to `as_of` is counted.
What is counted for which day:

- events, alerts, users: the day on which they arrived;
- superseded alerts and those left to close: the day on which the alert arrived, whenever they became so;
- decisions that stand, by outcome, and how long they took: the day on which they were made;
- how long an alert had waited when somebody first touched it: the day of that.

Alerts of rules in shadow count as such alone.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from database import figures_clock
from database.models import DailyFigure, DailyUsers, FiguresProgress, MinuteFigure
from database.user_sets import UserSet, joined

# What is counted: the values of the column `what`. Outcomes have their own names.
DEPOSITS, WITHDRAWALS = "deposit", "withdraw"
ALERTS, SHADOW_ALERTS, SUPERSEDED, TO_CLOSE = "alert", "shadow", "superseded", "to_close"
FALSE, OUTCOMES = "false_positive", ("true_positive", "false_positive", "inconclusive")
FIRST_TOUCH, CLOSING = "first_touch", "closing"
EVERYBODY = 0  # the code of the users who did anything

DECIDED_DAYS = 56  # what share of a rule's alerts was false is told of so many days
FEWEST_DECIDED = 20  # of which a share says something
MINUTES = 120  # of which figures by minute are kept
# A time falls into one of these many buckets for each doubling, so a median is right to within 5 per cent.
BUCKETS_PER_DOUBLING = 8


class RuleFigures(NamedTuple):
    """A rule's figures. `per_day`: alerts raised, oldest day first, the last is today; `shadow_per_day`: in shadow.

    `users` had an alert of it in these days, and `share_of_events` is that of its alerts among the events (None: there
    were none). Of its alerts `decided` were closed in the last DECIDED_DAYS, `false` as false.
    """

    per_day: tuple[int, ...]
    shadow_per_day: tuple[int, ...]
    users: int
    share_of_events: float | None
    decided: int
    false: int

    @property
    def share_of_false(self) -> float | None:
        """What share of the decided alerts was false; None if they are fewer than FEWEST_DECIDED."""
        return None if self.decided < FEWEST_DECIDED else self.false / self.decided


class DayFigures(NamedTuple):
    """What arrived on a day: events by type, and how many users they were of."""

    day: date
    deposits: int
    withdrawals: int
    users: int


class MinuteFigures(NamedTuple):
    """What arrived in a minute."""

    minute: datetime
    events: int
    alerts: int


class WeekFigures(NamedTuple):
    """The week from a Monday on: decisions, and medians in seconds, None if there is nothing of which to tell one."""

    monday: date
    decided: int
    first_touch: float | None
    closing: float | None


class Progress(NamedTuple):
    """All that was stored from `begun_at` up to `as_of` is counted. It is `now` by the database's clock."""

    begun_at: datetime
    as_of: datetime
    now: datetime


def progress(session: Session) -> Progress | None:
    """How far the figures have come; None if nothing was counted yet."""
    row = session.execute(select(FiguresProgress.begun_at, FiguresProgress.as_of, figures_clock.now())).one_or_none()
    return None if row is None else Progress._make(row)


def as_of(session: Session) -> datetime | None:
    """The moment up to which everything is counted; None if nothing was counted yet."""
    found = progress(session)
    return None if found is None else found.as_of


def last_days(session: Session, days: int) -> list[date]:
    """The present day and those before it, oldest first: so many in all."""
    today = session.execute(select(figures_clock.now())).scalar_one().astimezone(UTC).date()
    return [today - timedelta(days=ago) for ago in range(days - 1, -1, -1)]


def rule_figures(session: Session, days: int = 14) -> Mapping[int, RuleFigures]:
    """The figures of the last `days` of each rule that has any, by code."""
    shown = last_days(session, days)
    long = last_days(session, max(days, DECIDED_DAYS))
    counted = (ALERTS, SHADOW_ALERTS, DEPOSITS, WITHDRAWALS, *OUTCOMES)
    found = by_day(session, counted, long[0])
    events = sum(found.get((what, EVERYBODY, day), 0) for what in (DEPOSITS, WITHDRAWALS) for day in shown)
    users = users_by_code(session, shown[0])
    decisions: dict[tuple[str, int], int] = defaultdict(int)
    for (what, code, day), number in found.items():
        if what in OUTCOMES and day >= long[-DECIDED_DAYS]:
            decisions[what, code] += number
    figures = {}
    for code in {code for what, code, _ in found if what not in (DEPOSITS, WITHDRAWALS)}:
        per_day = tuple(found.get((ALERTS, code, day), 0) for day in shown)
        figures[code] = RuleFigures(
            per_day=per_day,
            shadow_per_day=tuple(found.get((SHADOW_ALERTS, code, day), 0) for day in shown),
            users=users.get(code, 0),
            share_of_events=sum(per_day) / events if events else None,
            decided=sum(decisions[outcome, code] for outcome in OUTCOMES),
            false=decisions[FALSE, code],
        )
    return figures


def by_day(session: Session, what: Sequence[str], since: date) -> dict[tuple[str, int, date], int]:
    """What was counted on `since` and later, by what it is, the rule's code (or 0) and the day."""
    number = func.sum(DailyFigure.number)
    asked = select(DailyFigure.what, DailyFigure.code, DailyFigure.day, number)
    asked = asked.where(DailyFigure.day >= since, DailyFigure.what.in_(what))
    rows = session.execute(asked.group_by(DailyFigure.what, DailyFigure.code, DailyFigure.day))
    return {(of, code, day): int(counted) for of, code, day, counted in rows}


def days_of_events(session: Session, days: int) -> list[DayFigures]:
    """What arrived on each of the last `days`, oldest first."""
    shown = last_days(session, days)
    found = by_day(session, (DEPOSITS, WITHDRAWALS), shown[0])
    asked = select(DailyUsers).where(DailyUsers.day >= shown[0], DailyUsers.code == EVERYBODY)
    users = {one.day: _set_of(one).number() for one in session.scalars(asked)}
    return [
        DayFigures(
            day,
            found.get((DEPOSITS, EVERYBODY, day), 0),
            found.get((WITHDRAWALS, EVERYBODY, day), 0),
            users.get(day, 0),
        )
        for day in shown
    ]


def users_by_code(session: Session, since: date) -> dict[int, int]:
    """How many users had alerts of each rule on `since` or later."""
    sets: dict[int, list[UserSet]] = defaultdict(list)
    for one in session.scalars(select(DailyUsers).where(DailyUsers.day >= since, DailyUsers.code != EVERYBODY)):
        sets[one.code].append(_set_of(one))
    return {code: joined(of_days).number() for code, of_days in sets.items()}


def left_to_close(session: Session, ages: Sequence[int]) -> list[int]:
    """How many alerts are not closed, by age: those that arrived up to ages[0] days ago, up to ages[1], ..., before.

    Superseded ones count too, since they wait for somebody as well.
    """
    today = last_days(session, 1)[0]
    asked = select(DailyFigure.day, func.sum(DailyFigure.number)).where(DailyFigure.what == TO_CLOSE)
    counts = [0] * (len(ages) + 1)
    for day, number in session.execute(asked.group_by(DailyFigure.day)):
        age = (today - day).days
        counts[next((place for place, most in enumerate(ages) if age <= most), len(ages))] += int(number)
    return counts


def last_minutes(session: Session, minutes: int = 60) -> list[MinuteFigures]:
    """What arrived in each of the `minutes` (fewer than MINUTES) that are over and counted, oldest first."""
    found = progress(session)
    if found is None:
        return []
    end = found.as_of.replace(second=0, microsecond=0)
    shown = [end - timedelta(minutes=ago) for ago in range(minutes, 0, -1)]
    rows = session.scalars(select(MinuteFigure).where(MinuteFigure.minute >= shown[0], MinuteFigure.minute < end))
    counted = {row.minute: row for row in rows}
    return [
        MinuteFigures(minute, counted[minute].events, counted[minute].alerts)
        if minute in counted
        else MinuteFigures(minute, 0, 0)
        for minute in shown
    ]


def last_weeks(session: Session, weeks: int = 8) -> list[WeekFigures]:
    """The present week and those before it, oldest first: so many in all."""
    today = last_days(session, 1)[0]
    monday = today - timedelta(days=today.weekday())
    mondays = [monday - timedelta(weeks=ago) for ago in range(weeks - 1, -1, -1)]
    week = func.date_trunc("week", DailyFigure.day)
    asked = select(week, DailyFigure.what, DailyFigure.bucket, func.sum(DailyFigure.number))
    asked = asked.where(DailyFigure.day >= mondays[0], DailyFigure.what.in_((FIRST_TOUCH, CLOSING)))
    times: dict[tuple[date, str], dict[int, int]] = defaultdict(dict)
    for begins, what, bucket, number in session.execute(asked.group_by(week, DailyFigure.what, DailyFigure.bucket)):
        times[begins.date(), what][bucket] = int(number)
    return [
        WeekFigures(
            one,
            sum(times[one, CLOSING].values()),
            median(times[one, FIRST_TOUCH]),
            median(times[one, CLOSING]),
        )
        for one in mondays
    ]


def median(buckets: Mapping[int, int]) -> float | None:
    """The median of times in seconds, from how many fell into each bucket: the middle of the bucket that has it."""
    total = sum(buckets.values())
    passed = 0
    for bucket, number in sorted(buckets.items()):
        passed += number
        if number > 0 and 2 * passed >= total:
            return float(2 ** ((bucket + 0.5) / BUCKETS_PER_DOUBLING) - 1)
    return None


def _set_of(row: DailyUsers) -> UserSet:
    return UserSet(frozenset(row.user_ids), row.registers)
