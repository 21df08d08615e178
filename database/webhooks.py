"""Statements on webhooks: the endpoints that are told of what happens to alerts."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import DateTime, Select, case, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from database.models import Webhook, WebhookRelay, WebhookState

_now = func.clock_timestamp(type_=DateTime(timezone=True))
# So that two who add one at once cannot both be the last one that there is room for; nobody who only reads waits.
_ONE_AT_A_TIME = f"LOCK TABLE {Webhook.__tablename__} IN SHARE ROW EXCLUSIVE MODE"


class WebhookRow(NamedTuple):
    """A webhook as it is listed: everything but its secrets, and how sending to it has gone lately.

    `previous_secret_until` is None once that moment has passed.
    """

    webhook_id: int
    url: str
    events: list[str]
    codes: list[int] | None
    risk: list[str] | None
    amounts: bool
    enabled: bool
    disabled_reason: str | None
    version: int
    created_at: datetime
    created_by: str
    previous_secret_until: datetime | None
    failing_since: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_error: str | None


class StoredSecrets(NamedTuple):
    """The secrets of a webhook, encrypted."""

    webhook_id: int
    secret: bytes
    previous_secret: bytes | None


_STATE = ("failing_since", "last_success_at", "last_failure_at", "last_error")
_ROWS: Select[*tuple[Any, ...]] = (
    select(
        *(getattr(Webhook, name) for name in WebhookRow._fields[:11]),
        case((Webhook.previous_secret_until > _now, Webhook.previous_secret_until)).label("previous_secret_until"),
        *(getattr(WebhookState, name) for name in _STATE),
    )
    .join_from(Webhook, WebhookState, WebhookState.webhook_id == Webhook.webhook_id, isouter=True)
    .where(Webhook.deleted_at.is_(None))
)


def hold_webhooks(session: Session) -> None:
    """Keep others from adding or changing webhooks until the transaction ends."""
    session.connection().exec_driver_sql(_ONE_AT_A_TIME)


def all_webhooks(session: Session) -> list[WebhookRow]:
    """All webhooks that were not deleted, in the order in which they were made."""
    return [WebhookRow._make(row) for row in session.execute(_ROWS.order_by(Webhook.webhook_id))]


def count_webhooks(session: Session) -> int:
    """How many there are that were not deleted."""
    return session.scalars(select(func.count()).select_from(Webhook).where(Webhook.deleted_at.is_(None))).one()


def get_webhook(session: Session, webhook_id: int, *, to_change: bool = False) -> WebhookRow | None:
    """The webhook with this id, or None; with `to_change` nobody else changes it until the transaction ends."""
    found = _ROWS.where(Webhook.webhook_id == webhook_id)
    if to_change:
        found = found.with_for_update(of=Webhook)
    row = session.execute(found).one_or_none()
    return None if row is None else WebhookRow._make(row)


def add_webhook(session: Session, *, secret: bytes, created_by: str, **values: Any) -> int:
    """Store a new webhook, with `values` by column. Returns its id."""
    new = insert(Webhook).values(**values, secret=secret, created_by=created_by).returning(Webhook.webhook_id)
    webhook_id = session.execute(new).scalar_one()
    session.execute(insert(WebhookState).values(webhook_id=webhook_id))
    return webhook_id


def change_webhook(session: Session, webhook_id: int, **values: Any) -> None:
    """Change a webhook's columns.

    One that is enabled has no reason why not, and what failed before, or at another URL, says nothing of what is next.
    """
    if values.get("enabled"):
        values["disabled_reason"] = None
    if values.get("enabled") or "url" in values:
        _forget_failures(session, webhook_id)
    _update(session, webhook_id, values)


def replace_secret(session: Session, webhook_id: int, secret: bytes, overlap: timedelta) -> None:
    """Sign with another secret from now on, and for `overlap` with the one before as well."""
    values: dict[str, Any] = {"secret": secret, "previous_secret": None, "previous_secret_until": None}
    if overlap:
        values |= {"previous_secret": Webhook.secret, "previous_secret_until": _now + overlap}
    _update(session, webhook_id, values)


def stored_secrets(session: Session) -> list[StoredSecrets]:
    """The secrets of all webhooks that were not deleted; nobody else changes those until the transaction ends."""
    columns = (Webhook.webhook_id, Webhook.secret, Webhook.previous_secret)
    found = select(*columns).where(Webhook.deleted_at.is_(None)).order_by(Webhook.webhook_id).with_for_update()
    return [StoredSecrets._make(row) for row in session.execute(found)]


def store_secrets(session: Session, webhook_id: int, secret: bytes, previous_secret: bytes | None) -> None:
    """Store the same secrets in another form: that is no change of the webhook."""
    same = {"secret": secret, "previous_secret": previous_secret}
    session.execute(update(Webhook).where(Webhook.webhook_id == webhook_id).values(same))


def mark_deleted(session: Session, webhook_id: int) -> None:
    """Take a webhook away from everybody; what it still was to be sent is never sent."""
    _update(session, webhook_id, {"deleted_at": _now, "enabled": False})


def held(session: Session) -> str | None:
    """Why nothing is sent to any webhook, if somebody has to decide first; else None."""
    return session.scalars(select(WebhookRelay.held)).one_or_none()


def _update(session: Session, webhook_id: int, values: dict[str, Any]) -> None:
    changes = values | {"version": Webhook.version + 1}
    session.execute(update(Webhook).where(Webhook.webhook_id == webhook_id).values(changes))


def _forget_failures(session: Session, webhook_id: int) -> None:
    nothing = {"failing_since": None, "failures": 0, "rests_until": None}
    new = upsert(WebhookState).values(webhook_id=webhook_id, **nothing)
    session.execute(new.on_conflict_do_update(index_elements=[WebhookState.webhook_id], set_=nothing))
