"""How long to try again where others are at the same alerts, and the pauses between tries."""

import random
import time

from rules.overload import Overloaded

PATIENCE = 5.0  # seconds
PAUSE = 0.02  # seconds before the next try, at most


class Tries:
    """The tries of one request, from when this is made."""

    def __init__(self) -> None:
        self._end = time.monotonic() + PATIENCE

    def go_on(self) -> None:
        """Raise Overloaded if the time is over; nothing was stored."""
        if time.monotonic() >= self._end:
            raise Overloaded("others are at the same alerts")

    def pause(self) -> None:
        """Wait a moment before the next try. Raises Overloaded if the time is over."""
        self.go_on()
        time.sleep(random.uniform(0, PAUSE))  # noqa: S311 (so that those who met do not meet again)
