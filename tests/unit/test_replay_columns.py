"""How the columns of others' files are read: amounts, times, types and ids."""

from typing import Any

import pytest

from commands.replay_columns import Columns, Rejected

LINE = {"type": "deposit", "amount": "42.00", "user_id": "1", "time": "10"}


def read(columns: Columns, **texts: str) -> Any:
    """The event of a line with these texts, or the reasons for refusing it."""
    try:
        return columns.event({**LINE, **texts})
    except Rejected as rejected:
        return rejected.reasons


@pytest.mark.parametrize(
    ("decimal", "thousands", "text", "amount"),
    [
        (".", "", "42", "42.00"),
        (".", ",", "1,234,567.5", "1234567.50"),
        (",", ".", "1.234,50", "1234.50"),
        (",", ".", "999.999.999", "999999999.00"),
        (",", "", "0,5", "0.50"),
        (",", " ", "1 234,50", "1234.50"),
        (",", " ", "1\N{NO-BREAK SPACE}234,50", "1234.50"),
        (",", " ", "1\N{NARROW NO-BREAK SPACE}234", "1234.00"),
        (".", "'", "12'345.05", "12345.05"),
    ],
)
def test_amounts(decimal: str, thousands: str, text: str, amount: str) -> None:
    """Decimal commas and separators of thousands are read where they are asked for."""
    assert str(read(Columns(decimal=decimal, thousands=thousands), amount=text).amount) == amount


@pytest.mark.parametrize(
    ("decimal", "thousands", "text", "why"),
    [
        (".", "", "1,50", "decimal point"),
        (".", "", "1.234,50", "decimal point"),
        (".", "", "1,234", "must be 1 to 12 digits"),
        (",", "", "1.50", "has a point"),
        (",", ".", "1.50", "somewhere else"),
        (",", ".", "1234.567", "somewhere else"),
        (".", ",", ",123", "somewhere else"),
        (".", "", "$42.00", "must be 1 to 12 digits"),
        (".", "", "42.00 EUR", "must be 1 to 12 digits"),
        (".", "", "-42.00", "must be 1 to 12 digits"),
        (".", "", "1e3", "must be 1 to 12 digits"),
        (",", ".", "0,00", "greater than 0"),
    ],
)
def test_bad_amounts(decimal: str, thousands: str, text: str, why: str) -> None:
    """What is not an amount in the form that was asked for is refused."""
    (reason,) = read(Columns(decimal=decimal, thousands=thousands), amount=text)
    assert reason.startswith("/amount: ")
    assert why in reason


@pytest.mark.parametrize(
    ("form", "text", "time"),
    [
        ("seconds", "0", 0),
        ("minutes", "2", 120),
        ("hours", "743", 2_674_800),
        ("days", "1", 86_400),
        ("milliseconds", "1767225600999", 1_767_225_600),
        ("microseconds", "1767225600999999", 1_767_225_600),
        ("nanoseconds", "1767225600999999999", 1_767_225_600),
        ("iso", "2026-01-01", 1_767_225_600),
        ("iso", "2026-01-01T00:00:00Z", 1_767_225_600),
        ("iso", "2026-01-01 01:00:00.999+01:00", 1_767_225_600),
        ("%d.%m.%Y", "01.01.2026", 1_767_225_600),
        ("%Y-%m-%dT%H:%M:%S%z", "2025-12-31T19:00:00-0500", 1_767_225_600),
    ],
)
def test_times(form: str, text: str, time: int) -> None:
    """Times are read in the form that was asked for, in UTC unless they say otherwise; fractions are cut off."""
    assert read(Columns(time_format=form), time=text).time == time


@pytest.mark.parametrize(
    ("form", "text", "why"),
    [
        ("seconds", "2026-01-01", "must be a whole number of seconds; the option --time-format reads other forms"),
        ("hours", "1.5", "must be a whole number of hours"),
        ("milliseconds", "-1", "must be a whole number"),
        ("iso", "01.01.2026", "must be a date or time of ISO 8601"),
        ("iso", "1969-12-31", "must not be before 1970"),
        ("%d.%m.%Y", "31.02.2026", "must be a time such as %d.%m.%Y"),
    ],
)
def test_bad_times(form: str, text: str, why: str) -> None:
    """What is no time in that form is refused."""
    assert read(Columns(time_format=form), time=text) == [f"/time: {why}"]


def test_types() -> None:
    """Words are translated; those that are not named are refused unless * says what they are."""
    columns = Columns(types={"IN": "deposit", "deposit": "withdraw", "FEE": "skip"})
    assert [read(columns, type=word).type for word in ("IN", "deposit", "withdraw")] == [
        "deposit",
        "withdraw",
        "withdraw",
    ]
    assert read(columns, type="FEE", amount="bad") is None
    assert read(columns, type="in") == ["/type: Input should be 'deposit' or 'withdraw'"]
    assert read(Columns(types={"*": "deposit"}), type="").type == "deposit"


def test_signed_amounts() -> None:
    """With signed amounts, what is below zero is a withdrawal."""
    columns = Columns(signed=True, decimal=",", thousands=".")
    found = [read(columns, amount=text) for text in ("-1.234,50", "+2", "3,00", "- 4")]
    assert [(event.type, str(event.amount)) for event in found] == [
        ("withdraw", "1234.50"),
        ("deposit", "2.00"),
        ("deposit", "3.00"),
        ("withdraw", "4.00"),
    ]
    assert read(columns, amount="--1") == ['/amount: must be 1 to 12 digits with at most 2 decimals, such as "42.00"']


def test_a_column_for_each_kind() -> None:
    """Each event has its amount in the column of its kind; the other one is empty or zero."""
    columns = Columns(names={"deposit": "Paid in", "withdraw": "Paid out"})
    assert columns.places(["time", "Paid in", "Paid out", "user_id"]) == {
        "deposit": 1,
        "withdraw": 2,
        "user_id": 3,
        "time": 0,
    }

    def split(**amounts: str) -> Any:
        try:
            return columns.event({"user_id": "1", "time": "10", **amounts})
        except Rejected as rejected:
            return rejected.reasons

    assert split(deposit="5", withdraw="0.00").type == "deposit"
    assert str(split(withdraw="7.5").amount) == "7.50"
    assert split() == ["/amount: must be in one of the columns Paid in and Paid out, not in neither"]
    assert split(deposit="5", withdraw="5") == [
        "/amount: must be in one of the columns Paid in and Paid out, not in both"
    ]


def test_hashed_ids() -> None:
    """Any text becomes a number that is always the same, and an id for a user; different texts get different ones."""
    columns = Columns(hashed_ids=True)
    numbers = [read(columns, user_id=text).user_id for text in ("C1231006815", "C1231006815", "1", "ä b")]
    assert numbers[0] == numbers[1] == 98_657_050_411_594_709
    assert len(set(numbers)) == 3


def test_every_fault_is_named_with_its_column() -> None:
    """All bad fields of a line are named at once, with the column that each is read from."""
    columns = Columns(names={"amount": "Betrag", "time": "Datum"}, time_format="%d.%m.%Y")
    assert [reason.partition(":")[0] for reason in read(columns, type="x", amount="x", user_id="x", time="x")] == [
        "/type",
        "/amount (column Betrag)",
        "/user_id",
        "/time (column Datum)",
    ]
