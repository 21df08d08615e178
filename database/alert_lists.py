"""Alerts page by page, and their neighbours; what that costs does not grow with the alerts that are stored."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    UnaryExpression,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from database.alert_filters import (
    PLACE,
    AlertFilter,
    AlertIndex,
    AlertPlace,
    as_in_list,
    has_sharp_index,
    indexes_for,
    shape,
    with_parameters,
)
from database.alerts import AlertRow
from database.models import Alert, UserAction
from database.pages import Column, one_bound, within_bounds

# How many alerts of an index one page looks at, at most, to find those wanted: some milliseconds' work, whatever is
# asked.
LOOKED_AT = 5_000
KEPT = 256  # statements


class AlertsFound(NamedTuple):
    """Alerts in order, and the last place that was looked at if the search broke off there."""

    rows: Sequence[AlertRow]
    broke_off_at: AlertPlace | None


class Neighbour(NamedTuple):
    """The next alert in a direction, if one was found; `broke_off`: none was, but there may be one further away."""

    place: AlertPlace | None
    broke_off: bool


def place_of(alert: AlertRow) -> AlertPlace:
    """Where an alert stands among all."""
    return (alert.time, alert.user_id, alert.seq, alert.code)


def page_of_alerts(
    session: Session, wanted: AlertFilter, limit: int, after: AlertPlace | None, *, oldest_first: bool = False
) -> AlertsFound:
    """Up to `limit` of the `wanted` alerts, each with its action, by (time, user_id, seq, code), newest first.

    `after` is the place at which the last page ended. If an index holds others besides those wanted, the search breaks
    off after LOOKED_AT.
    """
    begins = after and as_in_list(wanted, after, oldest_first=oldest_first)
    start, end, place = one_bound(wanted.start, wanted.end, begins, oldest_first=oldest_first)
    shaped, values = shape(session, wanted._replace(start=start, end=end))
    touched = were_touched(session, shaped, values)
    statement = _page(shaped, touched, place is not None, oldest_first, LOOKED_AT)
    rows = session.execute(statement, values | {"limit": limit} | dict(zip(_AFTER, place or (), strict=False))).all()
    # Behind the first place at which an index was left, some that belong there have not been seen.
    ends = next((number for number, row in enumerate(rows) if row.is_last), None)
    if ends is None:
        return AlertsFound(rows, None)
    return AlertsFound([row for row in rows[: ends + 1] if row.matches], place_of(rows[ends]))


def neighbours(
    session: Session, wanted: AlertFilter, place: AlertPlace, *, oldest_first: bool = False
) -> tuple[Neighbour, Neighbour]:
    """What comes before this place, and what after it, in the list of the `wanted` alerts."""

    def first(oldest_first: bool) -> Neighbour:
        found = page_of_alerts(session, wanted, 1, place, oldest_first=oldest_first)
        nearest = place_of(found.rows[0]) if found.rows else None
        return Neighbour(nearest, nearest is None and found.broke_off_at is not None)

    return first(not oldest_first), first(oldest_first)


def were_touched(session: Session, shaped: AlertFilter, values: Mapping[str, Any]) -> bool:
    """Whether so few alerts were touched since the moment wanted that looking at all of these is best."""
    if shaped.touched_from is None or shaped.shadow or has_sharp_index(shaped):
        return False
    asked = {"touched_from": values["touched_from"], "limit": LOOKED_AT + 1}
    return session.execute(_COUNT_TOUCHED, asked).scalar_one() <= LOOKED_AT


# Statements are made once for all filters of a shape: it takes longer than reading a page. There are some thousand
# shapes, of which few are asked for.


@lru_cache(KEPT)
def _page(shaped: AlertFilter, touched: bool, goes_on: bool, oldest_first: bool, looked_at: int) -> Select[Any]:
    wanted, after = with_parameters(shaped), _AFTER_PLACE if goes_on else None
    sources = sources_for(wanted, touched, after, looked_at, oldest_first)
    parts = [matching(index, seen, _LIMIT, share, oldest_first) for index, seen, share in sources]
    found = (union_all(*(select(part.subquery()) for part in parts)) if len(parts) > 1 else parts[0]).subquery("found")
    # In the order of the one index that is read; else those of several are sorted, which are few by now.
    order = sources[0].by.order if len(sources) == 1 else PLACE
    one = select(found).order_by(*in_order(found.c, order, oldest_first)).limit(_LIMIT).subquery("one")
    action = and_(UserAction.user_id == one.c.user_id, UserAction.seq == one.c.seq)
    page = select(*one.c, UserAction.type, UserAction.amount).join(UserAction, action)
    return page.order_by(*in_order(one.c, order, oldest_first))


class AlertSource(NamedTuple):
    """An index to look in, the first alerts seen in it with the position of each, and how many these are at most."""

    by: AlertIndex
    seen: FromClause
    looked_at: int


def sources_for(
    wanted: AlertFilter, touched: bool, after: Sequence[Any] | None, looked_at: int, oldest_first: bool
) -> list[AlertSource]:
    """Where to look for the `wanted` alerts behind the place `after`: at `looked_at` of them at most, all together."""
    if touched:
        index = AlertIndex((), (), frozenset({"touched_from"}))
        return [AlertSource(index, _seen_of_touched(index, wanted, after, oldest_first), looked_at)]
    indexes = indexes_for(wanted)
    share = max(looked_at // len(indexes), 1)
    return [AlertSource(index, seen_in(index, wanted, after, share, oldest_first), share) for index in indexes]


def seen_in(
    index: AlertIndex, wanted: AlertFilter, after: Sequence[Any] | None, looked_at: int, oldest_first: bool
) -> FromClause:
    """The first alerts of an index behind the place `after`, each with its position and whether it `matches`."""
    place = index.place
    rest = None if after is None else [dict(zip(PLACE, after, strict=True))[column] for column in place]
    within = within_bounds(place, wanted.start, wanted.end, rest, index.begins_with, oldest_first=oldest_first)
    order = in_order(Alert.__table__.c, index.order, oldest_first)
    # Here, where each alert passes once: as a condition of what is read from this, it would be asked twice.
    matches = index.matches(wanted, Alert.__table__.c).label("matches")
    few = select(*Alert.__table__.c, matches).where(*index.holds, *within).order_by(*order).limit(looked_at).subquery()
    # Counted where they are few: Citus would have all alerts sent to the coordinator to number them.
    position = func.row_number().over(order_by=in_order(few.c, index.order, oldest_first)).label("position")
    return select(few, position).subquery()


def _seen_of_touched(
    index: AlertIndex, wanted: AlertFilter, after: Sequence[Any] | None, oldest_first: bool
) -> FromClause:
    """They are not in order of place, so all of them are seen; their position is 0."""
    # Some may have been touched since they were counted.
    few = select(Alert).where(*_TOUCHED).order_by(Alert.touched_at.desc()).limit(2 * LOOKED_AT).subquery()
    place = [few.c[column.key] for column in PLACE]
    within = within_bounds(place, wanted.start, wanted.end, after, oldest_first=oldest_first)
    matches = index.matches(wanted, few.c).label("matches")
    return select(few, literal(0).label("position"), matches).where(*within).subquery()


def matching(
    index: AlertIndex, seen: FromClause, limit: ColumnElement[int], looked_at: int, oldest_first: bool
) -> Select[Any]:
    """Up to `limit` of the alerts seen that match; the last one that was looked at comes along in any case."""
    is_last = seen.c.position == looked_at
    found = select(seen, is_last.label("is_last")).where(or_(seen.c.matches, is_last))
    return found.order_by(*in_order(seen.c, index.order, oldest_first)).limit(limit)


def in_order(columns: Any, order: Iterable[Column], oldest_first: bool) -> list[UnaryExpression[Any]]:
    """`columns` are those of a table or subquery; of these, the ones called as in `order`."""
    return [columns[one.key].asc() if oldest_first else columns[one.key].desc() for one in order]


_LIMIT = bindparam("limit", type_=Integer)
_AFTER = tuple(f"after_{column.key}" for column in PLACE)
_AFTER_PLACE = [bindparam(name, type_=column.type) for name, column in zip(_AFTER, PLACE, strict=True)]
_TOUCHED = (Alert.touched_at >= bindparam("touched_from", type_=Alert.touched_at.type), ~Alert.shadow)
_touched = select(literal(1)).where(*_TOUCHED).order_by(Alert.touched_at.desc()).limit(_LIMIT).subquery()
_COUNT_TOUCHED = select(func.count()).select_from(_touched)
