"""500: many actions of any type in a short time."""

import pytest

from rules.catalogue.action_velocity import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

FIVE_AT_10 = "d 1 @10, w 1 @10, d 1 @10, w 1 @10, d 1 @10"

CASES = {
    "the first action": ("d 1 @0", []),
    "five actions": (FIVE_AT_10, []),
    "six deposits": ("d 1 @0, d 1 @1, d 1 @2, d 1 @3, d 1 @4, d 1 @5", [6]),
    "six withdrawals": ("w 1 @0, w 1 @1, w 1 @2, w 1 @3, w 1 @4, w 1 @5", [6]),
    "both types, on a deposit": ("d 1 @0, w 1 @1, d 1 @2, w 1 @3, w 1 @4, d 1 @5", [6]),
    "both types, on a withdrawal": ("d 1 @0, w 1 @1, d 1 @2, w 1 @3, d 1 @4, w 1 @5", [6]),
    "again on the seventh and eighth": (f"{FIVE_AT_10}, w 1 @11, d 1 @12, w 1 @13", [6, 7, 8]),
    "equal times": (f"{FIVE_AT_10}, d 1 @10", [6]),
    "exactly 60 s back": (f"{FIVE_AT_10}, d 1 @70", [6]),
    "61 s back": (f"{FIVE_AT_10}, d 1 @71", []),
    "the window slides": (f"d 1 @9, {FIVE_AT_10}, w 1 @70, w 1 @71", [6, 7]),
    "later ones are not seen": (f"{FIVE_AT_10}, d 1 @9", []),
    "a late one sees the earlier ones": (f"{FIVE_AT_10}, d 1 @90, w 1 @30", [7]),
    "a late one counts for those that come after": ("d 1 @20, d 1 @20, d 1 @20, d 1 @20, d 1 @15, d 1 @21", [6]),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires on any action when more than five have time in [t-60, t], this one included."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize("risk", ["low", "normal", "high"])
def test_risk_changes_nothing(risk: Risk) -> None:
    """It counts actions, so no risk rating scales it."""
    assert fired(RULE, f"{FIVE_AT_10}, d 1 @70", risk) == [6]


def test_evidence() -> None:
    """It measures the count, names only the actions of the window, and says where they begin and end."""
    found = findings(RULE, f"d 1 @0, {FIVE_AT_10}, w 1 @65")
    sentence = "6 actions between 10 and 65 are more than 5 in 60 s."
    assert found[7] == Finding(6, (2, 3, 4, 5, 6, 7), sentence)


def test_evidence_lists_the_newest_hundred() -> None:
    """Of 102 actions in the window the newest 100 are named, and two are counted as left out."""
    finding = findings(RULE, ", ".join(["d 1 @0", "w 1 @0"] * 51))[102]
    assert (finding.measured, finding.actions, finding.unlisted) == (102, tuple(range(3, 103)), 2)
