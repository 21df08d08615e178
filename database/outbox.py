"""The outbox: events about alerts, stored in the transaction that makes them, if a webhook wants them."""

from typing import Any

from sqlalchemy import ColumnElement, and_, any_, exists, or_

from database.models import Webhook


def somebody_wants(happened: Any) -> ColumnElement[bool]:
    """Whether a webhook wants an event, by its columns `event`, `code` and `risk`.

    The statement itself asks, so that it holds from the moment in which a webhook is made.
    """
    return exists().where(wants(happened))


def wants(happened: Any) -> ColumnElement[bool]:
    """Whether the webhook of a row wants an event."""
    return and_(
        Webhook.enabled,
        Webhook.deleted_at.is_(None),
        happened.event == any_(Webhook.events),
        or_(Webhook.codes.is_(None), happened.code == any_(Webhook.codes)),
        or_(Webhook.risk.is_(None), happened.risk == any_(Webhook.risk)),
    )
