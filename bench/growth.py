"""What one event costs as the user's history and the table grow."""

import json
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from sqlalchemy import URL

from bench.load import Poster
from bench.measurement import percentile
from bench.ratios import Row, Spread
from bench.servers import Database, database, service
from rules.registry import REGISTRY

PACE = 100  # seconds between two actions of a user: a window of 30 or 60 seconds holds the event alone
TURN = 10  # posts to one kind in a row: few, so that all see the same load, yet enough that cold first posts are rare
OTHERS = 1_000  # users that the other rows of the table belong to
SOLE = 10_000  # ids of users with long histories start here; further up, those with short histories and the new ones
SHORT, NEW = 1_000_000, 100_000_000
ALL_RULES = {"RULES": ",".join(map(str, REGISTRY))}  # the whole catalogue, including rules with long look-backs


@dataclass(frozen=True)
class Size:
    """How much is stored before the first event is measured: actions of one user, and rows of other users."""

    short: int = 10
    medium: int = 10_000
    long: int = 200_000
    others: int = 1_000_000


@dataclass(frozen=True)
class Kind:
    """Where an event goes: the connection to a service, and a function from the event's number to its user."""

    title: str
    poster: Poster
    user: Callable[[int], int]


@dataclass(frozen=True)
class Growth:
    """The median cost of one event in milliseconds, by kind and round; the ratios to a new user; and what failed."""

    p50: dict[str, list[float]]
    rows: list[Row]
    problems: list[str]


def measure(server: URL, rounds: int, posts: int, size: Size) -> Growth:
    """Post `posts` events per round to each kind of user in turn, one by one, over one connection per service.

    The cost is that of a post over HTTP: how long the caller waits.
    """
    with ExitStack() as stack:
        full, judged_by_all, empty = (
            stack.enter_context(database(server, name)) for name in ("full", "all_rules", "empty")
        )
        for each in (full, judged_by_all):
            _fill(each, size, rounds * posts)
        to_full, to_empty, to_all = (
            stack.enter_context(closing(Poster(stack.enter_context(service(made, **settings)).port)))
            for made, settings in ((full, {}), (empty, {}), (judged_by_all, ALL_RULES))
        )
        kinds = [
            Kind("new user, empty table", to_empty, lambda n: NEW + n),
            Kind("new user", to_full, lambda n: NEW + n),
            Kind(f"{size.short:,} actions", to_full, lambda n: SHORT + n),
            Kind(f"{size.medium:,} actions", to_full, lambda _: SOLE + 1),
            Kind(f"{size.long:,} actions", to_full, lambda _: SOLE + 2),
            Kind("new user, all rules", to_all, lambda n: NEW + n),
            Kind(f"{size.long:,} actions, all rules", to_all, lambda _: SOLE + 2),
        ]
        # Warm up connections and prepared statements, which are not measured.
        _take_turns([kinds[0], kinds[1], kinds[-2]], range(-100, 0), size)
        blocks = [_take_turns(kinds, range(n * posts, (n + 1) * posts), size) for n in range(rounds)]
    p50 = {kind.title: [block[kind.title] for block in blocks] for kind in kinds}
    failed = sum(block["failed"] for block in blocks)
    return Growth(p50, _rows(kinds, p50), [f"growth: {failed:g} events failed"] if failed else [])


def _take_turns(kinds: Sequence[Kind], numbers: range, size: Size) -> dict[str, float]:
    """The p50 of each kind in milliseconds, and under "failed" the number of events that failed."""
    took: dict[str, list[float]] = {kind.title: [] for kind in kinds}
    failed = 0
    for first in range(numbers.start, numbers.stop, TURN):
        for kind in random.Random(first).sample(kinds, len(kinds)):
            for n in range(first, min(first + TURN, numbers.stop)):
                seconds, status, _ = kind.poster.post("/event", _event(n, kind.user(n), size))
                took[kind.title].append(seconds * 1e3)
                failed += status != 200
    return {title: percentile(times, 0.5) for title, times in took.items()} | {"failed": failed}


def _event(number: int, user_id: int, size: Size) -> bytes:
    # Alternating deposits and withdrawals of one amount: none raises an alert, so all kinds cause the same work.
    kind, time = ("deposit", "withdraw")[number % 2], (size.long + 200 + number) * PACE
    return json.dumps({"type": kind, "amount": "1.00", "user_id": user_id, "time": time}).encode()


def _rows(kinds: Sequence[Kind], p50: dict[str, list[float]]) -> list[Row]:
    empty, new, *others, longest, new_all, longest_all = (kind.title for kind in kinds)

    def row(title: str, against: str, at_most: float | None) -> Row:
        ratios = [one / other for one, other in zip(p50[title], p50[against], strict=True)]
        return Row(f"cost, {title} / {against}", Spread.of(ratios), at_most=at_most)

    return [
        *(row(title, new, None) for title in others),
        row(longest, new, 1.25),
        row(longest_all, new_all, 1.25),
        row(new_all, new, None),
        row(new, empty, None),
    ]


def _fill(made: Database, size: Size, short_users: int) -> None:
    """Store the histories with the columns as the service would write them, and no alerts."""
    made.do(
        *_history(range(1, OTHERS + 1), size.others // OTHERS),
        *_history(range(SOLE + 1, SOLE + 2), size.medium),
        *_history(range(SOLE + 2, SOLE + 3), size.long),
        *_history(range(SHORT, SHORT + short_users), size.short),
        "VACUUM ANALYZE",
        "CHECKPOINT",
    )


def _history(users: range, actions: int) -> tuple[str, str]:
    """Statements that make `users` with `actions` actions each: alternating deposits and withdrawals of 1.00.

    Rows of different users with the same time are next to each other, as if the events had come live.
    """
    ids = f"generate_series({users.start}, {users.stop - 1})"
    return (
        f"INSERT INTO users (user_id, last_seq) SELECT {ids}, {actions}",
        f"""INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version,
            ordinal, running_total)
        SELECT u, s, CASE s % 2 WHEN 0 THEN 'deposit' ELSE 'withdraw' END, 1, s * {PACE}, '{{}}', 1, 0,
            (s + 1) / 2, (s + 1) / 2
        FROM generate_series(1, {actions}) AS s CROSS JOIN {ids} AS u ORDER BY s""",
    )
