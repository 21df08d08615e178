"""The strip that shows why an alert was raised: its user's actions around it, as SVG. Pure.

Places along the time are shares of the width, so one picture serves every width and its text keeps its size. Colours
come from the style sheet, by class.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from routes.desk import words
from routes.desk.chart_axes import nice_step, short_amount, time_ticks

MOST_DRAWN = 160  # actions; more are summed up in columns
COLUMNS = 64
FAR = 6  # a window so many times as long as what is behind the alert is not drawn in full
HEIGHT, TOP, BOTTOM = 232, 22, 30  # pixels: of all, and of what is above and below the plot
LAST_TIME = 2**63 - 1


class ChartAction(NamedTuple):
    """An action to be drawn; `counts` if it is behind the alert."""

    seq: int
    type: str
    amount: Decimal
    time: int
    counts: bool


class Column(NamedTuple):
    """What one type of action comes to in a stretch of time, its end left out."""

    type: str
    start: int
    end: int
    number: int
    total: Decimal
    counts: bool


class Shade(NamedTuple):
    """A stretch of time that is shaded, both ends included, and what it is."""

    start: int
    end: int
    name: str


class Line(NamedTuple):
    """An amount that single actions are compared with: of which type (None: both), and what it is."""

    amount: Decimal
    type: str | None
    name: str


class Strip(NamedTuple):
    """All that is drawn, from `start` to `end`: single actions, or columns if there are too many. `now` is judged."""

    start: int
    end: int
    now: ChartAction
    actions: Sequence[ChartAction] = ()
    columns: Sequence[Column] = ()
    shade: Shade | None = None
    lines: Sequence[Line] = ()
    has_dates: bool = False


def span(now: int, behind: Collection[int], shade: Shade | None, near: Collection[int]) -> tuple[int, int]:
    """From when until when to draw: what is behind the alert and the window, with some room on either side.

    All are times in seconds, `now` that of the judged action; `near` are those of actions around it, which give the
    scale if nothing else does. Of a window much longer than what is behind the alert, only the end is drawn.
    """
    start, end = min([now, *behind]), max([now, *behind])
    if shade is not None and not (start < end and end - start < (shade.end - shade.start) // FAR):
        start, end = min(start, shade.start), max(end, shade.end)
    if start == end:
        start, end = min([start, *near]), max([end, *near])
    room = max((end - start) // 8, 1)
    return max(0, start - room), min(LAST_TIME, end + room)


def stretches(start: int, end: int) -> list[tuple[int, int]]:
    """The stretches of time that columns stand for, each with its end left out: COLUMNS at most."""
    width = max(1, -(-(end + 1 - start) // COLUMNS))
    edges = [*range(start, end + 1, width), end + 1]
    return list(pairwise(edges))


def evidence_chart(strip: Strip) -> Markup:
    """The strip as SVG. Its label says what is seen."""
    scale = _Scale(strip)
    parts = [
        *_shade(strip, scale),
        *_amounts(scale),
        *_times(strip, scale),
        *_lines(strip, scale),
        *(_columns(strip, scale) if strip.columns else _stems(strip, scale)),
        _mark(strip, scale),
    ]
    return Markup('<svg class="chart evidence" role="img" aria-label="{}" width="100%" height="{}">{}</svg>').format(
        label(strip), HEIGHT, Markup("").join(parts)
    )


def column_note(strip: Strip) -> str | None:
    """What is to be known of columns, if they are drawn."""
    if not strip.columns:
        return None
    many = sum(one.number for one in strip.columns)
    return f"{many:,} actions: each column is the sum of {words.rough(strip.columns[0].end - strip.columns[0].start)}."


def label(strip: Strip) -> str:
    """What the strip shows, for who does not see it."""
    drawn = strip.columns or strip.actions
    many = sum(one.number for one in strip.columns) if strip.columns else len(strip.actions)
    deposits = sum(_many(one) for one in drawn if one.type == "deposit")
    said = [
        f"{many:,} actions from {_said(strip.start, strip)} to {_said(strip.end, strip)}: "
        f"{deposits:,} deposits up, {many - deposits:,} withdrawals down"
    ]
    if strip.columns:
        said.append(f"summed up in columns of {words.rough(strip.columns[0].end - strip.columns[0].start)}")
    behind = sum(_many(one) for one in drawn if one.counts)
    said.append(f"{behind:,} behind the alert {'is' if behind == 1 else 'are'} marked")
    what = "deposit" if strip.now.type == "deposit" else "withdrawal"
    said.append(f"the judged action is the {what} of {words.money(strip.now.amount)}")
    if strip.shade is not None:
        said.append(f"shaded: {_shade_name(strip, strip.shade)}")
    said += [f"a line at {words.money(line.amount)}: {line.name}" for line in strip.lines]
    return "; ".join(said) + "."


def _many(one: ChartAction | Column) -> int:
    return one.number if isinstance(one, Column) else 1


def _said(time: int, strip: Strip) -> str:
    date = words.date_of(time) if strip.has_dates else None
    return str(time) if date is None else f"{date:%Y-%m-%d %H:%M:%S}"


class _Scale:
    """From times and amounts to places. Deposits go up from `zero`, withdrawals down, on one scale."""

    def __init__(self, strip: Strip) -> None:
        self._start, self._length = strip.start, max(1, strip.end - strip.start)
        up = _largest(strip, "deposit")
        down = _largest(strip, "withdraw")
        self.step = nice_step(up + down, 4)
        self.up, self.down = _whole(up / self.step), _whole(down / self.step)  # in steps
        self._per_step = Decimal(HEIGHT - TOP - BOTTOM) / (self.up + self.down or Decimal(1))
        self.zero = TOP + float(self.up * self._per_step)

    def x(self, time: int) -> float:
        """In per cent of the width; a little room is left at either side."""
        share = (min(max(time, self._start), self._start + self._length) - self._start) / self._length
        return round(1 + 98 * share, 2)

    def y(self, kind: str, amount: Decimal) -> float:
        """In pixels from the top."""
        height = float(amount / self.step * self._per_step)
        return round(self.zero - height if kind == "deposit" else self.zero + height, 1)


def _whole(steps: Decimal) -> Decimal:
    return steps.to_integral_value(ROUND_CEILING)


def _largest(strip: Strip, kind: str) -> Decimal:
    amounts = [one.total for one in strip.columns if one.type == kind]
    if not strip.columns:
        amounts = [one.amount for one in (*strip.actions, strip.now) if one.type == kind]
        amounts += [line.amount for line in strip.lines if line.type in (kind, None) and amounts]
    return max(amounts, default=Decimal(0))


def _shade(strip: Strip, scale: _Scale) -> Iterable[Markup]:
    if strip.shade is None:
        return
    start, end = scale.x(strip.shade.start), scale.x(strip.shade.end)
    yield Markup('<rect class="window" x="{}%" y="{}" width="{}%" height="{}"/>').format(
        start, TOP, max(round(end - start, 2), 0.4), HEIGHT - TOP - BOTTOM
    )
    # Where there is more room.
    is_right = start > 100 - end
    yield Markup('<text class="window-name" x="{}%" y="{}" text-anchor="{}">{}</text>').format(
        end if is_right else start, TOP - 8, "end" if is_right else "start", _shade_name(strip, strip.shade)
    )


def _shade_name(strip: Strip, shade: Shade) -> str:
    return f"end of the {shade.name}" if shade.start < strip.start else shade.name


def _amounts(scale: _Scale) -> Iterable[Markup]:
    for number in range(-int(scale.down), int(scale.up) + 1):
        amount = abs(number) * scale.step
        y = scale.y("deposit" if number >= 0 else "withdraw", amount)
        kind = "zero" if number == 0 else "axis"
        yield Markup('<line class="{}" x1="0" x2="100%" y1="{}" y2="{}"/>').format(kind, y, y)
        yield Markup('<text x="-8" y="{}" text-anchor="end" dominant-baseline="middle">{}</text>').format(
            y, short_amount(amount)
        )


def _times(strip: Strip, scale: _Scale) -> Iterable[Markup]:
    for time, written in time_ticks(strip.start, strip.end, strip.has_dates):
        x = scale.x(time)
        anchor = "start" if x < 4 else "end" if x > 97 else "middle"
        yield Markup('<line class="tick" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(
            x, x, HEIGHT - BOTTOM, HEIGHT - BOTTOM + 5
        )
        yield Markup('<text x="{}%" y="{}" text-anchor="{}">{}</text>').format(x, HEIGHT - 10, anchor, written)


def _stems(strip: Strip, scale: _Scale) -> Iterable[Markup]:
    places = _spread(strip.actions, scale)
    radius = 3.5 if len(strip.actions) <= MOST_DRAWN // 2 else 2.5
    # What is behind the alert is drawn last, on top.
    for one in sorted(strip.actions, key=lambda one: one.counts):
        x, y = places[one.seq], scale.y(one.type, one.amount)
        marked = " counts" if one.counts else ""
        what = "deposit" if one.type == "deposit" else "withdrawal"
        yield Markup(
            '<g class="action {}{}"><title>#{} {} of {} at {}</title><line x1="{}%" x2="{}%" y1="{}" y2="{}"/>'
            '<circle cx="{}%" cy="{}" r="{}"/></g>'
        ).format(
            one.type, marked, one.seq, what, words.money(one.amount), _said(one.time, strip),
            x, x, round(scale.zero, 1), y, x, y, radius,
        )  # fmt: skip


def _spread(actions: Sequence[ChartAction], scale: _Scale) -> Mapping[int, float]:
    """Where actions stand: those of one time side by side in their order, the last one at its place."""
    groups: dict[int, list[ChartAction]] = {}
    for one in actions:
        groups.setdefault(one.time, []).append(one)
    places = {}
    for time, group in groups.items():
        width = min(1.3 * (len(group) - 1), 14.0)
        step = width / (len(group) - 1) if len(group) > 1 else 0
        last = max(scale.x(time), 1 + width)
        for at, one in enumerate(sorted(group, key=lambda one: one.seq, reverse=True)):
            places[one.seq] = round(last - step * at, 2)
    return places


def _columns(strip: Strip, scale: _Scale) -> Iterable[Markup]:
    for one in strip.columns:
        if not one.number:
            continue
        start, end = scale.x(one.start), scale.x(one.end)
        y, zero = scale.y(one.type, one.total), round(scale.zero, 1)
        what = "deposits" if one.type == "deposit" else "withdrawals"
        yield Markup(
            '<rect class="column {}{}" x="{}%" y="{}" width="{}%" height="{}"><title>{} {} of {} from {} to {}</title>'
            "</rect>"
        ).format(
            one.type, " counts" if one.counts else "", start, min(y, zero), max(round(end - start - 0.2, 2), 0.3),
            max(round(abs(y - zero), 1), 1), f"{one.number:,}", what, words.money(one.total),
            _said(one.start, strip), _said(one.end - 1, strip),
        )  # fmt: skip


def _lines(strip: Strip, scale: _Scale) -> Iterable[Markup]:
    if strip.columns:  # which stand for sums
        return
    for line in strip.lines:
        for kind, steps in (("deposit", scale.up), ("withdraw", scale.down)):
            if line.type not in (kind, None) or line.amount > steps * scale.step:
                continue
            y = scale.y(kind, line.amount)
            yield Markup('<line class="threshold" x1="0" x2="100%" y1="{}" y2="{}"/>').format(y, y)
            yield Markup('<text class="threshold-name" x="2" y="{}">{}</text>').format(
                y - 5 if y > TOP + 14 else y + 13, f"{line.name} {words.money(line.amount)}"
            )


def _mark(strip: Strip, scale: _Scale) -> Markup:
    one = strip.now
    if strip.columns:
        x, y = scale.x(one.time), scale.zero
    else:
        x, y = _spread(strip.actions, scale).get(one.seq, scale.x(one.time)), scale.y(one.type, one.amount)
    return Markup('<svg class="judged" overflow="visible" x="{}%" y="{}"><path d="M0-9 9 0 0 9-9 0Z"/></svg>').format(
        x, round(y, 1)
    )
