"""How money, factors, whole numbers and moments are read."""

from decimal import Decimal

import pytest

from rules.values import Number, read_amount, read_decimal, read_moment, read_whole_number, written_moment


@pytest.mark.parametrize(
    ("raw", "written"),
    [("42", "42.00"), ("0.5", "0.50"), (7, "7.00"), (Number("42.5"), "42.50"), ("999999999999.99", "999999999999.99")],
)
def test_decimals(raw: object, written: str) -> None:
    """Text, whole numbers and numbers as they were written have two decimals, however many they came with."""
    assert str(read_decimal(raw)) == written


@pytest.mark.parametrize(
    "raw", ["", " 42", "42\n", "1e3", "4_2", "-1", "+1", ".5", "1.", "1.001", "٣", "1" * 13, True, None, 42.5, ["42"]]
)
def test_what_is_no_decimal(raw: object) -> None:
    """What Python's own Decimal would let through is refused, floats and numbers of another form too."""
    with pytest.raises(ValueError, match=r'^must be 1 to 12 digits with at most 2 decimals, such as "42.00"$'):
        read_decimal(raw)
    with pytest.raises(ValueError, match=r"^must be 1 to 12 digits"):
        read_amount(raw)


def test_numbers_count_as_they_were_written() -> None:
    """A JSON number with an exponent or too many decimals is refused although its value would be fine."""
    for text in ("4.2e1", "42.000", "-0.0"):
        with pytest.raises(ValueError, match=r"^must be 1 to 12 digits"):
            read_decimal(Number(text))


def test_an_amount_is_over_0() -> None:
    """A cent is an amount, and nothing is none."""
    assert read_amount("0.01") == Decimal("0.01")
    for nothing in ("0", "0.00", 0):
        with pytest.raises(ValueError, match=r"^must be greater than 0$"):
            read_amount(nothing)


def test_whole_numbers() -> None:
    """Plain digits, and nothing else that int() would accept."""
    assert [read_whole_number(text) for text in ("0", "007", "9" * 19)] == [0, 7, 10**19 - 1]
    for bad in ("", " 5", "5.0", "1_0", "+5", "-5", "٣", "1" * 20):
        with pytest.raises(ValueError, match=r"^must be a whole number$"):
            read_whole_number(bad)


@pytest.mark.parametrize(
    "raw",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31t12:00:00z",
        "2026-01-31T14:00:00+02:00",
        "2026-01-31T07:30:00.000000-04:30",
        "2026-01-31T12:00:00.000000999Z",
    ],
)
def test_moments(raw: str) -> None:
    """RFC 3339 with any zone, kept to the microsecond in UTC."""
    assert written_moment(read_moment(raw)) == "2026-01-31T12:00:00.000000Z"


@pytest.mark.parametrize(
    "raw",
    [
        *("", "2026-01-31", "2026-01-31T12:00Z", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "20260131T120000Z"),
        *("2026-01-31 12:00:00Z", "2026-01-31T12:00:00+2", "2026-01-31T12:00:00.Z", "2026-W05-6T12:00:00Z", 1, None),
        *(
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "2026-01-31T12:00:00+24:00",
            "٢026-01-31T12:00:00Z",
        ),
    ],
)
def test_what_is_no_moment(raw: object) -> None:
    """Without a zone, incomplete, or no day of the calendar."""
    with pytest.raises(ValueError, match=r"^must be a moment with its zone"):
        read_moment(raw)
