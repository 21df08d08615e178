"""Statements of the relay: events in the outbox become deliveries, one for each webhook that wants them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Integer,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    true,
)

from database.models import Delivery, OutboxEvent, Webhook, WebhookRelay
from database.outbox import wants
from database.recordsets import recordset, written

_now = func.clock_timestamp(type_=DateTime(timezone=True))
_KEY = (OutboxEvent.user_id, OutboxEvent.at_seq, OutboxEvent.n, OutboxEvent.seq, OutboxEvent.code)
_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("position", "user_id", "at_seq", "n", "seq", "webhook_id"), BigInteger()),
    "code": Integer(),
    **dict.fromkeys(("message_id", "event", "body"), Text()),
}


class Happened(NamedTuple):
    """A row of the outbox."""

    user_id: int
    at_seq: int
    n: int
    seq: int
    code: int
    event: str
    change: dict[str, Any] | None
    created_at: datetime


class Wanted(NamedTuple):
    """That a webhook wants to be told of a row of the outbox, with amounts or without."""

    happened: Happened
    webhook_id: int
    amounts: bool


class NewDelivery(NamedTuple):
    """A row for `deliveries`; `position` says in which order they are stored."""

    position: int
    webhook_id: int
    message_id: str
    event: str
    user_id: int
    seq: int
    code: int
    body: str


class _Pair(NamedTuple):
    webhook_id: int
    user_id: int


class _Key(NamedTuple):
    user_id: int
    at_seq: int
    n: int
    seq: int
    code: int


_LOCK = select(WebhookRelay.held).with_for_update(skip_locked=True)
_HAS_SOME = select(select(OutboxEvent.user_id).exists())
_some = (
    select(*(getattr(OutboxEvent, name) for name in Happened._fields), OutboxEvent.risk)
    .where(OutboxEvent.user_id >= bindparam("first_user", type_=BigInteger))
    .order_by(*_KEY)
    .limit(bindparam("most", type_=Integer))
    .cte("some")
)
_READ = (
    select(*(_some.c[name] for name in Happened._fields), Webhook.webhook_id, Webhook.amounts)
    .select_from(_some.outerjoin(Webhook, wants(_some.c)))
    .order_by(*(_some.c[one.key] for one in _KEY), Webhook.webhook_id)
)
_pairs = recordset(_Pair, "pairs", _TYPES)
_last = (
    select(Delivery.message_id)
    .where(Delivery.webhook_id == _pairs.c.webhook_id, Delivery.user_id == _pairs.c.user_id)
    .order_by(Delivery.webhook_id.desc(), Delivery.user_id.desc(), Delivery.delivery_id.desc())
    .limit(1)
    .lateral("last")
)
_PREVIOUS = select(_pairs.c.webhook_id, _pairs.c.user_id, _last.c.message_id).select_from(_pairs.join(_last, true()))
_new = recordset(NewDelivery, "new", _TYPES)
_NEW = tuple(name for name in NewDelivery._fields if name != "position")
# PostgreSQL numbers the rows as they come, so sorted.
_INSERT = insert(Delivery).from_select(
    [*(getattr(Delivery, name) for name in _NEW), Delivery.next_at],
    select(*(_new.c[name] for name in _NEW), _now).order_by(_new.c.position),
)
_done = recordset(_Key, "done", _TYPES)
_DELETE = delete(OutboxEvent).where(and_(*(one == _done.c[one.key] for one in _KEY)))


def read_held(connection: Connection) -> str | None:
    """Why nothing is sent, if that is so."""
    found: str | None = connection.execute(select(WebhookRelay.held)).scalar_one_or_none()
    return found


def has_outbox(connection: Connection) -> bool:
    """Whether anything is in the outbox."""
    return bool(connection.execute(_HAS_SOME).scalar_one())


def lock_relay(connection: Connection) -> bool:
    """Whether it is for the caller to make deliveries until its transaction ends: nobody else does, nothing is held."""
    row = connection.execute(_LOCK).one_or_none()
    return row is not None and row[0] is None


def read_outbox(connection: Connection, first_user: int, most: int) -> tuple[list[Happened], list[Wanted]]:
    """Up to `most` events in the order in which each user's happened, of users with ids from `first_user` on.

    And which webhooks want them, in the same order.
    """
    wanted = []
    seen: dict[tuple[Any, ...], Happened] = {}
    for *values, webhook_id, amounts in connection.execute(_READ, {"first_user": first_user, "most": most}):
        happened = Happened._make(values)
        happened = seen.setdefault(happened[: len(_KEY)], happened)
        if webhook_id is not None:
            wanted.append(Wanted(happened, webhook_id, amounts))
    return list(seen.values()), wanted


def last_messages(connection: Connection, wanted: Sequence[Wanted]) -> dict[tuple[int, int], str]:
    """The id of the last message on record for each webhook and user of `wanted` that has any."""
    pairs = sorted({_Pair(one.webhook_id, one.happened.user_id) for one in wanted})
    rows = connection.execute(_PREVIOUS, {"pairs": written(pairs)})
    return {(webhook_id, user_id): message_id for webhook_id, user_id, message_id in rows}


def store_deliveries(connection: Connection, events: Sequence[Happened], deliveries: Sequence[NewDelivery]) -> None:
    """Store the deliveries in their order, and take the events from the outbox."""
    if deliveries:
        connection.execute(_INSERT, {"new": written(deliveries)})
    connection.execute(
        _DELETE, {"done": written([_Key(one.user_id, one.at_seq, one.n, one.seq, one.code) for one in events])}
    )
