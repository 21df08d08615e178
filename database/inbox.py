"""What the inbox shows besides lists: alerts by user, what was closed lately, and what has been touched since a moment.

What that costs does not grow with the alerts that are stored.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    DateTime,
    Integer,
    Select,
    and_,
    bindparam,
    func,
    literal,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session

from database.alert_filters import PLACE, AlertFilter, AlertIndex, AlertPlace, shape, with_parameters
from database.alert_lists import LOOKED_AT, place_of, sources_for
from database.alert_work import now
from database.models import Alert, AlertChange, User
from database.records import AlertKey

KEPT = 64  # statements


class UserAlerts(NamedTuple):
    """A user and those of the user's alerts that were seen: how many, since when, and of which rules."""

    user_id: int
    name: str | None
    risk: str
    alerts: int
    oldest: datetime
    codes: Sequence[int]


class AlertsByUser(NamedTuple):
    """Users with alerts, how many there are of them, and how many alerts; `more`: not all alerts were seen."""

    users: Sequence[UserAlerts]
    number: int
    alerts: int
    more: bool


def users_with_alerts(session: Session, wanted: AlertFilter, limit: int, *, oldest_first: bool = False) -> AlertsByUser:
    """Up to `limit` users with `wanted` alerts: those rated high first, then those with the most alerts.

    LOOKED_AT alerts are looked at, the newest ones or the oldest ones.
    """
    shaped, asked = shape(session, wanted)
    rows = session.execute(_users(shaped, oldest_first, LOOKED_AT), asked | {"limit": limit}).all()
    if not rows:
        return AlertsByUser((), 0, 0, False)
    first = rows[0]
    users = [
        UserAlerts(row.user_id, row.name, row.risk, row.alerts, row.oldest, row.codes) for row in rows if row.alerts
    ]
    return AlertsByUser(users, first.users, first.all_alerts, first.more)


@lru_cache(KEPT)
def _users(shaped: AlertFilter, oldest_first: bool, looked_at: int) -> Select[Any]:
    wanted = with_parameters(shaped)
    parts = [
        select(seen.c.user_id, seen.c.code, seen.c.created_at, seen.c.matches, (seen.c.position == share).label("last"))
        for _, seen, share in sources_for(wanted, False, None, looked_at, oldest_first)
    ]
    seen = union_all(*parts).cte("seen")
    codes: Any = func.array_agg(aggregate_order_by(seen.c.code.distinct(), seen.c.code))
    of_user = (
        select(
            seen.c.user_id,
            func.count().filter(seen.c.matches).label("alerts"),
            func.min(seen.c.created_at).filter(seen.c.matches).label("oldest"),
            codes.filter(seen.c.matches).label("codes"),
            func.bool_or(seen.c.last).label("last"),
        )
        .group_by(seen.c.user_id)
        .cte("of_user")
    )
    totals = select(
        func.count().filter(of_user.c.alerts > 0).label("users"),
        func.coalesce(func.sum(of_user.c.alerts), 0).cast(Integer).label("all_alerts"),
        func.coalesce(func.bool_or(of_user.c.last), literal(False)).label("more"),
    ).subquery("totals")
    found = select(of_user, User.name, User.risk, totals).join(User, User.user_id == of_user.c.user_id)
    found = found.join(totals, literal(True)).where(of_user.c.alerts > 0)
    order = ((User.risk == "high").desc(), of_user.c.alerts.desc(), of_user.c.user_id)
    return found.order_by(*order).limit(bindparam("limit", type_=Integer))


class ClosedLately(NamedTuple):
    """How many alerts were closed since a moment, and the median of the seconds from their being raised to that.

    `more`: there were more.
    """

    number: int
    more: bool
    median: float | None


def closed_since(session: Session, since: datetime) -> ClosedLately:
    """What was closed since a moment, seen in the LOOKED_AT newest lines of history."""
    row = session.execute(_CLOSED, {"since": since, "looked_at": LOOKED_AT}).one()
    return ClosedLately(row.number, row.lines >= LOOKED_AT, row.median)


_lines = (
    select(AlertChange)
    .where(AlertChange.at >= bindparam("since", type_=DateTime(timezone=True)))
    .order_by(*(one.desc() for one in (AlertChange.at, AlertChange.user_id, AlertChange.seq, AlertChange.code)))
    .order_by(AlertChange.n.desc())
    .limit(bindparam("looked_at", type_=Integer))
    .subquery("lines")
)
_closing = and_(_lines.c.what == "status", _lines.c.after == "closed")
_of_alert = and_(Alert.user_id == _lines.c.user_id, Alert.seq == _lines.c.seq, Alert.code == _lines.c.code, _closing)
_took = func.extract("epoch", _lines.c.at - Alert.created_at)
_CLOSED = select(
    func.count(Alert.user_id).label("number"),
    func.count().label("lines"),
    func.percentile_cont(0.5).within_group(_took).label("median"),
).select_from(_lines.outerjoin(Alert, _of_alert))


class Touched(NamedTuple):
    """An alert that was raised, superseded, reinstated or worked, when that was last, and whether it is wanted."""

    place: AlertPlace
    touched_at: datetime
    matches: bool


class Pulse(NamedTuple):
    """What has been touched: the newest of all alerts, and of those that were named, which are in no order.

    `more`: others were touched besides. `now` is the time of the database.
    """

    touched: Sequence[Touched]
    named: Sequence[Touched]
    more: bool
    now: datetime


def pulse(session: Session, wanted: AlertFilter, since: datetime, named: Iterable[AlertKey], most: int) -> Pulse:
    """Which alerts were touched since a moment, those in shadow left out, and whether they are `wanted`.

    Of all of them, the `most` newest; and whichever of those `named`.
    """
    shaped, asked = shape(session, wanted)
    moment = now(session)
    rows = session.execute(_newest_touched(shaped), asked | {"since": since, "most": most + 1}).all()
    touched = [Touched(place_of(row), row.touched_at, row.matches) for row in rows[:most]]
    if len(rows) <= most:
        keys = set(named)
        return Pulse(touched, [one for one in touched if AlertKey._make(one.place[1:]) in keys], False, moment)
    of_named = [Touched(place_of(row), row.touched_at, True) for row in _touched_of(session, since, named)]
    return Pulse(touched, of_named, True, moment)


@lru_cache(KEPT)
def _newest_touched(shaped: AlertFilter) -> Select[Any]:
    wanted = with_parameters(shaped)
    table = Alert.__table__.c
    matches = and_(
        AlertIndex((), (), frozenset()).matches(wanted, table),
        table.time.between(wanted.start if wanted.start is not None else 0, wanted.end),
        *(() if wanted.user_id is None else (table.user_id == wanted.user_id,)),
    ).label("matches")
    since = bindparam("since", type_=DateTime(timezone=True))
    newest: Select[Any] = select(*PLACE, Alert.touched_at, matches)
    newest = newest.where(Alert.touched_at >= since, ~Alert.shadow).order_by(Alert.touched_at.desc())
    return newest.limit(bindparam("most", type_=Integer))


def _touched_of(session: Session, since: datetime, named: Iterable[AlertKey]) -> Sequence[Any]:
    keys = list(named)
    if not keys:
        return ()
    key = tuple_(Alert.user_id, Alert.seq, Alert.code)
    found = select(Alert.time, Alert.user_id, Alert.seq, Alert.code, Alert.touched_at)
    return session.execute(found.where(key.in_(keys), Alert.touched_at >= since)).all()
