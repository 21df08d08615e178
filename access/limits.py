"""How many requests a key may make: its rate, held by all processes together, in windows that begin by the clock.

Each process counts in its own memory, so a request costs no question to anybody. About once a second it stores how
often each key asked and learns how often it did everywhere; that leaves it a share of the rate as large as its share of
what was asked. Whoever reaches one process alone gets the whole rate there, and a key that asks for less than its rate,
in whichever processes, is not refused. What the others did within the last second or two is not known yet. So a key
that begins, or begins again, may get its whole rate in each process for so long, and one that goes from some processes
to others may get less of it.

The windows of the library `limits` are not used, only its way to write a rate: in memory they take 5 µs for a request,
start a thread every 10 ms, and keep every key they ever saw.
"""

import time
from collections.abc import Callable, Iterable
from math import ceil

from access.keyring import Flushed
from access.rates import Quota, Rate, read_rate

REMEMBERED = 10_000  # keys, living or not: as many as may live
FRESH = 3.0  # seconds after which what was learned of other processes says nothing any more


class KeyLimit:
    """What one process lets through of one key's rate. Times are in seconds since 1970."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._start = self._end = 0.0
        self._used, self._allowed = 0, rate.requests
        self._total: int | None = None  # requests with the key there ever were, as last learned
        self._learned = 0.0
        self._before = (0, 0, 0.0)  # of the time before that: our requests, those of others, seconds
        self._share, self._expected = 1.0, 0.0
        # In the window: requests of others, and the smallest share that was ours. The others had the rest at most.
        self._others, self._least = 0.0, 1.0

    def take(self, now: float) -> bool:
        """Whether one more request may be made."""
        if not self._start <= now < self._end:  # also where the clock was set back
            self._begin_window(now)
        if self._used >= self._allowed:
            return False
        self._used += 1
        return True

    def quota(self, may: bool, now: float) -> Quota:
        """How the key stands after a request that it `may` make."""
        return Quota(may, self.rate, max(0, self._allowed - self._used), max(1, ceil(self._end - now)))

    def learn(self, ours: int, total: int, now: float) -> None:
        """Take in that there were `total` requests with this key ever; `ours` were made here since the last time."""
        known, self._total = self._total, total
        seconds, self._learned = now - self._learned, now
        if known is None or seconds <= 0:
            return
        others = max(0, total - known - ours)
        # Two times together: the others do not store theirs at the same moment, but once in such a time each.
        ours_before, others_before, seconds_before = self._before
        self._before = (ours, others, seconds)
        if seconds_before + seconds > 2 * FRESH:
            ours_before = others_before = 0
            seconds_before = 0.0
        asked, by_others = ours + ours_before, others + others_before
        self._share = asked / (asked + by_others) if asked else 0.0
        self._expected = by_others / (seconds + seconds_before)
        if self.rate.seconds > 1:  # a window of a second is over when it is learned what others did in it
            self._others += others * min(1.0, max(0.0, now - self._start) / seconds)
        self._least = min(self._least, self._share)
        self._allow()

    def _begin_window(self, now: float) -> None:
        self._start = now // self.rate.seconds * self.rate.seconds
        self._end = self._start + self.rate.seconds
        if now - self._learned > FRESH:
            self._share, self._expected = 1.0, 0.0
        self._used, self._others, self._least = 0, 0.0, self._share
        self._allow()

    def _allow(self) -> None:
        """Let through what others leave, for as long as they ask for less than the rate; else no more than our share.

        Of what others asked, no more was let through than what was not our share at some time in the window.
        """
        rate = self.rate.requests
        rest = rate - min(self._others, (1 - self._least) * rate)
        self._allowed = ceil(min(rest, max(self._share * rate, rest - self._expected)) - 1e-6)


class KeyLimits:
    """The limits of all keys in one process. `default` is the rate of keys that have none; None: they have no limit."""

    def __init__(self, default: Rate | None = None, clock: Callable[[], float] = time.time) -> None:
        self._default, self._clock = default, clock
        self._limits: dict[str, tuple[str | None, KeyLimit | None]] = {}

    def take(self, key_id: str, rate: str | None) -> Quota | None:
        """Count a request with a key that has this rate (None: none of its own). None: it has no limit."""
        found = self._limits.get(key_id)
        if found is None or found[0] != rate:
            if len(self._limits) >= REMEMBERED:
                self._limits.clear()
            found = self._limits[key_id] = rate, self._limit(rate)
        limit = found[1]
        if limit is None:
            return None
        now = self._clock()
        return limit.quota(limit.take(now), now)

    def learn(self, stored: Iterable[Flushed]) -> None:
        """Take in the uses of keys that were just stored."""
        for key_id, ours, total in stored:
            _, limit = self._limits.get(key_id, (None, None))
            if limit is not None:
                limit.learn(ours, total, self._clock())

    def _limit(self, rate: str | None) -> KeyLimit | None:
        read = self._default if rate is None else read_rate(rate)
        return None if read is None else KeyLimit(read)
