"""What a rate is: so many requests in so many seconds."""

from typing import NamedTuple

from limits import parse_many

MOST_REQUESTS = 1_000_000
LONGEST_WINDOW = 3600  # seconds: requests are counted in memory, so a restart begins to count anew


class Rate(NamedTuple):
    """`requests` in each window of `seconds`."""

    requests: int
    seconds: int


def read_rate(text: str) -> Rate:
    """The rate that is written as "100/second", "6000/minute" or "50 per 10 seconds". Raises ValueError."""
    try:
        rates = parse_many(text)
    except ValueError:
        rates = []
    if len(rates) != 1:
        raise ValueError("is not a rate such as 100/second, 6000/minute or 50 per 10 seconds")
    rate = Rate(rates[0].amount, rates[0].get_expiry())
    if not 1 <= rate.requests <= MOST_REQUESTS:
        raise ValueError(f"a rate is 1 to {MOST_REQUESTS:,} requests")
    if rate.seconds > LONGEST_WINDOW:
        raise ValueError("a rate is for an hour at most")
    return rate
