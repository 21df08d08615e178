"""What the service uses while it runs: memory, descriptors and threads of its processes, and the time of single events.

Memory is what processes have for themselves (RssAnon): PostgreSQL's buffers are shared, and are not counted again and
again.
"""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from bench.measurement import percentile
from bench.processes import MB, delivering, descendants, private_memory, serving

EVERY = 2.0  # seconds between two readings
READINGS = 7_200
MOST_TIMES = 200_000


class Reading(NamedTuple):
    """What the processes of the service use at a moment: the largest worker, and all together with PostgreSQL."""

    at: float
    main_mb: float  # the first process
    worker_mb: float
    deliverer_mb: float | None  # None: there is none just now
    all_mb: float
    descriptors: int  # of the worker that has most
    threads: int  # likewise
    processes: int


@dataclass
class Watch:
    """Readings and times, bounded; `main` and `postmaster` find the processes, which may be replaced."""

    main: Callable[[], int | None]
    postmaster: Callable[[], int | None]
    begun: float = field(default_factory=monotonic)
    readings: "deque[Reading]" = field(default_factory=lambda: deque(maxlen=READINGS))
    times: "deque[tuple[float, float]]" = field(default_factory=lambda: deque(maxlen=MOST_TIMES))
    _over: threading.Event = field(default_factory=threading.Event)

    def took(self, seconds: float) -> None:
        """A single event was answered after this time."""
        self.times.append((monotonic() - self.begun, seconds))

    def read(self) -> Reading | None:
        """What is used now; None while the service is not there."""
        main = self.main()
        if main is None:
            return None
        workers = serving(main)
        if not workers:
            return None
        postmaster = self.postmaster()
        everybody = [main, *descendants(main)]
        everybody += [postmaster, *descendants(postmaster)] if postmaster else []
        deliverers = delivering(main)
        return Reading(
            at=monotonic() - self.begun,
            main_mb=private_memory(main) / MB,
            worker_mb=max(map(private_memory, workers)) / MB,
            deliverer_mb=max(map(private_memory, deliverers)) / MB if deliverers else None,
            all_mb=sum(map(private_memory, everybody)) / MB,
            descriptors=max(_entries(pid, "fd") for pid in workers),
            threads=max(_entries(pid, "task") for pid in workers),
            processes=len(everybody),
        )

    def run(self) -> None:
        """Read until it is over."""
        while not self._over.wait(EVERY):
            with suppress(OSError):  # a process has ended meanwhile
                if (reading := self.read()) is not None:
                    self.readings.append(reading)

    def end(self) -> None:
        """Read no more."""
        self._over.set()

    def between(self, start: float, end: float) -> list[Reading]:
        """The readings between two moments, in seconds since the beginning."""
        return [one for one in self.readings if start <= one.at < end]

    def milliseconds(self, start: float, end: float) -> tuple[int, float, float]:
        """How many single events were answered between two moments, and the p50 and p99 of their times."""
        times = [seconds * 1e3 for at, seconds in list(self.times) if start <= at < end]
        return (len(times), percentile(times, 0.5), percentile(times, 0.99)) if times else (0, 0.0, 0.0)


def _entries(pid: int, what: str) -> int:
    with suppress(OSError):
        return len(list(Path(f"/proc/{pid}/{what}").iterdir()))
    return 0
