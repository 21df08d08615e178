"""How values are written on pages. Templates call these as `words.money(...)`."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from markupsafe import Markup

from rules.values import read_moment
from rules.wording import duration

STATUS = {"open": "Open", "acknowledged": "Acknowledged", "closed": "Closed"}
OUTCOME = {"true_positive": "True", "false_positive": "False", "inconclusive": "Inconclusive"}
RULE_STATUS = {"active": "Active", "shadow": "Shadow", "off": "Off"}
RISK = {"low": "Low", "normal": "Normal", "high": "High"}
# Breaking a line within one of these makes it hard to read.
_UNBROKEN = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?: UTC)?|[\d,.]*\d (?:%|s|minutes?|hours?|days?|times)(?!\w))")
NOTHING = "–"  # noqa: RUF001 (where there is no value)


def unbroken(text: str) -> Markup:
    """A title or a sentence whose dates, and numbers with their units, are not broken over two lines."""
    whole = Markup('<span class="nowrap">{}</span>')
    parts = _UNBROKEN.split(text)  # every second one is to be kept together
    return Markup("").join(whole.format(part) if at % 2 else part for at, part in enumerate(parts))


def money(value: Decimal | str | None) -> str:
    """An amount with two decimals and commas between thousands."""
    return NOTHING if value is None else f"{Decimal(value):,.2f}"


def number(value: int | float | None, digits: int = 0) -> str:
    """A number with commas between thousands."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def capped(count: int, more: bool) -> str:
    """A count that may be larger: "1,000+"."""
    return f"{count:,}+" if more else f"{count:,}"


def share(part: float, whole: float) -> str:
    """A share in per cent; nothing of nothing."""
    return NOTHING if not whole else f"{100 * part / whole:.0f} %"


def moment(at: datetime | None) -> str | Markup:
    """A moment, in UTC; a script writes it in the reader's own zone."""
    if at is None:
        return NOTHING
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}" data-moment>{} UTC</time>').format(at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}")


def written_moment(written: str | None) -> str | Markup:
    """The same for a moment in RFC 3339, as histories have it."""
    return moment(None if written is None else read_moment(written))


def age(at: datetime | None, now: datetime) -> str | Markup:
    """How long ago a moment was, in its largest unit; a script keeps it up to date."""
    if at is None:
        return NOTHING
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}" data-age title="{} UTC">{}</time>').format(
        at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}", short_age((now - at).total_seconds())
    )


def short_age(seconds: float) -> str:
    """An age in its largest unit: "now", "5 min", "3 h", "12 d"."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return "now"


def about(seconds: float | None) -> str:
    """A length of time with the digits that a median has: "40 s", "12 min", "3.4 h", "12 d"."""
    if seconds is None:
        return NOTHING
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            found = seconds / size
            return f"{found:.0f} {unit}" if found >= 10 or unit == "min" else f"{found:.1f} {unit}"
    return f"{seconds:.0f} s"


def date_of(time: int) -> datetime | None:
    """The date that a time in seconds since 1970 is, in UTC; None if it is too late to have one."""
    try:
        return datetime.fromtimestamp(time, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def event_time(time: int, has_dates: bool) -> str | Markup:
    """The time of an event as it was given; with a date if it counts seconds since 1970."""
    date = date_of(time) if has_dates else None
    if date is None:
        return f"{time}"
    return Markup('<span class="event-time" title="{}">{}</span>').format(time, f"{date:%Y-%m-%d %H:%M:%S}")


def event_day(time: int) -> str:
    """The date of a time that counts seconds since 1970; the time itself if it has none."""
    date = date_of(time)
    return f"{time}" if date is None else f"{date:%Y-%m-%d}"


def seconds(count: int) -> str:
    """A length of time in words: "30 s", "2 h"."""
    return duration(count)


def rough(count: int) -> str:
    """A length of time in words, in its two largest units: "48 days 2 hours"."""
    return " ".join(duration(count).split(" ")[:4])


def parameter(unit: str, value: Any) -> str:
    """The value of a parameter of a rule: money, seconds, a count or a factor."""
    if unit == "money":
        return money(value)
    return duration(int(value)) if unit == "seconds" else str(value)
