"""Bad keys by the address they come from: so many a minute, and no more is looked into.

A good key is accepted from any address however many bad ones came from there: behind a proxy all callers share one.
"""

import threading
import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from math import ceil

MOST = 100  # a minute from one address; whoever mistypes a key is far below
WINDOW = 60  # seconds
REMEMBERED = 10_000  # addresses; beyond, the one that was quiet for longest begins anew


class BadKeys:
    """Counts bad keys in one process, by address; one IPv6 network of 64 bits counts as one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = 0.0
        self._counts: dict[str | int, int] = {}  # the address that was quiet for longest first
        self._counting = threading.Lock()

    def count(self, address: str) -> int:
        """Count one. Returns the seconds for which there are to be no more; 0 as long as there may."""
        place = _place(address)
        with self._counting:
            now = self._clock()
            if now >= self._end:
                self._end = now + WINDOW
                self._counts.clear()
            count = self._counts.pop(place, 0) + 1
            if len(self._counts) >= REMEMBERED:
                del self._counts[next(iter(self._counts))]
            self._counts[place] = count
            return ceil(self._end - now) if count > MOST else 0


def _place(address: str) -> str | int:
    if ":" not in address:
        return address
    try:
        found = ip_address(address)
    except ValueError:
        return address
    assert isinstance(found, IPv6Address)
    return str(found.ipv4_mapped) if found.ipv4_mapped else int(found) >> 64
