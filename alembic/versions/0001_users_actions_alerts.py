"""users, user_actions, alerts"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MONEY = sa.Numeric(38, 2)


def _created_at() -> sa.Column[object]:
    return sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)


def upgrade() -> None:
    # Gives an id to a user for whom the caller chose none.
    op.execute(sa.schema.CreateSequence(sa.Sequence("users_user_id_seq", data_type=sa.BigInteger)))
    op.create_table(
        "users",
        sa.Column("user_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("total", MONEY, server_default=sa.text("0"), nullable=False),
        sa.Column("net", MONEY, server_default=sa.text("0"), nullable=False),
        sa.Column("balance", MONEY, sa.Computed("total + net", persisted=True), nullable=False),
        sa.Column("risk", sa.Text, server_default=sa.text("'normal'"), nullable=False),
        sa.Column("last_seq", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        _created_at(),
        sa.CheckConstraint("user_id > 0", name=op.f("ck_users_user_id_positive")),
        sa.CheckConstraint("total >= 0", name=op.f("ck_users_total_not_negative")),
        sa.CheckConstraint("risk IN ('low', 'normal', 'high')", name=op.f("ck_users_risk_known")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
    )
    op.create_table(
        "user_actions",
        sa.Column("user_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("amount", sa.Numeric(14, 2), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Text),
        sa.Column("alert_codes", postgresql.ARRAY(sa.Integer), nullable=False),
        _created_at(),
        sa.CheckConstraint("type IN ('deposit', 'withdraw')", name=op.f("ck_user_actions_type_known")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_user_actions_amount_positive")),
        sa.CheckConstraint("time >= 0", name=op.f("ck_user_actions_time_not_negative")),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_user_actions_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "seq", name=op.f("pk_user_actions")),
    )
    op.create_index(op.f("ix_user_actions_user_id_type_time_seq"), "user_actions", ["user_id", "type", "time", "seq"])
    op.create_index(
        op.f("ix_user_actions_user_id_event_id"),
        "user_actions",
        ["user_id", "event_id"],
        unique=True,
        postgresql_where=sa.text("event_id IS NOT NULL"),
    )
    op.create_table(
        "alerts",
        sa.Column("user_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("code", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("evidence", postgresql.JSONB, nullable=False),
        _created_at(),
        sa.ForeignKeyConstraint(
            ["user_id", "seq"],
            ["user_actions.user_id", "user_actions.seq"],
            name=op.f("fk_alerts_user_id_seq_user_actions"),
        ),
        sa.PrimaryKeyConstraint("user_id", "seq", "code", name=op.f("pk_alerts")),
    )


def downgrade() -> None:
    op.drop_table("alerts")
    op.drop_table("user_actions")
    op.drop_table("users")
    op.execute(sa.schema.DropSequence(sa.Sequence("users_user_id_seq")))
