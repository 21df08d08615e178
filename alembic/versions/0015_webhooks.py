"""webhooks: endpoints, what they are to be told, and what was sent"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sa.DateTime(timezone=True)
CLOCK = sa.text("clock_timestamp()")
TABLES = ("webhooks", "webhook_states", "outbox", "deliveries", "delivery_attempts", "webhook_relay")


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text), nullable=False),
        # squawk-ignore prefer-bigint-over-int: a rule's code, as in alerts
        sa.Column("codes", postgresql.ARRAY(sa.Integer)),
        sa.Column("risk", postgresql.ARRAY(sa.Text)),
        sa.Column("amounts", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("enabled", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("disabled_reason", sa.Text),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("previous_secret", sa.LargeBinary),
        sa.Column("previous_secret_until", MOMENT),
        sa.Column("version", sa.BigInteger, server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("deleted_at", MOMENT),
        sa.PrimaryKeyConstraint("webhook_id", name=op.f("pk_webhooks")),
    )
    op.create_table(
        "webhook_states",
        sa.Column("webhook_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("leased_by", sa.Text),
        sa.Column("leased_until", MOMENT),
        sa.Column("failing_since", MOMENT),
        sa.Column("last_success_at", MOMENT),
        sa.Column("last_failure_at", MOMENT),
        sa.Column("last_error", sa.Text),
        sa.Column("failures", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("rests_until", MOMENT),
        sa.Column("delivered_count", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("failed_count", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("abandoned_count", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("webhook_id", name=op.f("pk_webhook_states")),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.webhook_id"], name=op.f("fk_webhook_states_webhook_id_webhooks")
        ),
    )
    op.create_table(
        "outbox",
        sa.Column("user_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("at_seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        # squawk-ignore prefer-bigint-over-int: a rule's code, as in alerts
        sa.Column("code", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("risk", sa.Text, nullable=False),
        sa.Column("change", postgresql.JSONB),
        sa.Column("created_at", MOMENT, server_default=CLOCK, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "at_seq", "n", "seq", "code", name=op.f("pk_outbox")),
    )
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("webhook_id", sa.BigInteger, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("user_id", sa.BigInteger),
        sa.Column("seq", sa.BigInteger),
        # squawk-ignore prefer-bigint-over-int: a rule's code, as in alerts
        sa.Column("code", sa.Integer),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", MOMENT, server_default=CLOCK, nullable=False),
        sa.Column("status", sa.Text, server_default=sa.text("'waiting'"), nullable=False),
        # squawk-ignore prefer-bigint-over-int: there are a dozen
        sa.Column("attempts", sa.Integer, server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.CheckConstraint("status IN ('waiting', 'delivered', 'given_up')", name=op.f("ck_deliveries_status_known")),
        sa.CheckConstraint("(status = 'waiting') = (next_at IS NOT NULL)", name=op.f("ck_deliveries_waits_until")),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_deliveries")),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.webhook_id"], name=op.f("fk_deliveries_webhook_id_webhooks")
        ),
    )
    waiting = sa.text("status = 'waiting'")
    by_user = ["webhook_id", "user_id", "delivery_id"]
    op.create_index("ix_deliveries_waiting", "deliveries", ["webhook_id", "delivery_id"], postgresql_where=waiting)
    op.create_index("ix_deliveries_waiting_by_user", "deliveries", by_user, postgresql_where=waiting)
    op.create_index(op.f("ix_deliveries_webhook_id_user_id_delivery_id"), "deliveries", by_user)
    op.create_index(op.f("ix_deliveries_webhook_id_delivery_id"), "deliveries", ["webhook_id", "delivery_id"])
    op.create_index(
        "ix_deliveries_finished", "deliveries", ["finished_at"], postgresql_where=sa.text("finished_at IS NOT NULL")
    )
    op.create_table(
        "delivery_attempts",
        sa.Column("delivery_id", sa.BigInteger, autoincrement=False, nullable=False),
        # squawk-ignore prefer-bigint-over-int: there are a dozen each time that it is sent
        sa.Column("n", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("began_at", MOMENT, server_default=CLOCK, nullable=False),
        sa.Column("seconds", sa.Double),
        # squawk-ignore prefer-bigint-over-int: a status of HTTP
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("delivery_id", "n", name=op.f("pk_delivery_attempts")),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.delivery_id"], name=op.f("fk_delivery_attempts_delivery_id_deliveries")
        ),
    )
    op.create_table(
        "webhook_relay",
        sa.Column("relay_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("held", sa.Text),
        sa.Column("place", sa.Text),
        sa.CheckConstraint("relay_id = 1", name=op.f("ck_webhook_relay_one_row")),
        sa.PrimaryKeyConstraint("relay_id", name=op.f("pk_webhook_relay")),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
