"""The tables of who may call, and of what people and programs have done."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from database.models.base import NOW, Base


class Key(Base):
    """A key with which a program or a person calls the service. The secret itself is not kept."""

    __tablename__ = "keys"
    # The newest change of any key is what every process asks for; `changed` is counted up under a lock of the table.
    __table_args__ = (Index(None, "changed", unique=True), Index(None, "number", unique=True))

    key_id: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)  # 1, 2, 3 ... in the order in which they were made
    name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    # Of the whole key.
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)
    # How many requests it may make, such as "100/second"; null: as many as the setting says.
    rate: Mapped[str | None] = mapped_column(Text)
    # The number of its newest change: a change of any key has a larger one than those before it.
    changed: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    created_by: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class KeyUse(Base):
    """How often a key was used: added up in memory and written once a second."""

    __tablename__ = "key_uses"
    __table_args__ = (ForeignKeyConstraint(["key_id"], ["keys.key_id"]),)

    key_id: Mapped[str] = mapped_column(Text, primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class LogEntry(Base):
    """Who did what, and when: all but work on alerts, whose history is the log of it.

    Rows are only ever added; only when a person is erased are notes taken out of them.
    """

    __tablename__ = "log_entries"
    __table_args__ = (
        Index(None, "at", "entry_id"),
        Index(None, "who", "at", "entry_id"),
        Index(None, "kind", "at", "entry_id"),
        Index(None, "who", "kind", "at", "entry_id"),
        # What was done to one thing. A prefix of the subject is a stretch of it: "7/" of the mutes of user 7.
        Index("ix_log_entries_subject", "kind", "subject", "entry_id", postgresql_ops={"subject": "text_pattern_ops"}),
    )

    entry_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    who: Mapped[str] = mapped_column(Text)
    # What it was done to: rule, user, key, mute, view, backtest, export, sign-in, prune, webhook; and which of these.
    kind: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    what: Mapped[str] = mapped_column(Text)
    before: Mapped[Any | None] = mapped_column(JSON)
    after: Mapped[Any | None] = mapped_column(JSON)
    note: Mapped[str | None] = mapped_column(Text)


class AlertChange(Base):
    """A line of an alert's history: one change of one thing, or a note.

    Rows are only ever added; only when a person is erased are notes taken out of them.
    """

    __tablename__ = "alert_history"
    __table_args__ = (
        ForeignKeyConstraint(["user_id", "seq", "code"], ["alerts.user_id", "alerts.seq", "alerts.code"]),
        # For the log of all changes.
        Index(None, "at", "user_id", "seq", "code", "n"),
        Index(None, "who", "at", "user_id", "seq", "code", "n"),
    )

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    code: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    # From 1, without gaps.
    n: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    who: Mapped[str] = mapped_column(Text)
    # status, outcome, assignee, snoozed_until or note; and what that was and is.
    what: Mapped[str] = mapped_column(Text)
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(Text)


class Mute(Base):
    """A user's alerts of one code stay out of lists, counts and the queue for a while."""

    __tablename__ = "mutes"
    __table_args__ = (
        ForeignKeyConstraint(["user_id"], ["users.user_id"]),
        Index(None, "until"),
    )

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    code: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    note: Mapped[str | None] = mapped_column(Text)
    who: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class SavedView(Base):
    """Filters of the list of alerts under a name, for one person or for all."""

    __tablename__ = "views"
    __table_args__ = (UniqueConstraint("owner", "name"),)

    view_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    owner: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    query: Mapped[dict[str, Any]] = mapped_column(JSONB)
    shared: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class Erasure(Base):
    """That a person was erased: the number alone. A backup from before brings the person back, this says so."""

    __tablename__ = "erasures"

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    erased_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), primary_key=True, server_default=func.clock_timestamp()
    )
    who: Mapped[str] = mapped_column(Text)
    # Why it was done before the law's time was over, if it was.
    override: Mapped[str | None] = mapped_column(Text)
