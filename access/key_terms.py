"""What a key may be: its name, scopes, rate and end. Who asks for one reads them here, over HTTP or by a command."""

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from access.caller import ANONYMOUS, COMMAND_LINE, NOBODY, SCOPES, Scope

LONGEST_NAME = 64  # characters
SERVICE = "service"  # what the service itself does
UNASSIGNED = "none"  # whose alerts are those that nobody has
RESERVED = (ANONYMOUS, COMMAND_LINE, SERVICE, UNASSIGNED, NOBODY.name)
LONGEST_DAYS = 36_525  # that a key may live, a hundred years: what no calendar could hold is refused
LONGEST_OVERLAP = timedelta(days=30)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")


class KeyTerms(NamedTuple):
    """What a key is to be. `rate` is None for what the setting says, `expires_at` for no end."""

    name: str
    scopes: tuple[Scope, ...]
    rate: str | None = None
    expires_at: datetime | None = None


def read_name(name: str) -> str:
    """`name`, if a key can have it. Raises ValueError, whose text is the end of a sentence."""
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise ValueError(f"must be 1 to {LONGEST_NAME} printable characters, with no space at either end")
    plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())  # as it looks to people
    if plain in RESERVED:
        raise ValueError(f"must not be {plain!r}, which is the name of others")
    return name


def read_scopes(scopes: Iterable[str]) -> tuple[Scope, ...]:
    """These scopes in their order, each once. Raises ValueError, whose text is the end of a sentence."""
    wanted = set(scopes)
    if not wanted or wanted - set(SCOPES):
        raise ValueError(f"must be one or more of {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in wanted)


def read_duration(text: str) -> timedelta:
    """What is written like 30s, 15m, 24h or 90d. Raises ValueError, whose text is the end of a sentence."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("must be a number and a unit: 30s, 15m, 24h, 90d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def read_end(moment: datetime) -> datetime:
    """`moment`, if a key can expire then. Raises ValueError, whose text is the end of a sentence."""
    now = datetime.now(UTC)
    if not now < moment <= now + timedelta(days=LONGEST_DAYS):
        raise ValueError("must be in the future, and within a hundred years")
    return moment
