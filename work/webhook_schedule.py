"""When a message that was not delivered is sent again, and how long an endpoint that fails is left alone. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Seconds before each attempt, by the specification Standard Webhooks; after the last one a message is given up.
SCHEDULE = (0.0, 5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
JITTER = 0.1  # a pause is longer by up to this part of it, so that what failed together does not come back together

# An endpoint at which so many attempts in a row have failed, whatever the message, is left alone: for a second, and
# twice as long each time. Then one attempt shows whether it is back.
FAILURES, FIRST_REST, LONGEST_REST = 5, 1.0, 60.0

MOST_RETRY_AFTER = 3_600.0  # seconds: a receiver may ask for no longer pause
_ASKS_FOR_A_PAUSE = (429, 503)
_DISABLES = 410

DISABLED_AFTER = 5 * 86_400.0  # seconds of nothing but failures


def pause_after(attempts: int, chance: float, asked: float | None) -> float | None:
    """The seconds until the next attempt once so many have failed; None: there is none.

    `chance`: between 0 and 1. `asked`: for how many seconds the receiver asked.
    """
    if attempts >= len(SCHEDULE):
        return None
    return max(SCHEDULE[attempts] * (1 + JITTER * chance), asked or 0.0)


def rest_of_endpoint(failures: int, chance: float, asked: float | None) -> float:
    """The seconds for which an endpoint is left alone after so many failed attempts in a row."""
    doubled = min(failures - FAILURES, 30)
    rest = min(FIRST_REST * 2**doubled, LONGEST_REST) * (1 + JITTER * chance) if doubled >= 0 else 0.0
    return max(rest, asked or 0.0)


def is_success(status: int | None) -> bool:
    """Whether the message has arrived; a redirect has not."""
    return status is not None and 200 <= status < 300


def disables(status: int | None) -> bool:
    """Whether the receiver says that it wants no more messages."""
    return status == _DISABLES


def asked_pause(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds for which a receiver asks to be left alone, MOST_RETRY_AFTER at most; None if it does not."""
    value = headers.get("retry-after", "").strip()
    if status not in _ASKS_FOR_A_PAUSE or not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value[:10]), MOST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    until = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((until - now).total_seconds(), 0.0), MOST_RETRY_AFTER)
