"""Work that takes turns: what waits while others' is being done is done in one go by the next."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from rules.overload import Overloaded

J = TypeVar("J")
R = TypeVar("R")


class Together(Generic[J, R]):
    """Calls `work` for the jobs of many threads, never twice at once: all that wait are its next call.

    `work` returns a result for each job, or the exception that its caller gets. At most `most` jobs wait, for at most
    `patience` seconds each.
    """

    def __init__(self, work: Callable[[Sequence[J]], Sequence[R | Exception]], *, most: int, patience: float) -> None:
        self._work, self._most, self._patience = work, most, patience
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._waiting: deque[tuple[J, Future[R]]] = deque()

    def submit(self, job: J) -> R:
        """The result of `job`. Raises Overloaded, or what `work` raises or returns for it."""
        place = job, Future[R]()
        with self._lock:
            if len(self._waiting) >= self._most:
                raise Overloaded("too many wait already")
            self._waiting.append(place)
        if self._turn.acquire(timeout=self._patience):
            try:
                if not place[1].done():  # else it was done along with others
                    self._run()
            finally:
                self._turn.release()
        else:
            with self._lock:
                if place in self._waiting:
                    self._waiting.remove(place)
                    raise Overloaded("it waited for too long")
        return place[1].result()

    def _run(self) -> None:
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
        try:
            done = list(zip(taken, self._work([job for job, _ in taken]), strict=True))
        except BaseException as error:
            for _, future in taken:
                future.set_exception(error)
            return
        for (_, future), result in done:
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
