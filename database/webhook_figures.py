"""What the metrics say of webhooks: what waits, since when, and what has become of messages so far."""

from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, DateTime, and_, func, literal_column, select, true

from database.models import Delivery, OutboxEvent, Webhook, WebhookRelay, WebhookState

COUNTED = 10_000  # of the outbox, and of each webhook's deliveries that wait

_now = func.clock_timestamp(type_=DateTime(timezone=True))
_ENABLED = and_(Webhook.enabled, Webhook.deleted_at.is_(None))
_MOST: ColumnElement[int] = literal_column(str(COUNTED))
_events = select(OutboxEvent.created_at).limit(_MOST).subquery("events")
_deliveries = (
    select(Delivery.created_at)
    .where(Delivery.webhook_id == Webhook.webhook_id, Delivery.status == "waiting")
    .order_by(Delivery.webhook_id, Delivery.delivery_id)
    .limit(_MOST)
    .lateral("waiting")
)
_WAITING = (
    select(func.count(), func.min(_events.c.created_at)).select_from(_events),
    select(func.count(), func.min(_deliveries.c.created_at))
    .select_from(Webhook)
    .join(_deliveries, true())
    .where(_ENABLED),
)
_CLOCK = select(_now)
_HELD = select(func.count()).where(WebhookRelay.held.is_not(None))
_DISABLED = select(func.count()).where(
    ~Webhook.enabled, Webhook.disabled_reason.is_not(None), Webhook.deleted_at.is_(None)
)
_COUNTS = (
    select(Webhook.webhook_id, WebhookState.delivered_count, WebhookState.failed_count, WebhookState.abandoned_count)
    .join_from(Webhook, WebhookState, WebhookState.webhook_id == Webhook.webhook_id)
    .where(Webhook.deleted_at.is_(None))
)


class WebhookFigures(NamedTuple):
    """How webhooks are doing. `oldest` is for how many seconds the oldest has waited, 0 if nothing waits.

    `counts`: by webhook, messages that arrived, attempts that failed, and messages that were given up.
    """

    waiting: int
    oldest: float
    held: bool
    disabled: int
    counts: dict[int, tuple[int, int, int]]


def read_webhook_figures(connection: Connection) -> WebhookFigures:
    """Read them; events in the outbox wait too, and what waits for webhooks that are not enabled does not count."""
    found = [connection.execute(statement).one() for statement in _WAITING]
    now = connection.execute(_CLOCK).scalar_one()
    oldest = min((since for _, since in found if since is not None), default=now)
    return WebhookFigures(
        waiting=sum(number for number, _ in found),
        oldest=max((now - oldest).total_seconds(), 0.0),
        held=connection.execute(_HELD).scalar_one() > 0,
        disabled=connection.execute(_DISABLED).scalar_one(),
        counts={webhook_id: (sent, failed, lost) for webhook_id, sent, failed, lost in connection.execute(_COUNTS)},
    )
