"""When callers have last changed something: they are to see it at once, even where lists come from a replica.

The moments are shared by all workers of a service. Callers are told apart by name; two whose names fall into one place
count as one, which only keeps both on the primary for a moment.
"""

import mmap
from time import monotonic
from zlib import crc32

PLACES = 4_096

# Made as the server loads it, so that its workers have it in common.
_moments = memoryview(mmap.mmap(-1, 8 * PLACES)).cast("d")


def note(who: str) -> None:
    """This caller has just changed something, or may have; to be called before the answer is sent."""
    _moments[crc32(who.encode()) % PLACES] = monotonic()


def last(who: str) -> float:
    """When that was last, by time.monotonic; 0 if never."""
    return float(_moments[crc32(who.encode()) % PLACES])
