"""640: one round amount after the other."""

import pytest

from rules.catalogue.round_amounts import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

FOUR = "d 100 @0, w 300 @1, d 200 @2, w 1000 @3"

CASES = {
    "the first action": ("d 100 @0", []),
    "four": (FOUR, []),
    "five, on a deposit": (f"{FOUR}, d 100 @4", [5]),
    "five, on a withdrawal": (f"{FOUR}, w 100 @4", [5]),
    "of one type": ("d 100 @0, d 100 @1, d 100 @2, d 100 @3, d 100 @4", [5]),
    "again on the sixth and seventh": (f"{FOUR}, d 100 @4, d 500 @5, w 700 @6", [5, 6, 7]),
    "a cent above a multiple": (f"{FOUR}, d 100.01 @4", []),
    "a cent below a multiple": (f"{FOUR}, d 99.99 @4", []),
    "less than the unit": (f"{FOUR}, d 50 @4", []),
    "an uneven one first": (f"d 1 @0, {FOUR}, d 100 @4", [6]),
    "an uneven one in between": ("d 100 @0, d 100 @1, d 150 @2, d 100 @3, d 100 @4, d 100 @5, d 100 @6", []),
    "five after an uneven one": ("d 150 @0, d 100 @1, d 100 @2, d 100 @3, d 100 @4, d 100 @5", [6]),
    "the largest multiple": (f"{FOUR}, d 999999999900 @4", [5]),
    "the largest amount": (f"{FOUR}, d 999999999999.99 @4", []),
    "equal times": ("d 100 @7, w 100 @7, d 100 @7, w 100 @7, d 100 @7", [5]),
    "however long ago": (f"{FOUR}, d 100 @9223372036854775807", [5]),
    "later ones are not seen": ("d 100 @50, d 100 @51, d 100 @52, d 100 @53, d 100 @10", []),
    "a late one between earlier ones": (f"{FOUR}, d 1 @90, d 100 @30", [6]),
    "a late one breaks the row": (f"{FOUR}, d 1 @2, d 100 @30", []),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires when the last five actions are all multiples of 100.00."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize(("risk", "expected"), [("low", []), ("normal", [6]), ("high", [5, 6])])
def test_unit_scales_with_the_risk(risk: Risk, expected: list[int]) -> None:
    """The unit is 200.00 at low, 100.00 at normal and 50.00 at high risk."""
    assert fired(RULE, "d 50 @0, d 100 @1, w 300 @2, d 100 @3, d 100 @4, d 100 @5", risk) == expected


@pytest.mark.parametrize("risk", ["low", "normal", "high"])
def test_the_least_unit(risk: Risk) -> None:
    """Halved, the smallest unit is still a cent, of which every amount is a multiple."""
    assert fired(RULE, "d 0.04 @0", risk, unit="0.02", count=1) == [1]


def test_evidence() -> None:
    """It names the last five actions, oldest first in time."""
    found = findings(RULE, "d 1 @0, d 100 @9, d 100 @50, w 100 @20, d 100 @30, w 100 @60")
    assert found == {6: Finding(5, (2, 4, 5, 3, 6), "The last 5 actions are all multiples of 100.00.")}
