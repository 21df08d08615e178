"""What Prometheus can read about the service: requests, stages, batches, alerts, pool and line.

With the environment's PROMETHEUS_MULTIPROC_DIR the library keeps the values of each process in files of that folder,
and the exposition sums them up; the folder must be named before this module is first imported. Without it they are
those of this process alone. Either way they are of the process, not of one application in it.
"""

import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from sqlalchemy import Engine, QueuePool, event

from rules.judging.observer import Observer, Stage

FOLDER = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
CONTENT_TYPE = CONTENT_TYPE_LATEST

# From a judgement in plain Python to the longest wait that DB_TIMEOUT usually allows.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_EVENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1000, 10_000)
# A caller may send any word as the method: unknown ones share a label, so that there is no end of labels otherwise.
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

if FOLDER is not None:
    # A process of the same number may have been there before us.
    mark_process_dead(os.getpid(), FOLDER)  # type: ignore[no-untyped-call]

_registry = CollectorRegistry()
_requests = Counter(
    "http_requests", "Requests by route, method and status.", ["route", "method", "status"], registry=_registry
)
_request_seconds = Histogram(
    "http_request_seconds", "Time to answer a request.", ["route", "method"], registry=_registry, buckets=_SECONDS
)
_stage_seconds = Histogram(
    "event_stage_seconds",
    "Time of the stages: wait is by event, the others by transaction.",
    ["stage"],
    registry=_registry,
    buckets=_SECONDS,
)
_batch_events = Histogram("batch_events", "Events in a transaction.", registry=_registry, buckets=_EVENTS)
_alerts = Counter("alerts", "Alerts stored, by code.", ["code"], registry=_registry)
_line = Gauge("line_events", "Events that wait for a batch.", registry=_registry, multiprocess_mode="livesum")
_connections = Gauge(
    "db_connections_in_use",
    "Connections to the database that are checked out of the pools.",
    registry=_registry,
    multiprocess_mode="livesum",
)


class Recorder(Observer):
    """Records what it is told."""

    def lined_up(self) -> None:
        _line.inc()

    def taken(self, waits: Sequence[float]) -> None:
        _line.dec(len(waits))
        for seconds in waits:
            _stage("wait").observe(seconds)

    def begun(self, events: int) -> None:
        _batch_events.observe(events)

    def done(self, stage: Stage, seconds: float) -> None:
        _stage(stage).observe(seconds)

    def raised(self, codes: Iterable[int]) -> None:
        for code in codes:
            _alerts_with(code).inc()


def request_done(route: str | None, method: str, status: int, seconds: float) -> None:
    """Record a request that is answered. `route` is the rule, never the path; None where no rule fits."""
    count, time = _request(route or "none", method if method in _METHODS else "other", status)
    count.inc()
    time.observe(seconds)


def watch_pool(engine: Engine) -> None:
    """Record from now on how many connections of `engine` are in use."""

    # Read anew from the pool each time: a connection that could not be made is returned without having been lent.
    @event.listens_for(engine, "checkout")
    def _lent(*_: object) -> None:
        _connections.set(_in_use(engine))

    @event.listens_for(engine, "checkin")
    def _returned(*_: object) -> None:
        _connections.set(max(0, _in_use(engine) - 1))  # the pool counts it until this is done


def exposition() -> bytes:
    """All metrics in Prometheus' text format, those of dead processes included where that makes sense."""
    if FOLDER is None:
        return generate_latest(_registry)
    _forget_the_dead(FOLDER)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, FOLDER)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _forget_the_dead(folder: str) -> None:
    # What a killed worker had in use is free again, and the server tells nobody that it is gone.
    for pid in {int(path.stem.rpartition("_")[2]) for path in Path(folder).glob("gauge_live*_*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]


def _in_use(engine: Engine) -> int:
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedout()


# To look a child up by its labels takes the library longer than to count with it.


@cache
def _request(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return _requests.labels(route, method, str(status)), _request_seconds.labels(route, method)


@cache
def _stage(name: str) -> Histogram:
    return _stage_seconds.labels(name)


@cache
def _alerts_with(code: int) -> Counter:
    return _alerts.labels(str(code))
