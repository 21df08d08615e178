"""Memory of the workers over many events."""

from dataclasses import dataclass

from sqlalchemy import URL

from bench import events, processes
from bench.load import Poster, is_refused, is_whole
from bench.processes import MB
from bench.ratios import Row, Spread
from bench.servers import database, service

BAD = 10_000  # bad events in a post of their own, which each worker gets too: refusals must leave nothing behind
POST = 1_000  # events in one post: few, so that every worker gets some long before the first tenth is over
READINGS = 10
# The most that the last reading may be, relative to the one after the first tenth of the events, when everything that
# is made only once has been made.
GROWTH = 1.1
LIMIT_MB = 150


@dataclass(frozen=True)
class Flatness:
    """Megabytes of each worker, in order of pid, before the first event and after each tenth of the events."""

    readings: list[list[float]]
    stored: int
    rows: list[Row]
    problems: list[str]


def measure(server: URL, count: int) -> Flatness:
    """Send about `count` events by `POST /events`, each post over a new connection so that every worker gets some.

    After every tenth post come `BAD` events of which none can be stored.
    """
    with database(server, "memory") as made, service(made) as running:
        readings, problems = [_read(running.group)], []
        pids = [worker.pid for worker in processes.workers(running.group)]
        posts = max(READINGS, count // POST)
        stored, start = 0, 1_000_000
        for number in range(1, posts + 1):
            poster = Poster(running.port)
            _, status, content = poster.post("/events", events.body(POST, start))
            if number % 10 == 0:
                _, refused, answer = poster.post("/events", events.bad_body(BAD))
                if not is_refused(refused, answer, BAD):
                    problems.append(f"memory: bad events were answered {refused}: {answer[:200]!r}")
                    break
            poster.close()
            start += POST * events.GAP // events.USERS
            if not is_whole(status, content, POST):
                problems.append(f"memory: POST /events was answered {status}: {content[:200]!r}")
                break
            stored += POST
            if number * READINGS // posts > (number - 1) * READINGS // posts:
                readings.append(_read(running.group))
        if pids != [worker.pid for worker in processes.workers(running.group)]:
            problems.append("memory: a worker was replaced")
    return Flatness(readings, stored, [] if problems else _rows(readings, stored), problems)


def _read(server: int) -> list[float]:
    return [worker.rss / MB for worker in processes.workers(server)]


def _rows(readings: list[list[float]], stored: int) -> list[Row]:
    """How much the workers have grown since the first tenth, and how large they are at the end."""
    settled, last = readings[1], readings[-1]
    if not last:  # no /proc here
        return []
    growth = [after / before for before, after in zip(settled, last, strict=True)]
    # Every worker must meet the target: these rows have the worst value instead of the median.
    return [
        Row(f"memory of a worker, after {stored:,} / {stored // READINGS:,} events", _worst(growth), at_most=GROWTH),
        Row("memory of a worker at the end, MB", _worst(last), at_most=LIMIT_MB),
    ]


def _worst(values: list[float]) -> Spread:
    return Spread(max(values), min(values), max(values))
