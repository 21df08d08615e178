"""Round places on the axes of a chart, of amounts and of times, and how they are written. Pure."""

from collections.abc import Callable
from decimal import Decimal

from routes.desk.words import date_of

_DAY = 86_400
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)
_DAYS = (1, 2, 3, 5, 7, 14, 30, 91, 182, 365, 730, 1825, 3650)


def nice_step(length: Decimal, most: int) -> Decimal:
    """The least of 1, 2 and 5 times a power of ten that divides `length` into `most` parts or fewer; a cent or more."""
    step = Decimal("0.01")
    while True:
        for factor in (1, 2, 5):
            if step * factor * most >= length:
                return step * factor
        step *= 10


def short_amount(amount: Decimal) -> str:
    """An amount as an axis has it: "0.50", "1,500", "20k", "1.5M"."""
    for size, unit in ((Decimal(10**9), "bn"), (Decimal(10**6), "M"), (Decimal(10**3), "k")):
        if amount >= size * (10 if unit == "k" else 1):
            return f"{(amount / size).normalize():,f}{unit}"
    return f"{amount:,.0f}" if amount == amount.to_integral_value() else f"{amount:,.2f}"


def time_ticks(start: int, end: int, has_dates: bool, most: int = 4) -> list[tuple[int, str]]:
    """Round times within [start, end], `most` at most, and how they are written."""
    length = max(1, end - start)
    if has_dates:
        steps = [*_SECONDS, *(days * _DAY for days in _DAYS)]
        step = next((one for one in steps if length // one < most), length)
    else:
        step = max(1, int(nice_step(Decimal(length), most)))
    first = -(-start // step) * step
    ticks = list(range(first, end + 1, step))[:most]
    write = _written(start, end) if has_dates else str
    return [(tick, write(tick)) for tick in ticks]


def _written(start: int, end: int) -> Callable[[int], str]:
    length = end - start
    form = (
        "%H:%M:%S" if length <= 900 else "%H:%M" if length <= 2 * _DAY else "%d %b" if length < 300 * _DAY else "%b %Y"
    )

    def write(time: int) -> str:
        date = date_of(time)
        return str(time) if date is None else date.strftime(form).lstrip("0" if length > 2 * _DAY else "")

    return write
