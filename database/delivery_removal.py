"""Removing deliveries: those that are old, and those of endpoints that were deleted."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Double,
    bindparam,
    delete,
    func,
    literal,
    literal_column,
    select,
)

from database.models import Delivery, DeliveryAttempt, Webhook, WebhookState

STRETCH = 500  # deliveries that one transaction removes

_now = func.clock_timestamp(type_=DateTime(timezone=True))


def _remove(old: Any) -> Any:
    some = old.limit(literal_column(str(STRETCH))).with_for_update(skip_locked=True).cte("some")
    attempts = (
        delete(DeliveryAttempt).where(DeliveryAttempt.delivery_id == some.c.delivery_id).returning(literal(1))
    ).cte("attempts")
    gone = delete(Delivery).where(Delivery.delivery_id == some.c.delivery_id).add_cte(attempts)
    return gone.execution_options(synchronize_session=False)


_REMOVE_OLD = _remove(
    select(Delivery.delivery_id)
    .where(Delivery.finished_at < _now - bindparam("age", type_=Double) * literal_column("interval '1 second'"))
    .order_by(Delivery.finished_at)
)
_of_one = select(Delivery.delivery_id).where(Delivery.webhook_id == bindparam("of", type_=BigInteger))
_REMOVE_OF = _remove(_of_one.order_by(Delivery.delivery_id))
_HAS_SOME = select(_of_one.exists())


def remove_finished(connection: Connection, age: float) -> int:
    """Remove up to STRETCH deliveries that were finished `age` seconds ago, with their attempts. Returns how many."""
    return connection.execute(_REMOVE_OLD, {"age": age}).rowcount


def remove_deleted(connection: Connection, webhook_id: int) -> bool:
    """Remove up to STRETCH deliveries of a deleted endpoint or, once there are none, itself.

    Returns whether it is gone.
    """
    connection.execute(_REMOVE_OF, {"of": webhook_id})
    if connection.execute(_HAS_SOME, {"of": webhook_id}).scalar_one():
        return False
    connection.execute(delete(WebhookState).where(WebhookState.webhook_id == webhook_id))
    connection.execute(delete(Webhook).where(Webhook.webhook_id == webhook_id, Webhook.deleted_at.is_not(None)))
    return True
