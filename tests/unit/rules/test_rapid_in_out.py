"""610: money that leaves soon after it came in."""

from decimal import Decimal

import pytest

from rules.catalogue.rapid_in_out import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

DAY = 86_400

CASES = {
    "a withdrawal without a deposit": ("w 5000 @0", []),
    "at the share": ("d 1000 @0, w 900 @1", [2]),
    "a cent below the share": ("d 1000 @0, w 899.99 @1", []),
    "half a cent below the share": ("d 1000.05 @0, w 900.04 @1", []),  # 900.045 would be the share
    "half a cent above the share": ("d 1000.05 @0, w 900.05 @1", [2]),
    "more than came in": ("d 1000 @0, w 5000 @1", [2]),
    "at the minimum": ("d 1000.00 @0, w 1000 @1", [2]),
    "a cent below the minimum": ("d 999.99 @0, w 999.99 @1", []),
    "sums of several": ("d 500 @0, d 500 @1, w 450 @2, w 449.99 @3, w 0.01 @4", [5]),
    "again while it stays over": ("d 1000 @0, w 900 @1, w 1 @2, w 1 @3", [2, 3, 4]),
    "a deposit in between raises the bar": ("d 1000 @0, w 900 @1, d 100 @2, w 89.99 @3, w 0.01 @4", [2, 5]),
    "never on a deposit": ("w 900 @0, d 1000 @1", []),
    "withdrawals before the deposits count": ("w 900 @0, d 1000 @1, w 1 @2", [3]),
    "equal times": ("d 1000 @5, w 900 @5", [2]),
    "a deposit that arrived later is not seen": ("w 900 @5, d 1000 @5", []),
    "deposits exactly a day back": (f"d 1000 @10, w 900 @{DAY + 10}", [2]),
    "deposits a second more than a day back": (f"d 1000 @10, w 900 @{DAY + 11}", []),
    "withdrawals exactly a day back": (f"w 899 @10, d 1000 @11, w 1 @{DAY + 10}", [3]),
    "withdrawals a second more than a day back": (f"w 899 @10, d 1000 @11, w 1 @{DAY + 11}", []),
    "an old deposit leaves the window": (f"d 1000 @0, d 1000 @{DAY}, w 900 @{DAY}, w 1 @{DAY + 1}", [4]),
    "later ones are not seen": ("d 1000 @50, w 900 @40", []),
    "a late one sees the earlier ones": ("d 1000 @10, w 1 @90, w 900 @30", [3]),
    "a late deposit counts for those that come after": ("w 1 @20, d 1000 @10, w 899 @30", [3]),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires when a day's withdrawals are at least 0.90 of its deposits, and these at least 1000.00."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize(
    ("risk", "expected"), [("low", [6]), ("normal", [4, 6]), ("high", [2, 4, 6])], ids=["low", "normal", "high"]
)
def test_minimum_scales_with_the_risk(risk: Risk, expected: list[int]) -> None:
    """The minimum is 2000.00 at low, 1000.00 at normal and 500.00 at high risk; the share stays."""
    assert fired(RULE, "d 500 @0, w 450 @1, d 500 @2, w 450 @3, d 1000 @4, w 900 @5", risk) == expected


@pytest.mark.parametrize("risk", ["low", "normal", "high"])
def test_the_least_minimum(risk: Risk) -> None:
    """However low the minimum is set, a withdrawal without deposits is not money that came in."""
    assert fired(RULE, "w 0.01 @0", risk, minimum="0.02") == []


def test_evidence() -> None:
    """It measures what left, names the judged one, counts the others of both types and says where they begin."""
    found = findings(RULE, f"d 7 @9, w 7 @10, d 600.50 @{DAY + 20}, d 500 @{DAY + 30}, w 1100.50 @{DAY + 40}")
    between = "between 86420 and 86440"
    sentence = f"Withdrawals of 1100.50 {between} are at least 0.90 of the deposits of 1100.50 in 86400 s."
    assert found == {5: Finding(Decimal("1100.50"), (5,), sentence, 2)}
