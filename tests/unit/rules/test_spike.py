"""630: an amount far above what the user does otherwise."""

from decimal import Decimal

import pytest

from rules.catalogue.spike import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

TEN = ", ".join(["d 10 @0"] * 10)
NINE = ", ".join(["d 10 @0"] * 9)
TEN_WITHDRAWALS = ", ".join(["w 10 @0"] * 10)
# The average of ten is 3.333, so that no amount is exactly five times it.
THIRDS = ", ".join(["d 3.33 @0"] * 7 + ["d 3.34 @0"] * 3)

CASES = {
    "the first action": ("d 9999 @0", []),
    "after nine": (f"{NINE}, d 9999 @1", []),
    "after ten": (f"{TEN}, d 9999 @1", [11]),
    "at five times the average": (f"{TEN}, d 50.00 @1", []),
    "a cent above five times the average": (f"{TEN}, d 50.01 @1", [11]),
    "just below five times an average of thirds": (f"{THIRDS}, d 16.66 @1", []),
    "just above five times an average of thirds": (f"{THIRDS}, d 16.67 @1", [11]),
    "a withdrawal": (f"{TEN_WITHDRAWALS}, w 50.01 @1", [11]),
    "deposits say nothing of withdrawals": (f"{TEN}, w 9999 @1", []),
    "withdrawals say nothing of deposits": (f"{TEN_WITHDRAWALS}, d 9999 @1", []),
    "the other type does not count": (f"{NINE}, w 10 @0, d 9999 @1", []),
    "a spike raises the average": (f"{TEN}, d 51 @1, d 51 @2, d 84.16 @3, d 110.07 @4", [11, 14]),
    "equal times": (f"{TEN}, d 50.01 @0", [11]),
    "however long ago": (f"{TEN}, d 51 @9223372036854775807", [11]),
    "later ones are not seen": (f"{', '.join(['d 10 @9'] * 10)}, d 9999 @8", []),
    "a late one sees the earlier ones": (f"{TEN}, d 1 @90, d 50.01 @30", [12]),
    "a late one counts for those that come after": (f"{', '.join(['d 10 @9'] * 9)}, d 10 @5, d 50.01 @9", [11]),
    "the largest amounts": (f"{', '.join(['d 199999999999.99 @0'] * 10)}, d 999999999999.99 @1", [11]),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires on over 5.00 times the average of at least ten actions of the same type before."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize("risk", ["low", "normal", "high"])
def test_risk_changes_nothing(risk: Risk) -> None:
    """It compares the user with their own past, so no risk rating scales it."""
    assert fired(RULE, f"{TEN}, d 50 @1, d 68.19 @2", risk) == [12]  # five times 150 / 11 is 68.1818...


@pytest.mark.parametrize(
    ("count", "times", "expected"), [(2, "1.00", [4]), (2, "2.50", []), (3, "1.99", [4]), (4, "1.00", [])]
)
def test_parameters(count: int, times: str, expected: list[int]) -> None:
    """`count` actions have to come before, and the multiple may have decimals."""
    assert fired(RULE, "d 10 @0, d 10 @1, d 10 @2, d 20 @3", count=count, times=times) == expected


def test_evidence() -> None:
    """It measures the amount, names the judged one, and counts those that make up the average."""
    found = findings(RULE, f"{TEN}, w 1 @1, d 60.50 @2")
    sentence = "A deposit of 60.50 is over 5.00 times the average of the 10 deposits before it, which sum to 100.00."
    assert found == {12: Finding(Decimal("60.50"), (12,), sentence, 10)}
    found = findings(RULE, f"{TEN_WITHDRAWALS}, w 60.50 @2")
    sentence = (
        "A withdrawal of 60.50 is over 5.00 times the average of the 10 withdrawals before it, which sum to 100.00."
    )
    assert found == {11: Finding(Decimal("60.50"), (11,), sentence, 10)}
