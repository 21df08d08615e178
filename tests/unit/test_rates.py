"""Rates as they are written."""

import pytest

from access.rates import LONGEST_WINDOW, MOST_REQUESTS, Rate, read_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/second", Rate(100, 1)),
        ("6000/minute", Rate(6000, 60)),
        ("1 per hour", Rate(1, 3600)),
        ("50 per 10 seconds", Rate(50, 10)),
        (f"{MOST_REQUESTS}/60 minutes", Rate(MOST_REQUESTS, LONGEST_WINDOW)),
    ],
)
def test_a_rate(text: str, rate: Rate) -> None:
    """Requests and a length of time."""
    assert read_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be written"),
        ("100", "must be written"),
        ("-1/second", "must be written"),
        ("1/fortnight", "must be written"),
        ("٣/second", "must be written"),
        ("10/second;100/minute", "must be written"),
        ("1" + " " * 40 + "/second", "must be written"),
        ("0/second", "must be of 1 to 1,000,000"),
        ("1000001/minute", "must be of 1 to 1,000,000"),
        ("9999999999999999999999/second", "must be of 1 to 1,000,000"),
        ("5/2 hours", "must be for an hour at most"),
        ("5/day", "must be for an hour at most"),
    ],
)
def test_no_rate(text: str, why: str) -> None:
    """What is refused, and why."""
    with pytest.raises(ValueError, match=why):
        read_rate(text)
