"""When messages are sent again: the schedule, what a receiver asks for, and endpoints that fail."""

from datetime import UTC, datetime

import pytest

from work import webhook_schedule as schedule


def test_the_schedule() -> None:
    """At once, then after 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h; then never."""
    hours = [3600 * hours for hours in (2, 5, 10, 14, 20, 24)]
    pauses = [schedule.pause_after(attempts, 0, None) for attempts in range(12)]
    assert pauses == [0, 5, 300, 1800, *hours, None, None]


def test_jitter() -> None:
    """A pause is up to a tenth longer, never shorter."""
    assert schedule.pause_after(2, 0, None) == 300
    assert schedule.pause_after(2, 1, None) == pytest.approx(330)


def test_a_receiver_asks_for_a_pause() -> None:
    """The longer one holds; a message that is given up is not sent again for being asked to wait."""
    assert schedule.pause_after(1, 0, 60) == 60
    assert schedule.pause_after(2, 0, 60) == 300
    assert schedule.pause_after(10, 0, 60) is None
    assert schedule.rest_of_endpoint(1, 0, 60) == 60


def test_an_endpoint_that_fails_is_left_alone() -> None:
    """From the fifth failure in a row: for 1 s, then twice as long each time, a minute at most."""
    rests = [schedule.rest_of_endpoint(failures, 0, None) for failures in (0, 4, 5, 6, 7, 10, 11, 12, 1000)]
    assert rests == [0, 0, 1, 2, 4, 32, 60, 60, 60]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success(status: int) -> None:
    """Any 2xx."""
    assert schedule.is_success(status)


@pytest.mark.parametrize("status", [None, 100, 199, 300, 301, 302, 304, 307, 308, 400, 404, 410, 429, 500, 503])
def test_failure(status: int | None) -> None:
    """Everything else, redirects and no answer among it; 410 alone disables."""
    assert not schedule.is_success(status)
    assert schedule.disables(status) == (status == 410)


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (429, "7", 7),
        (503, " 7 ", 7),
        (429, "0", 0),
        (429, "99999999999999999999", 3600),
        (429, "Thu, 01 Jan 2026 00:01:00 GMT", 60),
        (429, "Thu, 01 Jan 2026 00:01:00 -0000", 60),
        (429, "Wed, 31 Dec 2025 00:00:00 GMT", 0),
        (429, "Fri, 01 Jan 2027 00:00:00 GMT", 3600),
        (429, "Thu, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        (429, "-7", None),
        (429, "7.5", None),
        (429, "٧", None),
        (429, "soon", None),
        (429, "", None),
        (500, "7", None),
        (200, "7", None),
    ],
)
def test_retry_after(status: int, value: str, seconds: float | None) -> None:
    """Seconds or a date, with 429 and 503, an hour at most."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert schedule.asked_pause(status, {"retry-after": value}, now) == seconds
    assert schedule.asked_pause(status, {}, now) is None
