"""How long a person's data must be kept: some years from when the account was closed, and as long as a hold lasts."""

from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

_KEY = "retention"


class Account(Protocol):
    """What says how long the data of a user is kept."""

    closed_at: Any
    legal_hold: Any
    erased_at: Any


class Retained(NamedTuple):
    """That the data of a person must be kept: until a moment, or with no end (None); and whether a hold keeps it."""

    until: datetime | None
    legal_hold: bool


class Retention:
    """How many calendar years the data of a person is kept after the account was closed; one per application."""

    def __init__(self, years: int) -> None:
        self.years = years

    def until(self, account: Account) -> datetime | None:
        """When the data need no longer be kept; None if that has no end yet."""
        if account.legal_hold or account.closed_at is None:
            return None
        return years_after(account.closed_at, self.years)

    def kept(self, account: Account, now: datetime, *, override: bool = False) -> Retained | None:
        """What keeps the data of a user at a moment; None if nothing does.

        A hold does so always. The law does not with `override`, nor if the user was erased before: what has come since
        is of a number that is linked to no person.
        """
        if account.legal_hold:
            return Retained(None, legal_hold=True)
        if override or account.erased_at is not None:
            return None
        until = self.until(account)
        return None if until is not None and until <= now else Retained(until, legal_hold=False)

    def closed_before(self, now: datetime) -> datetime:
        """No account that was closed after this moment is to be erased by the law `now`; of the others `kept` knows."""
        # A day more than it may be, whatever the days of the years are.
        return years_after(now, -self.years) + timedelta(days=1)

    def store_in(self, extensions: MutableMapping[str, Any]) -> None:
        """Put it where `of` finds it among the extensions of an application."""
        extensions[_KEY] = self

    @classmethod
    def of(cls, extensions: Mapping[str, Any]) -> "Retention":
        """The retention of the application with these extensions."""
        found = extensions[_KEY]
        assert isinstance(found, cls)
        return found


def years_after(moment: datetime, years: int) -> datetime:
    """The same day and time, in UTC, so many calendar years later.

    The 29th of February becomes the 1st of March where there is none, so that data is never kept for too short a time.
    """
    moment = moment.astimezone(UTC)
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        return moment.replace(year=moment.year + years, month=3, day=1)
