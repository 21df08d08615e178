"""Generated events, and the clock that gives each measurement event times of its own."""

import itertools
import json
import random

USERS = 1_000
# Mean seconds between two events of a user, in the events' own time. (With the time of sending, thousands of events a
# second for a thousand users would put hundreds into every window.) About six actions fall into 30 seconds.
GAP = 5

# Of alerts that a benchmark stores by itself, for SQLAlchemy's text(), which takes a colon for a parameter.
EVIDENCE = (
    '{"rule_version": 1, "measured": "150.00", "parameters": {"threshold": "100.00"}, "origin": {"threshold": '
    '"default"}, "actions": [1], "sentence": "A withdrawal of 150.00 is over 100.00."}'
).replace(":", "\\:")


class Clock:
    """Start times for measurements: each call returns one later than any time the previous measurement can reach."""

    def __init__(self) -> None:
        self._starts = itertools.count(1_000_000, 1_000_000)

    def __call__(self) -> int:
        """Seconds since 1970, as events carry them."""
        return next(self._starts)


def body(count: int, start: int) -> bytes:
    """The JSON of `count` events for `POST /events`, from the time `start` on, spread over users as in wrk.lua."""
    random_ = random.Random(start)
    return json.dumps([_event(random_, start + n * GAP // USERS) for n in range(count)]).encode()


def bad_body(count: int) -> bytes:
    """The JSON of `count` events with an amount of 0, which are all refused."""
    return json.dumps([{"type": "deposit", "amount": "0", "user_id": 1, "time": 1}] * count).encode()


def _event(random_: random.Random, time: int) -> dict[str, str | int]:
    cents = random_.randint(100, 5000)
    kind = "deposit" if random_.random() < 0.7 else "withdraw"
    amount = f"{cents // 100}.{cents % 100:02}"
    return {"type": kind, "amount": amount, "user_id": random_.randint(1, USERS), "time": time}


def copy_rows(count: int, first: int) -> str:
    """`count` rows of user_actions as text for COPY, with the columns COPY_COLUMNS, numbered from `first` on."""
    random_ = random.Random(first)
    rows = []
    for n in range(first, first + count):
        event = _event(random_, n * GAP // USERS)
        user_id, seq = 1 + n % USERS, 1 + n // USERS
        rows.append(f"{user_id}\t{seq}\t{event['type']}\t{event['amount']}\t{event['time']}\t{{}}\t1\t0\t{seq}\t0\n")
    return "".join(rows)


COPY_COLUMNS = (
    "user_id",
    "seq",
    "type",
    "amount",
    "time",
    "alert_codes",
    "rules_number",
    "settings_version",
    "ordinal",
    "running_total",
)
