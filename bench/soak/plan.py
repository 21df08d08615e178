"""What is posted: events that follow from the seed, the name of their stream and their number, and from nothing else.

So whatever was answered can be held against what is stored without being kept: an event can be made again.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

CENTS = (1, 33_34, 50_00, 66_67, 99_99, 100_00, 100_01, 150_00, 200_00, 200_01)

Make = Callable[[Random, int], tuple[int, int]]  # a user (0 for a stream's first) and a time
Body = dict[str, Any]


@dataclass(frozen=True)
class Stream:
    """A series of events: of which users, and at which times.

    The users of streams with the same `first_user` are the same, so their events meet.
    """

    seed: int
    name: str
    first_user: int
    make: Make

    def event(self, number: int) -> Body:
        """The event with this number, from 0."""
        random = Random(f"{self.seed} {self.name} {number}")
        user, time = self.make(random, number)
        cents = random.choice(CENTS)
        return {
            "type": "deposit" if random.random() < 0.6 else "withdraw",
            "amount": f"{cents // 100}.{cents % 100:02}",
            "user_id": self.first_user + user,
            "time": time,
            "event_id": f"{self.name}-{number}",
        }

    def events(self, first: int, count: int) -> list[Body]:
        """This many events from the number `first` on."""
        return [self.event(number) for number in range(first, first + count)]


def encoded(body: Any) -> bytes:
    """`body` as JSON."""
    return json.dumps(body, separators=(",", ":")).encode()


def cents(amount: str) -> int:
    """An amount as it is posted, in cents."""
    return int(amount.replace(".", ""))


# Users and times


def in_order(users: int, step: int = 7) -> Make:
    """Each user in turn, time going on."""
    return lambda random, number: (number % users, step * (number // users) + random.randrange(step))


def anywhere(users: int, spread: int) -> Make:
    """Any user, any time up to `spread` seconds: most of it comes late."""
    return lambda random, _: (random.randrange(users), random.randrange(spread))


def often_early(users: int, spread: int, early: int = 100) -> Make:
    """The same, but one of ten has a time below `early`."""
    return lambda random, _: (random.randrange(users), random.randrange(early if random.random() < 0.1 else spread))


def crowded(users: int, at_once: int) -> Make:
    """So many events of each user have the same time, from 1,000 on, before time goes on."""
    return lambda _, number: (number % users, 1_000 * (1 + number // (users * at_once)))
