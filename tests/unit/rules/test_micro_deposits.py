"""650: tiny deposits that probe an account, then a large withdrawal."""

from decimal import Decimal

import pytest

from rules.catalogue.micro_deposits import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

THREE = "d 0.10 @0, d 0.20 @1, d 0.30 @2"
DAY = 86_400
OTHERS_7, OTHERS_8 = ", ".join(["d 5 @3"] * 7), ", ".join(["d 5 @3"] * 8)

CASES = {
    "a large withdrawal alone": ("w 101 @0", []),
    "after two": ("d 0.10 @0, d 0.10 @1, w 101 @2", []),
    "after three": (f"{THREE}, w 101 @3", [4]),
    "at the threshold": (f"{THREE}, w 100.00 @3", []),
    "a cent above the threshold": (f"{THREE}, w 100.01 @3", [4]),
    "at most tiny": ("d 0.99 @0, d 0.99 @1, d 0.99 @2, w 101 @3", [4]),
    "one a cent above tiny": ("d 0.99 @0, d 0.99 @1, d 1.00 @2, w 101 @3", []),
    "never on a deposit": (f"{THREE}, d 101 @3", []),
    "tiny withdrawals do not count": ("d 0.10 @0, d 0.10 @1, w 0.10 @2, w 101 @3", []),
    "again on the next withdrawal": (f"{THREE}, w 101 @3, w 5 @4, w 102 @5", [4, 6]),
    "an ordinary deposit in between": ("d 0.10 @0, d 50 @1, d 0.10 @2, d 500 @3, d 0.10 @4, w 101 @5", [6]),
    "seven ordinary deposits in between": (f"{THREE}, {OTHERS_7}, w 101 @4", [11]),
    "eight ordinary deposits in between": (f"{THREE}, {OTHERS_8}, w 101 @4", []),
    "equal times": ("d 0.10 @5, d 0.10 @5, d 0.10 @5, w 101 @5", [4]),
    "a deposit that arrived later is not seen": ("d 0.10 @5, d 0.10 @5, w 101 @5, d 0.10 @5", []),
    "exactly a day back": (f"{THREE}, w 101 @{DAY}", [4]),
    "a second more than a day back": (f"{THREE}, w 101 @{DAY + 1}", []),
    "later ones are not seen": ("d 0.10 @50, d 0.10 @51, d 0.10 @52, w 101 @10", []),
    "a late one sees the earlier ones": (f"{THREE}, w 1 @90, w 101 @30", [5]),
    "a late one counts for those that come after": ("d 0.10 @8, d 0.10 @9, d 0.10 @5, w 101 @10", [4]),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires on a withdrawal over 100.00 after three deposits of at most 0.99 within a day."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize(
    ("risk", "expected"), [("low", [7]), ("normal", [6, 7]), ("high", [5, 6, 7])], ids=["low", "normal", "high"]
)
def test_threshold_scales_with_the_risk(risk: Risk, expected: list[int]) -> None:
    """The threshold is 200.00 at low, 100.00 at normal and 50.00 at high risk; what is tiny stays."""
    probes = "d 0.99 @0, d 0.99 @1, d 0.99 @2"
    assert fired(RULE, f"{probes}, w 50 @3, w 50.01 @4, w 100.01 @5, w 200.01 @6", risk) == expected


def test_evidence() -> None:
    """It measures the withdrawal, and names only itself and the tiny deposits of the window."""
    found = findings(RULE, f"d 0.01 @9, d 0.50 @20, d 5 @21, d 0.60 @30, w 1 @31, d 0.70 @25, w 150 @{DAY + 10}")
    sentence = "A withdrawal of 150.00 is over 100.00 and follows 3 deposits of at most 0.99 since 20."
    assert found == {7: Finding(Decimal("150.00"), (2, 6, 4, 7), sentence)}
