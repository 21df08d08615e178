"""How money, factors and whole numbers are read."""

from decimal import Decimal

import pytest

from rules.values import Number, read_amount, read_decimal, read_whole_number


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
