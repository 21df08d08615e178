"""Holding webhooks: in a restored database wait messages that the original may have sent, so that nothing is sent.

A database is told from its restored copy by its place: the server's identifier, and PostgreSQL's numbers of the
database and of the table that notes the place. A restore makes at least the table anew.
"""

from typing import NamedTuple

from sqlalchemy import Connection, delete, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from database.models import Delivery, OutboxEvent, Webhook, WebhookRelay

RESTORED = "The database was restored, or copied, or its server upgraded: messages that wait may have been sent before."
STRETCH = 10_000  # rows that one transaction discards

# Who may not ask for the server's identifier goes by these alone, which another server can happen to have as well.
_NUMBERS = text(f"""
    SELECT concat('database ', oid, ', table ', '{WebhookRelay.__tablename__}'::regclass::oid) AS numbers,
           has_function_privilege('pg_control_system()', 'EXECUTE') AS may_ask
    FROM pg_database WHERE datname = current_database()
""")  # noqa: S608 (the name of our own model)
_SERVER = text("SELECT system_identifier::text FROM pg_control_system()")


class Waiting(NamedTuple):
    """What waits to be sent: events that are no messages yet, messages, and to how many webhooks."""

    events: int
    messages: int
    webhooks: int

    def __str__(self) -> str:
        nouns = ("event", "message", "webhook")
        numbers = [f"{number:,} {noun}{'' if number == 1 else 's'}" for number, noun in zip(self, nouns, strict=True)]
        return f"{numbers[0]} and {numbers[1]} for {numbers[2]}"


def notice_restore(connection: Connection | Session) -> None:
    """Hold webhooks if this is no longer the database in which they were sent last; the first time, note which it is.

    To be called before anything is sent, each time: it costs three short questions. What the caller commits then says
    whether they are held.
    """
    here = _place(connection)
    if connection.scalar(select(WebhookRelay.place)) == here:
        return
    connection.execute(insert(WebhookRelay).values({WebhookRelay.relay_id: 1}).on_conflict_do_nothing())
    elsewhere = WebhookRelay.place != here
    reason = func.coalesce(WebhookRelay.held, select(literal(RESTORED)).where(elsewhere).scalar_subquery())
    connection.execute(update(WebhookRelay).values({WebhookRelay.held: reason, WebhookRelay.place: here}))


def held(connection: Connection | Session) -> str | None:
    """Why nothing is sent; None if it is."""
    return connection.scalar(select(WebhookRelay.held))


def hold(connection: Connection | Session, reason: str) -> None:
    """Have nothing sent to any webhook until `release`."""
    values = {WebhookRelay.relay_id: 1, WebhookRelay.held: reason, WebhookRelay.place: _place(connection)}
    changed = {WebhookRelay.held: reason, WebhookRelay.place: values[WebhookRelay.place]}
    connection.execute(
        insert(WebhookRelay).values(values).on_conflict_do_update(index_elements=[WebhookRelay.relay_id], set_=changed)
    )


def release(connection: Connection | Session) -> None:
    """Have webhooks sent again, from this database."""
    connection.execute(update(WebhookRelay).values({WebhookRelay.held: None, WebhookRelay.place: _place(connection)}))


def waiting(connection: Connection | Session) -> Waiting:
    """How much waits to be sent."""
    counted = [
        select(func.count()).select_from(OutboxEvent).scalar_subquery(),
        select(func.count()).select_from(Delivery).where(Delivery.status == "waiting").scalar_subquery(),
        select(func.count()).select_from(Webhook).where(Webhook.deleted_at.is_(None)).scalar_subquery(),
    ]
    return Waiting(*connection.execute(select(*counted)).one())


def discard_some(connection: Connection | Session) -> int:
    """Drop events that wait, and give up messages that do, STRETCH of each at most; returns how many these were."""
    keys = OutboxEvent.__table__.primary_key.columns  # type: ignore[attr-defined]
    events = select(*keys).order_by(*keys).limit(STRETCH).subquery()
    dropped = delete(OutboxEvent).where(*(one == events.c[one.key] for one in keys)).returning(literal(1))
    messages = select(Delivery.delivery_id).where(Delivery.status == "waiting").limit(STRETCH)
    ended = (
        update(Delivery)
        .where(Delivery.delivery_id.in_(messages))
        .values({Delivery.status: "given_up", Delivery.next_at: None, Delivery.finished_at: func.clock_timestamp()})
        .returning(literal(1))
    )
    return sum(len(connection.execute(statement).all()) for statement in (dropped, ended))


def _place(connection: Connection | Session) -> str:
    found = connection.execute(_NUMBERS).one()
    return f"server {connection.scalar(_SERVER) if found.may_ask else 'unknown'}, {found.numbers}"
