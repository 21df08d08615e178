"""Demo data: who there is, and what they do within eight weeks. Pure and seeded, so it is the same each time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Literal, NamedTuple

from rules.model import ActionType, Event
from rules.values import CENT

SEED = 20_261
DAYS = 56
DAY, HOUR, MINUTE = 86_400, 3_600, 60
MICROSECONDS = 1_000_000
FIRST_USER = 1001

Kind = Literal["saver", "terminal", "gambler", "newcomer", "ring", "tester", "sleeper", "washer"]

# How many of 400 users are of a kind; the others are savers. Of fewer users there is at least one of each.
_OF_400: dict[Kind, int] = {
    "gambler": 24,
    "newcomer": 20,
    "terminal": 12,
    "ring": 9,
    "tester": 10,
    "sleeper": 5,
    "washer": 4,
}
_WHOLE = 400

_FIRST = (
    "Amara Bela Chen Dilan Elif Farah Goran Hana Ivo Jonas Kwame Lena Milo Nadia Omar Petra Quinn Rosa Samir Tara "
    "Umar Vera Wanda Xenia Yusuf Zoe Anton Birgit Carlos Dora"
)
_LAST = (
    "Abbas Berg Castillo Dvorak Eriksen Fischer Garcia Huang Ito Jansen Kowalski Larsen Moreau Novak Okafor Petrov "
    "Quist Rossi Santos Tanaka Ueda Varga Weber Xu Yilmaz Zimmer"
)

# How likely something is done in each hour of the day: few at night, most at noon and in the evening.
_BY_HOUR = (2, 1, 1, 1, 1, 3, 6, 10, 12, 12, 13, 14, 16, 14, 12, 12, 13, 15, 17, 16, 13, 9, 6, 4)


class Person(NamedTuple):
    """A user: opening balance in money, and the second since 1970 at which the account was opened."""

    user_id: int
    name: str
    total: Decimal
    kind: Kind
    opened: int


class Arrival(NamedTuple):
    """An event, and the microsecond since 1970 at which it comes: soon after its time, or late."""

    event: Event
    at: int
    is_late: bool


@dataclass
class _Doings:
    """What one person does, while it is made up."""

    person: Person
    rng: Random
    first: int  # the second at which the eight weeks begin
    last: int  # and the one at which they end
    done: list[tuple[int, ActionType, Decimal, int]] = field(default_factory=list)  # with the seconds of delay
    was_deposit: bool = False

    def do(self, time: float, kind: ActionType, amount: float, delay: float = 0) -> None:
        """Do something at `time`, unless that is beyond the eight weeks; it comes `delay` seconds late."""
        cents = max(1, round(amount * 100))
        if self.first <= time and time + delay < self.last - MINUTE:
            self.done.append((int(time), kind, (Decimal(cents) / 100).quantize(CENT), int(delay)))

    def days(self, begin: float = 0, end: float = DAYS) -> Iterator[int]:
        """The midnights of some days."""
        return iter(range(int(self.first + begin * DAY), int(self.first + end * DAY), DAY))

    def in_day(self) -> int:
        """A second of the day, at an hour at which people are up."""
        hour: int = self.rng.choices(range(24), _BY_HOUR)[0]
        return hour * HOUR + self.rng.randrange(HOUR)


def make_people(users: int, end: int) -> list[Person]:
    """So many users, of all kinds, in order of id; the eight weeks end at `end`, in seconds since 1970."""
    rng = Random(f"{SEED} people")  # noqa: S311 (it makes up data)
    kinds: list[Kind] = []
    for kind, of_whole in _OF_400.items():
        kinds += [kind] * max(1, of_whole * users // _WHOLE)
    kinds = (kinds + ["saver"] * users)[:users]
    rng.shuffle(kinds)
    first, last = _FIRST.split(), _LAST.split()
    people = []
    for n, kind in enumerate(kinds):
        days = rng.uniform(2, 45) if kind == "newcomer" else -rng.lognormvariate(5.2, 0.8)
        opened = int(end - DAYS * DAY + days * DAY)
        name = f"{rng.choice(first)} {rng.choice(last)}"
        total = Decimal(0) if kind == "newcomer" else Decimal(rng.randrange(20, 240) * 10)
        people.append(Person(FIRST_USER + n, name, total, kind, opened))
    return people


def make_arrivals(people: list[Person], end: int) -> list[Arrival]:
    """All that they do in the eight weeks up to `end` (seconds since 1970), in the order in which it comes."""
    found: list[tuple[int, int, int, ActionType, Decimal, int]] = []
    for person in people:
        rng = Random(f"{SEED} {person.user_id}")  # noqa: S311
        doings = _Doings(person, rng, first=max(end - DAYS * DAY, person.opened + MINUTE), last=end)
        _DO[person.kind](doings)
        pause = rng.randrange(200_000, 2_500_000)  # how long a message of this user is under way, in microseconds
        newest = -1
        for time, kind, amount, delay in sorted(doings.done, key=lambda one: (one[0] + one[3], one[0])):
            at = (time + delay) * MICROSECONDS + pause
            found.append((at, person.user_id, time, kind, amount, int(time < newest)))
            newest = max(newest, time)
    found.sort()
    return [
        Arrival(Event(user_id, kind, amount, time, f"pay-{n:06}"), at, bool(is_late))
        for n, (at, user_id, time, kind, amount, is_late) in enumerate(found, 1)
    ]


# What each kind does


def _ordinary(one: _Doings, a_day: float, begin: float = 0, end: float = DAYS, late: float = 0.006) -> None:
    """Pay in a usual sum and spend it in small ones, `a_day` times; some of it comes late."""
    rng = one.rng
    usual = rng.choice((20, 25, 30, 40, 40, 50, 60))
    for midnight in one.days(begin, end):
        n = int(rng.expovariate(1 / a_day) + 0.5)
        for second in sorted(one.in_day() for _ in range(min(n, 9))):
            delay = rng.lognormvariate(9.6, 0.9) if rng.random() < late else 0
            # Whoever has spent pays in next, mostly.
            if rng.random() < (0.1 if one.was_deposit else 0.92):
                same = rng.random() < 0.85
                one.do(midnight + second, "deposit", usual if same else round(usual * rng.uniform(0.5, 1.8)), delay)
                one.was_deposit = True
            else:
                one.do(midnight + second, "withdraw", min(rng.lognormvariate(3.42, 0.86), 900), delay)
                one.was_deposit = False


def _saver(one: _Doings) -> None:
    """An ordinary account. Some have their salary paid in, and pay a rent from it."""
    rng = one.rng
    _ordinary(one, rng.uniform(1.4, 4.0))
    if rng.random() < 0.22:
        salary, day = rng.randrange(90, 260) * 10, rng.randrange(28)
        for midnight in (*one.days(day, day + 1), *one.days(day + 28, day + 29)):
            one.do(midnight + 6 * HOUR + rng.randrange(HOUR), "deposit", salary)
            if rng.random() < 0.5:
                one.do(midnight + DAY + 9 * HOUR + rng.randrange(HOUR), "withdraw", round(salary * 0.4, -1))


def _terminal(one: _Doings) -> None:
    """A shop whose terminal for payments into the account is often without a line: these come hours late."""
    rng = one.rng
    _ordinary(one, rng.uniform(1.5, 2.5), late=0.02)
    for midnight in one.days():
        if rng.random() < 0.2:
            start = midnight + 10 * HOUR + rng.randrange(6 * HOUR)
            is_off = rng.random() < 0.25
            for n in range(rng.randrange(2, 5)):
                time = start + n * 40 * MINUTE
                delay = 5 * HOUR - n * 39 * MINUTE if is_off else 0
                one.do(time, "deposit", rng.randrange(30, 90), delay)
                one.do(time + 20 * MINUTE, "withdraw", rng.randrange(10, 45))


def _gambler(one: _Doings) -> None:
    """Sprees in the evening, in which losses are chased with growing sums, now and then seconds apart."""
    rng = one.rng
    _ordinary(one, 1.0)
    for midnight in one.days():
        if rng.random() < 0.11:
            time = midnight + 19 * HOUR + rng.randrange(5 * HOUR)
            amount = rng.uniform(15, 45)
            is_off = rng.random() < 0.25  # a telephone with a bad line: every second message comes later
            for n in range(rng.randrange(4, 11)):
                one.do(time, "deposit", round(amount), 2 * HOUR if is_off and n % 2 else 0)
                time += rng.choice((4, 6, 9, 12, 25, 60, 150, 400))
                amount = amount * rng.uniform(1.05, 1.45) if rng.random() < 0.75 else amount * 0.6
            if rng.random() < 0.4:
                one.do(time + rng.randrange(5, 60) * MINUTE, "withdraw", rng.randrange(6, 60) * 10)


def _newcomer(one: _Doings) -> None:
    """A new account: most begin small, some with a lot of money at once."""
    rng = one.rng
    age = max(0.0, (one.person.opened - one.first) / DAY)
    _ordinary(one, rng.uniform(1.0, 3.0), begin=age)
    if rng.random() < 0.35:
        for n in range(rng.randrange(2, 5)):
            one.do(one.person.opened + 2 * HOUR + n * 5 * HOUR, "deposit", rng.randrange(35, 95) * 10)


def _ring(one: _Doings) -> None:
    """One of a ring, in the last four weeks: sums just under 10,000.00, most of which soon leave again."""
    rng = one.rng
    _ordinary(one, 0.7)
    day = rng.uniform(23, 27)
    while day < DAYS:
        midnight = one.first + int(day) * DAY
        amount = rng.randrange(9_050, 9_990)
        time = midnight + 9 * HOUR + rng.randrange(7 * HOUR)
        one.do(time, "deposit", amount)
        if rng.random() < 0.6:
            one.do(time + rng.randrange(2 * HOUR, 20 * HOUR), "withdraw", amount * rng.uniform(0.91, 0.98))
        day += rng.choice((2, 2, 3, 4))


def _tester(one: _Doings) -> None:
    """Somebody tries stolen cards with cents, and takes out a lot if one works."""
    rng = one.rng
    _ordinary(one, 0.8)
    for _ in range(rng.randrange(2, 5)):
        time = one.first + rng.randrange(DAYS) * DAY + one.in_day()
        for _ in range(rng.randrange(3, 7)):
            one.do(time, "deposit", rng.uniform(0.1, 0.99))
            time += rng.randrange(20, 9 * MINUTE)
        for _ in range(rng.randrange(1, 3)):
            time += rng.randrange(5, 90) * MINUTE
            one.do(time, "withdraw", rng.uniform(130, 780))


def _sleeper(one: _Doings) -> None:
    """An account that is left alone for weeks, and then emptied."""
    rng = one.rng
    _ordinary(one, 1.5, end=rng.uniform(2, 6), late=0)
    time = one.first + int(rng.uniform(33, 55.5)) * DAY + one.in_day()
    one.do(time, "deposit", rng.randrange(5, 20))
    for _ in range(rng.randrange(2, 4)):
        time += rng.randrange(4, 50) * MINUTE
        one.do(time, "withdraw", rng.randrange(55, 210) * 10)


def _washer(one: _Doings) -> None:
    """Money goes back and forth within minutes, about once a week."""
    rng = one.rng
    _ordinary(one, 1.0)
    for midnight in one.days(rng.randrange(7)):
        if rng.random() < 0.16:
            time, amount = midnight + one.in_day(), rng.randrange(60, 95)
            for n in range(rng.randrange(6, 9)):
                one.do(time, "withdraw" if n % 2 else "deposit", amount - n)
                time += rng.randrange(15, 45)


_DO = {
    "saver": _saver,
    "terminal": _terminal,
    "gambler": _gambler,
    "newcomer": _newcomer,
    "ring": _ring,
    "tester": _tester,
    "sleeper": _sleeper,
    "washer": _washer,
}
