"""The balance of a user over time as a small picture, for those who do without the script that draws the large one."""

from collections.abc import Iterator
from decimal import Decimal

from markupsafe import Markup

from routes.desk import words
from routes.desk.user_timeline import Story

_WIDTH, _HEIGHT, _MARGIN = 960, 200, 8

Point = tuple[float, float]


def balance_picture(story: Story) -> Markup:
    """The balance as a step line; where columns stand for many actions, with the least and the most of each."""
    balances = [story.before, *(value for _, _, *some in _steps(story) for value in some)]
    least, most = min(balances), max(balances)
    line: list[Point] = [_place(story, story.start, story.before, least, most)]
    reaches = Markup("")
    for start, end, low, high, after in _steps(story):
        x, y = _place(story, end, after, least, most)
        line += [(x, line[-1][1]), (x, y)]
        if low != high:
            left, top = _place(story, start, high, least, most)
            bottom = _place(story, start, low, least, most)[1]
            reaches += Markup('<rect class="reach" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                left, top, max(x - left, 1), bottom - top
            )
    line.append((_WIDTH - _MARGIN, line[-1][1]))
    label = f"The balance over time: {words.number(story.size)} actions, from {words.money(least)} to "
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


def _steps(story: Story) -> Iterator[tuple[int, int, Decimal, Decimal, Decimal]]:
    """Where each step starts and ends, the least and the most balance in it, and the balance after it."""
    for action in story.actions:
        yield action.time, action.time, action.balance, action.balance, action.balance
    for column in story.columns:
        yield column.start, column.end, column.least, column.most, column.balance


def _place(story: Story, time: int, balance: Decimal, least: Decimal, most: Decimal) -> Point:
    across, up = max(story.end - story.start, 1), max(most - least, Decimal("0.01"))
    x = _MARGIN + (_WIDTH - 2 * _MARGIN) * ((time - story.start) / across)
    y = _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * float((balance - least) / up)
    return x, y
