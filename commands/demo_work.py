"""Demo data: what three people make of alerts, and when. Pure and seeded, so it is the same each time."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from commands.demo_events import SEED, Kind
from database.demo import SeenAlert
from work.change import Wanted

ADA, GRACE, LINUS = "Ada", "Grace", "Linus"
# The hours of the day, in UTC, from which and until which each of them works, Monday to Friday.
_HOURS: Mapping[str, tuple[int, int]] = {ADA: (7, 15), GRACE: (9, 17), LINUS: (12, 20)}
_SATURDAY = 5

TRUE, FALSE, UNCLEAR = "true_positive", "false_positive", "inconclusive"


class WorkStep(NamedTuple):
    """What somebody does with an alert at a moment; `wanted` is empty if it is only noted."""

    at: datetime
    who: str
    wanted: Wanted
    note: str | None


# How often an alert of a code is true for users of a kind, where it is not rare.
_TRUE: Mapping[Kind, Mapping[int, float]] = {
    "ring": {1100: 0.85, 123: 0.75, 600: 0.74, 610: 0.7, 660: 0.7},
    "tester": {1100: 0.8, 650: 0.7, 30: 0.5},
    "sleeper": {1100: 0.75, 620: 0.7, 660: 0.65, 610: 0.7, 30: 0.7},
    "gambler": {300: 0.5, 123: 0.7, 500: 0.75, 30: 0.3},
    "washer": {670: 0.8, 500: 0.6, 123: 0.5},
    "newcomer": {680: 0.5, 123: 0.35},
}
# How often one is true otherwise: large withdrawals more often than those just over the threshold.
_SELDOM, _SELDOM_BY_CODE = 0.06, {30: 0.15}
_LARGE: Sequence[tuple[float, float]] = ((150, 0.02), (205, 0.04), (400, 0.22), (1e9, 0.4))

_NOTES: Mapping[tuple[int, str], Sequence[str]] = {
    (1100, FALSE): (
        "Rent, the same sum each month.",
        "The user confirmed it by phone.",
        "Known shop, card present.",
        "In line with the last three months.",
    ),
    (1100, TRUE): ("Card reported stolen.", "The user knows nothing of it; refunded."),
    (30, FALSE): ("A day of shopping.", "Three small purchases on a trip."),
    (30, TRUE): ("The account was emptied from another country.",),
    (300, FALSE): ("Saves a little more each week.", "Small sums; a coincidence."),
    (300, TRUE): ("Chases losses; sent the page on limits.", "Third spree this month; limit agreed."),
    (123, FALSE): ("Salary.", "Salary, from the same employer as last month."),
    (123, TRUE): ("Spree of deposits; called the user.", "Part of the ring that Grace reported."),
    (500, FALSE): ("A terminal that repeated itself.",),
    (500, TRUE): ("No person is that quick; the session was ended.",),
    (600, FALSE): ("Sold a house in parts; contract seen.",),
    (600, TRUE): ("Just under 10,000 again; reported.", "Same employer named as for two others of the ring."),
    (610, TRUE): ("Paid on within the day; account closed to payments.",),
    (610, FALSE): ("Salary, and the rent on the day after.",),
    (620, TRUE): ("Password reset from a new device an hour before.",),
    (620, FALSE): ("Was abroad; confirmed by letter.",),
    (650, FALSE): ("Cents from a shop's trial; confirmed.",),
    (650, TRUE): ("Cents from five cards, then this; cards blocked.", "Same pattern as last week."),
    (660, TRUE): ("Belongs to the ring.",),
    (670, TRUE): ("In and out without any use; asked for an explanation.",),
    (680, FALSE): ("Moved from another bank; statement seen.",),
    (680, TRUE): ("Papers are forged.",),
}
_UNCLEAR_NOTES = ("The user does not answer.", "Nothing more to be found out.")
_SUPERSEDED_NOTE = "No longer holds since the late deposit came."
_ASKED = ("Asked the user for a statement.", "Waiting for the bank's answer.", "Called, nobody there.")
_AGAIN = "Opened again: a second card turned up."

# How many of the alerts that are so many days old are still open.
_STILL_OPEN: Sequence[tuple[float, float]] = ((1, 0.55), (2, 0.35), (10, 0.13), (30, 0.05), (1e9, 0.02))


def plan(alert: SeenAlert, kind: Kind, end: datetime) -> list[WorkStep]:
    """What becomes of an alert of a user of this kind until `end`, in order; often it is closed, sometimes nothing."""
    rng = Random(f"{SEED} {alert.user_id}-{alert.seq}-{alert.code}")  # noqa: S311 (it makes up data)
    if alert.shadow and rng.random() < 0.9:
        return []  # few look at what a rule in shadow raises
    is_urgent = kind in ("ring", "tester", "sleeper")
    hours = rng.lognormvariate(-0.3 if is_urgent else 0.7, 0.9)
    looked = alert.created_at + timedelta(hours=min(hours, 90))
    # Mostly one of those who work at that time.
    who = rng.choice([one for one in _HOURS if is_at_work(one, looked)] or list(_HOURS))
    at = at_work(who, looked, rng)
    age = (end - alert.created_at) / timedelta(days=1)
    if rng.random() < _upto(_STILL_OPEN, age) * (3 if alert.superseded else 1):
        steps = _begun(who, at, rng, end)
    else:
        steps = _closed(alert, kind, who, at, rng)
    return [step for step in steps if step.at < end]


def _begun(who: str, at: datetime, rng: Random, end: datetime) -> list[WorkStep]:
    """It stays open: nobody looks at it, or somebody has begun to."""
    chance = rng.random()
    if chance < 0.6:
        return []
    if chance < 0.75:
        return [WorkStep(at, who, {"assignee": who}, None)]
    if chance < 0.82:
        until = (end + timedelta(days=rng.randrange(1, 9))).replace(hour=8, minute=0, second=0, microsecond=0)
        # Put off in the last days, or it would not have been until then.
        at = max(at, at_work(who, end - timedelta(days=rng.uniform(1, 4)), rng))
        return [WorkStep(at, who, {"assignee": who, "snoozed_until": until}, rng.choice(_ASKED))]
    return [
        WorkStep(at, who, {"status": "acknowledged", "assignee": who}, None),
        WorkStep(at + timedelta(minutes=rng.randrange(3, 40)), who, {}, rng.choice(_ASKED)),
    ]


def _closed(alert: SeenAlert, kind: Kind, who: str, at: datetime, rng: Random) -> list[WorkStep]:
    outcome, note = _judgement(alert, kind, rng)
    steps: list[WorkStep] = []
    if rng.random() < 0.35:
        steps.append(WorkStep(at, who, {"status": "acknowledged", "assignee": who}, None))
        if rng.random() < 0.12:
            steps.append(WorkStep(at + timedelta(minutes=rng.randrange(4, 30)), who, {}, rng.choice(_ASKED)))
        at = at_work(who, at + timedelta(minutes=min(rng.lognormvariate(3.4, 1.2), 4_000) + 31), rng)
    steps.append(WorkStep(at, who, {"status": "closed", "outcome": outcome, "assignee": who}, note))
    if outcome == FALSE and rng.random() < 0.012:
        other = rng.choice([one for one in _HOURS if one != who])
        at = at_work(other, at + timedelta(days=rng.uniform(0.5, 3)), rng)
        steps.append(WorkStep(at, other, {"status": "open", "assignee": other}, _AGAIN))
        at = at_work(other, at + timedelta(hours=rng.uniform(0.5, 30)), rng)
        steps.append(WorkStep(at, other, {"status": "closed", "outcome": TRUE}, None))
    return steps


def _judgement(alert: SeenAlert, kind: Kind, rng: Random) -> tuple[str, str | None]:
    """The outcome, and perhaps a note."""
    if alert.superseded:
        return FALSE, _SUPERSEDED_NOTE
    if rng.random() < 0.05:
        return UNCLEAR, rng.choice(_UNCLEAR_NOTES)
    chance = _TRUE.get(kind, {}).get(alert.code)
    if chance is None:
        chance = (
            _upto(_LARGE, float(alert.measured)) if alert.code == 1100 else _SELDOM_BY_CODE.get(alert.code, _SELDOM)
        )
    outcome = TRUE if rng.random() < chance else FALSE
    notes = _NOTES.get((alert.code, outcome), ())
    return outcome, rng.choice(notes) if notes and rng.random() < 0.4 else None


def at_work(who: str, moment: datetime, rng: Random) -> datetime:
    """The moment itself if `who` works then, else one in the first hours of the next day on which that is so."""
    if is_at_work(who, moment):
        return moment
    begin = _HOURS[who][0]
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if moment.hour >= begin:
        day += timedelta(days=1)
    while day.weekday() >= _SATURDAY:
        day += timedelta(days=1)
    return day + timedelta(hours=begin, seconds=rng.randrange(3 * 3_600), microseconds=rng.randrange(1_000_000))


def is_at_work(who: str, moment: datetime) -> bool:
    """Whether `who` works at this moment (in UTC)."""
    begin, end = _HOURS[who]
    return moment.weekday() < _SATURDAY and begin <= moment.hour < end


def _upto(steps: Sequence[tuple[float, float]], value: float) -> float:
    """What is said of the first bound that is at least `value`."""
    return next(said for bound, said in steps if value <= bound)
