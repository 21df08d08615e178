"""Statements on users."""

from decimal import Decimal

from sqlalchemy import BigInteger, Boolean, Integer, Text, bindparam, cast, exists, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.orm import Session, aliased

from database import citus
from database.models import USER_IDS, Alert, User, UserSettings


def get_user(session: Session, user_id: int) -> User | None:
    """The user, or None."""
    return session.get(User, user_id)


def lock_user(session: Session, user_id: int) -> User | None:
    """The user, or None; nobody else judges or changes that user until the transaction ends."""
    return session.get(User, user_id, with_for_update={"key_share": True})


# Parameters of the two statements below. In `_CHANGE_USER`, None for the rating or the overrides keeps what there is.
_ID = bindparam("id", type_=BigInteger)
_RISK = bindparam("given_risk", type_=Text)
_OVERRIDES = bindparam("given_overrides", type_=Text)

# A rating other than normal makes the first version of the user's settings, which is kept like every later one.
_made = (
    insert_or(User)
    .values(
        {
            User.user_id: _ID,
            User.name: bindparam("given_name", type_=Text),
            User.total: bindparam("given_total", type_=User.total.type),
            User.risk: _RISK,
            User.settings_version: cast(_RISK != "normal", Integer),
        }
    )
    .on_conflict_do_nothing(index_elements=[User.user_id])
    .returning(User.user_id, User.settings_version, User.risk, User.overrides)
    .cte("made")
)
_noted = (
    insert(UserSettings)
    .from_select(
        [UserSettings.user_id, UserSettings.version, UserSettings.risk, UserSettings.overrides],
        select(_made.c.user_id, _made.c.settings_version, _made.c.risk, _made.c.overrides).where(
            _made.c.settings_version > 0
        ),
    )
    .cte("noted")
)
_CREATE_USER = select(_made.c.user_id).add_cte(_noted)


def create_user(session: Session, user_id: int, *, name: str | None, total: Decimal, risk: str) -> bool:
    """Store a new user. Returns False, storing nothing, if the id is taken."""
    values = {"id": user_id, "given_name": name, "given_total": total, "given_risk": risk}
    return session.execute(_CREATE_USER, values).scalar() is not None


_changed = (
    update(User)
    .where(User.user_id == _ID)
    .values(
        {
            User.risk: func.coalesce(_RISK, User.risk),
            User.overrides: func.coalesce(cast(_OVERRIDES, JSONB), User.overrides),
            User.settings_version: User.settings_version + 1,
        }
    )
    .returning(User.user_id, User.settings_version, User.risk, User.overrides)
    .cte("changed")
)
_CHANGE_USER = insert(UserSettings).from_select(
    [
        UserSettings.user_id,
        UserSettings.version,
        UserSettings.risk,
        UserSettings.overrides,
        UserSettings.author,
        UserSettings.note,
    ],
    select(
        _changed.c.user_id,
        _changed.c.settings_version,
        _changed.c.risk,
        _changed.c.overrides,
        bindparam("given_author", type_=Text),
        bindparam("given_note", type_=Text),
    ),
)


# To mark so many alerts takes a second or two; a million take more than a minute.
MANY_ALERTS = 20_000

_HIGH = bindparam("high", type_=Boolean)
# Closed ones too: one that is opened again needs no look at its user then.
_to_mark = (Alert.user_id == _ID, Alert.high_risk != _HIGH)
_COUNT_TO_MARK = select(func.count()).select_from(select(Alert.seq).where(*_to_mark).limit(MANY_ALERTS + 1).subquery())
_MARK_ALERTS = (
    update(Alert).where(*_to_mark).values({Alert.high_risk: _HIGH}).execution_options(synchronize_session=False)
)


class ManyAlerts(Exception):
    """A change of a user touches more than MANY_ALERTS alerts: it may take long, and nothing was stored."""


def change_user(
    session: Session,
    user: User,
    *,
    risk: str | None,
    overrides: str | None,
    author: str | None,
    note: str | None,
    may_take_long: bool = False,
) -> None:
    """Give a locked user another rating, or other overrides (JSON text), as a new version of the user's settings.

    None keeps what there is. The user's alerts are marked if the rating is high from now on, or no longer; raises
    ManyAlerts if that are many, unless it `may_take_long`: then no statement has a time limit of its own.
    """
    values = {
        "id": user.user_id,
        "given_risk": risk,
        "given_overrides": overrides,
        "given_author": author,
        "given_note": note,
    }
    session.connection().execute(_CHANGE_USER, values)  # a session would take an INSERT's parameters for rows
    if risk is not None and (risk == "high") != (user.risk == "high"):
        marked = {"id": user.user_id, "high": risk == "high"}
        if may_take_long:
            session.execute(text("SET LOCAL statement_timeout = 0"))  # the watchdog still ends it
        elif session.execute(_COUNT_TO_MARK, marked).scalar_one() > MANY_ALERTS:
            raise ManyAlerts
        session.execute(_MARK_ALERTS, marked)
    session.refresh(user)


# Callers may bring ids of their own, so the sequence can point into a run of taken ids: step over all of it. The
# largest id counts as its own successor: one more would be out of range.
_next = aliased(User)
_LARGEST_ID = 2**63 - 1
_successor = User.user_id + cast(User.user_id < _LARGEST_ID, Integer)
_SKIP_TAKEN_IDS = select(func.setval(USER_IDS.name, func.min(User.user_id))).where(
    User.user_id >= bindparam("taken", type_=BigInteger), ~exists().where(_next.user_id == _successor)
)


def next_user_id(session: Session) -> int:
    """An id that the service gives out itself; a user whose id a caller chose may have it already."""
    return session.execute(select(USER_IDS.next_value())).scalar_one()


# Citus cannot join users with others: they are looked at here, so many at a time.
LOOKED_AT = 1_000
_FROM = select(User.user_id).where(User.user_id >= bindparam("taken", type_=BigInteger))
_TAKEN_IDS = _FROM.order_by(User.user_id).limit(LOOKED_AT)


def skip_taken_ids(session: Session, taken: int) -> None:
    """Make `next_user_id` continue after the run of taken ids that starts at `taken`."""
    if not citus.is_distributed(session):
        session.execute(_SKIP_TAKEN_IDS, {"taken": taken})
        return
    last, ends = taken, False
    while not ends:
        ids = session.scalars(_TAKEN_IDS, {"taken": last}).all()
        run = [one for place, one in enumerate(ids) if one == last + place]
        ends, last = len(run) < LOOKED_AT, run[-1]
    session.execute(select(func.setval(USER_IDS.name, last)))


def free_user_id(session: Session) -> int:
    """The id of no user: one more than the largest there is, as long as there can be one."""
    largest = session.scalar(select(func.max(User.user_id))) or 0
    return min(largest, _LARGEST_ID - 1) + 1
