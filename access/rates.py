"""What a rate is: so many requests in so many seconds."""

from typing import NamedTuple

from limits import parse_many

LONGEST_TEXT = 40  # characters
MOST_REQUESTS = 1_000_000
LONGEST_WINDOW = 3600  # seconds: requests are counted in memory, so a restart begins to count anew


class Rate(NamedTuple):
    """`requests` in each window of `seconds`."""

    requests: int
    seconds: int


class Quota(NamedTuple):
    """How a key stands after a request: whether it `may` make it, its rate, and what is `left` of it, for `seconds`."""

    may: bool
    rate: Rate
    left: int
    seconds: int

    def headers(self) -> dict[str, str]:
        """The fields of draft-ietf-httpapi-ratelimit-headers-11."""
        return {
            "RateLimit-Policy": f'"key";q={self.rate.requests};w={self.rate.seconds}',
            "RateLimit": f'"key";r={self.left};t={self.seconds}',
        }


def read_rate(text: str) -> Rate:
    """The rate that is written as "100/second", "6000/minute" or "50 per 10 seconds".

    Raises ValueError, whose text is the end of a sentence.
    """
    try:
        rates = parse_many(text) if len(text) <= LONGEST_TEXT else []
    except ValueError:
        rates = []
    if len(rates) != 1:
        raise ValueError("must be written like 100/second, 6000/minute or 50 per 10 seconds")
    rate = Rate(rates[0].amount, rates[0].get_expiry())
    if not 1 <= rate.requests <= MOST_REQUESTS:
        raise ValueError(f"must be of 1 to {MOST_REQUESTS:,} requests")
    if rate.seconds > LONGEST_WINDOW:
        raise ValueError("must be for an hour at most")
    return rate


def read_as_written(text: str) -> str:
    """`text`, if it is a rate. Raises ValueError as `read_rate` does."""
    read_rate(text)
    return text
