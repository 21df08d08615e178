"""Demo data: what three people change within the eight weeks besides working alerts. Pure and seeded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from commands.demo_events import DAY, DAYS, SEED, Person
from commands.demo_work import ADA, GRACE, LINUS, at_work
from database.log_entries import Kind as EntryKind
from rules.base import Status
from rules.model import Risk, Value


@dataclass(frozen=True, kw_only=True)
class Act:
    """Somebody changes something at a moment."""

    at: datetime
    who: str
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class SetRule(Act):
    """A rule is set to something else; what is left out stays."""

    code: int
    status: Status | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict)
    by_risk: Mapping[str, Mapping[str, Value]] | None = None


@dataclass(frozen=True, kw_only=True)
class RateUser(Act):
    """A user gets another rating, or overrides by code and parameter as they are written."""

    user_id: int
    risk: Risk | None = None
    overrides: Mapping[str, Mapping[str, Value]] | None = None


@dataclass(frozen=True, kw_only=True)
class TryRule(Act):
    """A backtest of one rule with another `value`, a sweep, and the most alerts a day that are wanted."""

    code: int
    parameter: str
    value: Value
    first: Value
    last: Value
    step: Value
    at_most: int


@dataclass(frozen=True, kw_only=True)
class MuteRule(Act):
    """A user's alerts of a code stay out of lists until a moment."""

    user_id: int
    code: int
    until: datetime


@dataclass(frozen=True, kw_only=True)
class SaveView(Act):
    """Filters of the list of alerts get a name."""

    name: str
    query: Mapping[str, Any]
    shared: bool


@dataclass(frozen=True, kw_only=True)
class Enter(Act):
    """Something that leaves nothing but an entry in the log: a sign-in, an export."""

    kind: EntryKind
    subject: str
    what: str
    after: Mapping[str, Any] | None = None


def make_story(people: Sequence[Person], end: datetime) -> list[Act]:
    """All of it in order; the eight weeks are those up to `end`."""
    rng = Random(f"{SEED} story")  # noqa: S311 (it makes up data)
    start = end - timedelta(days=DAYS)
    acts = [*_rules(start, rng), *_users(people, start, rng), *_mutes(people, end, rng), *_views(start, rng)]
    acts += _entries(start, rng)
    return sorted((act for act in acts if act.at < end), key=lambda act: act.at)


def _rules(start: datetime, rng: Random) -> list[Act]:
    def on(days: float, who: str) -> datetime:
        return at_work(who, start + timedelta(days=days), rng)

    def switched(days: float, who: str, code: int, status: Status, note: str, **parameters: Value) -> SetRule:
        return SetRule(at=on(days, who), who=who, code=code, status=status, parameters=parameters, note=note)

    moment = on(15.4, ADA)
    return [
        switched(0.01, ADA, 500, "active", "Sprees of a few seconds, seen in last month's complaints."),
        switched(0.02, ADA, 600, "active", "Asked for by compliance."),
        switched(0.03, ADA, 610, "active", "Mules: paid on within the day."),
        switched(0.04, ADA, 650, "active", "Cents first, then a large sum: three cases in a week."),
        switched(1.2, GRACE, 630, "shadow", "Only looking: how many would there be?"),
        switched(1.3, GRACE, 670, "shadow", "Only looking. Washers take four minutes, not five.", window=240),
        switched(2.1, LINUS, 620, "active", "Ninety days are too long for wallets.", gap=21 * DAY, among=4),
        TryRule(
            at=moment, who=ADA, code=300, parameter="count", value=5, first=3, last=8, step=1, at_most=3,
            note=None,
        ),
        SetRule(
            at=moment + timedelta(minutes=24),
            who=ADA,
            code=300,
            parameters={"count": 5},
            by_risk={"high": {"count": 4}},
            note="Three happen by chance. The backtest: 4 and more leave the sprees, and hardly anything else.",
        ),
        switched(20.3, GRACE, 660, "active", "After the fraud of last Thursday.", threshold=Decimal("1500.00")),
        switched(23.2, LINUS, 680, "active", "Two new accounts with forged papers."),
        switched(30.2, GRACE, 670, "active", "Four weeks in shadow: nearly all of them are washers."),
        switched(41.3, GRACE, 660, "active", "1,500 a day is any rent; 2,500 is not.", threshold=Decimal("2500.00")),
        TryRule(
            at=on(53.3, LINUS), who=LINUS, code=1100, parameter="threshold", value=Decimal("225.00"),
            first=Decimal("100.00"), last=Decimal("300.00"), step=Decimal("25.00"), at_most=10,
        ),
    ]  # fmt: skip


def _users(people: Sequence[Person], start: datetime, rng: Random) -> list[Act]:
    def of_kind(kind: str, most: int) -> list[Person]:
        return [person for person in people if person.kind == kind][:most]

    def on(days: float, who: str) -> datetime:
        return at_work(who, start + timedelta(days=days), rng)

    acts: list[Act] = []
    for person in of_kind("ring", 6):
        day = rng.uniform(34, 46)
        note = "Named in the report on the ring." if day > 40 else "Sums just under 10,000, three times in a week."
        acts.append(RateUser(at=on(day, GRACE), who=GRACE, user_id=person.user_id, risk="high", note=note))
    for kind, who, note in (
        ("tester", ADA, "Cards tried twice."),
        ("gambler", LINUS, "Asked for help; alerts are to come early."),
        ("washer", ADA, "No explanation given."),
    ):
        for person in of_kind(kind, 3):
            acts.append(
                RateUser(at=on(rng.uniform(12, 50), who), who=who, user_id=person.user_id, risk="high", note=note)
            )
    savers = of_kind("saver", 18)
    for person in savers[:6]:
        note = "Ten years without a complaint."
        acts.append(RateUser(at=on(rng.uniform(3, 30), ADA), who=ADA, user_id=person.user_id, risk="low", note=note))
    for person in savers[6:12]:
        threshold, note = Decimal(rng.randrange(6, 13) * 100), "Pays a rent of that size; contract seen."
        acts.append(
            RateUser(
                at=on(rng.uniform(8, 50), GRACE),
                who=GRACE,
                user_id=person.user_id,
                overrides={"1100": {"threshold": threshold}},
                note=note,
            )
        )
    for person in of_kind("terminal", 2):
        acts.append(
            RateUser(
                at=on(rng.uniform(20, 40), LINUS),
                who=LINUS,
                user_id=person.user_id,
                risk="low",
                overrides={"30": {"count": 6}, "500": {"count": 20}},
                note="A shop whose terminal is often without a line.",
            )
        )
    return acts


def _mutes(people: Sequence[Person], end: datetime, rng: Random) -> list[Act]:
    acts: list[Act] = []
    savers = [person for person in people if person.kind == "saver"][12:]
    for person, code, days, who, note in zip(
        savers,
        (1100, 123, 300, 1100),
        (30, 60, 14, 90),
        (ADA, GRACE, GRACE, LINUS),
        ("Moves house this month.", "Sells a car in parts; papers seen.", "Saves for a holiday.", "Builds a house."),
        strict=False,
    ):
        at = at_work(who, end - timedelta(days=rng.uniform(3, 20)), rng)
        until = (end + timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
        acts.append(MuteRule(at=at, who=who, user_id=person.user_id, code=code, until=until, note=note))
    return acts


def _views(start: datetime, rng: Random) -> list[Act]:
    def view(days: float, who: str, name: str, *, shared: bool, **query: Any) -> SaveView:
        at = at_work(who, start + timedelta(days=days), rng)
        return SaveView(at=at, who=who, name=name, query=query, shared=shared)

    return [
        view(2, ADA, "High risk, oldest first", shared=True, status="open", risk="high", sort="oldest"),
        view(5, GRACE, "Nobody has them", shared=True, status="open", assignee="none", sort="oldest"),
        view(9, LINUS, "Mine", shared=False, status="open", assignee=LINUS),
        view(21, ADA, "Late ones", shared=True, late=True),
        view(33, GRACE, "The ring", shared=True, code=600),
        view(40, ADA, "Large withdrawals that were true", shared=False, code=1100, outcome="true_positive"),
        view(44, GRACE, "No longer true", shared=True, status="open", superseded=True),
    ]


def _entries(start: datetime, rng: Random) -> list[Act]:
    acts: list[Act] = []
    for day in range(DAYS + 1):
        for n, who in enumerate((ADA, GRACE, LINUS)):
            midnight = (start + timedelta(days=day)).replace(hour=0, minute=0, second=0, microsecond=0)
            at = at_work(who, midnight, rng)
            if at.date() == midnight.date() and start < at:
                acts.append(Enter(at=at, who=who, kind="sign-in", subject=f"demo00{n + 1}", what="signed in"))
    for days in (13.4, 27.4, 41.4, 55.2):
        at = at_work(GRACE, start + timedelta(days=days), rng)
        filters = {"status": "closed", "from": int((at - timedelta(days=14)).timestamp()), "to": int(at.timestamp())}
        rows = rng.randrange(300, 800)
        for seconds, what, after in ((0, "began", {}), (3, "ended", {"rows": rows})):
            moment = at + timedelta(seconds=seconds)
            acts.append(
                Enter(
                    at=moment, who=GRACE, kind="export", subject="alerts", what=what, after={"filters": filters} | after
                )
            )
    return acts
