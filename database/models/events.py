"""The tables of users, events, alerts and rules, and of backtests over them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Numeric,
    Sequence,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from database.models.base import MONEY, NOW, Base, arrivals

# The ids that the service gives out itself. No column has it as its default: callers may bring ids of their own.
USER_IDS = Sequence("users_user_id_seq", data_type=BigInteger)


class User(Base):
    """An account holder. Every column but the id has a default, so that an id alone makes a usable user."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("user_id > 0", name="user_id_positive"),
        CheckConstraint("total >= 0", name="total_not_negative"),
        CheckConstraint("risk IN ('low', 'normal', 'high')", name="risk_known"),
        # Those who are to be erased: few.
        Index("ix_users_to_erase", "user_id", postgresql_where=text("erasure_requested_at IS NOT NULL")),
    )

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str | None] = mapped_column(Text)
    # The opening balance; `net` is deposits minus withdrawals since.
    total: Mapped[Decimal] = mapped_column(MONEY, server_default=text("0"))
    net: Mapped[Decimal] = mapped_column(MONEY, server_default=text("0"))
    balance: Mapped[Decimal] = mapped_column(MONEY, Computed("total + net", persisted=True))
    risk: Mapped[str] = mapped_column(Text, server_default=text("'normal'"))
    # Values of rules' parameters that hold for this user alone, by code and name.
    overrides: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    # The newest of its rows in user_settings; 0: it has always been rated normal, without overrides.
    settings_version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    # The `seq` of the newest arrival; it is raised under the row's lock, so there are no gaps.
    last_seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    # Whether it has rows in late_offsets: read with the lock, so that nobody else asks for them.
    has_late_offsets: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    # When the account was closed: from then on the law's time runs, in which its data is kept. Null: it is open.
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Whether its data must be kept whatever else holds, such as for a court.
    legal_hold: Mapped[bool] = mapped_column(server_default=false())
    # Somebody asked for it to be erased, which is done as soon as nothing keeps it.
    erasure_requested_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    erasure_requested_by: Mapped[str | None] = mapped_column(Text)
    # When it was erased last. While the request is no newer, the rest of that is still under way.
    erased_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Its actions with an earlier `time` were removed; checkpoints has what is left of them.
    pruned_before: Mapped[int | None] = mapped_column(BigInteger)


class UserSettings(Base):
    """A rating and overrides that a user had or has, who set them, and why."""

    __tablename__ = "user_settings"
    __table_args__ = (
        ForeignKeyConstraint(["user_id"], ["users.user_id"]),
        CheckConstraint("risk IN ('low', 'normal', 'high')", name="risk_known"),
    )

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    risk: Mapped[str] = mapped_column(Text)
    overrides: Mapped[dict[str, Any]] = mapped_column(JSONB)
    author: Mapped[str | None] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class RuleVersion(Base):
    """A change of a rule: what it is set to from then on, who did it, and why."""

    __tablename__ = "rule_versions"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'shadow', 'off')", name="status_known"),
        UniqueConstraint("code", "version"),
    )

    # Counts the changes of all rules: it says which rules were in force when.
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    code: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(Text)
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB)
    by_risk: Mapped[dict[str, Any]] = mapped_column(JSONB)
    # Null: it follows from the code's declarations and the setting RULES; nobody has set the rule yet.
    author: Mapped[str | None] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class UserAction(Base):
    """One deposit or withdrawal, with the codes it was answered with."""

    __tablename__ = "user_actions"
    __table_args__ = (
        ForeignKeyConstraint(["user_id"], ["users.user_id"]),
        CheckConstraint("type IN ('deposit', 'withdraw')", name="type_known"),
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("time >= 0", name="time_not_negative"),
        # The one index that every look-back reads: per type, so that the last three deposits of a user with
        # a million withdrawals are three rows.
        Index(None, "user_id", "type", "time", "seq"),
        Index(None, "user_id", "event_id", unique=True, postgresql_where=text("event_id IS NOT NULL")),
        arrivals("ix_user_actions_arrivals"),
    )

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(Text)
    amount: Mapped[Decimal] = mapped_column(Numeric(14, 2))
    time: Mapped[int] = mapped_column(BigInteger)
    event_id: Mapped[str | None] = mapped_column(Text)
    alert_codes: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    # What judged it, for judging it again: the newest change of any rule, and the user's settings, at that moment.
    rules_number: Mapped[int] = mapped_column(BigInteger)
    settings_version: Mapped[int] = mapped_column(BigInteger)
    # The count and sum of the user's actions of this type up to and including this one, in order of time. The
    # count and the sum of any stretch follow from its two ends. What late_offsets says for its place comes on top.
    ordinal: Mapped[int] = mapped_column(BigInteger)
    running_total: Mapped[Decimal] = mapped_column(MONEY)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    # The transaction that stored it, as PostgreSQL numbers them; null if an earlier release did. Two transactions can
    # have one time, and after a restore or a move to another server one number, but not both.
    transaction_id: Mapped[int | None] = mapped_column(
        BigInteger, server_default=text("CAST(CAST(pg_current_xact_id() AS text) AS bigint)")
    )


class LateOffset(Base):
    """What late events have added to the running counts and sums of a stretch of stored actions.

    A user's stretch, of one type, begins at this place and ends at the next one. To the numbers stored with its
    actions, those that late events have added before it are still to be added; before the first place, none are.
    """

    __tablename__ = "late_offsets"
    __table_args__ = (ForeignKeyConstraint(["user_id", "seq"], ["user_actions.user_id", "user_actions.seq"]),)

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(Text, primary_key=True)
    # The place of the stretch's first action.
    time: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    added_count: Mapped[int] = mapped_column(BigInteger)
    added_total: Mapped[Decimal] = mapped_column(MONEY)


_ALERT_PLACE = ("time", "user_id", "seq", "code")
_IN_QUEUE = "status = 'open' AND assignee IS NULL AND NOT superseded AND NOT shadow"


class Alert(Base):
    """One code on one action, with the evidence for it."""

    __tablename__ = "alerts"
    __table_args__ = (
        ForeignKeyConstraint(["user_id", "seq"], ["user_actions.user_id", "user_actions.seq"]),
        CheckConstraint("status IN ('open', 'acknowledged', 'closed')", name="status_known"),
        CheckConstraint("outcome IN ('true_positive', 'false_positive', 'inconclusive')", name="outcome_known"),
        CheckConstraint("(status = 'closed') = (outcome IS NOT NULL)", name="closed_with_outcome"),
        # Lists go by the time of the event; shadow alerts are kept apart, since a rule in shadow can raise far more of
        # them than all others together. Each index is for one filter: what else is asked for is looked for in the best
        # of them, and never among more than a few thousand (database/alert_filters.py).
        Index(None, *_ALERT_PLACE, postgresql_where=text("NOT shadow")),
        Index("ix_alerts_shadow", *_ALERT_PLACE, postgresql_where=text("shadow")),
        Index(None, "user_id", "shadow", "time", "seq", "code"),
        Index("ix_alerts_by_code", "status", "code", "time", "user_id", "seq", postgresql_where=text("NOT shadow")),
        Index("ix_alerts_shadow_by_code", "code", "time", "user_id", "seq", postgresql_where=text("shadow")),
        Index("ix_alerts_touched", "touched_at", postgresql_where=text("NOT shadow")),
        # The queue: what nobody has yet.
        Index("ix_alerts_unassigned", *_ALERT_PLACE, postgresql_where=text(_IN_QUEUE)),
        # The following hold few alerts, and cost a new one nothing: it is open, seldom late, and nobody has it. Those
        # that are open are in the queue or in one of the first two.
        Index(
            "ix_alerts_taken",
            *_ALERT_PLACE,
            postgresql_where=text("status = 'open' AND assignee IS NOT NULL AND NOT shadow"),
        ),
        Index(
            "ix_alerts_open_superseded",
            *_ALERT_PLACE,
            postgresql_where=text("status = 'open' AND assignee IS NULL AND superseded AND NOT shadow"),
        ),
        Index("ix_alerts_urgent", *_ALERT_PLACE, postgresql_where=text(f"{_IN_QUEUE} AND high_risk")),
        Index(
            "ix_alerts_worked",
            "status",
            *_ALERT_PLACE,
            postgresql_where=text("status <> 'open' AND NOT shadow"),
        ),
        Index("ix_alerts_late", *_ALERT_PLACE, postgresql_where=text("late AND NOT shadow")),
        Index("ix_alerts_superseded", *_ALERT_PLACE, postgresql_where=text("superseded AND NOT shadow")),
        Index(
            "ix_alerts_assigned",
            "assignee",
            "status",
            *_ALERT_PLACE,
            postgresql_where=text("assignee IS NOT NULL AND NOT shadow"),
        ),
        Index("ix_alerts_claimed", "claim_lapses_at", postgresql_where=text("claim_lapses_at IS NOT NULL")),
        Index(
            "ix_alerts_outcome", "outcome", *_ALERT_PLACE, postgresql_where=text("outcome IS NOT NULL AND NOT shadow")
        ),
        Index("ix_alerts_snoozed", *_ALERT_PLACE, postgresql_where=text("snoozed_until IS NOT NULL AND NOT shadow")),
        arrivals("ix_alerts_arrivals"),
    )

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    code: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    time: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(Text, server_default=text("'open'"))
    # Late: raised by a late event, not by the action itself. Superseded: no longer true since a late event came.
    late: Mapped[bool] = mapped_column(server_default=false())
    superseded: Mapped[bool] = mapped_column(server_default=false())
    # Raised by a rule in shadow: not in the answer to the event.
    shadow: Mapped[bool] = mapped_column(server_default=false())
    evidence: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    # What people make of it: judging reads none of the following. What was found when it was closed; who works it.
    outcome: Mapped[str | None] = mapped_column(Text)
    assignee: Mapped[str | None] = mapped_column(Text)
    snoozed_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Its assignee has it from the queue and has not worked it yet: from this moment on, nobody has it.
    claim_lapses_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # `n` of the newest line of its history; 0: it has none.
    work_version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    # When it was raised, superseded, reinstated or worked last: not when that transaction began, which may be long ago.
    touched_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    # Whether its user is rated high now: judging sets it, and a change of the rating.
    high_risk: Mapped[bool] = mapped_column(server_default=false())


class Backtest(Base):
    """A backtest that was asked for over the API: what is asked, how far it has come, and what came out."""

    __tablename__ = "backtests"
    __table_args__ = (
        CheckConstraint(
            "status IN ('running', 'done', 'cancelled', 'failed', 'interrupted')",
            name="status_known",
        ),
        # One runs at a time, whichever process was asked.
        Index(None, "status", unique=True, postgresql_where=text("status = 'running'")),
        # And the next one waits until the processes of the last one have ended.
        Index(None, "has_processes", unique=True, postgresql_where=text("has_processes")),
    )

    backtest_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    status: Mapped[str] = mapped_column(Text, server_default=text("'running'"))
    # Whether processes that run it may be left: one that was cancelled takes a moment to end.
    has_processes: Mapped[bool] = mapped_column(server_default=false())
    # JSON as it was written: JSONB would not keep the order.
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    # Actions: how many are judged, and how many there are.
    done: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    total: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    heartbeat_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
