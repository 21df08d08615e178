"""A user's story on one axis: each action of a short stretch of time; of a longer one, what each column comes to."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from database.models import User
from database.user_timeline import (
    Reached,
    actions_between,
    alerts_between,
    extremes,
    first_and_last,
    reached,
)
from rules.registry import title_of
from rules.values import alert_id

POINTS = 5_000  # actions that are shown one by one
COLUMNS = 400  # of a longer stretch: about one for each two pixels
SUMMED = 50_000  # actions among which the least and the most balance are looked for
SAMPLES = 5  # beyond that, at so many moments of each column
ALERTS, ALERTS_OF_COLUMN = 1_000, 3  # alerts shown of a short stretch, and of each column of a longer one


class StoryAction(NamedTuple):
    """One action, and the balance after it."""

    seq: int
    type: str
    amount: Decimal
    time: int
    balance: Decimal


class StoryColumn(NamedTuple):
    """What the actions with a time from `start` to `end`, both included, come to.

    `least` and `most` are of the balance after any of them, or before the first; `balance` is that after the last.
    """

    start: int
    end: int
    deposits: int
    deposited: Decimal
    withdrawals: int
    withdrawn: Decimal
    least: Decimal
    most: Decimal
    balance: Decimal


class AlertMark(NamedTuple):
    """An alert as a mark on the axis."""

    user_id: int
    seq: int
    code: int
    time: int
    status: str
    late: bool
    superseded: bool
    parameters: Any

    def shown(self) -> dict[str, Any]:
        """The same for the script that draws it."""
        return {
            "id": alert_id(self.user_id, self.seq, self.code),
            "code": self.code,
            "title": title_of(self.code, {"parameters": self.parameters}),
            "time": self.time,
            "status": self.status,
            "late": self.late,
            "superseded": self.superseded,
        }


class Story(NamedTuple):
    """A stretch of a user's story, from `start` to `end`; all of it goes from `first` to `last` (times in seconds).

    It has `actions`, or else `columns`, if there are more than POINTS; it is sampled if the least and the most of each
    column are only those at some moments. `before` is the balance before the stretch, and `size` the number of its
    actions. Not all alerts are among `alerts` if there are `more_alerts`.
    """

    first: int
    last: int
    start: int
    end: int
    before: Decimal
    size: int
    actions: Sequence[StoryAction]
    columns: Sequence[StoryColumn]
    is_sampled: bool
    alerts: Sequence[AlertMark]
    more_alerts: bool

    def shown(self) -> dict[str, Any]:
        """The same for the script that draws it: money as text, rows as lists."""
        return {
            "first": self.first,
            "last": self.last,
            "from": self.start,
            "to": self.end,
            "before": str(self.before),
            "size": self.size,
            "sampled": self.is_sampled,
            "actions": [[one.seq, one.type, str(one.amount), one.time, str(one.balance)] for one in self.actions],
            "columns": [[_written(value) for value in one] for one in self.columns],
            "alerts": [one.shown() for one in self.alerts],
            "more_alerts": self.more_alerts,
        }


def read_story(
    session: Session,
    user: User,
    start: int,
    end: int,
    *,
    points: int = POINTS,
    columns: int = COLUMNS,
    with_alerts: bool = True,
) -> Story | None:
    """What a user did from `start` to `end` (seconds, both included), as far as there are actions; None without any.

    More than `points` actions are put together in `columns`. It reads no more for a million actions than for SUMMED.
    """
    ends = first_and_last(session, user.user_id)
    if ends is None:
        return None
    first, last = ends
    start, end = min(max(start, first), last), max(min(end, last), first)
    edges = _edges(start, end, columns)
    at_edges = reached(session, user.user_id, [start - 1, *edges])
    count = at_edges[-1].actions - at_edges[0].actions
    before = user.total + at_edges[0].net
    stretches = [(one.moment + 1, other.moment) for one, other in pairwise(at_edges)]
    is_short, is_sampled = count <= points, count > SUMMED
    return Story(
        first=first,
        last=last,
        start=start,
        end=end,
        before=before,
        size=count,
        actions=list(_actions(session, user, start, end, before, points)) if is_short else (),
        columns=() if is_short else _columns(session, user, at_edges, stretches, is_sampled=is_sampled),
        is_sampled=not is_short and is_sampled,
        **_alerts(session, user, [(start, end)] if is_short else stretches, with_alerts=with_alerts),
    )


def _edges(start: int, end: int, columns: int) -> list[int]:
    """The last moment of each column."""
    width = _width(start, end, columns)
    return [min(edge, end) for edge in range(start + width - 1, end + width, width)]


def _width(start: int, end: int, columns: int) -> int:
    return -(-(end - start + 1) // columns)


def _actions(session: Session, user: User, start: int, end: int, before: Decimal, limit: int) -> Iterator[StoryAction]:
    balance = before
    for seq, kind, amount, time in actions_between(session, user.user_id, start, end, limit):
        balance += amount if kind == "deposit" else -amount
        yield StoryAction(seq, kind, amount, time, balance)


def _columns(
    session: Session, user: User, at_edges: Sequence[Reached], stretches: Sequence[tuple[int, int]], *, is_sampled: bool
) -> list[StoryColumn]:
    balances = _sampled(session, user, stretches) if is_sampled else _looked_for(session, user, at_edges, stretches)
    found = []
    for (one, other), (start, end), seen in zip(pairwise(at_edges), stretches, balances, strict=True):
        if other.actions == one.actions:
            continue
        known = [user.total + one.net, user.total + other.net, *seen]
        found.append(
            StoryColumn(
                start=start,
                end=end,
                deposits=other.deposits - one.deposits,
                deposited=other.deposited - one.deposited,
                withdrawals=other.withdrawals - one.withdrawals,
                withdrawn=other.withdrawn - one.withdrawn,
                least=min(known),
                most=max(known),
                balance=user.total + other.net,
            )
        )
    return found


def _looked_for(
    session: Session, user: User, at_edges: Sequence[Reached], stretches: Sequence[tuple[int, int]]
) -> list[list[Decimal]]:
    """Of each stretch, the least and the most balance."""
    start, end = stretches[0][0], stretches[-1][1]
    before = user.total + at_edges[0].net
    found = extremes(session, user.user_id, start, end, stretches[0][1] - start + 1)
    by_column = {one.column: [before + one.least, before + one.most] for one in found}
    return [by_column.get(number, []) for number in range(len(stretches))]


def _sampled(session: Session, user: User, stretches: Sequence[tuple[int, int]]) -> list[list[Decimal]]:
    """Of each stretch, the balance at some moments within."""
    moments = [sorted(_edges(start, end, SAMPLES)) for start, end in stretches]
    flat = iter(reached(session, user.user_id, [moment for some in moments for moment in some]))
    return [[user.total + next(flat).net for _ in some] for some in moments]


def _alerts(session: Session, user: User, stretches: Sequence[tuple[int, int]], *, with_alerts: bool) -> dict[str, Any]:
    if not with_alerts:
        return {"alerts": (), "more_alerts": False}
    each = ALERTS if len(stretches) == 1 else ALERTS_OF_COLUMN
    kept: list[AlertMark] = []
    more, counted, at = False, 0, None
    # Newest first: of a stretch with too many, the oldest one only tells that there are more.
    for row in reversed(alerts_between(session, user.user_id, stretches, each + 1)):
        counted = counted + 1 if row.column_start == at else 1
        at = row.column_start
        if counted > each:
            more = True
            continue
        kept.append(
            AlertMark(user.user_id, row.seq, row.code, row.time, row.status, row.late, row.superseded, row.parameters)
        )
    return {"alerts": kept[::-1], "more_alerts": more}


def _written(value: int | Decimal) -> int | str:
    return str(value) if isinstance(value, Decimal) else value
