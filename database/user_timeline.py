"""A user's whole story in bounded pieces: how far the balance had come at given moments, and what lies between them.

Each action stores a running count and sum (docs/decisions/running-sums.md), so that the figures of any stretch follow
from its two ends, however many actions lie between.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Integer,
    Row,
    Select,
    bindparam,
    case,
    func,
    literal_column,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, aliased

from database.checkpoints import removed
from database.models import Alert, Checkpoint, LateOffset, UserAction

_TYPES = ("deposit", "withdraw")
_USER = bindparam("user", type_=BigInteger)
_START, _END = bindparam("start", type_=BigInteger), bindparam("end", type_=BigInteger)


class Reached(NamedTuple):
    """What a user's actions with a time up to and including `moment` come to: how many of each type, and their sums."""

    moment: int
    deposits: int
    deposited: Decimal
    withdrawals: int
    withdrawn: Decimal

    @property
    def net(self) -> Decimal:
        """Deposits less withdrawals."""
        return self.deposited - self.withdrawn

    @property
    def actions(self) -> int:
        """How many actions of both types."""
        return self.deposits + self.withdrawals


def _ends_of(action_type: str, first: bool) -> Any:
    time = UserAction.time.asc() if first else UserAction.time.desc()
    one = select(UserAction.time).where(UserAction.user_id == _USER, UserAction.type == action_type)
    return one.order_by(time).limit(1).scalar_subquery()


_ENDS = select(
    func.least(*(_ends_of(kind, first=True) for kind in _TYPES)),
    func.greatest(*(_ends_of(kind, first=False) for kind in _TYPES)),
)


def first_and_last(session: Session, user_id: int) -> tuple[int, int] | None:
    """The times of a user's first and last actions, in seconds; None if there are no actions."""
    first, last = session.execute(_ENDS, {"user": user_id}).one()
    return None if first is None else (first, last)


def _reached() -> Select[Any]:
    asked = func.unnest(bindparam("moments", type_=ARRAY(BigInteger))).table_valued("moment", name="asked")
    # As text: SQLAlchemy would take `asked` for one more table of each subquery below.
    moment: Any = literal_column("asked.moment", BigInteger)
    tables: Any = asked.render_derived(name="asked")
    columns: list[Any] = [moment]
    for kind in _TYPES:
        action, offset = aliased(UserAction, name=f"action_{kind}"), aliased(LateOffset, name=f"offset_{kind}")
        last = select(action.time, action.seq, action.ordinal, action.running_total)
        last = last.where(action.user_id == _USER, action.type == kind, action.time <= moment)
        found = last.order_by(action.time.desc(), action.seq.desc()).limit(1).lateral(f"last_{kind}")
        # What late events have added to the numbers stored there.
        place = tuple_(offset.time, offset.seq) <= tuple_(found.c.time, found.c.seq)
        late = select(offset.added_count, offset.added_total)
        late = late.where(offset.user_id == _USER, offset.type == kind, place)
        added = late.order_by(offset.time.desc(), offset.seq.desc()).limit(1).lateral(f"added_{kind}")
        tables = tables.outerjoin(found, true()).outerjoin(added, true())
        for stored, before, more in (
            (found.c.ordinal, Checkpoint.actions, added.c.added_count),
            (found.c.running_total, Checkpoint.total, added.c.added_total),
        ):
            columns.append(func.coalesce(stored, removed(before, _USER, kind)) + func.coalesce(more, 0))
    return select(*columns).select_from(tables).order_by(moment)


_REACHED = _reached()


def reached(session: Session, user_id: int, moments: Sequence[int]) -> list[Reached]:
    """What a user's actions, those removed included, had come to at each of these moments (in seconds, ascending).

    It reads a few rows for each moment, however many actions there are.
    """
    rows = session.execute(_REACHED, {"user": user_id, "moments": list(moments)})
    return [Reached._make(row) for row in rows]


def _between() -> Any:
    columns = (UserAction.seq, UserAction.type, UserAction.amount, UserAction.time)
    parts = [
        select(*columns).where(
            UserAction.user_id == _USER, UserAction.type == kind, UserAction.time.between(_START, _END)
        )
        for kind in _TYPES
    ]
    return union_all(*parts).subquery("between").c


_ACTIONS = _between()
_ACTIONS_BETWEEN = select(*_ACTIONS).order_by(_ACTIONS.time, _ACTIONS.seq).limit(bindparam("limit", type_=Integer))


def actions_between(
    session: Session, user_id: int, start: int, end: int, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The first `limit` of a user's actions with a time from `start` to `end` (seconds, both included), oldest first.

    Each has seq, type, amount and time. All of that stretch are read, so it must not have many more than `limit`.
    """
    values = {"user": user_id, "start": start, "end": end, "limit": limit}
    return session.execute(_ACTIONS_BETWEEN, values).all()


class Extremes(NamedTuple):
    """The least and the most by which a stretch of actions had changed the balance, in one column of the stretch."""

    column: int
    least: Decimal
    most: Decimal


def _extremes() -> Select[Any]:
    width = bindparam("width", type_=BigInteger)
    amount = case((_ACTIONS.type == "deposit", _ACTIONS.amount), else_=-_ACTIONS.amount)
    moved = func.sum(amount).over(order_by=(_ACTIONS.time, _ACTIONS.seq), rows=(None, 0)).label("moved")
    column = ((_ACTIONS.time - _START) // width).label("column")
    each = select(column, moved).subquery("each").c
    return select(each.column, func.min(each.moved), func.max(each.moved)).group_by(each.column).order_by(each.column)


_EXTREMES = _extremes()


def extremes(session: Session, user_id: int, start: int, end: int, width: int) -> list[Extremes]:
    """By column of `width` seconds, how far the balance went down and up from what it was before `start`.

    All actions from `start` to `end` are read, so there must not be too many. Columns without any are left out.
    """
    rows = session.execute(_EXTREMES, {"user": user_id, "start": start, "end": end, "width": width})
    return [Extremes._make(row) for row in rows]


def _alerts_between() -> Select[Any]:
    starts, ends = (bindparam(name, type_=ARRAY(BigInteger)) for name in ("starts", "ends"))
    asked = func.unnest(starts, ends).table_valued("start", "end", name="asked").render_derived(name="asked")
    first: Any = literal_column("asked.start", BigInteger)
    last: Any = literal_column('asked."end"', BigInteger)
    columns = (Alert.seq, Alert.code, Alert.time, Alert.status, Alert.late, Alert.superseded)
    some = select(*columns, Alert.evidence["parameters"].label("parameters"))
    some = some.where(Alert.user_id == _USER, ~Alert.shadow, Alert.time.between(first, last))
    order = (Alert.time.desc(), Alert.seq.desc(), Alert.code.desc())
    found = some.order_by(*order).limit(bindparam("each", type_=Integer)).lateral("found")
    tables = asked.join(found, true())
    return select(first.label("column_start"), *found.c).select_from(tables).order_by(found.c.time, found.c.seq)


_ALERTS_BETWEEN = _alerts_between()


def alerts_between(
    session: Session, user_id: int, stretches: Sequence[tuple[int, int]], each: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The newest `each` alerts of a user in each of these stretches of time (seconds, both ends included).

    Oldest first, without those of rules in shadow. Of each: seq, code, time, status, late, superseded, the parameters
    in its evidence, and as `column_start` where its stretch starts.
    """
    starts, ends = [start for start, _ in stretches], [end for _, end in stretches]
    return session.execute(_ALERTS_BETWEEN, {"user": user_id, "starts": starts, "ends": ends, "each": each}).all()
