"""Deliveries to webhooks as people see them: page by page with their attempts, how many wait, sending some again."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, DateTime, any_, func, insert, literal, null, select, true, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from database.models import Delivery, DeliveryAttempt

COUNTED = 1_000  # deliveries that wait: more are "1,000+"
LOOKED_AT = 5_000  # deliveries, for a page of those with one status
ATTEMPTS = 20  # the newest of a delivery that are shown
STRETCH = 1_000  # deliveries that one transaction puts back

_now = func.clock_timestamp(type_=DateTime(timezone=True))
_LAST_ID = 2**63 - 1
_ARRAY = ARRAY(BigInteger)


class AttemptRow(NamedTuple):
    """An attempt to send a message; without `seconds`, nobody knows how it ended."""

    delivery_id: int
    n: int
    began_at: datetime
    seconds: float | None
    status: int | None
    error: str | None


class DeliveryRow(NamedTuple):
    """A message for a webhook; `attempts` counts those since it began to wait."""

    delivery_id: int
    message_id: str
    event: str
    user_id: int | None
    seq: int | None
    code: int | None
    created_at: datetime
    status: str
    attempts: int
    next_at: datetime | None
    finished_at: datetime | None


class DeliveryPage(NamedTuple):
    """Deliveries, newest first, and where the search for more of them broke off, if it did."""

    rows: list[DeliveryRow]
    broke_off_at: int | None


class WaitingDeliveries(NamedTuple):
    """How many deliveries of a webhook wait; `more`: there are more of them. And when the oldest of them was made."""

    number: int
    more: bool
    oldest_at: datetime | None


class Resent(NamedTuple):
    """How many deliveries wait again, and the newest of them, or None."""

    number: int
    last_id: int | None


def page_of_deliveries(
    session: Session, webhook_id: int, limit: int, before: int | None, status: str | None
) -> DeliveryPage:
    """Up to `limit` deliveries of a webhook, newest first, those older than `before` and with `status` if given.

    Of those with a status, LOOKED_AT are looked at; then the search breaks off.
    """
    columns = [getattr(Delivery, name) for name in DeliveryRow._fields]
    page = (
        select(*columns)
        .where(Delivery.webhook_id == webhook_id, Delivery.delivery_id < (before or _LAST_ID))
        .order_by(Delivery.delivery_id.desc())
    )
    if status is None:
        return DeliveryPage([DeliveryRow._make(row) for row in session.execute(page.limit(limit))], None)
    seen = page.limit(LOOKED_AT).cte("seen")
    fitting = select(seen).where(seen.c.status == status).order_by(seen.c.delivery_id.desc()).limit(limit).subquery()
    looked = select(func.count().label("number"), func.min(seen.c.delivery_id).label("last")).subquery()
    found = session.execute(
        select(looked, *fitting.c)
        .select_from(looked.outerjoin(fitting, true()))
        .order_by(fitting.c.delivery_id.desc().nulls_last())
    ).all()
    rows = [DeliveryRow._make(row[2:]) for row in found if row[2] is not None]
    is_cut = found[0].number == LOOKED_AT and len(rows) < limit
    return DeliveryPage(rows, found[0].last if is_cut else None)


def attempts_of(session: Session, delivery_ids: Sequence[int]) -> dict[int, list[AttemptRow]]:
    """The newest ATTEMPTS attempts of each of these deliveries that has any, newest first."""
    ids = func.unnest(literal(list(delivery_ids), _ARRAY)).table_valued("delivery_id").render_derived()
    newest = (
        select(*(getattr(DeliveryAttempt, name) for name in AttemptRow._fields))
        .where(DeliveryAttempt.delivery_id == ids.c.delivery_id)
        .order_by(DeliveryAttempt.n.desc())
        .limit(ATTEMPTS)
        .lateral()
    )
    found: dict[int, list[AttemptRow]] = {}
    for row in session.execute(select(newest).select_from(ids.join(newest, true()))):
        found.setdefault(row.delivery_id, []).append(AttemptRow._make(row))
    return {delivery_id: sorted(rows, key=lambda one: -one.n) for delivery_id, rows in found.items()}


def waiting_of(session: Session, webhook_ids: Sequence[int]) -> dict[int, WaitingDeliveries]:
    """How many deliveries of each of these webhooks wait, up to COUNTED, and when the oldest of them was made."""
    ids = func.unnest(literal(list(webhook_ids), _ARRAY)).table_valued("webhook_id").render_derived()
    waits = (Delivery.webhook_id == ids.c.webhook_id, Delivery.status == "waiting")
    # In the order of the index of those that wait: in that of the key alone, all of the log might be read.
    oldest = select(Delivery.created_at).where(*waits).order_by(Delivery.webhook_id, Delivery.delivery_id)
    counted = oldest.limit(COUNTED + 1).lateral()
    each = select(ids.c.webhook_id, func.count(counted.c.created_at), func.min(counted.c.created_at))
    rows = session.execute(each.select_from(ids.outerjoin(counted, true())).group_by(ids.c.webhook_id))
    return {row[0]: WaitingDeliveries(min(row[1], COUNTED), row[1] > COUNTED, row[2]) for row in rows}


def add_delivery(session: Session, webhook_id: int, *, message_id: str, event: str, body: str) -> int:
    """Queue a message that is about no alert. Returns the id of its delivery."""
    new = insert(Delivery).values(
        webhook_id=webhook_id,
        message_id=message_id,
        event=event,
        user_id=null(),
        seq=null(),
        code=null(),
        body=body,
        next_at=_now,
    )
    return session.execute(new.returning(Delivery.delivery_id)).scalar_one()


def resend_one(session: Session, webhook_id: int, delivery_id: int) -> bool:
    """Let a delivery of a webhook wait again, as if it never had been sent. Returns whether it was there."""
    return _put_back(session, [delivery_id], webhook_id) > 0


def first_since(session: Session, webhook_id: int, since: datetime) -> int | None:
    """The id of the oldest delivery of a webhook that was made at this moment or later; None if there is none.

    Ids rise with the moments, so it is found by halving what is left: the log has no index by time.
    """
    mine = Delivery.webhook_id == webhook_id
    ends = select(func.min(Delivery.delivery_id), func.max(Delivery.delivery_id)).where(mine)
    low, high = session.execute(ends).one()
    if high is None:
        return None
    found = None
    while low <= high:
        middle = (low + high) // 2
        probe = select(Delivery.delivery_id, Delivery.created_at).where(mine, Delivery.delivery_id >= middle)
        row = session.execute(probe.order_by(Delivery.delivery_id).limit(1)).one_or_none()
        if row is None or row.created_at >= since:
            found = found if row is None else row.delivery_id
            high = middle - 1
        else:
            low = row.delivery_id + 1
    return found


def resend_from(session: Session, webhook_id: int, first_id: int) -> Resent:
    """Let up to STRETCH deliveries of a webhook wait again, the oldest first, from the one with this id on."""
    ids = session.scalars(
        select(Delivery.delivery_id)
        .where(Delivery.webhook_id == webhook_id, Delivery.delivery_id >= first_id)
        .order_by(Delivery.delivery_id)
        .limit(STRETCH)
    ).all()
    return Resent(_put_back(session, ids, webhook_id), ids[-1] if len(ids) == STRETCH else None)


def _put_back(session: Session, ids: Sequence[int], webhook_id: int) -> int:
    waits = {"status": "waiting", "attempts": 0, "next_at": _now, "finished_at": None}
    one_of_them = Delivery.delivery_id == any_(literal(list(ids), _ARRAY))
    put = update(Delivery).where(Delivery.webhook_id == webhook_id, one_of_them).values(waits)
    return len(session.execute(put.returning(Delivery.delivery_id)).all())
