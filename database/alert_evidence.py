"""What surrounds an alert: the actions behind it and around it with their balances, and what came late after it.

Each statement reads a bounded stretch of an index, however many actions a user has.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Select, any_, bindparam, case, func, select, tuple_
from sqlalchemy import true as sql_true
from sqlalchemy.orm import Session, aliased

from database.checkpoints import removed
from database.models import Checkpoint, LateOffset, User, UserAction, UserSettings
from database.offsets import Place

KINDS = ("deposit", "withdraw")
# Of what arrived after an alert's action, so much is looked at for what came late.
ARRIVALS_SEEN = 2_000


class PlacedAction(NamedTuple):
    """A stored action with the running count and sum of its type, and the user's balance after it, in order of time.

    `rules_number` and `settings_version` say what judged it, `alert_codes` what it was answered with.
    """

    seq: int
    type: str
    amount: Decimal
    time: int
    event_id: str | None
    alert_codes: list[int]
    rules_number: int
    settings_version: int
    created_at: datetime
    ordinal: int
    running_total: Decimal
    balance: Decimal

    @property
    def place(self) -> Place:
        """Where it stands among its user's actions."""
        return (self.time, self.seq)


class LateArrival(NamedTuple):
    """An action that arrived after others of a later time."""

    seq: int
    type: str
    amount: Decimal
    time: int
    created_at: datetime


class Numbers(NamedTuple):
    """How many actions of one type there are up to a time, that included, and their sum."""

    number: int
    total: Decimal


def _added(action: Any, column: Any) -> ColumnElement[Any]:
    """What late events have added to a number that is stored with an action."""
    added = select(column).where(
        LateOffset.user_id == action.user_id,
        LateOffset.type == action.type,
        tuple_(LateOffset.time, LateOffset.seq) <= tuple_(action.time, action.seq),
    )
    newest = added.order_by(LateOffset.time.desc(), LateOffset.seq.desc()).limit(1)
    return func.coalesce(newest.correlate(action).scalar_subquery(), 0)


def _total(action: Any) -> ColumnElement[Decimal]:
    total: ColumnElement[Decimal] = action.running_total + _added(action, LateOffset.added_total)
    return total


def _placed() -> Select[Any]:
    other = aliased(UserAction, name="other")
    is_deposit = UserAction.type == "deposit"
    before = select(_total(other)).where(
        other.user_id == UserAction.user_id,
        other.type == case((is_deposit, "withdraw"), else_="deposit"),
        tuple_(other.time, other.seq) < tuple_(UserAction.time, UserAction.seq),
    )
    newest = before.order_by(other.time.desc(), other.seq.desc()).limit(1).correlate(UserAction).scalar_subquery()
    gone = removed(Checkpoint.total, UserAction.user_id, case((is_deposit, "withdraw"), else_="deposit"))
    others, own = func.coalesce(newest, gone), _total(UserAction)
    numbers: dict[str, Any] = {
        "ordinal": UserAction.ordinal + _added(UserAction, LateOffset.added_count),
        "running_total": own,
        "balance": User.total + case((is_deposit, own - others), else_=others - own),
    }
    columns = [numbers[name] if name in numbers else getattr(UserAction, name) for name in PlacedAction._fields]
    return select(*columns).select_from(UserAction).join(User, User.user_id == UserAction.user_id)


_PLACED = _placed()
_ORDER = (UserAction.time, UserAction.seq)


def _read(session: Session, statement: Select[Any]) -> list[PlacedAction]:
    return [PlacedAction._make(row) for row in session.execute(statement)]


def actions_by_seq(session: Session, user_id: int, seqs: Sequence[int]) -> list[PlacedAction]:
    """The actions of a user with these numbers, in order of time."""
    wanted = any_(bindparam("seqs", list(seqs), type_=ARRAY(BigInteger)))
    return _read(session, _PLACED.where(UserAction.user_id == user_id, UserAction.seq == wanted).order_by(*_ORDER))


def actions_before(
    session: Session,
    user_id: int,
    place: Place,
    *,
    limit: int,
    since: int | None = None,
    kinds: Sequence[str] = KINDS,
) -> list[PlacedAction]:
    """The last actions of a user up to and including a place, with `time` from `since` on; in order of time.

    There are `limit` of each of the `kinds` at most.
    """
    bounds: list[ColumnElement[bool]] = [tuple_(*_ORDER) <= tuple_(*place)]
    if since is not None:
        bounds.append(UserAction.time >= since)
    return _nearest(session, user_id, kinds, bounds, [one.desc() for one in _ORDER], limit)


def actions_after(
    session: Session,
    user_id: int,
    place: Place,
    *,
    limit: int,
    until: int | None = None,
    kinds: Sequence[str] = KINDS,
) -> list[PlacedAction]:
    """The first actions of a user behind a place, with `time` up to `until`; in order of time.

    There are `limit` of each of the `kinds` at most.
    """
    bounds: list[ColumnElement[bool]] = [tuple_(*_ORDER) > tuple_(*place)]
    if until is not None:
        bounds.append(UserAction.time <= until)
    return _nearest(session, user_id, kinds, bounds, [one.asc() for one in _ORDER], limit)


def _nearest(
    session: Session,
    user_id: int,
    kinds: Sequence[str],
    bounds: Sequence[ColumnElement[bool]],
    order: Sequence[ColumnElement[Any]],
    limit: int,
) -> list[PlacedAction]:
    # One stretch of the index for each type; each has its own limit, so that few of one type are not lost among many of
    # the other.
    found: list[PlacedAction] = []
    for kind in kinds:
        own = _PLACED.where(UserAction.user_id == user_id, UserAction.type == kind, *bounds)
        found += _read(session, own.order_by(*order).limit(limit))
    return sorted(found, key=lambda one: one.place)


def numbers_at(session: Session, user_id: int, times: Sequence[int]) -> dict[tuple[str, int], Numbers]:
    """By type and time, how many actions the user has up to each of these `times`, and their sum."""
    # Out of the user's own row, so that Citus knows whose they are.
    wanted = func.unnest(bindparam("times", list(times), type_=ARRAY(BigInteger)))
    asked = select(User.user_id, wanted.label("time")).where(User.user_id == user_id).subquery("asked")
    time = asked.c.time
    number: Any = UserAction.ordinal + _added(UserAction, LateOffset.added_count)
    found: dict[tuple[str, int], Numbers] = {}
    for kind in KINDS:
        own = (UserAction.user_id == asked.c.user_id, UserAction.type == kind, UserAction.time <= time)
        up_to = select(number.label("number"), _total(UserAction).label("total")).where(*own)
        last = up_to.order_by(UserAction.time.desc(), UserAction.seq.desc()).limit(1).lateral("last")
        numbers = (
            func.coalesce(last.c.number, removed(Checkpoint.actions, asked.c.user_id, kind)),
            func.coalesce(last.c.total, removed(Checkpoint.total, asked.c.user_id, kind)),
        )
        rows = select(time, *numbers).select_from(asked.join(last, sql_true(), isouter=True))
        found |= {(kind, at): Numbers(many, total or Decimal("0.00")) for at, many, total in session.execute(rows)}
    return found


def late_arrivals(session: Session, user_id: int, seq: int, time: int) -> tuple[list[LateArrival], bool]:
    """What arrived after the action `seq` with a time before `time`, in order of arrival; and whether that is all.

    No more than ARRIVALS_SEEN of the actions that arrived after it are looked at.
    """
    columns = [getattr(UserAction, name) for name in LateArrival._fields]
    some = select(*columns).where(UserAction.user_id == user_id, UserAction.seq > seq)
    seen = some.order_by(UserAction.seq).limit(ARRIVALS_SEEN).subquery("seen")
    late = select(seen).where(seen.c.time < time).order_by(seen.c.seq)
    newest = select(User.last_seq).where(User.user_id == user_id)
    last = session.execute(newest).scalar_one_or_none() or 0
    return [LateArrival._make(row) for row in session.execute(late)], last - seq <= ARRIVALS_SEEN


def settings_version(session: Session, user_id: int, version: int) -> UserSettings | None:
    """The rating and overrides that a user had, by version; None for version 0, which is not stored: normal, none."""
    return session.get(UserSettings, (user_id, version)) if version else None
