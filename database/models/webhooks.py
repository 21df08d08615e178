"""The tables of webhooks: who is told of what happens to alerts, and how far that has come."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    false,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from database.models.base import NOW, Base


class Webhook(Base):
    """An endpoint that is told of events about alerts, and of which. Judging reads it, so it is rarely written."""

    __tablename__ = "webhooks"

    webhook_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    # Null: alerts of all rules, and of users of all ratings.
    codes: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    risk: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    # Whether it is told amounts of money.
    amounts: Mapped[bool] = mapped_column(server_default=false())
    enabled: Mapped[bool] = mapped_column(server_default=true())
    # Why it is not enabled, if the service has disabled it.
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    # What signs its messages, encrypted; and what signed them before, and signs them as well until then.
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_secret_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Counts its changes.
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    created_by: Mapped[str] = mapped_column(Text)
    # It is gone for everybody; its deliveries are still to be removed.
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class WebhookState(Base):
    """Who sends to an endpoint now, and how that goes."""

    __tablename__ = "webhook_states"
    __table_args__ = (ForeignKeyConstraint(["webhook_id"], ["webhooks.webhook_id"]),)

    webhook_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # The process that sends to it, until then.
    leased_by: Mapped[str | None] = mapped_column(Text)
    leased_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Since then nothing but failures.
    failing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_success_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_failure_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_error: Mapped[str | None] = mapped_column(Text)
    # Failed attempts since the last that was none; while there are several, it is left alone until then.
    failures: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rests_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Messages that arrived, attempts that failed, and messages that were given up: since it was made.
    delivered_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    failed_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    abandoned_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class OutboxEvent(Base):
    """Something that happened to an alert, stored with it in one transaction if anybody is to be told.

    It waits here until it has become a delivery for each endpoint that wants it. A user's events happened in the order
    of the key, whose parts need neither a clock nor a counter that users share.
    """

    __tablename__ = "outbox"

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # The `seq` of the user's newest action then.
    at_seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # 0: raised; 1: superseded or reinstated; from 2: `n` of the alert's newest line of history, and 1 more.
    n: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # Of the alert.
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    code: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    event: Mapped[str] = mapped_column(Text)
    # The user's rating then.
    risk: Mapped[str] = mapped_column(Text)
    # What work on the alert has made of it, and who; null for what is no work.
    change: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


class Delivery(Base):
    """A message for one endpoint."""

    __tablename__ = "deliveries"
    __table_args__ = (
        ForeignKeyConstraint(["webhook_id"], ["webhooks.webhook_id"]),
        CheckConstraint("status IN ('waiting', 'delivered', 'given_up')", name="status_known"),
        CheckConstraint("(status = 'waiting') = (next_at IS NOT NULL)", name="waits_until"),
        # The oldest that waits; a user's messages in order, of which the first that waits holds back the others; and
        # the log. None names `next_at`: an attempt that fails changes no index.
        Index("ix_deliveries_waiting", "webhook_id", "delivery_id", postgresql_where=text("status = 'waiting'")),
        Index(
            "ix_deliveries_waiting_by_user",
            "webhook_id",
            "user_id",
            "delivery_id",
            postgresql_where=text("status = 'waiting'"),
        ),
        Index(None, "webhook_id", "user_id", "delivery_id"),
        Index(None, "webhook_id", "delivery_id"),
        Index("ix_deliveries_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )

    # In the order in which events became messages: for one user, that in which they happened.
    delivery_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    webhook_id: Mapped[int] = mapped_column(BigInteger)
    # The same for every attempt and when it is sent again.
    message_id: Mapped[str] = mapped_column(Text)
    event: Mapped[str] = mapped_column(Text)
    # Of the alert; null for a test.
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    seq: Mapped[int | None] = mapped_column(BigInteger)
    code: Mapped[int | None] = mapped_column(Integer)
    # The body, byte for byte: a signature is over it.
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    status: Mapped[str] = mapped_column(Text, server_default=text("'waiting'"))
    # Attempts since it began to wait; when the next one is due.
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class DeliveryAttempt(Base):
    """An attempt to send a message, stored before it is made: without an end, nobody knows what came of it."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (ForeignKeyConstraint(["delivery_id"], ["deliveries.delivery_id"]),)

    delivery_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # 1, 2, 3 ... over all times that it was sent.
    n: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    began_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    seconds: Mapped[float | None] = mapped_column(Double)
    # The status of the answer, if there was one; else why not.
    status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(Text)


class WebhookRelay(Base):
    """What holds for all deliveries: one row, which whoever makes deliveries of events has locked."""

    __tablename__ = "webhook_relay"
    __table_args__ = (CheckConstraint("relay_id = 1", name="one_row"),)

    relay_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # Why nothing is sent, if somebody has to decide first; such as after a restore.
    held: Mapped[str | None] = mapped_column(Text)
    # Which database of which server this is, to tell a restored one.
    place: Mapped[str | None] = mapped_column(Text)
