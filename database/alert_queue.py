"""Statements for the queue: who has claimed an alert, whose claims have lapsed, and claiming one."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from database.alert_work import KEY, WORK, WorkRow
from database.models import Alert, Mute
from database.records import AlertKey

_LAPSED = (
    select(*KEY)
    .where(Alert.claim_lapses_at.is_not(None), Alert.claim_lapses_at <= func.now())
    .order_by(Alert.claim_lapses_at)
)
_IN_QUEUE = and_(
    Alert.status == "open",
    Alert.assignee.is_(None),
    ~Alert.superseded,
    ~Alert.shadow,
    or_(Alert.snoozed_until.is_(None), Alert.snoozed_until <= func.now()),
    ~exists().where(Mute.user_id == Alert.user_id, Mute.code == Alert.code, Mute.until > func.now()),
)


def lapsed_claims(session: Session, limit: int) -> Sequence[AlertKey]:
    """Up to `limit` alerts whose claim has lapsed and is not settled yet, the oldest first."""
    rows = session.execute(_LAPSED.limit(limit))
    return [AlertKey(user_id=row.user_id, seq=row.seq, code=row.code) for row in rows]


def lock_lapsed(session: Session, key: AlertKey) -> WorkRow | None:
    """The alert if its claim has lapsed and nobody else changes it now."""
    return _lock(session, key, Alert.claim_lapses_at <= func.now())


def lock_in_queue(session: Session, key: AlertKey) -> WorkRow | None:
    """The alert if it is in the queue, and nobody else changes it now."""
    return _lock(session, key, _IN_QUEUE)


def _lock(session: Session, key: AlertKey, condition: ColumnElement[bool]) -> WorkRow | None:
    one = WORK.where(*(column == value for column, value in zip(KEY, key, strict=True)), condition)
    # Only this table: the rows of mutes are not locked.
    return session.execute(one.with_for_update(key_share=True, skip_locked=True, of=Alert)).one_or_none()
