"""620: an account that wakes up after a long time."""

import pytest

from rules.catalogue.dormant_account import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

GAP = 90 * 86_400

CASES = {
    "the first action": (f"d 9999 @{GAP}", []),
    "after exactly the gap": (f"d 1 @10, w 501 @{GAP + 10}", [2]),
    "a second less": (f"d 1 @10, w 501 @{GAP + 9}", []),
    "a deposit wakes it too": (f"w 1 @10, d 501 @{GAP + 10}", [2]),
    "at the threshold": (f"d 1 @10, w 500.00 @{GAP + 10}", []),
    "a cent above the threshold": (f"d 1 @10, w 500.01 @{GAP + 10}", [2]),
    "only the first after the gap": (f"d 1 @10, w 501 @{GAP + 10}, w 501 @{GAP + 11}", [2]),
    "a small one before the large one": (f"d 1 @10, w 1 @{GAP + 10}, w 501 @{GAP + 11}", []),
    "each gap anew": (f"d 501 @0, d 501 @{GAP}, d 501 @{2 * GAP}", [2, 3]),
    "equal times": (f"d 1 @0, d 501 @{GAP}, d 501 @{GAP}", [2]),
    "up to the last possible time": ("d 1 @0, d 501 @9223372036854775807", [2]),
    "an action of either type ends the gap": (f"d 1 @0, w 1 @50, d 501 @{GAP}", []),
    "later ones are not seen": (f"d 1 @{GAP}, d 501 @0", []),
    "a late one sees the earlier ones": (f"d 1 @0, d 501 @{2 * GAP}, w 501 @{GAP}", [2, 3]),
    "a late one shortens the gap of the next": (f"d 1 @0, d 1 @50, d 501 @{GAP}", []),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires on an amount over 500.00 that is the first action after at least 90 days."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize(
    ("risk", "expected"), [("low", [4]), ("normal", [3, 4]), ("high", [2, 3, 4])], ids=["low", "normal", "high"]
)
def test_threshold_scales_with_the_risk(risk: Risk, expected: list[int]) -> None:
    """The threshold is 1000.00 at low, 500.00 at normal and 250.00 at high risk; the gap stays."""
    notation = f"d 1 @0, d 250.01 @{GAP}, d 500.01 @{2 * GAP}, d 1000.01 @{3 * GAP}, d 250 @{4 * GAP}"
    assert fired(RULE, notation, risk) == expected


@pytest.mark.parametrize(("among", "expected"), [(2, []), (3, [3]), (4, [3, 4])])
def test_among(among: int, expected: list[int]) -> None:
    """The gap may lie further back than right before the judged action."""
    assert fired(RULE, f"d 1 @0, d 1 @{GAP}, d 501 @{GAP + 1}, w 501 @{GAP + 2}", among=among) == expected


def test_evidence() -> None:
    """It measures the gap and names the actions around it."""
    found = findings(RULE, f"d 1 @0, w 1 @10, w 600.50 @{GAP + 15}")
    sentence = "A withdrawal of 600.50 is over 500.00 after 7776005 s without any action, from 10 to 7776015."
    assert found == {3: Finding(GAP + 5, (2, 3), sentence)}


def test_evidence_of_a_gap_further_back() -> None:
    """All from the last action before the gap to the judged one are named; the latest gap is the one reported."""
    found = findings(RULE, f"d 501 @0, d 1 @{GAP}, w 1 @{2 * GAP + 1}, d 600 @{2 * GAP + 9}", among=5)
    sentence = "A deposit of 600.00 is over 500.00 after 7776001 s without any action, from 7776000 to 15552001."
    assert found == {4: Finding(GAP + 1, (2, 3, 4), sentence)}
