"""backtests that were asked for over the API"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    now = sa.func.now()
    op.create_table(
        "backtests",
        sa.Column("backtest_id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("status", sa.Text, server_default=sa.text("'running'"), nullable=False),
        sa.Column("request", postgresql.JSON, nullable=False),
        sa.Column("done", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("result", postgresql.JSON),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "status IN ('running', 'done', 'cancelled', 'failed', 'interrupted')",
            name=op.f("ck_backtests_status_known"),
        ),
        sa.PrimaryKeyConstraint("backtest_id", name=op.f("pk_backtests")),
    )
    op.create_index(
        op.f("ix_backtests_status"),
        "backtests",
        ["status"],
        unique=True,
        postgresql_where=sa.text("status = 'running'"),
    )


def downgrade() -> None:
    op.drop_table("backtests")
