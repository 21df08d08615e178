"""Statements on alerts, except those that judging runs."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    ColumnExpressionArgument,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session

from database import citus
from database.alert_filters import PLACE, STATUSES
from database.models import Alert, UserAction
from database.records import AlertKey

AlertRow = Row[*tuple[Any, ...]]  # the columns of an alert, and `type` and `amount` of its action

# Columns, not Alert objects: making 500 objects takes longer than reading the rows.
ALERTS = (
    select(*Alert.__table__.columns, UserAction.type, UserAction.amount)
    .select_from(Alert)
    .join(UserAction, and_(UserAction.user_id == Alert.user_id, UserAction.seq == Alert.seq))
)


def get_alert(session: Session, user_id: int, seq: int, code: int) -> AlertRow | None:
    """The alert with its action, or None."""
    one = ALERTS.where(Alert.user_id == user_id, Alert.seq == seq, Alert.code == code)
    return session.execute(one).one_or_none()


def alerts_of_action(session: Session, user_id: int, seq: int) -> Sequence[AlertRow]:
    """All alerts of an action, those in shadow too, by code."""
    own = ALERTS.where(Alert.user_id == user_id, Alert.seq == seq)
    return session.execute(own.order_by(Alert.code)).all()


def alerts_by_key(session: Session, keys: Collection[AlertKey]) -> Sequence[AlertRow]:
    """Those of these alerts that there are, each with its action, in no order."""
    if not keys:
        return ()
    return session.execute(ALERTS.where(tuple_(Alert.user_id, Alert.seq, Alert.code).in_(keys))).all()


# Only the newest: counting all alerts would take longer the older the service is, and a count kept up with each alert
# would make all users wait for one another.
def _newest(shadow: bool) -> Select[int, bool, bool]:
    newest = select(Alert.code, Alert.shadow, Alert.superseded).where(Alert.shadow if shadow else ~Alert.shadow)
    return newest.order_by(*(column.desc() for column in PLACE)).limit(bindparam("newest", type_=Integer))


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


_AMONG = bindparam("codes", type_=ARRAY(Integer))
_of_rules = func.unnest(_AMONG).column_valued("asked")


def _one_of(*which: ColumnExpressionArgument[bool]) -> ColumnElement[bool]:
    # Not EXISTS: beside OR, PostgreSQL would read all alerts once instead of the first one of each rule. And without an
    # order it would look in the table, expecting many of the rule, and read all of it for a rule that has none.
    one = select(Alert.code).where(Alert.code == _of_rules, *which).order_by(Alert.time, Alert.user_id, Alert.seq)
    return one.limit(1).correlate_except(Alert).scalar_subquery().is_not(None)


# For each status an index by code has the first one at once.
_FIRED = select(_of_rules).where(
    or_(
        *(_one_of(Alert.status == literal_column(f"'{one}'"), ~Alert.shadow) for one in STATUSES), _one_of(Alert.shadow)
    )
)


def _first(*which: ColumnExpressionArgument[bool]) -> Select[Any]:
    one = select(Alert.code).where(Alert.code == bindparam("code", type_=Integer), *which)
    return one.order_by(Alert.time, Alert.user_id, Alert.seq).limit(1)


_FIRST = [
    *(_first(Alert.status == literal_column(f"'{one}'"), ~Alert.shadow) for one in STATUSES),
    _first(Alert.shadow),
]


def codes_that_fired(session: Session, codes: Sequence[int]) -> frozenset[int]:
    """Those of the rules with these codes that ever raised an alert, in shadow too."""
    if citus.is_distributed(session):  # it cannot look up one of each code in one statement
        return frozenset(code for code in codes if any(session.execute(one, {"code": code}).first() for one in _FIRST))
    return frozenset(session.scalars(_FIRED, {"codes": list(codes)}))
