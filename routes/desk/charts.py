"""Small charts, drawn here: pictures (SVG) that take their colours from the styles and say in words what they show."""

from collections.abc import Sequence
from decimal import Decimal
from math import ceil

from markupsafe import Markup

from routes.desk.chart_axes import nice_step, short_amount

_SPARK = (112, 24)  # in pixels, as all that follows
_MARGIN = 2
_TICK_ROOM, _LABEL_ROOM, _TOP_ROOM = 38, 18, 8


def nice_ticks(most: float, count: int = 3) -> list[int]:
    """Whole numbers from 0 on for an axis, about `count` steps of a round size; the last is `most` or more."""
    if most <= 0:
        return [0, 1]
    step = max(1, int(nice_step(Decimal(most), count)))
    return [step * number for number in range(ceil(most / step) + 1)]


def sparkline(values: Sequence[float], label: str) -> Markup:
    """A line of the `values`, oldest first, without axes; `label` says what they are."""
    width, height = _SPARK
    most = max(values, default=0) or 1
    step = (width - 2 * _MARGIN) / max(len(values) - 1, 1)
    places = [
        (_MARGIN + step * number, height - _MARGIN - value / most * (height - 2 * _MARGIN))
        for number, value in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    end = Markup("")
    if places:
        end = Markup('<circle class="spark-end" cx="{:.1f}" cy="{:.1f}" r="2"/>').format(*places[-1])
    said = f"{label}: {', '.join(f'{value:,.0f}' for value in values)}" if values else f"{label}: none"
    return Markup(
        '<svg class="spark" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="{said}"><polyline class="line-mark" points="{line}"/>{end}</svg>'
    ).format(width=width, height=height, said=said, line=line, end=end)


def bars(
    values: Sequence[float],
    names: Sequence[str],
    label: str,
    *,
    width: int = 320,
    height: int = 96,
    unfinished: bool = False,
    has_sum: bool = True,
) -> Markup:
    """A bar for each of the `values`, oldest first, with an axis; `names` say what each is of, such as its day.

    `label` says what they are. If the last is `unfinished`, it is drawn as such. Without `has_sum` their sum is not
    said.
    """
    ticks = nice_ticks(max(values, default=0), 2)
    left, bottom = _TICK_ROOM, height - _LABEL_ROOM
    scale = (bottom - _TOP_ROOM) / ticks[-1]
    step = (width - left) / max(len(values), 1)
    gap = min(2.0, step / 4)
    parts = []
    for tick in ticks:
        y = bottom - tick * scale
        parts.append(
            Markup(
                '<line class="axis" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                '<text x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(left, width, y, y, left - 5, y + 4, short_amount(Decimal(tick)))
        )
    for number, (value, name) in enumerate(zip(values, names, strict=True)):
        shape = "bar-mark unfinished" if unfinished and number == len(values) - 1 else "bar-mark"
        drawn = max(value * scale, 1.0) if value else 0.0  # a few of very many can still be seen
        parts.append(
            Markup(
                '<g><title>{}: {:,}</title><rect class="bar-room" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>'
            ).format(name, value, left + step * number, step, bottom)
            + Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/></g>').format(
                shape, left + step * number + gap / 2, bottom - drawn, step - gap, drawn
            )
        )
    if names:
        parts.append(Markup('<text x="{}" y="{}">{}</text>').format(left, height - 4, names[0]))
        parts.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(width, height - 4, names[-1]))
    said = f"{label}. {_in_words(values, names, has_sum)}"
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, said, Markup("").join(parts)
    )


def meter(share: float) -> Markup:
    """A bar that is filled by a share from 0 to 1, beside a number that says the same."""
    return Markup(
        '<svg aria-hidden="true" viewBox="0 0 100 4" preserveAspectRatio="none">'
        '<rect class="meter-back" width="100" height="4"/><rect class="meter-mark" width="{:.1f}" height="4"/></svg>'
    ).format(100 * min(max(share, 0.0), 1.0))


def _in_words(values: Sequence[float], names: Sequence[str], has_sum: bool) -> str:
    if not values:
        return "None."
    most = max(range(len(values)), key=lambda number: values[number])
    total = f"In all {sum(values):,}, most" if has_sum else "Most"
    return f"{total} at {names[most]}: {values[most]:,}; at {names[-1]}: {values[-1]:,}."
