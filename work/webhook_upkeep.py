"""What is done to endpoints and deliveries besides sending: disabling, and removing what nobody needs any more."""

from sqlalchemy.orm import Session

from database import delivery_removal, webhook_states
from database.log_entries import add_log_entry
from database.session import Transaction

KEPT_SECONDS = 30 * 86_400.0  # how long the log has deliveries that are finished


def disable_endpoint(session: Session, webhook_id: int, reason: str) -> bool:
    """Send nothing more to an endpoint, and log it. Returns whether it was enabled."""
    with Transaction(session) as transaction:
        is_new = webhook_states.disable(transaction.connection, webhook_id, reason)
        if is_new:
            add_log_entry(
                transaction.connection,
                who="service",
                kind="webhook",
                subject=str(webhook_id),
                what="disabled",
                after={"reason": reason},
            )
        transaction.commit()
    return is_new


def remove_endpoint(session: Session, webhook_id: int) -> bool:
    """Remove a stretch of what is left of a deleted endpoint. Returns whether nothing is."""
    with Transaction(session) as transaction:
        is_gone = delivery_removal.remove_deleted(transaction.connection, webhook_id)
        transaction.commit()
    return is_gone


def remove_old(session: Session) -> bool:
    """Remove a stretch of old deliveries. Returns whether none is left."""
    with Transaction(session) as transaction:
        number = delivery_removal.remove_finished(transaction.connection, KEPT_SECONDS)
        transaction.commit()
    return number < delivery_removal.STRETCH
