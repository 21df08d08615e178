"""work on alerts: what they are worked to, their history, mutes, and views"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sa.DateTime(timezone=True)
PLACE = ["user_id", "seq", "code"]
# squawk-ignore prefer-bigint-over-int: a rule's code, as in alerts


def upgrade() -> None:
    now = sa.func.now()
    # Alerts that are there have last been touched now, as far as is known. None of the defaults rewrites the table.
    columns = (
        sa.Column("outcome", sa.Text),
        sa.Column("assignee", sa.Text),
        sa.Column("snoozed_until", MOMENT),
        sa.Column("claim_lapses_at", MOMENT),
        sa.Column("work_version", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("touched_at", MOMENT, server_default=now, nullable=False),
        sa.Column("high_risk", sa.Boolean, server_default=sa.false(), nullable=False),
    )
    for column in columns:
        op.add_column("alerts", column)
    # As the first default, it would have rewritten the table.
    op.alter_column("alerts", "touched_at", server_default=sa.func.clock_timestamp())
    op.create_table(
        "alert_history",
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("code", sa.Integer, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("note", sa.Text),
        sa.ForeignKeyConstraint(
            PLACE, [f"alerts.{name}" for name in PLACE], name=op.f("fk_alert_history_user_id_seq_code_alerts")
        ),
        sa.PrimaryKeyConstraint(*PLACE, "n", name=op.f("pk_alert_history")),
    )
    op.create_index(op.f("ix_alert_history_at_user_id_seq_code_n"), "alert_history", ["at", *PLACE, "n"])
    op.create_index(op.f("ix_alert_history_who_at_user_id_seq_code_n"), "alert_history", ["who", "at", *PLACE, "n"])
    op.create_table(
        "mutes",
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("code", sa.Integer, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("created_at", MOMENT, server_default=now, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_mutes_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "code", name=op.f("pk_mutes")),
    )
    op.create_index(op.f("ix_mutes_until"), "mutes", ["until"])
    op.create_table(
        "views",
        sa.Column("view_id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("query", postgresql.JSONB, nullable=False),
        sa.Column("shared", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("created_at", MOMENT, server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("view_id", name=op.f("pk_views")),
        sa.UniqueConstraint("owner", "name", name=op.f("uq_views_owner_name")),
    )


def downgrade() -> None:
    for table in ("views", "mutes", "alert_history"):
        op.drop_table(table)
    for name in ("high_risk", "touched_at", "work_version", "claim_lapses_at", "snoozed_until", "assignee", "outcome"):
        op.drop_column("alerts", name)
