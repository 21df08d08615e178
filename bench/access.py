"""What keys cost: events with a key and without one in turn, and requests whose key is junk."""

import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from sqlalchemy import URL

from access.key_format import make_key
from bench import load, processes
from bench.events import Clock
from bench.measurement import Measurement, failures
from bench.ratios import Row, Spread, quotient
from bench.servers import add_key, database, service
from tests.service import Service

Say = Callable[[str], None]

# How often events with a key and without are measured in turn, in each round: on a shared machine a single pair says
# little, and the difference is a matter of percents.
PAIRS = 6

# The rate of the key that has one: never reached.
RATE = "1000000/second"
MANY, ONE = "64 connections", "1 connection"
OPEN, KEYED, RATED = "no keys", "with a key", "with a key that has a rate"
BESIDE = f"{MANY}, with a key, junk beside"
JUNK = 1_000  # different keys of each kind
# Keys of nobody's, wrong ones, and other text in the header.
KINDS: dict[str, Callable[[], str]] = {
    "unknown key": lambda: f"Bearer {make_key().key}",
    "mistyped key": lambda: f"Bearer {make_key().key[:-1]}-",
    "other text": lambda: f"Basic {random.randbytes(30).hex()}",
}


@dataclass(frozen=True)
class Reading:
    """A measurement, and the processor time of the service's processes for each request, in microseconds."""

    measured: Measurement
    microseconds: float


Round = dict[str, Reading]


@dataclass(frozen=True)
class Costs:
    """All rounds, rows for the table of ratios, and what makes the run invalid."""

    rounds: list[Round]
    pairs: list[Round]
    rows: list[Row]
    problems: list[str]


def measure(server: URL, rounds: int, seconds: int, say: Say) -> Costs:
    """Measure everything `rounds` times, each for `seconds`. Each service has a database of its own."""
    with ExitStack() as stack:
        opened, closed = (stack.enter_context(database(server, name)) for name in ("open", "keyed"))
        plain, rated = add_key(closed, "plain"), add_key(closed, "rated", rate=RATE)
        running = {made: stack.enter_context(service(made)) for made in (opened, closed)}
        clock = Clock()
        sent = {OPEN: (opened, None), KEYED: (closed, plain), RATED: (closed, rated)}

        def events(title: str, connections: int, duration: int = seconds) -> Reading:
            made, key = sent[title]
            return _read(running[made], lambda port: load.wrk(port, connections, duration, clock(), key=key))

        def junk(kind: str) -> Reading:
            keys = [KINDS[kind]() for _ in range(JUNK)]
            return _read(running[closed], lambda port: load.junk(port, 64, seconds, keys))

        def beside() -> Reading:
            keys = [make() for make in KINDS.values() for _ in range(JUNK)]
            with load.junk_beside(running[closed].port, seconds + 1, keys):
                return events(KEYED, 64)

        # What is compared is measured back to back, so that changes in the machine's speed affect both.
        plan: dict[str, Callable[[], Reading]] = {
            **{f"{MANY}, {title}": partial(events, title, 64) for title in (KEYED, RATED)},
            **{f"{ONE}, {title}": partial(events, title, 1) for title in (OPEN, KEYED)},
            **{kind: partial(junk, kind) for kind in KINDS},
            BESIDE: beside,
        }
        for title in sent:  # warm up
            events(title, 64, 1)
        found: list[Round] = []
        pairs: list[Round] = []
        for number in range(1, rounds + 1):
            for pair in range(1, PAIRS + 1):
                order = (OPEN, KEYED) if pair % 2 else (KEYED, OPEN)
                pairs.append({title: events(title, 64) for title in order})
                rates = ", ".join(f"{title}: {pairs[-1][title].measured.rate:,.0f}/s" for title in (OPEN, KEYED))
                say(f"round {number}/{rounds}  pair {pair}/{PAIRS}: {rates}")
            found.append({})
            # The other way round every other time: whatever the first does to the second is even.
            for title in list(plan)[:: 1 if number % 2 else -1]:
                found[-1][title] = one = plan[title]()
                say(
                    f"round {number}/{rounds}  {title}: {one.measured.rate:,.0f}/s, p50 {one.measured.p50:.2f} ms, "
                    f"{one.microseconds:.0f} us of the processor each, {one.measured.failed} failed"
                )
    return Costs(found, pairs, rows(found, pairs), _failures(found) + _failures(pairs))


def rows(rounds: list[Round], pairs: list[Round]) -> list[Row]:
    """The ratios, each computed within a round or a pair, with the targets from docs/performance.md."""

    def ratio(of: Callable[[Reading], float | None], title: str, against: str, within: list[Round]) -> Spread:
        return Spread.of([quotient(of(each[title]), of(each[against])) for each in within])

    def rate(title: str, against: str, within: list[Round] = rounds) -> Spread:
        return ratio(lambda one: one.measured.rate, title, against, within)

    def time(title: str, against: str, within: list[Round] = rounds) -> Spread:
        return ratio(lambda one: one.microseconds, title, against, within)

    event = f"{MANY}, {KEYED}"
    return [
        Row(f"rate, {event} / {OPEN}", rate(KEYED, OPEN, pairs), at_least=0.98),
        Row(f"processor time, {event} / {OPEN}", time(KEYED, OPEN, pairs)),
        Row(f"rate, {MANY}, {RATED} / {KEYED}", rate(f"{MANY}, {RATED}", event)),
        Row(
            f"p50, {ONE}, {KEYED} / {OPEN}",
            ratio(lambda one: one.measured.p50, f"{ONE}, {KEYED}", f"{ONE}, {OPEN}", rounds),
        ),
        *(Row(f"processor time, {kind} / event", time(kind, event), at_most=1) for kind in KINDS),
        Row("rate, events with junk beside / without", rate(BESIDE, event)),
    ]


def _failures(rounds: list[Round]) -> list[str]:
    return [problem for number, each in enumerate(rounds, 1) for problem in failures(number, _measured(each))]


def _measured(each: Round) -> dict[str, Measurement]:
    return {title: one.measured for title, one in each.items()}


def _read(running: Service, run: Callable[[int], Measurement]) -> Reading:
    before = processes.processor_seconds(running.group)
    measured = run(running.port)
    used = processes.processor_seconds(running.group) - before
    return Reading(measured, used * 1e6 / max(1, measured.stored))
