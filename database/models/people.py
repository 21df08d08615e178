"""The tables of who may call, and of what people and programs have done."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKeyConstraint, Identity, Index, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSON
from sqlalchemy.orm import Mapped, mapped_column

from database.models.base import NOW, Base


class Key(Base):
    """A key with which a program or a person calls the service. The secret itself is not kept."""

    __tablename__ = "keys"
    # The newest change of any key is what every process asks for; `changed` is counted up under a lock of the table.
    __table_args__ = (Index(None, "changed", unique=True),)

    key_id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    # Of the whole key. A slow hash is for secrets that people choose: this one has 256 random bits.
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)
    # How many requests it may make, such as "100/second"; null: as many as the setting says.
    rate: Mapped[str | None] = mapped_column(Text)
    # The number of its newest change among those of all keys.
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
    """Who did what, and when: all but work on alerts, whose history is the log of it. Rows are only ever added."""

    __tablename__ = "log_entries"
    __table_args__ = (
        Index(None, "at", "entry_id"),
        Index(None, "who", "at", "entry_id"),
        Index(None, "kind", "at", "entry_id"),
    )

    entry_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    who: Mapped[str] = mapped_column(Text)
    # What it was done to: rule, user, key, mute, view, backtest, export, sign-in; and which one of these.
    kind: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    what: Mapped[str] = mapped_column(Text)
    before: Mapped[Any | None] = mapped_column(JSON)
    after: Mapped[Any | None] = mapped_column(JSON)
    note: Mapped[str | None] = mapped_column(Text)
