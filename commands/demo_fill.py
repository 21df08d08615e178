"""Demo data: storing it by what doors and pages call, and giving it the moments of the story."""

import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

import click
from sqlalchemy.orm import Session

from commands.demo_acts import ROWS, do, enter, in_long_transaction, stamp
from commands.demo_events import DAYS, MICROSECONDS, Arrival, Person
from commands.demo_story import Act, Enter, RateUser, SetRule, TryRule
from commands.demo_work import WorkStep, plan
from commands.endings import Stopped
from database import alert_work, demo, users
from database.alert_filters import AlertFilter
from database.demo import Arrived, SeenAlert
from database.records import AlertKey
from database.session import Transaction
from rules.model import Refusal
from rules.service import Service
from work import bulk
from work.figures_job import fill_figures
from work.queue import CLAIM, next_alert

BATCH = 1_000  # events that are stored together
NOISY = 1100  # the code of the rule that is left to be tuned
CLAIMING = ("Grace", "Linus")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Filler:
    """Fills an empty database with demo data that ends at `until`, and shows how far it has come on a terminal."""

    def __init__(self, service: Service, people: Sequence[Person], until: datetime) -> None:
        self._service, self._people, self._until = service, people, until
        self._kinds = {person.user_id: person.kind for person in people}
        self._last_seq: Counter[int] = Counter()
        self._plans: dict[AlertKey, deque[WorkStep]] = {}
        self._seen: dict[AlertKey, SeenAlert] = {}
        self._versions: Counter[AlertKey] = Counter()
        self._arrived: list[Arrived] = []
        self._counts: Counter[str] = Counter()
        self._began = time.monotonic()
        self._since = self._now()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def fill(self, arrivals: Sequence[Arrival], story: Sequence[Act]) -> None:
        """Store everything: events as they come, and the acts of the story and the work on alerts in between."""
        show = self._progress(len(arrivals))
        self._add_people()
        rest = deque(arrivals)
        for act in story:
            if isinstance(act, SetRule | RateUser | TryRule):
                show(self._judge(rest, act.at))
            if isinstance(act, TryRule):  # it compares with what was made of alerts until then
                self._work(act.at)
            if not isinstance(act, Enter):
                do(self._service, act)
        enter(self._service, [act for act in story if isinstance(act, Enter)])
        show(self._judge(rest, self._until))
        self._work(self._until)
        self._claim()
        fill_figures(self._service.url, anew=True)  # a service that runs has counted before there was this past

    def summary(self) -> str:
        """What is stored now, and where to look at it."""
        counts = self._counts
        a_day = sum(key.code == NOISY for key in self._seen) / DAYS
        return "\n".join(
            [
                f"users     {len(self._people):>8,}",
                f"events    {counts['events']:>8,}  of which {counts['late']:,} came late",
                f"alerts    {len(self._seen):>8,}  of which {counts['shadow']:,} in shadow, "
                f"{counts['superseded']:,} superseded",
                f"worked    {counts['worked']:>8,}",
                f"seconds   {time.monotonic() - self._began:>8,.0f}",
                "",
                "To look at it: make run, then http://127.0.0.1:5000/desk/ (TIME_IS_EPOCH=true shows dates)",
                f"  Rule {NOISY} raises {a_day:.0f} alerts a day: /desk/rules/{NOISY}",
                "  Rule 300 was tuned in the third week: see its versions",
                "  A ring pays in sums just under 10,000.00: alerts of rule 600, /desk/?code=600",
            ]
        )

    # Events

    def _add_people(self) -> None:
        def add(session: Session) -> None:
            with Transaction(session) as transaction:
                for one in self._people:
                    if not users.create_user(session, one.user_id, name=one.name, total=one.total, risk="normal"):
                        raise Stopped(f"User {one.user_id} has appeared meanwhile: does another demo run?")
                transaction.commit()

        self._service.run(add)
        stamp(self._service, "user", {(one.user_id,): _moment(one.opened * MICROSECONDS) for one in self._people})
        self._service.run(self._service.rules)  # so that what is declared is stored, before the eight weeks
        numbers = self._service.run(demo.numbers_of_rules)
        declared = self._until - timedelta(days=57)
        stamp(self._service, "rule", {(number,): declared for number in numbers})

    def _judge(self, rest: deque[Arrival], before: datetime) -> int:
        """Store the events that come before a moment, and take them from the rest. Returns how many have come."""
        until = _microsecond(before)
        of_user: dict[int, deque[Arrival]] = defaultdict(deque)
        while rest and rest[0].at < until:
            arrival = rest.popleft()
            of_user[arrival.event.user_id].append(arrival)
        # Users do not affect each other, so only each one's own order counts.
        while of_user:
            batch: list[Arrival] = []
            for user_id in sorted(of_user):
                batch += _together(of_user[user_id], BATCH - len(batch))
                if not of_user[user_id]:
                    del of_user[user_id]
                if len(batch) == BATCH:
                    break
            self._store(batch)
        return self._counts["events"]

    def _store(self, batch: Sequence[Arrival]) -> None:
        outcomes = self._service.judge_many([one.event for one in batch])
        for arrival, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Refusal):
                raise Stopped(f"An event was refused: {outcome.detail}")
            user_id = arrival.event.user_id
            self._last_seq[user_id] += 1
            self._arrived.append(Arrived(user_id, self._last_seq[user_id], _moment(arrival.at)))
        self._counts["events"] += len(batch)
        self._counts["late"] += sum(one.is_late for one in batch)

    def _stamp_arrivals(self) -> None:
        """Let what was judged since this was done last have come when it did."""
        arrived, since = sorted(self._arrived), self._since
        for chunk in _chunks_by_user(arrived):
            in_long_transaction(self._service, partial(demo.stamp_arrivals, arrived=chunk, since=since))
        self._arrived, self._since = [], self._now()

    # Work on alerts

    def _work(self, before: datetime) -> None:
        """Do what was planned before a moment for all alerts there are by then, as if each step had its own time."""
        self._stamp_arrivals()
        for alert in self._service.run(demo.seen_alerts):
            if alert.user_id not in self._kinds:  # of an event that somebody has sent meanwhile
                continue
            key = AlertKey(user_id=alert.user_id, seq=alert.seq, code=alert.code)
            self._seen[key] = alert
            if key not in self._plans:
                self._plans[key] = deque(self._planned(alert))
        lines: dict[tuple[int, ...], datetime] = {}
        touched: dict[tuple[int, ...], datetime] = {}
        while due := {key: plan[0] for key, plan in self._plans.items() if plan and plan[0].at < before}:
            for key in due:
                self._plans[key].popleft()
            for keys, step in _alike(due):
                self._change(keys, step, due, lines)
            touched |= {tuple(key): max(step.at, self._seen[key].touched_at) for key, step in due.items()}
        stamp(self._service, "history", lines)
        stamp(self._service, "touched", touched)
        self._counts["shadow"] = sum(alert.shadow for alert in self._seen.values())
        self._counts["superseded"] = sum(alert.superseded for alert in self._seen.values())
        self._counts["worked"] = len(self._versions)

    def _planned(self, alert: SeenAlert) -> list[WorkStep]:
        """What is to be done with an alert; without snoozes that would have ended by now, which nobody can set."""
        now = datetime.now(UTC)
        found = plan(alert, self._kinds[alert.user_id], self._until)
        return [one for one in found if not _is_past(one.wanted.get("snoozed_until"), now)]

    def _change(
        self,
        keys: Sequence[AlertKey],
        step: WorkStep,
        due: Mapping[AlertKey, WorkStep],
        lines: dict[tuple[int, ...], datetime],
    ) -> None:
        """Change alerts alike, and note at which moments the new lines of their histories were to be made."""
        asked = dict.fromkeys(keys, lambda _: True)
        for result in bulk.change_alerts(self._service.run, asked, step.wanted, who=step.who, note=step.note):
            if result.version is None or result.status != 200:
                raise Stopped(f"Alert {'-'.join(map(str, result.key))} was not changed: {result.why}")
            for n in range(self._versions[result.key] + 1, result.version + 1):
                lines[(*result.key, n)] = due[result.key].at
            self._versions[result.key] = result.version

    def _claim(self) -> None:
        """Let two people have claimed the most urgent ones in the last minutes: the claims lapse half an hour later."""
        # One after the other and stamped afterwards: a claim that has lapsed by now would be settled by the next.
        claimed = [next_alert(self._service, AlertFilter(), who) for who in CLAIMING]
        lines: dict[tuple[int, ...], datetime] = {}
        touched: dict[tuple[int, ...], datetime] = {}
        for minutes, found in zip(range(len(CLAIMING), 0, -1), claimed, strict=True):
            if found is not None:
                alert, at = found.alert, self._until - timedelta(minutes=minutes)
                key = AlertKey(user_id=alert.user_id, seq=alert.seq, code=alert.code)
                lines[(*key, alert.work_version)] = at
                touched[key] = max(at, self._seen[key].touched_at)
        stamp(self._service, "history", lines)
        stamp(self._service, "touched", touched)
        stamp(self._service, "claim", {key[:3]: at + CLAIM for key, at in lines.items()})

    def _now(self) -> datetime:
        """The present moment by the database's clock."""
        return self._service.run(alert_work.now)

    def _progress(self, events: int) -> Callable[[int], None]:
        """A function that shows on standard error how many events are stored, if that is a terminal."""
        if not sys.stderr.isatty():
            return lambda _: None
        bar = self._stack.enter_context(click.progressbar(length=events, label="Eight weeks", file=sys.stderr))
        return lambda stored: bar.update(stored - bar.pos)


def _together(own: deque[Arrival], room: int) -> list[Arrival]:
    """The next events of a user that can be stored in one transaction; they are taken. A late one is alone."""
    taken: list[Arrival] = []
    while own and len(taken) < room and not (taken and (own[0].is_late or taken[0].is_late)):
        taken.append(own.popleft())
    return taken


def _chunks_by_user(arrived: Sequence[Arrived]) -> Iterator[list[Arrived]]:
    """The same in parts of some ROWS; all of a user are in one."""
    chunk: list[Arrived] = []
    for one in arrived:
        if len(chunk) >= ROWS and one.user_id != chunk[-1].user_id:
            yield chunk
            chunk = []
        chunk.append(one)
    if chunk:
        yield chunk


def _alike(due: Mapping[AlertKey, WorkStep]) -> Iterator[tuple[list[AlertKey], WorkStep]]:
    """The alerts that are changed alike, as many as can be at once, with the step of one of them."""
    groups: dict[tuple[Any, ...], list[AlertKey]] = defaultdict(list)
    for key, step in due.items():
        groups[(step.who, step.note, *sorted(step.wanted.items()))].append(key)
    for keys in groups.values():
        for at in range(0, len(keys), bulk.MOST):
            yield keys[at : at + bulk.MOST], due[keys[at]]


def _is_past(until: object, now: datetime) -> bool:
    return isinstance(until, datetime) and until <= now


def _microsecond(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(microsecond: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microsecond)
