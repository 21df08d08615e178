"""600: deposits kept just under a reporting threshold."""

import pytest

from rules.catalogue.structuring import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

TWO = "d 9500 @0, d 9500 @1"
WEEK = 7 * 86_400
# With two in the band before them, nineteen and eighteen deposits outside it.
OTHERS_18, OTHERS_17 = ", ".join(["d 5 @2"] * 18), ", ".join(["d 5 @2"] * 17)

CASES = {
    "the first deposit": ("d 9500 @0", []),
    "two": (TWO, []),
    "three": (f"{TWO}, d 9500 @2", [3]),
    "again on the fourth and fifth": (f"{TWO}, d 9500 @2, d 9500 @3, d 9500 @4", [3, 4, 5]),
    "equal times": ("d 9500 @7, d 9500 @7, d 9500 @7", [3]),
    "at the lower edge": ("d 9000 @0, d 9000.00 @1, d 9000 @2", [3]),
    "a cent below the lower edge": (f"{TWO}, d 8999.99 @2", []),
    "one before it a cent below the lower edge": ("d 8999.99 @0, d 9000 @1, d 9000 @2", []),
    "a cent below the threshold": ("d 9999.99 @0, d 9999.99 @1, d 9999.99 @2", [3]),
    "at the threshold": (f"{TWO}, d 10000.00 @2", []),
    "one before it at the threshold": ("d 10000 @0, d 9500 @1, d 9500 @2", []),
    "only on one in the band": (f"{TWO}, d 9500 @2, d 5 @3, d 20000 @4", [3]),
    "other deposits in between": ("d 9500 @0, d 5 @1, d 9500 @2, d 20000 @3, d 9500 @4", [5]),
    "withdrawals in the band do not count": (f"{TWO}, w 9500 @2", []),
    "withdrawals in between do not matter": ("d 9500 @0, w 9500 @1, d 9500 @2, w 1 @3, d 9500 @4", [5]),
    "exactly a week back": (f"{TWO}, d 9500 @{WEEK}", [3]),
    "a second more than a week back": (f"{TWO}, d 9500 @{WEEK + 1}", []),
    "the window slides": (f"{TWO}, d 9500 @{WEEK}, d 9500 @{WEEK + 1}, d 9500 @{WEEK + 2}", [3, 4, 5]),
    "the first is the twentieth last": (f"{TWO}, {OTHERS_17}, d 9500 @3", [20]),
    "the first is the twenty-first last": (f"{TWO}, {OTHERS_18}, d 9500 @3", []),
    "later ones are not seen": ("d 9500 @50, d 9500 @60, d 9500 @10", []),
    "a late one sees the earlier ones": (f"{TWO}, d 1 @90, d 9500 @30", [4]),
    "a late one counts for those that come after": ("d 9500 @10, d 9500 @5, d 9500 @11", [3]),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires on a deposit in [9000.00, 10000.00) that is the third of its kind within a week."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize("risk", ["low", "normal", "high"])
def test_risk_changes_nothing(risk: Risk) -> None:
    """The threshold is the law's: at half of it a risky user could keep under the real one unseen."""
    assert fired(RULE, "d 9000 @0, d 9000 @1, d 9999.99 @2, d 4900 @3, d 4900 @4, d 4900 @5", risk) == [3]


@pytest.mark.parametrize(("count", "expected"), [(2, [2, 3, 4]), (4, [4]), (5, [])])
def test_count(count: int, expected: list[int]) -> None:
    """`count` deposits are enough, this one included."""
    assert fired(RULE, f"{TWO}, d 9500 @2, d 9500 @3", count=count) == expected


def test_a_margin_over_the_threshold() -> None:
    """With a margin that is larger than the threshold every smaller deposit is near it."""
    assert fired(RULE, "d 0.01 @0, d 0.01 @1, d 99.99 @2, d 100 @3", threshold="100.00", margin="200.00") == [3]


def test_evidence() -> None:
    """It measures how many there are and names only those in the band and the window, oldest first."""
    found = findings(RULE, f"d 9500 @0, d 9000 @{WEEK + 1}, d 5 @{WEEK + 1}, d 9700 @{WEEK + 5}, d 9600 @{WEEK + 9}")
    sentence = "3 deposits between 604801 and 604809 are each from 9000.00 to just under 10000.00."
    assert found == {5: Finding(3, (2, 4, 5), sentence)}
