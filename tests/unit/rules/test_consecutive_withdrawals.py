"""30: several withdrawals in a row."""

import pytest

from rules.catalogue.consecutive_withdrawals import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

CASES = {
    "the first action": ("w 1 @0", []),
    "two in a row": ("w 1 @0, w 1 @1", []),
    "three in a row": ("w 1 @0, w 1 @1, w 1 @2", [3]),
    "again on the fourth and fifth": ("w 1 @0, w 1 @1, w 1 @2, w 1 @3, w 1 @4", [3, 4, 5]),
    "equal times": ("w 1 @7, w 1 @7, w 1 @7", [3]),
    "however long ago": ("w 1 @0, w 1 @1000000, w 1 @9223372036854775807", [3]),
    "a deposit first": ("d 1 @0, w 1 @1, w 1 @2, w 1 @3", [4]),
    "a deposit second": ("w 1 @0, d 1 @1, w 1 @2, w 1 @3", []),
    "a deposit third": ("w 1 @0, w 1 @1, d 1 @2, w 1 @3", []),
    "a deposit starts the count anew": ("w 1 @0, w 1 @1, w 1 @2, d 1 @3, w 1 @4, w 1 @5, w 1 @6", [3, 7]),
    "a deposit at the same time counts where it arrived": ("w 1 @5, w 1 @5, d 1 @5, w 1 @5", []),
    "never on a deposit": ("w 1 @0, w 1 @1, w 1 @2, d 1 @3", [3]),
    "later ones are not seen": ("w 1 @50, w 1 @60, w 1 @10", []),
    "a late one between earlier ones": ("w 1 @10, w 1 @20, w 1 @90, w 1 @30", [3, 4]),
    "a later deposit is not seen": ("w 1 @10, w 1 @20, d 1 @90, w 1 @30", [4]),
    "a late deposit breaks the row": ("w 1 @10, w 1 @20, d 1 @15, w 1 @30", []),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires on the third withdrawal in a row and on each that follows, in order of (time, arrival)."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize("risk", ["low", "normal", "high"])
def test_risk_changes_nothing(risk: Risk) -> None:
    """It counts actions, so no risk rating scales it."""
    assert fired(RULE, "w 1 @0, w 1 @1, w 1 @2", risk) == [3]


def test_evidence() -> None:
    """It names the last three withdrawals, oldest first in time."""
    found = findings(RULE, "w 1 @0, w 1 @30, w 1 @10, w 1 @20")
    sentence = "The last 3 actions are all withdrawals."
    assert found == {4: Finding(3, (1, 3, 4), sentence)}
