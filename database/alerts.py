"""Statements on alerts, except those that judging runs."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Integer,
    Row,
    Select,
    UnaryExpression,
    and_,
    bindparam,
    func,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from database.models import Alert, User, UserAction
from database.pages import Column, stretch

AlertRow = Row[*tuple[Any, ...]]  # the columns of an alert, and `type` and `amount` of its action
AlertPlace = tuple[int, int, int, int]  # time, user_id, seq and code: where an alert stands among all, in order of time

_PLACE: tuple[Column, ...] = (Alert.time, Alert.user_id, Alert.seq, Alert.code)

# How many alerts one page looks at, at most, to find those wanted: some milliseconds' work, whatever is asked.
LOOKED_AT = 5_000

# Columns, not Alert objects: making 500 objects takes longer than reading the rows.
_ALERTS = (
    select(*Alert.__table__.columns, UserAction.type, UserAction.amount)
    .select_from(Alert)
    .join(UserAction, and_(UserAction.user_id == Alert.user_id, UserAction.seq == Alert.seq))
)


def _newest_first(place: Iterable[ColumnElement[Any] | Column]) -> list[UnaryExpression[Any]]:
    return [column.desc() for column in place]


class AlertFilter(NamedTuple):
    """Ask for the alerts that match every field that is not None; `risk` is their user's present rating.

    Shadow alerts come only with `shadow`, and then alone.
    """

    user_id: int | None = None
    code: int | None = None
    status: str | None = None
    risk: str | None = None
    late: bool | None = None
    superseded: bool | None = None
    start: int | None = None
    end: int | None = None
    shadow: bool = False


class AlertsFound(NamedTuple):
    """Alerts, newest first, and the last place that was looked at if the search broke off there."""

    rows: Sequence[AlertRow]
    broke_off_at: AlertPlace | None


def page_of_alerts(session: Session, wanted: AlertFilter, limit: int, before: AlertPlace | None) -> AlertsFound:
    """Up to `limit` of the `wanted` alerts, newest (time, user_id, seq, code) first, each with its action.

    The filter's `start` and `end` bound the time of the action in seconds, both included; `before` is the place at
    which the last page ended. If an index holds others besides those wanted, the search breaks off after LOOKED_AT.
    """
    index = _index_for(wanted)
    place = index.place
    rest = None if before is None else tuple(dict(zip(_PLACE, before, strict=True))[column] for column in place)
    conditions = (*index.holds, *stretch(place, wanted.start, wanted.end, rest, index.begins_with))
    order = _newest_first((*(column for column, _ in index.begins_with), *place))
    asked = {name: value for name, value in wanted._asdict().items() if name not in index.settles and value is not None}
    if not asked.keys() & _FILTERS.keys():
        return AlertsFound(session.execute(_ALERTS.where(*conditions).order_by(*order).limit(limit)).all(), None)
    position = func.row_number().over(order_by=order).label("position")
    seen = select(Alert, position).where(*conditions).order_by(*order).limit(LOOKED_AT).subquery("seen").c
    matches = and_(*(_FILTERS[name](seen, value) for name, value in asked.items() if name in _FILTERS))
    # The last one seen comes along in any case: from there the next page goes on.
    found = select(*seen, matches.label("matches")).where(or_(matches, seen.position == LOOKED_AT))
    found = found.order_by(*_newest_first(seen[column.key] for column in _PLACE)).limit(limit)
    one = found.subquery("found").c
    action = and_(UserAction.user_id == one.user_id, UserAction.seq == one.seq)
    page = select(*one, UserAction.type, UserAction.amount).join(UserAction, action)
    rows = session.execute(page.order_by(*_newest_first(one[column.key] for column in _PLACE))).all()
    last = rows[-1] if rows and rows[-1].position == LOOKED_AT else None
    return AlertsFound([row for row in rows if row.matches], last and (last.time, last.user_id, last.seq, last.code))


# What an alert that was seen must be for each field of a filter, unless an index settles that.
_FILTERS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "code": lambda seen, value: seen.code == value,
    "status": lambda seen, value: seen.status == value,
    "late": lambda seen, value: seen.late == value,
    "superseded": lambda seen, value: seen.superseded == value,
    # A scalar subquery: for a join, PostgreSQL might read all users with that rating first.
    "risk": lambda seen, value: (
        select(User.risk).where(User.user_id == seen.user_id).correlate(seen.user_id.table).scalar_subquery() == value
    ),
}


class _AlertIndex(NamedTuple):
    """An index on alerts: the columns before the time and the values wanted there, and the alerts that it holds.

    It settles some fields of a filter: all alerts that it is read for match those.
    """

    begins_with: tuple[tuple[Column, Any], ...]
    holds: tuple[ColumnElement[bool] | Column, ...]
    settles: frozenset[str]

    @property
    def place(self) -> tuple[Column, ...]:
        """The columns from the time on."""
        before = [column for column, _ in self.begins_with]
        return tuple(column for column in _PLACE if column not in before)


def _index_for(wanted: AlertFilter) -> _AlertIndex:
    """The index that holds the fewest alerts besides those wanted, as far as that is known."""
    shown = Alert.shadow if wanted.shadow else ~Alert.shadow
    by_shadow = (Alert.shadow, wanted.shadow)
    if wanted.user_id is not None:
        return _AlertIndex(((Alert.user_id, wanted.user_id), by_shadow), (), frozenset({"user_id"}))
    if not wanted.shadow:
        for name, flag in (("superseded", Alert.superseded), ("late", Alert.late)):
            if getattr(wanted, name):
                return _AlertIndex((), (flag, shown), frozenset({name}))
        if wanted.status not in (None, "open"):
            holds = (Alert.status != "open", shown)
            return _AlertIndex(((Alert.status, wanted.status),), holds, frozenset({"status"}))
    if wanted.code is not None:
        return _AlertIndex(((Alert.code, wanted.code), by_shadow), (), frozenset({"code"}))
    return _AlertIndex((), (shown,), frozenset())


def get_alert(session: Session, user_id: int, seq: int, code: int) -> AlertRow | None:
    """The alert with its action, or None."""
    one = _ALERTS.where(Alert.user_id == user_id, Alert.seq == seq, Alert.code == code)
    return session.execute(one).one_or_none()


# Only the newest: counting all alerts would take longer the older the service is, and a count kept up with each alert
# would make all users wait for one another.
def _newest(shadow: bool) -> Select[int, bool, bool]:
    newest = select(Alert.code, Alert.shadow, Alert.superseded).where(Alert.shadow if shadow else ~Alert.shadow)
    return newest.order_by(*_newest_first(_PLACE)).limit(bindparam("newest", type_=Integer))


# Shadow alerts have an index of their own, so the two kinds are counted apart.
_counted = union_all(_newest(shadow=False), _newest(shadow=True)).subquery("newest").c
_COUNT_ALERTS = (
    select(_counted.code, func.count().filter(~_counted.shadow), func.count().filter(_counted.shadow))
    .where(~_counted.superseded)
    .group_by(_counted.code)
)


class AlertCounts(NamedTuple):
    """How many alerts of a rule stand; `alerts` leaves out those in shadow."""

    code: int
    alerts: int
    shadow_alerts: int


def count_alerts(session: Session, newest: int) -> list[AlertCounts]:
    """For each rule, how many of the `newest` alerts, by the time of their action, stand.

    As many of the newest shadow alerts are counted as well.
    """
    return [AlertCounts(*row) for row in session.execute(_COUNT_ALERTS, {"newest": newest})]
