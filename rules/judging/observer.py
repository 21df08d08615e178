"""Hooks to measure how judging goes: the rules themselves know of no metrics."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Literal

Stage = Literal["lock_and_read", "judge", "write_and_commit"]


class Observer:
    """Called as things happen, by many threads at once; does nothing unless a subclass does."""

    def queued(self) -> object:
        """An event waits for a batch. Returns whatever is to be passed to `together` with those that go with it."""
        return None

    def taken(self, waits: Sequence[float]) -> None:
        """Events left the queue for a batch; `waits` are the seconds that each waited."""

    def together(self, marks: Sequence[object]) -> None:
        """The transactions that this thread begins next are for the events that `queued` returned these for."""

    def begun(self, events: int) -> None:
        """A transaction begins for this number of events."""

    def read(self, kept: int, full: int) -> None:
        """Of so many users of a transaction the last actions were `kept`, and of the others read in full."""

    def done(self, stage: Stage, seconds: float) -> None:
        """A stage of a transaction is done, and took this many seconds."""

    def raised(self, codes: Iterable[int]) -> None:
        """Alerts with these codes are stored and committed."""

    def ended(self, error: BaseException | None) -> None:
        """The transaction that this thread began last is over: done, or broken off by `error`."""


class HarmlessObserver(Observer):
    """Passes everything on to another observer, whose errors reach nobody: they must not decide what is stored.

    After a commit, for instance, an error would have the events stored a second time.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def queued(self) -> object:
        with suppress(Exception):
            return self._observer.queued()
        return None

    def taken(self, waits: Sequence[float]) -> None:
        with suppress(Exception):
            self._observer.taken(waits)

    def together(self, marks: Sequence[object]) -> None:
        with suppress(Exception):
            self._observer.together(marks)

    def begun(self, events: int) -> None:
        with suppress(Exception):
            self._observer.begun(events)

    def read(self, kept: int, full: int) -> None:
        with suppress(Exception):
            self._observer.read(kept, full)

    def done(self, stage: Stage, seconds: float) -> None:
        with suppress(Exception):
            self._observer.done(stage, seconds)

    def raised(self, codes: Iterable[int]) -> None:
        with suppress(Exception):
            self._observer.raised(codes)

    def ended(self, error: BaseException | None) -> None:
        with suppress(Exception):
            self._observer.ended(error)
