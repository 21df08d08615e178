"""What Prometheus can read about the service: requests, stages, batches, alerts, the pool and the queue of events.

The library is imported when this module is first used, not when it is imported, because at that point the library
decides for good whether it counts for one process or for several. If the environment has PROMETHEUS_MULTIPROC_DIR, it
keeps each process's values in files in that folder, and the exposition sums them; otherwise they are those of this
process alone. The server sets the folder after it has imported the application, and its workers do the counting, each
in the files of its number (WORKER_SLOT): one that replaces another goes on counting where that one was killed.
Either way the values belong to the process, not to one application in it.
"""

import os
import platform
import sys
from bisect import bisect_left
from collections import Counter as Counting
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, QueuePool, event

from rules.judging.observer import Observer, Stage
from version import VERSION

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram, Metric

    from database.webhook_figures import WebhookFigures

NAMESPACE = "transaction_alerts"  # begins the names of all metrics
# In seconds: from judging in plain Python up to the longest wait that DB_TIMEOUT usually allows.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_EVENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1000, 10_000)
# A caller may send any word as the method: unknown ones share one label, or there would be no end of labels.
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


# The files of one worker by the library's names, and room for all labels that there can be in them.
_GAUGES = "gauge_livesum"
SIZES = {"histogram": 1 << 20, "counter": 1 << 19, _GAUGES: 1 << 16, "gauge_max": 1 << 16}

_of_webhooks: "WebhookFigures | None" = None


class _Metrics:
    """All metrics of the process."""

    def __init__(self) -> None:
        self.slot = os.environ.get("WORKER_SLOT")
        if self.slot is None:  # no worker: a folder that somebody else has set is not for us, and may not exist
            os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        self.folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, values

        # With several processes there are none of these.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        if self.folder is not None and self.slot is not None:
            values.ValueClass = values.MultiProcessValue(lambda: self.slot)  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ours: Any = {"namespace": NAMESPACE, "registry": registry}
        self.requests = Counter(
            "http_requests", "Requests by route, method and status.", ["route", "method", "status"], **ours
        )
        self.request_seconds = Histogram(
            "http_request_duration_seconds", "Time to answer a request.", ["route", "method"], buckets=_SECONDS, **ours
        )
        self.stage_seconds = Histogram(
            "event_stage_duration_seconds",
            "Time in each stage: wait is per event, the others per transaction.",
            ["stage"],
            buckets=_SECONDS,
            **ours,
        )
        self.batch_events = Histogram("batch_events", "Events in a transaction.", buckets=_EVENTS, **ours)
        counted = Counter("users_read", "Users in transactions, by how their history was read.", ["how"], **ours)
        self.users_read_since, self.users_read_in_full = counted.labels("since"), counted.labels("full")
        self.alerts = Counter("alerts", "Alerts stored, by code.", ["code"], **ours)
        self.queued = Gauge("queued_events", "Events that wait for a batch.", multiprocess_mode="livesum", **ours)
        self.dropped = Counter("log_lines_dropped", "Log lines that could not be written in time, or at all.", **ours)
        self.connections = Gauge(
            "db_connections_in_use",
            "Connections to the database that are checked out of the pools.",
            multiprocess_mode="livesum",
            **ours,
        )
        self.figures = Gauge(
            "figures_as_of_timestamp_seconds", "Up to when (Unix) figures are counted.", multiprocess_mode="max", **ours
        )
        self.indexes = Gauge(
            "unusable_indexes",
            "Indexes that are missing or invalid, as `GET /readyz` last found.",
            multiprocess_mode="max",
            **ours,
        )


class Recorder(Observer):
    """Counts what the engine reports."""

    def queued(self) -> None:
        _all().queued.inc()

    def taken(self, waits: Sequence[float]) -> None:
        _all().queued.dec(len(waits))
        _observe_all(_stage("wait"), waits)

    def begun(self, events: int) -> None:
        _all().batch_events.observe(events)

    def read(self, kept: int, full: int) -> None:
        _all().users_read_since.inc(kept)
        _all().users_read_in_full.inc(full)

    def done(self, stage: Stage, seconds: float) -> None:
        _stage(stage).observe(seconds)

    def raised(self, codes: Iterable[int]) -> None:
        for code in codes:
            _alerts_with(code).inc()


def requests_done(route: str | None, method: str, status: int, seconds: Sequence[float]) -> None:
    """Record requests answered alike, by the seconds of each. `route` is a template; None if none matches."""
    count, time = _request(route or "none", method if method in _METHODS else "other", status)
    count.inc(len(seconds))
    _observe_all(time, seconds)


def log_lines_dropped(lines: int) -> None:
    """Record that so many lines of the log were dropped."""
    _all().dropped.inc(lines)


def figures_known(as_of: datetime) -> None:
    """Record the moment up to which figures are counted."""
    _all().figures.set(as_of.timestamp())


def indexes_known(warnings: Sequence[str]) -> None:
    """Record how many indexes are missing or invalid, each of which has a warning."""
    _all().indexes.set(len(warnings))


def webhooks_known(figures: "WebhookFigures") -> None:
    """Record how webhooks are doing: the same in all workers, so they are not summed."""
    global _of_webhooks
    _of_webhooks = figures


def watch_pools(engines: Sequence[Engine]) -> None:
    """From now on, record how many connections of `engines` are in use."""
    connections = _all().connections

    # Read from the pools each time, not counted: a connection that could not be made is returned but was never lent.
    def lent(*_: object) -> None:
        connections.set(sum(map(_in_use, engines)))

    def returned(*_: object) -> None:
        connections.set(max(0, sum(map(_in_use, engines)) - 1))  # the pool counts it until this is done

    for engine in engines:
        event.listen(engine, "checkout", lent)
        event.listen(engine, "checkin", returned)


def are_kept() -> bool:
    """Whether there are metrics of all workers: not if the server found no room for them."""
    return _all().folder is not None or _all().slot is None


def exposition() -> tuple[bytes, str]:
    """All metrics in Prometheus' text format, and its content type. Counts of dead processes are included."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.exposition import CONTENT_TYPE_LATEST
    from prometheus_client.multiprocess import MultiProcessCollector

    folder, registry = _all().folder, _all().registry
    if folder is not None:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    apart = generate_latest(_build_info()) + generate_latest(_webhooks())
    return generate_latest(registry) + apart, CONTENT_TYPE_LATEST


class _Fixed:
    """A collector of one metric that never changes."""

    def __init__(self, metric: "Metric") -> None:
        self._metric = metric

    def collect(self) -> "list[Metric]":
        return [self._metric]


class _Webhooks:
    """A collector of what is known of webhooks; until then it has names alone."""

    def collect(self) -> "list[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        known, name = _of_webhooks, f"{NAMESPACE}_webhook_"
        counts = CounterMetricFamily(
            f"{name}deliveries",
            "Messages that arrived, attempts that failed, and messages that were given up.",
            labels=["webhook", "outcome"],
        )
        for webhook_id, numbers in known.counts.items() if known else ():
            for outcome, number in zip(("delivered", "failed", "given_up"), numbers, strict=True):
                counts.add_metric([str(webhook_id), outcome], number)
        gauges = {
            "waiting": ("Events and messages that wait for webhooks that are enabled.", known and known.waiting),
            "oldest_waiting_seconds": ("For how long the oldest of them has waited.", known and known.oldest),
            "held": ("Whether nothing is sent until somebody decides.", known and known.held),
            "disabled": ("Webhooks that the service has disabled.", known and known.disabled),
        }
        return [counts, *(GaugeMetricFamily(name + one, text, value) for one, (text, value) in gauges.items())]


# In the server


def reserve(folder: Path, workers: int) -> None:
    """Make the files of the workers' values, with room for all of them. Raises OSError if there is none."""
    for slot in range(workers):
        for kind, size in SIZES.items():
            with (folder / f"{kind}_{slot}.db").open("xb") as file:
                if sys.platform == "linux":
                    os.posix_fallocate(file.fileno(), 0, size)


def forget_gauges(folder: Path | None, slot: int) -> None:
    """What a worker that has died had in use is free again."""
    if folder is not None:
        with suppress(OSError), (folder / f"{_GAUGES}_{slot}.db").open("r+b") as file:
            file.write(bytes(4))  # how much of the file is in use


# In all processes


def _in_use(engine: Engine) -> int:
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedout()


@cache
def _all() -> _Metrics:
    return _Metrics()


@cache
def _build_info() -> "CollectorRegistry":
    # Apart, since it is the same in all workers: summed over them it would no longer be 1.
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import GaugeMetricFamily

    info = GaugeMetricFamily(f"{NAMESPACE}_build_info", "What runs; always 1.", labels=["version", "python"])
    info.add_metric([VERSION, platform.python_version()], 1)
    registry = CollectorRegistry()
    registry.register(_Fixed(info))
    return registry


@cache
def _webhooks() -> "CollectorRegistry":
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    registry.register(_Webhooks())
    return registry


# The library takes longer to look up a child by its labels than to count with it.


@cache
def _request(route: str, method: str, status: int) -> "tuple[Counter, Histogram]":
    return _all().requests.labels(route, method, str(status)), _all().request_seconds.labels(route, method)


def _observe_all(histogram: "Histogram", values: Sequence[float]) -> None:
    """`observe` each of `values`, but write each number only once."""
    bounds: list[float] = histogram._upper_bounds
    for at, count in Counting([bisect_left(bounds, value) for value in values]).items():
        histogram._buckets[at].inc(count)
    histogram._sum.inc(sum(values))


@cache
def _stage(name: str) -> "Histogram":
    return _all().stage_seconds.labels(name)


@cache
def _alerts_with(code: int) -> "Counter":
    return _all().alerts.labels(str(code))
