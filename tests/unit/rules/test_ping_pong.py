"""670: money that goes to and fro."""

import pytest

from rules.catalogue.ping_pong import RULE
from rules.model import Finding, Risk
from tests.unit.rules.timeline import findings, fired

FOUR_CHANGES = "d 1 @10, w 1 @11, d 1 @12, w 1 @13, d 1 @14"

CASES = {
    "the first action": ("d 1 @0", []),
    "four changes": (FOUR_CHANGES, []),
    "five changes, on a withdrawal": (f"{FOUR_CHANGES}, w 1 @15", [6]),
    "five changes, on a deposit": ("w 1 @0, d 1 @1, w 1 @2, d 1 @3, w 1 @4, d 1 @5", [6]),
    "again on the sixth and seventh": (f"{FOUR_CHANGES}, w 1 @15, d 1 @16, w 1 @17", [6, 7, 8]),
    "again on one that is no change": (f"{FOUR_CHANGES}, w 1 @15, w 1 @16", [6, 7]),
    "many without a change": ("d 1 @0, d 1 @1, d 1 @2, d 1 @3, d 1 @4, d 1 @5, d 1 @6, d 1 @7", []),
    "one type first, then the other": ("d 1 @0, d 1 @1, d 1 @2, d 1 @3, w 1 @4, w 1 @5, w 1 @6, w 1 @7", []),
    "several of one type between the changes": (
        "d 1 @0, d 1 @1, w 1 @2, w 1 @3, d 1 @4, w 1 @5, w 1 @6, d 1 @7, w 1 @8",
        [9],
    ),
    "equal times": ("d 1 @5, w 1 @5, d 1 @5, w 1 @5, d 1 @5, w 1 @5", [6]),
    "exactly 300 s back": (f"{FOUR_CHANGES}, w 1 @310", [6]),
    "301 s back": (f"{FOUR_CHANGES}, w 1 @311", []),
    "the window slides": (f"{FOUR_CHANGES}, w 1 @310, d 1 @311, w 1 @313", [6, 7]),
    "later ones are not seen": (f"{FOUR_CHANGES}, w 1 @9", []),
    "a late one sees the earlier ones": (f"{FOUR_CHANGES}, d 1 @900, w 1 @30", [7]),
    "a late one makes two changes": ("d 1 @0, w 1 @10, w 1 @12, d 1 @13, w 1 @14, d 1 @11, w 1 @15", [7]),
    "a late one takes none away": (f"{FOUR_CHANGES}, d 1 @12, w 1 @15", [7]),
}


@pytest.mark.parametrize(("notation", "expected"), CASES.values(), ids=CASES)
def test_fires(notation: str, expected: list[int]) -> None:
    """It fires when the actions with time in [t-300, t] change at least five times between the types."""
    assert fired(RULE, notation) == expected


@pytest.mark.parametrize("risk", ["low", "normal", "high"])
def test_risk_changes_nothing(risk: Risk) -> None:
    """It counts changes, so no risk rating scales it."""
    assert fired(RULE, f"{FOUR_CHANGES}, w 1 @15", risk) == [6]


def test_evidence() -> None:
    """It measures the changes, names only the actions of the window, and says where they begin and end."""
    found = findings(RULE, f"w 1 @0, {FOUR_CHANGES}, d 1 @15, w 1 @305")
    sentence = "7 actions between 10 and 305 change 5 times between deposit and withdrawal."
    assert found[8] == Finding(5, (2, 3, 4, 5, 6, 7, 8), sentence)


def test_a_crowded_window() -> None:
    """Of a window with more actions than it looks at, only the newest count: 20, with 19 changes between them."""
    finding = findings(RULE, ", ".join(["d 1 @0", "w 1 @0"] * 51))[102]
    assert (finding.measured, finding.actions, finding.unlisted) == (19, tuple(range(83, 103)), 0)
    assert fired(RULE, ", ".join(["d 1 @0", "w 1 @0"] * 3), among=5) == []
