"""660: much money withdrawn in a day."""

from decimal import Decimal

import pytest

from rules.catalogue.withdrawal_sum import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

DAY = 86_400

CASES = {
    "at the threshold": ("w 1000.00 @0", []),
    "one a cent above": ("w 1000.01 @0", [1]),
    "two that sum to the threshold": ("w 500 @0, w 500 @10", []),
    "two that sum to a cent above": ("w 500 @0, w 500.01 @10", [2]),
    "again while the sum stays over": ("w 1001 @0, w 1 @1, w 1 @2", [1, 2, 3]),
    "equal times": ("w 500 @5, w 500 @5, w 0.01 @5", [3]),
    "exactly a day back": (f"w 600 @10, w 500 @{DAY + 10}", [2]),
    "a second more than a day back": (f"w 600 @10, w 500 @{DAY + 11}", []),
    "the window slides": (
        f"w 600 @0, w 401 @{DAY}, w 599 @{DAY + 1}, w 0.01 @{2 * DAY}, w 402 @{2 * DAY + 1}",
        [2, 4, 5],
    ),
    "a day back from the last possible time": ("w 600 @9223372036854689407, w 500 @9223372036854775807", [2]),
    "deposits neither add nor subtract": ("w 600 @0, d 600 @1, w 400 @2, d 1 @3, w 0.01 @4", [5]),
    "never on a deposit": ("w 1000 @0, d 500 @1", []),
    "later ones are not seen": ("w 600 @40, w 500 @20", []),
    "a late one sees the earlier ones": (f"w 600 @10, w 1 @{2 * DAY}, w 500 @30", [3]),
    "a late one counts for those that come after": ("w 500 @10, w 500 @5, w 1 @11", [3]),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires when the withdrawals with time in [t-86400, t], this one included, sum to over 1000.00."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize(
    ("risk", "expected"), [("low", [4]), ("normal", [3, 4]), ("high", [2, 3, 4])], ids=["low", "normal", "high"]
)
def test_threshold_scales_with_the_risk(risk: Risk, expected: list[int]) -> None:
    """The threshold is 2000.00 at low, 1000.00 at normal and 500.00 at high risk; the window stays a day."""
    assert fired(RULE, f"w 500 @0, w 0.01 @{DAY}, w 500 @{DAY}, w 1000 @{DAY}", risk) == expected


def test_evidence() -> None:
    """It measures the sum, names the judged one, counts the others of the window and says where they begin."""
    found = findings(RULE, f"w 100 @9, w 600 @10, d 5 @45, w 7 @50, w 500.50 @{DAY + 10}")
    sentence = "Withdrawals of 1107.50 between 10 and 86410 are over 1000.00 in 86400 s."
    assert found == {5: Finding(Decimal("1107.50"), (5,), sentence, 2)}
