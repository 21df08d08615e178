"""Values that take long to make and need not be of this moment."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """A value that is made when it is first asked for, and again once it is `seconds` old.

    Any number of threads may ask; one of them makes it, and those that ask meanwhile wait for it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._until = -1.0
        self._value: T | None = None

    def get(self, make: Callable[[], T]) -> T:
        """The value; `make` makes it, and what that raises, this raises."""
        with self._lock:
            if self._value is None or time.monotonic() >= self._until:
                self._value = make()
                self._until = time.monotonic() + self._seconds
            return self._value
