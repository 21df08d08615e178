"""How long a person's data is kept."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from database.models import User
from work.erasure import names
from work.retention import Retained, Retention, years_after

CLOSED = datetime(2020, 2, 29, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def user(**more: object) -> User:
    return User(**({"closed_at": None, "legal_hold": False, "erased_at": None} | more))


@pytest.mark.parametrize(
    ("closed", "years", "until"),
    [
        (datetime(2021, 1, 31, 12, tzinfo=UTC), 5, datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (CLOSED, 4, datetime(2024, 2, 29, 12, tzinfo=UTC)),
        (CLOSED, 5, datetime(2025, 3, 1, 12, tzinfo=UTC)),
        (CLOSED, 0, CLOSED),
        # In UTC it is still February.
        (datetime(2020, 3, 1, 1, tzinfo=timezone(timedelta(hours=2))), 5, datetime(2025, 3, 1, 23, tzinfo=UTC)),
    ],
)
def test_calendar_years(closed: datetime, years: int, until: datetime) -> None:
    """The same day and time so many years later, and never sooner where there is no such day."""
    assert Retention(years).until(user(closed_at=closed)) == until
    assert Retention(years).kept(user(closed_at=closed), until - TICK) == Retained(until, legal_hold=False)
    assert Retention(years).kept(user(closed_at=closed), until) is None


def test_what_keeps_the_data() -> None:
    """An open account and a hold have no end; an override gets past the law alone; who was erased is kept by a hold."""
    law, now = Retention(5), datetime(2021, 1, 1, tzinfo=UTC)
    closed, held = user(closed_at=CLOSED), user(closed_at=CLOSED, legal_hold=True)
    assert law.kept(user(), now) == Retention(0).kept(user(), now) == Retained(None, legal_hold=False)
    assert law.kept(held, now, override=True) == Retained(None, legal_hold=True)
    assert law.kept(closed, now) == Retained(datetime(2025, 3, 1, 12, tzinfo=UTC), legal_hold=False)
    assert law.kept(closed, now, override=True) is None
    assert law.kept(user(erased_at=CLOSED), now) is None
    assert law.kept(user(erased_at=CLOSED, legal_hold=True), now) == Retained(None, legal_hold=True)


def test_whom_the_database_finds_are_all_who_are_due() -> None:
    """Nobody is due who was closed later than it looks for, on any day of four years."""
    for years in (0, 1, 4, 5):
        law = Retention(years)
        for day in range(4 * 366):
            now = CLOSED + timedelta(days=day)
            latest = law.closed_before(now)
            assert law.kept(user(closed_at=latest + TICK), now) is not None
    assert years_after(CLOSED, -5) == datetime(2015, 3, 1, 12, tzinfo=UTC)


def test_a_reason_that_names_the_person() -> None:
    """A word of the name is enough, however it is written; an unnamed user is named by nothing."""
    assert names("As ada (lovelace) asked.", "Ada (Lovelace)")
    assert names("Asked for by Mrs LOVELACE.", "Ada Lovelace")
    assert names("Jose\u0301's wish", "Jos\xe9 B. Garc\xeda")
    assert names("\u5e94\u738b\u5c0f\u660e\u8981\u6c42", "\u738b\u5c0f\u660e")
    assert not names("B. asked.", "Ada B. Lovelace")
    assert not names("Adam asked.", "Ada")
    assert not names("Ada asked.", None)
