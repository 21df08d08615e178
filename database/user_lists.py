"""Users page by page, what becomes of one's actions, and how one was judged before."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Integer,
    Row,
    Select,
    Text,
    any_,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, aliased

from database import citus
from database.models import Alert, User, UserAction, UserSettings

# How many users one page looks at, at most, to find those with a rating: there are few with another than normal.
LOOKED_AT = 5_000
# How many of a user's newest alerts are looked at to count the open ones.
NEWEST = 200
# A late action is told by the actions that arrived before it: so many of them.
ARRIVALS = 1_000

UserRow = Row[*tuple[Any, ...]]


class ListedUser(NamedTuple):
    """A user of a page: `open` counts open alerts among the newest, `more`: there are others that were not looked at.

    `position` is its place among those that were looked at; 0: they were not counted.
    """

    user_id: int
    name: str | None
    balance: Decimal
    risk: str
    last_seq: int
    erased_at: datetime | None
    position: int
    open: int
    more: bool


class UsersFound(NamedTuple):
    """Users in order of id, and the id of the last one that was looked at if the search broke off there."""

    rows: Sequence[ListedUser]
    broke_off_at: int | None


_SHOWN = ("user_id", "name", "balance", "risk", "last_seq", "erased_at")


def _listed(with_risk: bool) -> Select[Any]:
    seen = select(*(getattr(User, name).label(name) for name in _SHOWN)).where(
        User.user_id > bindparam("after", type_=BigInteger)
    )
    seen = seen.order_by(User.user_id)
    limit = bindparam("limit", type_=Integer)
    if not with_risk:
        return seen.add_columns(literal(0).label("position")).limit(limit)
    few = seen.limit(LOOKED_AT).subquery("few")
    position = func.row_number().over(order_by=few.c.user_id).label("position")
    numbered = select(few, position).subquery("numbered").c
    fits = numbered.risk == bindparam("risk", type_=Text)
    # The last one that was looked at comes along: the next page starts there.
    return select(*numbered).where(fits | (numbered.position == LOOKED_AT)).order_by(numbered.user_id).limit(limit)


def _counted(user_id: Any) -> Any:
    newest = select(Alert.status, Alert.superseded).where(Alert.user_id == user_id, ~Alert.shadow)
    newest = newest.order_by(Alert.time.desc(), Alert.seq.desc(), Alert.code.desc())
    seen = newest.limit(NEWEST + 1).correlate_except(Alert).subquery("newest").c
    unclosed = func.count().filter(seen.status != "closed", ~seen.superseded)
    is_open = func.least(unclosed, NEWEST).label("open")
    return select(is_open, (func.count() > NEWEST).label("more")).lateral("counted")


def _page(with_risk: bool) -> Select[Any]:
    one = _listed(with_risk).subquery("one")
    # As text: SQLAlchemy would take `one` for one more table of the subquery.
    counted = _counted(literal_column("one.user_id", BigInteger))
    return select(*one.c, *counted.c).select_from(one.join(counted, true())).order_by(one.c.user_id)


_LISTED = {with_risk: _listed(with_risk) for with_risk in (False, True)}
_PAGE = {with_risk: _page(with_risk) for with_risk in (False, True)}
_of_users = _counted(User.user_id)
_COUNT = (
    select(User.user_id, *_of_users.c)
    .select_from(User.__table__.join(_of_users, true()))
    .where(User.user_id == any_(bindparam("user_ids", type_=ARRAY(BigInteger))))
)


def page_of_users(session: Session, limit: int, after: int, risk: str | None) -> UsersFound:
    """Up to `limit` users with an id over `after`, in order of id; only those with this rating unless it is None.

    A search by rating breaks off after LOOKED_AT users.
    """
    values: dict[str, Any] = {"limit": limit, "after": after} | ({} if risk is None else {"risk": risk})
    rows = _rows(session, risk is not None, values)
    if risk is None:
        return UsersFound(rows, None)
    last = rows[-1] if rows and rows[-1].position == LOOKED_AT else None
    return UsersFound([row for row in rows if row.risk == risk], None if last is None else last.user_id)


def _rows(session: Session, with_risk: bool, values: dict[str, Any]) -> list[ListedUser]:
    if not citus.is_distributed(session):
        return [ListedUser._make(row) for row in session.execute(_PAGE[with_risk], values)]
    # Citus cannot look up what belongs to the users of a page while it makes the page.
    rows = session.execute(_LISTED[with_risk], values).all()
    counts = {row[0]: row[1:] for row in session.execute(_COUNT, {"user_ids": [row.user_id for row in rows]})}
    return [ListedUser._make((*row, *counts[row.user_id])) for row in rows]


def page_of_user_settings(session: Session, user_id: int, limit: int, before: int | None) -> Sequence[UserSettings]:
    """Up to `limit` versions of how a user was judged, newest first, those older than `before` unless that is None."""
    page = select(UserSettings).where(UserSettings.user_id == user_id)
    if before is not None:
        page = page.where(UserSettings.version < before)
    return session.scalars(page.order_by(UserSettings.version.desc()).limit(limit)).all()


def alerts_of_actions(session: Session, user_id: int, seqs: Sequence[int]) -> Sequence[UserRow]:
    """The alerts on these of a user's actions: seq, code, status, late, superseded and shadow of each, by code."""
    columns = (Alert.seq, Alert.code, Alert.status, Alert.late, Alert.superseded, Alert.shadow)
    of_actions = select(*columns).where(Alert.user_id == user_id, Alert.seq.in_(seqs))
    return session.execute(of_actions.order_by(Alert.seq, Alert.code)).all()


def late_among(session: Session, user_id: int, seqs: Sequence[int]) -> set[int]:
    """Which of a user's actions came late: one of the ARRIVALS actions that arrived before has a later time."""
    earlier = aliased(UserAction, name="earlier")
    arrived = (earlier.seq < UserAction.seq, earlier.seq >= UserAction.seq - ARRIVALS)
    # A scalar subquery: for EXISTS, PostgreSQL might read all of the user's actions and join them.
    latest = select(func.max(earlier.time)).where(earlier.user_id == user_id, *arrived).correlate(UserAction)
    own = select(UserAction.seq).where(UserAction.user_id == user_id, UserAction.seq.in_(seqs))
    return set(session.scalars(own.where(latest.scalar_subquery() > UserAction.time)))
