"""Statements on alerts, except those that judging runs."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Integer, Row, Select, UnaryExpression, and_, bindparam, func, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from database.models import Alert, User, UserAction
from database.pages import stretch

AlertRow = Row[*tuple[Any, ...]]  # the columns of an alert, and `type` and `amount` of its action

# The place of an alert in the order of all alerts.
_PLACE = (Alert.time, Alert.user_id, Alert.seq, Alert.code)

# Columns, not Alert objects: making 500 objects takes longer than reading the rows.
_ALERTS = (
    select(*Alert.__table__.columns, UserAction.type, UserAction.amount)
    .select_from(Alert)
    .join(UserAction, and_(UserAction.user_id == Alert.user_id, UserAction.seq == Alert.seq))
)


def _newest_first(place: tuple[InstrumentedAttribute[int], ...]) -> Iterator[UnaryExpression[int]]:
    return (column.desc() for column in place)


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


def page_of_alerts(
    session: Session, wanted: AlertFilter, limit: int, before: tuple[int, ...] | None
) -> Sequence[AlertRow]:
    """Up to `limit` of the `wanted` alerts, newest (time, user_id, seq, code) first, each with its action.

    The filter's `start` and `end` bound the time of the action in seconds, both included; `before` is the
    (time, user_id, seq, code) at which the last page ended.
    """
    place: tuple[InstrumentedAttribute[int], ...] = _PLACE
    if wanted.user_id is not None:
        # Within one user the index goes by (time, seq, code): the user's id would only hide that.
        place = (Alert.time, Alert.seq, Alert.code)
        before = before and (before[0], *before[2:])
    page = _ALERTS.where(*stretch(place, wanted.start, wanted.end, before))
    page = page.order_by(*_newest_first(place)).limit(limit)
    for column in (Alert.user_id, Alert.code, Alert.status, Alert.late, Alert.superseded, Alert.shadow):
        if (value := getattr(wanted, column.key)) is not None:
            page = page.where(column == value)
    if wanted.risk is not None:
        page = page.join(User, User.user_id == Alert.user_id).where(User.risk == wanted.risk)
    return session.execute(page).all()


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
