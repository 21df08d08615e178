"""What has become of a replay's lines: how many were stored, and which alerts stand on them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

from commands.replay_file import batches
from database import replayed
from rules.service import Service

STRETCHES = 500_000  # that are remembered: some 100 MB
# Of the actions whose alerts are counted by one statement, which may take no more than a few seconds.
_ACTIONS, _AT_ONCE = 1_000, 500


class Stretches:
    """The actions that belong to a file, as stretches of each user's `seq`."""

    def __init__(self) -> None:
        self._by_user: dict[int, list[tuple[int, int]]] = {}
        self._count = 0

    def add(self, user_id: int, seq: int) -> None:
        """Remember one action; it may be remembered already."""
        found = self._by_user.setdefault(user_id, [])
        if found and found[-1][0] <= seq <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(seq, found[-1][1])
        else:
            found.append((seq, seq))
            self._count += 1

    @property
    def is_full(self) -> bool:
        """Whether no more should be remembered, however the stretches are joined."""
        if self._count > STRETCHES:
            joined = {user_id: list(_joined(found)) for user_id, found in self._by_user.items()}
            self._by_user, self._count = joined, sum(map(len, joined.values()))
        return self._count > STRETCHES // 2

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """All of them, none overlapping another, none long: user_id, first and last."""
        for user_id, found in self._by_user.items():
            for first, last in _joined(found):
                for begin in range(first, last + 1, _ACTIONS):
                    yield user_id, begin, min(begin + _ACTIONS - 1, last)


def _joined(stretches: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    stretches.sort()
    first, last = stretches[0]
    for begin, end in stretches[1:]:
        if begin > last + 1:
            yield first, last
            first = begin
        last = max(last, end)
    yield first, last


@dataclass
class Tally:
    """What has happened to the lines so far."""

    stored: int = 0
    replayed: int = 0
    rejected: int = 0
    skipped: int = 0
    latest: int = 0  # time of an event
    actions: Stretches = field(default_factory=Stretches)
    alerts: Counter[int] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    is_counted: bool = False
    started: float = field(default_factory=perf_counter)

    @property
    def read(self) -> int:
        """How many lines are done."""
        return self.stored + self.replayed + self.rejected + self.skipped

    def rate(self) -> str:
        """The number of lines so far, and lines per second."""
        return f"{self.read:,} events  {self.read / self._seconds():,.0f}/s"

    def find(self, service: Service, events: Iterable[tuple[int, str]]) -> None:
        """Note where events with these user_ids and event_ids are stored, so that their alerts can be counted."""
        wanted = list(events)
        for user_id, seq in service.run(lambda session: replayed.places(session, wanted)):
            self.actions.add(user_id, seq)
        if self.actions.is_full:
            self.count(service)

    def count(self, service: Service) -> None:
        """Count the alerts on the stored events, as they are now. If that fails, none count, and it can be repeated."""
        self.is_counted = False
        alerts, others = Counter(self.alerts), Counter(self.others)
        for some in batches(self.actions, _AT_ONCE):
            for found in service.run(partial(replayed.count_alerts, stretches=some)):
                alerts[found.code] += found.standing
                for kind in ("late", "superseded", "shadow"):
                    others[kind] += getattr(found, kind)
        self.alerts, self.others, self.actions, self.is_counted = alerts, others, Stretches(), True

    def summary(self) -> str:
        """All counts, one per line."""
        lines = [
            f"events read        {self.read:>12,}",
            f"  stored           {self.stored:>12,}",
            f"  stored before    {self.replayed:>12,}",
            f"  refused          {self.rejected:>12,}",
            *([f"  skipped          {self.skipped:>12,}"] if self.skipped else []),
            f"alerts             {f'{sum(self.alerts.values()):,}' if self.is_counted else 'not counted':>12}",
            *(f"  {code:<16} {self.alerts[code]:>12,}" for code in sorted(self.alerts) if self.alerts[code]),
            *(f"  {name:<16} {self.others[kind]:>12,}" for kind, name in _OTHERS.items() if self.others[kind]),
            f"seconds            {self._seconds():>12,.1f}",
            f"events per second  {self.read / self._seconds():>12,.0f}",
        ]
        return "\n".join(lines)

    def _seconds(self) -> float:
        return max(perf_counter() - self.started, 1e-9)


# Of the alerts, those marked late; besides them, those that no longer hold, and those of rules in shadow.
_OTHERS = {"late": "of them late", "superseded": "also superseded", "shadow": "also in shadow"}
