"""Ratios between figures of one run, and their targets."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """The median of some readings, and their extremes."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of `values`, which must not be empty."""
        return cls(statistics.median(values), min(values), max(values))


class Row(NamedTuple):
    """A row of the table of ratios. The target of its median is `at_least` or `at_most`; with neither it has none."""

    title: str
    spread: Spread
    at_least: float | None = None
    at_most: float | None = None

    @property
    def target(self) -> str:
        """The target in words, empty without one."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; None without one."""
        if self.at_least is not None:
            return self.spread.median >= self.at_least
        return None if self.at_most is None else self.spread.median <= self.at_most


def quotient(one: float | None, other: float | None) -> float:
    """One figure / another; 0 without figures, for then the run is invalid and reports that."""
    return one / other if one and other else 0.0
