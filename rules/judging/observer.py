"""How judging goes, for whoever wants to measure it: the rules themselves know of no metrics."""

from collections.abc import Iterable, Sequence
from typing import Literal

Stage = Literal["lock_and_read", "judge", "write_and_commit"]


class Observer:
    """Is told what happens, from many threads at once; does nothing with it unless a subclass does."""

    def lined_up(self) -> None:
        """An event waits for a batch."""

    def taken(self, waits: Sequence[float]) -> None:
        """Events left the line for a batch, after so many seconds each."""

    def begun(self, events: int) -> None:
        """A transaction begins for so many events."""

    def done(self, stage: Stage, seconds: float) -> None:
        """A stage of a transaction is done, and took so long."""

    def raised(self, codes: Iterable[int]) -> None:
        """Alerts with these codes are stored and committed."""
