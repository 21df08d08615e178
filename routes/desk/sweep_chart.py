"""The curve of a sweep: how many alerts a day each value of a parameter would have raised, and the budget as a line."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

from markupsafe import Markup

from routes.desk.charts import nice_ticks

_WIDTH, _HEIGHT = 480, 280  # in pixels, as all that follows
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 24, 40
_MOST_DOTS = 60  # more would run into one another; the curve is drawn through all values all the same


_Scale = Callable[[float], float]  # from a value to its place


class SweepPoint(NamedTuple):
    """A value of the sweep as text, what it would have raised a day, and where a click on it leads."""

    value: str
    per_day: float
    link: str


def sweep_curve(
    points: Sequence[SweepPoint],
    *,
    parameter: str,
    present: str | None = None,
    budget: int | None = None,
    within: str | None = None,
) -> Markup:
    """The curve through `points`, which are of the `parameter`, in whichever order.

    `present` is the value that is in force, `budget` the alerts a day that there may be, and `within` the first value
    of the sweep with no more.
    """
    values = [float(Decimal(point.value)) for point in points]
    now = None if present is None else float(Decimal(present))
    least, most = min(values), max(values)
    ticks = nice_ticks(max([budget or 0, *(point.per_day for point in points)]))

    def across(value: float) -> float:
        share = (value - least) / (most - least) if most > least else 0.5
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def up(per_day: float) -> float:
        return _HEIGHT - _BOTTOM - per_day / ticks[-1] * (_HEIGHT - _TOP - _BOTTOM)

    drawn = [_axis(ticks, up), _names(points, values, across, parameter)]
    if budget is not None:
        drawn.append(
            Markup(
                '<line class="budget-line" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>'
                '<text class="budget-name" x="{}" y="{:.1f}" text-anchor="end">budget {:,}</text>'
            ).format(_LEFT, _WIDTH - _RIGHT, _WIDTH - _RIGHT, up(budget) - 5, budget, y=up(budget))
        )
    if now is not None and least <= now <= most:
        at = across(now)
        anchor = "end" if at > _WIDTH - 60 else "start" if at < _LEFT + 20 else "middle"
        drawn.append(
            Markup(
                '<line class="present-line" x1="{at:.1f}" x2="{at:.1f}" y1="{}" y2="{}"/>'
                '<text x="{at:.1f}" y="{}" text-anchor="{}">now {}</text>'
            ).format(_TOP - 6, _HEIGHT - _BOTTOM, _TOP - 10, anchor, present, at=at)
        )
    in_order = sorted(zip(values, points, strict=True), key=lambda one: one[0])
    line = " ".join(f"{across(value):.1f},{up(point.per_day):.1f}" for value, point in in_order)
    drawn.append(Markup('<polyline class="line-mark" points="{}"/>').format(line))
    every = -(-len(points) // _MOST_DOTS)
    for number, (value, point) in enumerate(in_order):
        if number % every == 0 or point.value == within:
            drawn.append(_dot(across(value), up(point.per_day), point, parameter, is_within=point.value == within))
    said = _in_words(points, parameter, budget, within)
    return Markup('<svg class="chart sweep-chart" viewBox="0 0 {} {}" role="group" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, said, Markup("").join(drawn)
    )


def _axis(ticks: Sequence[int], up: _Scale) -> Markup:
    line = Markup(
        '<line class="axis" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>'
        '<text x="{}" y="{:.1f}" text-anchor="end">{:,}</text>'
    )
    drawn = [line.format(_LEFT, _WIDTH - _RIGHT, _LEFT - 6, up(tick) + 4, tick, y=up(tick)) for tick in ticks]
    return Markup("").join(drawn)


def _names(points: Sequence[SweepPoint], values: Sequence[float], across: _Scale, parameter: str) -> Markup:
    in_order = sorted(zip(values, points, strict=True), key=lambda one: one[0])
    shown = {0: "start", len(in_order) // 2: "middle", len(in_order) - 1: "end"}
    name = Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>')
    drawn = [
        name.format(across(in_order[at][0]), _HEIGHT - _BOTTOM + 16, anchor, in_order[at][1].value)
        for at, anchor in shown.items()
    ]
    drawn.append(name.format((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 5, "middle", parameter))
    return Markup("").join(drawn)


def _dot(x: float, y: float, point: SweepPoint, parameter: str, *, is_within: bool) -> Markup:
    # The table beside it has the same links, so the keyboard passes over these.
    return Markup(
        '<a href="{}" tabindex="-1" aria-label="{said}"><title>{said}</title>'
        '<circle class="dot-room" cx="{x:.1f}" cy="{y:.1f}" r="12"/>'
        '<circle class="{}" cx="{x:.1f}" cy="{y:.1f}" r="{}"/></a>'
    ).format(
        point.link,
        "dot within" if is_within else "dot",
        6 if is_within else 3.5,
        said=f"{parameter} {point.value}: {point.per_day:,.2f} alerts a day",
        x=x,
        y=y,
    )


def _in_words(points: Sequence[SweepPoint], parameter: str, budget: int | None, within: str | None) -> str:
    first, last = points[0], points[-1]
    said = (
        f"Alerts a day by {parameter}: {first.per_day:,.2f} at {first.value}, {last.per_day:,.2f} at {last.value}, "
        f"{len(points)} values."
    )
    if budget is None:
        return said
    found = "No value is" if within is None else f"{within} is the first"
    return f"{said} {found} within the budget of {budget:,}."
