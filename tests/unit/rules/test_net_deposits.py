"""690: more money paid in than taken out over a month."""

from decimal import Decimal

import pytest

from rules.catalogue.net_deposits import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

MONTH = 30 * 86_400

CASES = {
    "at the threshold": ("d 150.00 @0", []),
    "one a cent above": ("d 150.01 @0", [1]),
    "two that sum to the threshold": ("d 100 @0, d 50 @10", []),
    "two that sum to a cent above": ("d 100 @0, d 50.01 @10", [2]),
    "withdrawals subtract": ("d 100 @0, w 50 @1, d 100 @2, d 0.01 @3", [4]),
    "withdrawals before the deposits subtract too": ("w 50 @0, d 200 @1, d 0.01 @2", [3]),
    "more withdrawals than deposits": ("w 500 @0, d 200 @1, d 400 @2", []),
    "again while it stays over": ("d 151 @0, d 1 @1, w 2.50 @2, d 0.50 @3, d 0.01 @4", [1, 2, 5]),
    "never on a withdrawal": ("d 150 @0, w 1 @1", []),
    "equal times": ("d 100 @5, w 50 @5, d 100 @5, d 0.01 @5", [4]),
    "a withdrawal that arrived later is not seen": ("d 151 @5, w 50 @5", [1]),
    "deposits exactly 30 days back": (f"d 100 @10, d 51 @{MONTH + 10}", [2]),
    "deposits a second more than 30 days back": (f"d 100 @10, d 51 @{MONTH + 11}", []),
    "withdrawals exactly 30 days back": (f"w 100 @10, d 200 @{MONTH + 10}", []),
    "withdrawals a second more than 30 days back": (f"w 100 @10, d 200 @{MONTH + 11}", [2]),
    "later ones are not seen": ("d 100 @40, d 100 @20", []),
    "later withdrawals are not seen": ("w 100 @40, d 200 @20", [2]),
    "a late one sees the earlier ones": (f"d 100 @10, w 500 @{2 * MONTH}, d 51 @30", [3]),
    "a late withdrawal counts for those that come after": ("d 100 @10, w 50 @5, d 100 @11", []),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires when deposits less withdrawals with time in [t - 30 days, t] are over 150.00."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize(
    ("risk", "expected"), [("low", [4]), ("normal", [3, 4]), ("high", [2, 3, 4])], ids=["low", "normal", "high"]
)
def test_threshold_scales_with_the_risk(risk: Risk, expected: list[int]) -> None:
    """The threshold is 300.00 at low, 150.00 at normal and 75.00 at high risk; the window stays 30 days."""
    assert fired(RULE, f"d 75 @0, d 0.01 @{MONTH}, d 75 @{MONTH}, d 150 @{MONTH}", risk) == expected


def test_evidence() -> None:
    """It measures the difference, names the judged one, counts the others and says where they begin."""
    found = findings(RULE, f"d 100 @9, w 20 @10, d 100 @45, w 7.50 @50, d 90.75 @{MONTH + 10}")
    assert list(found) == [3, 5]
    sentence = (
        "Deposits of 190.75 less withdrawals of 27.50 between 10 and 2592010 are 163.25, over 150.00 in 2592000 s."
    )
    assert found[5] == Finding(Decimal("163.25"), (5,), sentence, 3)


def test_evidence_without_withdrawals() -> None:
    """If there are none, the sentence begins at the first deposit of the window."""
    found = findings(RULE, f"w 5 @1, d 100 @20, d 100 @{MONTH + 5}")
    sentence = (
        "Deposits of 200.00 less withdrawals of 0.00 between 20 and 2592005 are 200.00, over 150.00 in 2592000 s."
    )
    assert found == {3: Finding(Decimal("200.00"), (3,), sentence, 1)}
