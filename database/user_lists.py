"""Users page by page, what becomes of one's actions, and how one was judged before."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Integer, Row, Select, Text, bindparam, func, literal, literal_column, select, true
from sqlalchemy.orm import Session, aliased

from database.models import Alert, User, UserAction, UserSettings

# How many users one page looks at, at most, to find those with a rating: there are few with another than normal.
LOOKED_AT = 5_000
# How many of a user's newest alerts are looked at to count the open ones.
NEWEST = 200
# A late action is told by the actions that arrived before it: so many of them.
ARRIVALS = 1_000

UserRow = Row[*tuple[Any, ...]]  # user_id, name, balance, risk, last_seq; is_open; has_more


class UsersFound(NamedTuple):
    """Users in order of id, and the id of the last one that was looked at if the search broke off there."""

    rows: Sequence[UserRow]
    broke_off_at: int | None


def _page(with_risk: bool) -> Select[Any]:
    shown = (User.user_id, User.name, User.balance, User.risk, User.last_seq, User.erased_at)
    columns = (*shown, User.user_id.label("listed"))
    seen = select(*columns).where(User.user_id > bindparam("after", type_=BigInteger)).order_by(User.user_id)
    limit = bindparam("limit", type_=Integer)
    if with_risk:
        position = func.row_number().over(order_by=User.user_id).label("position")
        few = seen.add_columns(position).limit(LOOKED_AT).subquery("few").c
        fits = few.risk == bindparam("risk", type_=Text)
        # The last one that was looked at comes along: the next page starts there.
        one = select(*few).where(fits | (few.position == LOOKED_AT)).order_by(few.user_id).limit(limit).subquery("one")
    else:
        one = seen.add_columns(literal(0).label("position")).limit(limit).subquery("one")
    # As text: SQLAlchemy would take `one` for one more table of the subquery.
    user_id: Any = literal_column("one.listed", BigInteger)
    newest = select(Alert.status, Alert.superseded).where(Alert.user_id == user_id, ~Alert.shadow)
    newest = newest.order_by(Alert.time.desc(), Alert.seq.desc(), Alert.code.desc())
    seen_alerts = newest.limit(NEWEST + 1).subquery("newest").c
    unclosed = func.count().filter(seen_alerts.status != "closed", ~seen_alerts.superseded)
    is_open = func.least(unclosed, NEWEST).label("open")
    counted = select(is_open, (func.count() > NEWEST).label("more")).lateral("counted")
    return select(*one.c, *counted.c).select_from(one.join(counted, true())).order_by(one.c.user_id)


_PAGE, _PAGE_WITH_RISK = _page(with_risk=False), _page(with_risk=True)


def page_of_users(session: Session, limit: int, after: int, risk: str | None) -> UsersFound:
    """Up to `limit` users with an id over `after`, in order of id; only those with this rating unless it is None.

    Each has user_id, name, balance, risk, last_seq and erased_at, and how many of its newest alerts are `open`; `more`:
    it has others that were not looked at. A search by rating breaks off after LOOKED_AT users.
    """
    values: dict[str, Any] = {"limit": limit, "after": after}
    if risk is None:
        return UsersFound(session.execute(_PAGE, values).all(), None)
    rows = session.execute(_PAGE_WITH_RISK, values | {"risk": risk}).all()
    last = rows[-1] if rows and rows[-1].position == LOOKED_AT else None
    return UsersFound([row for row in rows if row.risk == risk], None if last is None else last.user_id)


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
