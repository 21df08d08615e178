"""Killing what the service is made of, now and then, while it serves."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from bench.processes import delivering, descendants, serving, title
from bench.soak.loads import Soak

KILLS = (
    "deliverer",
    "worker",
    "worker-twice",
    "backend",
    "backend-hard",
    "postmaster",
    "supervisor",
    "supervisor-and-postmaster",
)


class Victims:
    """The processes of a service with an embedded PostgreSQL: `main` is its first one, `data` its data folder."""

    def __init__(self, main: int, data: Path) -> None:
        self._main, self._data = main, data

    def main(self) -> int | None:
        """The first process of the service, if it is alive."""
        return self._main if title(self._main) else None

    def postmaster(self) -> int | None:
        """PostgreSQL's first process, if it is alive."""
        return self._recorded("postgres/postmaster.pid", 0)

    def supervisor(self) -> int | None:
        """The process that looks after PostgreSQL, if it is alive."""
        return self._recorded("postgres.supervisor", 1)

    def workers(self) -> list[int]:
        """The workers."""
        return serving(self._main)

    def deliverers(self) -> list[int]:
        """What delivers to webhooks, if it runs."""
        return delivering(self._main)

    def backends(self) -> list[int]:
        """PostgreSQL's processes for the connections of the service."""
        postmaster = self.postmaster()
        return [pid for pid in descendants(postmaster) if "[local]" in title(pid)] if postmaster else []

    def _recorded(self, name: str, line: int) -> int | None:
        with suppress(OSError, ValueError, IndexError):
            pid = int((self._data / name).read_text().splitlines()[line])
            if str(self._data) in title(pid) or "postgres" in title(pid):
                return pid
        return None


def kills(soak: Soak, name: str, victims: Victims, wanted: tuple[str, ...], every: float) -> None:
    """Kills one of what is `wanted` about every so many seconds: each once, and then any."""
    random = Random(f"{soak.seed} {name}")
    once = random.sample(wanted, len(wanted))
    while soak.goes_on(every * (0.5 + random.random())):
        kind = once.pop() if once else random.choice(wanted)
        soak.tally.kill(kind)
        _KINDS[kind](soak, random, victims)


def _kill(random: Random, pids: list[int] | int | None, how: signal.Signals = signal.SIGKILL) -> None:
    found = pids if isinstance(pids, list) else [pids] if pids else []
    if found:
        with suppress(ProcessLookupError):
            os.kill(random.choice(found), how)


def _worker_twice(soak: Soak, random: Random, victims: Victims) -> None:
    _kill(random, victims.workers())
    soak.goes_on(1.5)
    _kill(random, victims.workers()[-1:])


def _both(_: Soak, random: Random, victims: Victims) -> None:
    postmaster = victims.postmaster()
    _kill(random, victims.supervisor())
    _kill(random, postmaster)


_KINDS: dict[str, Callable[[Soak, Random, Victims], None]] = {
    "deliverer": lambda _, random, victims: _kill(random, victims.deliverers()),
    "worker": lambda _, random, victims: _kill(random, victims.workers()),
    "worker-twice": _worker_twice,
    "backend": lambda _, random, victims: _kill(random, victims.backends(), signal.SIGTERM),
    "backend-hard": lambda _, random, victims: _kill(random, victims.backends()),
    "postmaster": lambda _, random, victims: _kill(random, victims.postmaster()),
    "supervisor": lambda _, random, victims: _kill(random, victims.supervisor()),
    "supervisor-and-postmaster": _both,
}
assert tuple(_KINDS) == KILLS
