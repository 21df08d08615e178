"""Which alerts are asked for, and which indexes hold them.

What an index does not settle is looked at alert by alert. Each index is read from a place on, in its order.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    Text,
    and_,
    bindparam,
    false,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.orm import Session

from database import citus
from database.models import Alert, Mute, User
from database.pages import Column

AlertPlace = tuple[int, int, int, int]  # time, user_id, seq and code: where an alert stands among all, in order of time
PLACE: tuple[Column, ...] = (Alert.time, Alert.user_id, Alert.seq, Alert.code)

STATUSES = ("open", "acknowledged", "closed")
UNCLOSED = STATUSES[:2]
_MOST, _MOST_OF_CODES = 2**63 - 1, 2**31 - 1
NOBODY = "none"  # as an assignee that is asked for


class AlertFilter(NamedTuple):
    """Ask for the alerts that match every field that is not None.

    `risk` is their user's present rating. Shadow alerts come only with `shadow`, and then alone. `start` and `end`
    bound the time of the action in seconds, both included; `touched_from` is a moment, included. Whose claim has lapsed
    has an alert no more, so NOBODY has it. `queue` is for open alerts that nobody has and whose claims are settled, all
    of them or the urgent ones, whose users are rated high: without `status` and `assignee`, and not superseded.
    """

    user_id: int | None = None
    code: int | None = None
    status: str | None = None
    outcome: str | None = None
    assignee: str | None = None
    risk: str | None = None
    late: bool | None = None
    superseded: bool | None = None
    closed: bool | None = None
    snoozed: bool | None = False
    muted: bool | None = False
    touched_from: datetime | None = None
    start: int | None = None
    end: int | None = None
    shadow: bool = False
    queue: Literal["all", "urgent"] | None = None
    # Not asked for: whether alerts are on several servers. `shape` says so.
    are_distributed: bool | None = None


# Of a filter, what may have very many values: statements have parameters for these, and so are made once for all.
_TYPES: dict[str, Any] = {
    "user_id": BigInteger(),
    "code": Integer(),
    "assignee": Text(),
    "touched_from": DateTime(timezone=True),
    "start": BigInteger(),
    "end": BigInteger(),
}
_ASKED: Any = "asked"


def shape(session: Session, wanted: AlertFilter) -> tuple[AlertFilter, dict[str, Any]]:
    """The filter without such values, which many filters have in common; and these values by name."""
    wanted = wanted._replace(are_distributed=citus.is_distributed(session) or None)
    values = {name: value for name in _TYPES if (value := getattr(wanted, name)) not in (None, NOBODY)}
    nobody = {"assignee": NOBODY} if wanted.assignee == NOBODY else {}  # that very object
    return wanted._replace(**dict.fromkeys(values, _ASKED) | nobody), values


def with_parameters(shaped: AlertFilter, prefix: str = "") -> AlertFilter:
    """A filter that was shaped, with parameters for the values that it was without; their names begin with `prefix`."""
    parameters: dict[str, Any] = {
        name: bindparam(prefix + name, type_=kind) for name, kind in _TYPES.items() if getattr(shaped, name) is _ASKED
    }
    return shaped._replace(**parameters)


def as_in_list(wanted: AlertFilter, place: AlertPlace, *, oldest_first: bool) -> AlertPlace:
    """A place that has the same alerts of the list before and behind it, if an alert outside of the list stands there.

    An index that begins with a user or a code compares places without these.
    """
    time, user_id, seq, code = place
    if wanted.user_id is not None and wanted.user_id != user_id:
        beyond = (0, 0) if wanted.user_id > user_id else (_MOST, _MOST_OF_CODES)
        return (time, wanted.user_id, *beyond)
    if wanted.code is not None and wanted.code != code:
        if oldest_first and wanted.code > code:
            return (time, user_id, seq - 1, _MOST_OF_CODES)
        if not oldest_first and wanted.code < code:
            return (time, user_id, seq + 1, 0)
    return place


def statuses_of(wanted: AlertFilter) -> tuple[str, ...]:
    """The statuses that alerts which match may have."""
    if wanted.status is not None:
        return (wanted.status,)
    if wanted.closed is None:
        return STATUSES
    return ("closed",) if wanted.closed else UNCLOSED


class AlertIndex(NamedTuple):
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
        return tuple(column for column in PLACE if column not in before)

    @property
    def order(self) -> tuple[Column, ...]:
        """All its columns."""
        return (*(column for column, _ in self.begins_with), *self.place)

    def matches(self, wanted: AlertFilter, seen: Any) -> ColumnElement[bool]:
        """Whether an alert that was seen in this index (its columns) is one of those wanted."""
        asked = wanted._asdict()
        filters = _FILTERS | {"muted": _each_muted} if wanted.are_distributed else _FILTERS
        conditions = (of(seen, asked[name]) for name, of in filters.items() if name not in self.settles)
        return and_(literal(True), *(one for one in conditions if one is not None))


def indexes_for(wanted: AlertFilter) -> tuple[AlertIndex, ...]:
    """The indexes that together hold the alerts wanted, each in one of them; few others, as far as that is known."""
    statuses = statuses_of(wanted)
    if wanted.user_id is not None:
        user = ((Alert.user_id, wanted.user_id), (Alert.shadow, wanted.shadow))
        return (AlertIndex(user, (), frozenset({"user_id"})),)
    if wanted.queue == "urgent" or (wanted.queue and wanted.code is None):
        in_queue = (Alert.status == "open", Alert.assignee.is_(None), ~Alert.superseded, ~Alert.shadow)
        urgent = (Alert.high_risk,) if wanted.queue == "urgent" else ()
        return (AlertIndex((), (*in_queue, *urgent), frozenset({"queue"})),)
    if wanted.queue:
        return (by_status_and_code("open", wanted.code),)
    if wanted.shadow:
        by_code = () if wanted.code is None else ((Alert.code, wanted.code),)
        return (AlertIndex(by_code, (Alert.shadow,), frozenset({"code"})),)
    rare = _rare(wanted)
    if rare is not None:
        return (rare,)
    if _has_assignee(wanted):
        return tuple(_by_assignee(wanted.assignee, status) for status in statuses)
    if wanted.code is not None:
        return tuple(by_status_and_code(status, wanted.code) for status in statuses)
    if statuses == STATUSES:
        return (AlertIndex((), (~Alert.shadow,), frozenset()),)
    return tuple(index for status in statuses for index in (_open(wanted) if status == "open" else _begun(status)))


def has_sharp_index(wanted: AlertFilter) -> bool:
    """Whether there is an index for the alerts of one user or assignee, or for what is rare, that was asked for."""
    if wanted.user_id is not None:
        return True
    return not wanted.shadow and (_rare(wanted) is not None or _has_assignee(wanted))


def _has_assignee(wanted: AlertFilter) -> bool:
    return wanted.assignee is not None and wanted.assignee is not NOBODY


def _rare(wanted: AlertFilter) -> AlertIndex | None:
    for name, flag in (("superseded", Alert.superseded), ("late", Alert.late)):
        if getattr(wanted, name):
            return AlertIndex((), (flag, ~Alert.shadow), frozenset({name}))
    if wanted.snoozed:
        return AlertIndex((), (Alert.snoozed_until.is_not(None), ~Alert.shadow), frozenset())
    if wanted.outcome is not None:
        holds = (Alert.outcome.is_not(None), ~Alert.shadow)
        return AlertIndex(((Alert.outcome, wanted.outcome),), holds, frozenset({"outcome"}))
    return None


def _by_assignee(assignee: Any, status: str) -> AlertIndex:
    begins_with = ((Alert.assignee, assignee), (Alert.status, status))
    return AlertIndex(begins_with, (Alert.assignee.is_not(None), ~Alert.shadow), frozenset({"status"}))


def by_status_and_code(status: Any, code: Any) -> AlertIndex:
    """The index of alerts with this status and of this rule, which are not in shadow."""
    begins_with = ((Alert.status, status), (Alert.code, code))
    return AlertIndex(begins_with, (~Alert.shadow,), frozenset({"status", "code"}))


def _begun(status: str) -> Iterator[AlertIndex]:
    holds = (Alert.status != "open", ~Alert.shadow)
    yield AlertIndex(((Alert.status, status),), holds, frozenset({"status"}))


def _open(wanted: AlertFilter) -> Iterator[AlertIndex]:
    """Nearly every new alert is in the queue, so that one index of all open ones would be one more for each of them."""
    is_open, settles = (Alert.status == "open", ~Alert.shadow), frozenset({"status"})
    yield AlertIndex((), (*is_open, Alert.assignee.is_(None), ~Alert.superseded), settles)
    yield AlertIndex((), (*is_open, Alert.assignee.is_not(None)), settles)
    if wanted.superseded is None:
        yield AlertIndex((), (*is_open, Alert.assignee.is_(None), Alert.superseded), settles)


Seen = Any  # the columns of an alert that was seen
Condition = ColumnElement[bool] | None  # None: it need not be looked at


def _is(name: str) -> Callable[[Seen, Any], Condition]:
    return lambda seen, value: None if value is None else getattr(seen, name) == value


def _assignee(seen: Seen, name: str | None) -> Condition:
    lapsed = func.coalesce(seen.claim_lapses_at <= func.now(), false())
    if name is NOBODY:
        return or_(seen.assignee.is_(None), lapsed)
    return None if name is None else and_(seen.assignee == name, ~lapsed)


def _closed(seen: Seen, value: bool | None) -> Condition:
    return None if value is None else seen.status == "closed" if value else seen.status != "closed"


def _queue(seen: Seen, which: str | None) -> Condition:
    if which is None:
        return None
    open_and_free = and_(seen.status == "open", seen.assignee.is_(None))
    return open_and_free if which == "all" else and_(open_and_free, seen.high_risk)


def _snoozed(seen: Seen, value: bool | None) -> Condition:
    snoozed = func.coalesce(seen.snoozed_until > func.now(), false())
    return None if value is None else snoozed if value else ~snoozed


# Scalar subqueries: for a join, PostgreSQL might read all users with a rating, or all mutes, first.


def _risk(seen: Seen, rating: str | None) -> Condition:
    of_user = select(User.risk).where(User.user_id == seen.user_id).correlate(seen.user_id.table)
    return None if rating is None else of_user.scalar_subquery() == rating


def _lasts(seen: Seen) -> ColumnElement[bool]:
    muted = select(Mute.until > func.now()).where(Mute.user_id == seen.user_id, Mute.code == seen.code)
    return func.coalesce(muted.correlate(seen.user_id.table).scalar_subquery(), false())


def _muted(seen: Seen, value: bool | None) -> Condition:
    if value is None:
        return None
    # Asked once, and as a rule the answer is no: so that not each alert is looked up.
    found = and_(select(Mute.until).where(Mute.until > func.now()).exists().correlate(None), _lasts(seen))
    return found if value else ~found


def _each_muted(seen: Seen, value: bool | None) -> Condition:
    # Where Citus has spread them, an alert and the mutes of its user are together, but not all mutes.
    return None if value is None else _lasts(seen) if value else ~_lasts(seen)


# What an alert that was seen must be for each field of a filter, unless an index settles that.
_FILTERS: dict[str, Callable[[Seen, Any], Condition]] = {
    **{name: _is(name) for name in ("code", "status", "outcome", "late", "superseded")},
    "closed": _closed,
    "queue": _queue,
    "assignee": _assignee,
    "snoozed": _snoozed,
    "touched_from": lambda seen, moment: None if moment is None else seen.touched_at >= moment,
    "muted": _muted,
    "risk": _risk,
}
