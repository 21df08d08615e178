"""The balance of a user over time as a small picture, for those who do without the script that draws the large one."""

from collections.abc import Iterator
from decimal import Decimal

from markupsafe import Markup

from routes.desk import words
from routes.desk.user_timeline import Timeline

_WIDTH, _HEIGHT, _MARGIN = 960, 200, 8

Place = tuple[float, float]


def balance_picture(timeline: Timeline) -> Markup:
    """The balance as a step line; where columns stand for many actions, with the least and the most of each."""
    balances = [timeline.before, *(value for _, _, *some in _steps(timeline) for value in some)]
    least, most = min(balances), max(balances)
    line: list[Place] = [_place(timeline, timeline.start, timeline.before, least, most)]
    reaches = Markup("")
    for start, end, low, high, after in _steps(timeline):
        x, y = _place(timeline, end, after, least, most)
        line += [(x, line[-1][1]), (x, y)]
        if low != high:
            left, top = _place(timeline, start, high, least, most)
            bottom = _place(timeline, start, low, least, most)[1]
            reaches += Markup('<rect class="reach" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                left, top, max(x - left, 1), bottom - top
            )
    line.append((_WIDTH - _MARGIN, line[-1][1]))
    label = f"The balance over time: {words.number(timeline.size)} actions, from {words.money(least)} to "
    return Markup(
        '<svg class="chart balance" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        'aria-label="{label}">{reaches}<polyline class="line-mark" points="{points}"/></svg>'
    ).format(
        width=_WIDTH,
        height=_HEIGHT,
        label=f"{label}{words.money(most)}, {words.money(balances[-1])} at the end",
        reaches=reaches,
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in line),
    )


def _steps(timeline: Timeline) -> Iterator[tuple[int, int, Decimal, Decimal, Decimal]]:
    """Where each step starts and ends, the least and the most balance in it, and the balance after it."""
    for action in timeline.actions:
        yield action.time, action.time, action.balance, action.balance, action.balance
    for column in timeline.columns:
        yield column.start, column.end, column.least, column.most, column.balance


def _place(timeline: Timeline, time: int, balance: Decimal, least: Decimal, most: Decimal) -> Place:
    across, up = max(timeline.end - timeline.start, 1), max(most - least, Decimal("0.01"))
    x = _MARGIN + (_WIDTH - 2 * _MARGIN) * ((time - timeline.start) / across)
    y = _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * float((balance - least) / up)
    return x, y
