"""123: much money deposited in a short time."""

from decimal import Decimal

import pytest

from rules.catalogue.deposit_velocity import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

CASES = {
    "below the threshold": ("d 199.99 @0", []),
    "at the threshold": ("d 200.00 @0", []),
    "one deposit a cent above": ("d 200.01 @0", [1]),
    "two that sum to the threshold": ("d 100 @0, d 100 @10", []),
    "two that sum to a cent above": ("d 100 @0, d 100.01 @10", [2]),
    "again while the sum stays over": ("d 201 @0, d 1 @1, d 1 @2, d 1 @3", [1, 2, 3, 4]),
    "equal times": ("d 100 @5, d 100 @5, d 0.01 @5", [3]),
    "exactly 30 s back": ("d 150 @10, d 100 @40", [2]),
    "31 s back": ("d 150 @10, d 100 @41", []),
    "the window slides": ("d 150 @0, d 51 @30, d 150 @31, d 49.99 @61", [2, 3]),
    "30 s back from the last possible time": ("d 150 @9223372036854775777, d 51 @9223372036854775807", [2]),
    "31 s back from the last possible time": ("d 150 @9223372036854775776, d 51 @9223372036854775807", []),
    "close to time zero": ("d 150 @0, d 51 @3", [2]),
    "withdrawals neither add nor subtract": ("d 150 @0, w 150 @1, d 50 @2, w 1 @3, d 0.01 @4", [5]),
    "never on a withdrawal": ("d 200 @0, w 100 @1", []),
    "later ones are not seen": ("d 150 @40, d 100 @20", []),
    "later ones in the same window are not seen": ("d 150 @20, d 100 @19", []),
    "a late one sees the earlier ones": ("d 150 @10, d 1 @90, d 100 @30", [3]),
    "a late one counts for those that come after": ("d 100 @10, d 100 @5, d 1 @11", [3]),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires when the deposits with time in [t-30, t], this one included, sum to over 200.00."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize(
    ("risk", "expected"), [("low", [4]), ("normal", [3, 4]), ("high", [2, 3, 4])], ids=["low", "normal", "high"]
)
def test_threshold_scales_with_the_risk(risk: Risk, expected: list[int]) -> None:
    """The threshold is 400.00 at low, 200.00 at normal and 100.00 at high risk; the window stays 30 s."""
    assert fired(RULE, "d 100 @0, d 0.01 @30, d 200 @30, d 199.99 @30", risk) == expected


def test_evidence() -> None:
    """It measures the sum, names only the deposits of the window, and says where they begin and end."""
    found = findings(RULE, "d 100 @9, d 100 @40, w 5 @45, d 120.50 @70")
    sentence = "Deposits of 220.50 between 40 and 70 are over 200.00 in 30 s."
    assert found == {4: Finding(Decimal("220.50"), (2, 4), sentence)}


def test_evidence_lists_the_newest_hundred() -> None:
    """Of 101 deposits in the window the newest 100 are named, and one is counted as left out."""
    finding = findings(RULE, ", ".join(["d 2.00 @0"] * 101))[101]
    expected = (Decimal("202.00"), tuple(range(2, 102)), 1)
    assert (finding.measured, finding.actions, finding.unlisted) == expected
