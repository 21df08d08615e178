"""680: much money on a new account."""

from decimal import Decimal

import pytest

from rules.catalogue.new_account import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

AGE = 2 * 86_400

CASES = {
    "the first deposit at the threshold": ("d 1000.00 @5", []),
    "the first deposit a cent above": ("d 1000.01 @5", [1]),
    "two that sum to the threshold": ("d 500 @5, d 500 @10", []),
    "two that sum to a cent above": ("d 500 @5, d 500.01 @10", [2]),
    "again while it is new": ("d 1001 @5, d 1 @6, d 1 @7", [1, 2, 3]),
    "exactly 48 h old": (f"d 1000 @5, d 1 @{AGE + 5}", [2]),
    "a second older": (f"d 1000 @5, d 1 @{AGE + 6}", []),
    "much later": (f"d 1 @5, d 5000 @{3 * AGE}, d 5000 @{3 * AGE}", []),
    "a withdrawal is a first action too": (f"w 1 @5, d 1001 @{AGE + 5}, d 1001 @{AGE + 6}", [2]),
    "withdrawals neither add nor subtract": ("d 600 @5, w 600 @6, d 400 @7, w 1 @8, d 0.01 @9", [5]),
    "never on a withdrawal": ("d 1000 @5, w 5000 @6", []),
    "equal times": ("d 500 @5, d 500 @5, d 0.01 @5", [3]),
    "later ones are not seen": ("d 600 @40, d 500 @20", []),
    "a late one sees the earlier ones": (f"d 600 @10, w 1 @{3 * AGE}, d 500 @30", [3]),
    "a late one becomes the first": (f"d 900 @{AGE}, w 1 @5, d 101 @{AGE + 6}", []),
    "a late one is new itself": (f"d 1 @{3 * AGE}, d 1001 @5", [2]),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires when a user whose first action is at most 48 h ago has deposited over 1000.00."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize(
    ("risk", "expected"), [("low", [4]), ("normal", [3, 4]), ("high", [2, 3, 4])], ids=["low", "normal", "high"]
)
def test_threshold_scales_with_the_risk(risk: Risk, expected: list[int]) -> None:
    """The threshold is 2000.00 at low, 1000.00 at normal and 500.00 at high risk; the age stays."""
    assert fired(RULE, "d 500 @0, d 0.01 @1, d 500 @2, d 1000 @3", risk) == expected


def test_evidence() -> None:
    """It measures the sum, names the judged one, counts the other deposits and says when the user began."""
    found = findings(RULE, "w 5 @7, d 600 @10, w 5 @45, d 7 @50, d 500.50 @70")
    sentence = "Deposits of 1107.50 between the user's first action at 7 and 70 are over 1000.00 in the first 172800 s."
    assert found == {5: Finding(Decimal("1107.50"), (5,), sentence, 2)}
