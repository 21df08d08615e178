"""300: deposits that keep growing."""

import pytest

from rules.catalogue.increasing_deposits import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

CASES = {
    "the first deposit": ("d 1 @0", []),
    "two growing": ("d 1 @0, d 2 @1", []),
    "three growing": ("d 1 @0, d 2 @1, d 3 @2", [3]),
    "growing by a cent": ("d 1.00 @0, d 1.01 @1, d 1.02 @2", [3]),
    "again on the fourth and fifth": ("d 1 @0, d 2 @1, d 3 @2, d 4 @3, d 5 @4", [3, 4, 5]),
    "three equal": ("d 5 @0, d 5 @1, d 5 @2", []),
    "the last two equal": ("d 1 @0, d 2 @1, d 2 @2", []),
    "the first two equal": ("d 2 @0, d 2 @1, d 3 @2", []),
    "shrinking": ("d 3 @0, d 2 @1, d 1 @2", []),
    "up and down": ("d 1 @0, d 3 @1, d 2 @2", []),
    "growing anew after a smaller one": ("d 9 @0, d 1 @1, d 2 @2, d 3 @3", [4]),
    "only the last three count": ("d 1 @0, d 2 @1, d 3 @2, d 3 @3, d 4 @4, d 5 @5", [3, 6]),
    "numbers, not text": ("d 9 @0, d 10 @1, d 100 @2", [3]),
    "equal times": ("d 1 @7, d 2 @7, d 3 @7", [3]),
    "however long ago": ("d 1 @0, d 2 @1000000, d 3 @9223372036854775807", [3]),
    "withdrawals in between": ("d 1 @0, w 50 @1, d 2 @2, w 1 @3, w 1 @4, w 1 @5, d 3 @6", [7]),
    "never on a withdrawal": ("d 1 @0, d 2 @1, d 3 @2, w 4 @3", [3]),
    "later ones are not seen": ("d 1 @50, d 2 @60, d 3 @10", []),
    "a late one between earlier ones": ("d 1 @10, d 2 @20, d 9 @90, d 3 @30", [3, 4]),
    "a late one breaks the growth": ("d 1 @10, d 2 @20, d 2 @25, d 3 @30", []),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires when the last three deposits strictly increase, in order of (time, arrival)."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize("risk", ["low", "normal", "high"])
def test_risk_changes_nothing(risk: Risk) -> None:
    """It compares amounts with each other, so no risk rating scales it."""
    assert fired(RULE, "d 1 @0, d 2 @1, d 3 @2", risk) == [3]


def test_evidence() -> None:
    """It names the last three deposits and gives their amounts, oldest first in time."""
    found = findings(RULE, "d 10 @0, w 1 @1, d 30.50 @30, d 20 @10, d 25.05 @20")
    sentence = "The last 3 deposits keep growing: 10.00, 20.00, 25.05."
    assert found == {5: Finding(3, (1, 4, 5), sentence)}
