"""1100: a single withdrawal over a threshold."""

from decimal import Decimal

import pytest

from rules.catalogue.large_withdrawal import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

CASES = {
    "below the threshold": ("w 99.99 @0", []),
    "at the threshold": ("w 100.00 @0", []),
    "a cent above the threshold": ("w 100.01 @0", [1]),
    "the smallest amount": ("w 0.01 @0", []),
    "the largest amount": ("w 999999999999.99 @0", [1]),
    "a large deposit": ("d 500.00 @0", []),
    "each one on its own": ("w 100.01 @0, w 100.00 @0, w 100.02 @0", [1, 3]),
    "small ones do not add up": ("w 60 @0, w 60 @0, w 60 @0", []),
    "whatever came before": ("d 1 @0, w 1 @1, d 1 @2, w 150 @3", [4]),
    "late after a small one": ("w 1 @50, w 150 @10", [2]),
    "early before a large one": ("w 150 @50, w 1 @10", [1]),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires on each withdrawal over 100.00, whatever else the user does."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize(
    ("risk", "expected"), [("low", [4]), ("normal", [3, 4]), ("high", [2, 3, 4])], ids=["low", "normal", "high"]
)
def test_threshold_scales_with_the_risk(risk: Risk, expected: list[int]) -> None:
    """The threshold is 200.00 at low, 100.00 at normal and 50.00 at high risk."""
    assert fired(RULE, "w 50.00 @0, w 50.01 @1, w 100.01 @2, w 200.01 @3", risk) == expected


def test_evidence() -> None:
    """It measures the amount and names only the withdrawal."""
    found = findings(RULE, "w 5.00 @0, w 100.01 @1")
    assert found == {2: Finding(Decimal("100.01"), (2,), "A withdrawal of 100.01 is over 100.00.")}
