"""What people read: titles and sentences, whatever the rule and whatever it is set to."""

from typing import Any

import pytest

from rules.parameters import written_values
from rules.registry import REGISTRY
from rules.wording import duration, shown_evidence, shown_sentence
from tests.unit.rules.timeline import findings

WEEK, DAY = 604_800, 86_400


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (1, "1 s"),
        (30, "30 s"),
        (59, "59 s"),
        (60, "1 minute"),
        (90, "1 minute 30 s"),
        (300, "5 minutes"),
        (3600, "1 hour"),
        (9000, "2 hours 30 minutes"),
        (DAY, "1 day"),
        (DAY + 1, "1 day 1 s"),
        (WEEK, "7 days"),
        (90 * DAY, "90 days"),
        (366 * DAY, "366 days"),
        (1000 * DAY + 3661, "1,000 days 1 hour 1 minute 1 s"),
    ],
)
def test_a_length_of_time(seconds: int, words: str) -> None:
    """Days, hours and minutes; what is under a minute is in seconds."""
    assert duration(seconds) == words


TITLES: list[tuple[int, dict[str, str | int], str]] = [
    (1100, {}, "Withdrawal over 100.00"),
    (1100, {"threshold": "1000000"}, "Withdrawal over 1,000,000.00"),
    (30, {}, "3 withdrawals in a row"),
    (30, {"count": 1}, "1 withdrawal in a row"),
    (300, {}, "3 increasing deposits"),
    (123, {}, "Deposits over 200.00 in 30 s"),
    (123, {"window": 3600, "threshold": "2500"}, "Deposits over 2,500.00 in 1 hour"),
    (123, {"window": 0}, "Deposits over 200.00 in the same second"),
    (500, {}, "More than 5 actions in 1 minute"),
    (500, {"count": 1, "window": 90}, "More than 1 action in 1 minute 30 s"),
    (600, {}, "3 deposits just under 10,000.00 in 7 days"),
    (610, {}, "Withdrawals of 90 % of the deposits in 1 day"),
    (610, {"share": "1.25", "window": 9000}, "Withdrawals of 125 % of the deposits in 2 hours 30 minutes"),
    (620, {}, "Over 500.00 after 90 days without an action"),
    (630, {}, "Over 5 times the user's own average"),
    (630, {"times": "2.5"}, "Over 2.5 times the user's own average"),
    (630, {"times": "1"}, "Over the user's own average"),
    (640, {}, "5 actions in multiples of 100.00"),
    (640, {"count": 1}, "1 action in multiples of 100.00"),
    (650, {}, "Withdrawal over 100.00 after 3 deposits of at most 0.99"),
    (650, {"count": 1}, "Withdrawal over 100.00 after 1 deposit of at most 0.99"),
    (660, {}, "Withdrawals over 1,000.00 in 1 day"),
    (670, {}, "5 changes between deposit and withdrawal in 5 minutes"),
    (670, {"count": 1}, "1 change between deposit and withdrawal in 5 minutes"),
    (680, {}, "Deposits over 1,000.00 in the first 2 days"),
    (680, {"age": 0}, "Deposits over 1,000.00 in the first second"),
    (690, {}, "Net deposits over 150.00 in 30 days"),
]


@pytest.mark.parametrize(("code", "values", "title"), TITLES)
def test_a_title(code: int, values: dict[str, str | int], title: str) -> None:
    """Lengths of time in words, shares in percent, thousands apart, and one of a thing in the singular."""
    rule = REGISTRY[code]
    declared = {one.name: one for one in rule.declared}
    read = {name: declared[name].read(value) for name, value in values.items()}
    assert rule.titled(written_values({**rule.defaults(), **read})) == title


# A history, what the rule is set to, and what is said of the last action that it fires on.
SENTENCES: list[tuple[int, str, dict[str, str | int], str]] = [
    (1100, "w 1500 @7", {}, "A withdrawal of 1,500.00 is over 100.00."),
    (30, "w 1 @1, w 1 @2, w 1 @3", {}, "The last 3 actions are all withdrawals."),
    (30, "w 1 @1", {"count": 1}, "The last action is a withdrawal."),
    (300, "d 1 @1, d 999 @2, d 1000 @3", {}, "The last 3 deposits keep growing: 1.00, 999.00, 1,000.00."),
    (123, "d 100 @10, d 120 @25", {}, "Deposits of 220.00 between 10 and 25 are over 200.00 in 30 s."),
    (123, "d 250 @20", {}, "A deposit of 250.00 at 20 is over 200.00 in 30 s."),
    (123, "d 150 @20, d 100 @20", {}, "Deposits of 250.00 at 20 are over 200.00 in 30 s."),
    (500, "d 1 @1, d 1 @9", {"count": 1}, "2 actions between 1 and 9 are more than 1 in 1 minute."),
    (500, "d 1 @9, d 1 @9", {"count": 1}, "2 actions at 9 are more than 1 in 1 minute."),
    (
        600,
        "d 9000 @1, d 9500 @2, d 9999 @3",
        {},
        "3 deposits between 1 and 3 are each from 9,000.00 to just under 10,000.00.",
    ),
    (
        610,
        "d 1000 @10, w 950 @20",
        {},
        "A withdrawal of 950.00 at 20 is at least 90 % of the deposit of 1,000.00 in 1 day.",
    ),
    (
        610,
        "d 500 @10, d 500 @11, w 450 @20, w 500 @21",
        {},
        "Withdrawals of 950.00 between 10 and 21 are at least 90 % of the deposits of 1,000.00 in 1 day.",
    ),
    (
        620,
        f"d 1 @5, w 600 @{90 * DAY + 10}",
        {},
        "A withdrawal of 600.00 is over 500.00 after 90 days 5 s without any action, from 5 to 7776010.",
    ),
    (
        630,
        "d 1 @1, d 3 @2, d 11 @3",
        {"count": 2},
        "A deposit of 11.00 is over 5 times the average of the 2 deposits before it, which sum to 4.00.",
    ),
    (
        630,
        "w 1 @1, w 3 @2, w 11 @3",
        {"count": 2, "times": "1.00"},
        "A withdrawal of 11.00 is over the average of the 2 withdrawals before it, which sum to 4.00.",
    ),
    (640, "d 300 @1", {"count": 1}, "The last action is a multiple of 100.00."),
    (
        650,
        "d 0.10 @5, w 150 @9",
        {"count": 1},
        "A withdrawal of 150.00 is over 100.00 and follows 1 deposit of at most 0.99 since 5.",
    ),
    (660, "w 1001 @9", {}, "A withdrawal of 1,001.00 at 9 is over 1,000.00 in 1 day."),
    (660, "w 1000 @8, w 1 @9", {}, "Withdrawals of 1,001.00 between 8 and 9 are over 1,000.00 in 1 day."),
    (670, "d 1 @1, w 1 @2", {"count": 1}, "2 actions between 1 and 2 change once between deposit and withdrawal."),
    (670, "d 1 @2, w 1 @2, d 1 @2", {"count": 2}, "3 actions at 2 change 2 times between deposit and withdrawal."),
    (
        680,
        "d 1001 @9",
        {},
        "A deposit of 1,001.00 at 9, the time of the user's first action, is over 1,000.00 in the first 2 days.",
    ),
    (
        680,
        "w 1 @9, d 1001 @9",
        {},
        "A deposit of 1,001.00 at 9, the time of the user's first action, is over 1,000.00 in the first 2 days.",
    ),
    (
        680,
        "d 1 @9, d 1001 @9",
        {"age": 0},
        "Deposits of 1,002.00 at 9, the time of the user's first action, are over 1,000.00 in the first second.",
    ),
    (
        680,
        "w 1 @5, d 1001 @9",
        {},
        "A deposit of 1,001.00 at 9, after the user's first action at 5, is over 1,000.00 in the first 2 days.",
    ),
    (
        680,
        "d 1 @5, d 1001 @9",
        {},
        "Deposits of 1,002.00 between the user's first action at 5 and 9 are over 1,000.00 in the first 2 days.",
    ),
    (690, "d 200 @9", {}, "A deposit of 200.00 at 9 is over 150.00 in 30 days."),
    (690, "d 100 @8, d 100 @9", {}, "Deposits of 200.00 between 8 and 9 are over 150.00 in 30 days."),
    (
        690,
        "w 10 @8, d 200 @9",
        {},
        "A deposit of 200.00 less a withdrawal of 10.00 between 8 and 9 is 190.00, over 150.00 in 30 days.",
    ),
    (
        690,
        "w 10 @7, d 100 @8, d 100 @9",
        {},
        "Deposits of 200.00 less withdrawals of 10.00 between 7 and 9 are 190.00, over 150.00 in 30 days.",
    ),
]


@pytest.mark.parametrize(("code", "notation", "values", "sentence"), SENTENCES)
def test_a_sentence(code: int, notation: str, values: dict[str, Any], sentence: str) -> None:
    """One moment, one of a thing, lengths of time, shares and thousands: as people say them."""
    finding = list(findings(REGISTRY[code], notation, "normal", **values).values())[-1]
    assert shown_sentence(finding.sentence, len(finding.actions) + finding.unlisted, False) == sentence


def test_every_rule_has_a_sentence_here() -> None:
    """None is left out of the cases above."""
    assert {code for code, *_ in SENTENCES} == {code for code, *_ in TITLES} == set(REGISTRY)


DATES: list[tuple[int, str, dict[str, str | int], str]] = [
    (
        123,
        "d 100 @1769860810, d 120 @1769860825",
        {},
        "Deposits of 220.00 between 2026-01-31 12:00:10 UTC and 2026-01-31 12:00:25 UTC are over 200.00 in 30 s.",
    ),
    (123, "d 250 @0", {}, "A deposit of 250.00 at 1970-01-01 00:00:00 UTC is over 200.00 in 30 s."),
    (123, f"d 250 @{2**63 - 1}", {}, f"A deposit of 250.00 at {2**63 - 1} is over 200.00 in 30 s."),
    (
        600,
        "d 9000 @1, d 9500 @2, d 9999 @2",
        {},
        "3 deposits between 1970-01-01 00:00:01 UTC and 1970-01-01 00:00:02 UTC are each from 9,000.00 to just under "
        "10,000.00.",
    ),
    (
        620,
        f"d 1 @0, w 600 @{90 * DAY}",
        {},
        "A withdrawal of 600.00 is over 500.00 after 90 days without any action, from 1970-01-01 00:00:00 UTC to "
        "1970-04-01 00:00:00 UTC.",
    ),
    (
        650,
        "d 0.10 @5, w 150 @9",
        {"count": 1},
        "A withdrawal of 150.00 is over 100.00 and follows 1 deposit of at most 0.99 since 1970-01-01 00:00:05 UTC.",
    ),
    (
        680,
        "w 1 @5, d 1001 @9",
        {},
        "A deposit of 1,001.00 at 1970-01-01 00:00:09 UTC, after the user's first action at 1970-01-01 00:00:05 UTC, "
        "is over 1,000.00 in the first 2 days.",
    ),
    (
        680,
        "d 1 @5, d 1001 @5",
        {},
        "Deposits of 1,002.00 at 1970-01-01 00:00:05 UTC, the time of the user's first action, are over 1,000.00 in "
        "the first 2 days.",
    ),
    (30, "w 1 @1, w 1 @2, w 1 @3", {}, "The last 3 actions are all withdrawals."),
]


@pytest.mark.parametrize(("code", "notation", "values", "sentence"), DATES)
def test_a_date(code: int, notation: str, values: dict[str, Any], sentence: str) -> None:
    """If times are seconds since 1970, they are dates in UTC, as far as there are any; nothing else becomes one."""
    finding = list(findings(REGISTRY[code], notation, "normal", **values).values())[-1]
    assert shown_sentence(finding.sentence, len(finding.actions) + finding.unlisted, True) == sentence


def test_evidence() -> None:
    """Of evidence the sentence alone is shown differently, and what has none stays as it is."""
    stored = {"measured": "250.00", "parameters": {"window": WEEK}, "actions": [3], "sentence": "between 20 and 20"}
    assert shown_evidence(stored, False) == stored | {"sentence": "at 20"}
    assert list(shown_evidence(stored, False)) == list(stored)
    assert shown_evidence({}, True) == {}
    crowd = {"actions": list(range(100)), "actions_unlisted": 950, "sentence": "1050 actions between 1 and 3"}
    assert shown_evidence(crowd, False)["sentence"] == "1,050 actions between 1 and 3"
