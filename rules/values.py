"""How money, factors, whole numbers, ids, times and moments are written: one pattern, one reader, bounds of each.

Patterns describe the whole text, without anchors.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

CENT = Decimal("0.01")
MOST_MONEY = Decimal("999999999999.99")
LAST_TIME = 2**63 - 1  # the latest time there is, in seconds
MAX_ID = 2**63 - 1
MAX_CODE = 2**31 - 1

DECIMAL = r"[0-9]{1,12}(\.[0-9]{1,2})?"  # money and factors
WHOLE_NUMBER = "[0-9]{1,19}"
ID = "[1-9][0-9]{0,18}"
CODE = "[1-9][0-9]{0,9}"
ALERT_ID = f"{ID}-{ID}-{CODE}"  # user_id, seq and code
EVENT_ID = "[ -~]{1,128}"
# RFC 3339, with its zone
MOMENT = "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"

_DECIMAL = re.compile(DECIMAL)
_WHOLE_NUMBER = re.compile(WHOLE_NUMBER)
_MOMENT = re.compile(MOMENT)


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number as it was written, kept as text since a float would lose that."""

    text: str


def read_decimal(raw: object) -> Decimal:
    """Money (0 or more) or a factor, with two decimals, from text or a number as it was written.

    Raises ValueError; its message says what is expected.
    """
    # Decimal itself takes "1e3", " 42 ", "4_2" and other scripts' digits, so the text is checked first.
    if isinstance(raw, str):
        text = raw
    elif isinstance(raw, Number):
        text = raw.text
    else:
        text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else ""
    if not _DECIMAL.fullmatch(text):
        raise ValueError('must be 1 to 12 digits with at most 2 decimals, such as "42.00"')
    return Decimal(text).quantize(CENT)


def read_amount(raw: object) -> Decimal:
    """The same for money over 0. Raises ValueError; its message says what is expected."""
    amount = read_decimal(raw)
    if amount <= 0:
        raise ValueError("must be greater than 0")
    return amount


def in_cents(value: Decimal) -> int:
    """Money in cents, or a factor in hundredths; `value` has at most two decimals."""
    return int(value.scaleb(2))


def read_whole_number(text: str) -> int:
    """The whole number that `text` writes in plain digits. Raises ValueError; its message says what is expected."""
    # int() takes " 5 ", "+5" and "1_0" too.
    if not _WHOLE_NUMBER.fullmatch(text):
        raise ValueError("must be a whole number")
    return int(text)


def read_moment(raw: object) -> datetime:
    """The moment that RFC 3339 text names, in UTC. Raises ValueError; its message says what is expected."""
    try:
        if isinstance(raw, str) and _MOMENT.fullmatch(raw):
            return datetime.fromisoformat(raw.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # there is no such day, hour or zone, or it is too near the end of years
        pass
    raise ValueError('must be a moment with its zone, such as "2026-01-31T12:00:00Z"')


def written_moment(moment: datetime) -> str:
    """`moment` in UTC as RFC 3339, to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def alert_id(user_id: int, seq: int, code: int) -> str:
    """The id of an alert in answers and paths."""
    return f"{user_id}-{seq}-{code}"
