"""figures by day and by minute, and how far they have come"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sa.DateTime(timezone=True)
TABLES = ("daily_figures", "daily_users", "minute_figures", "figures_progress")


def upgrade() -> None:
    op.create_table(
        "daily_figures",
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        # squawk-ignore prefer-bigint-over-int: a rule's code, as in alerts
        sa.Column("code", sa.Integer, nullable=False),
        # squawk-ignore prefer-bigint-over-int: there are a few hundred
        sa.Column("bucket", sa.Integer, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("what", "day", "code", "bucket", name=op.f("pk_daily_figures")),
    )
    op.create_table(
        "daily_users",
        sa.Column("day", sa.Date, nullable=False),
        # squawk-ignore prefer-bigint-over-int: a rule's code, as in alerts
        sa.Column("code", sa.Integer, nullable=False),
        sa.Column("user_ids", postgresql.ARRAY(sa.BigInteger), nullable=False),
        sa.Column("registers", sa.LargeBinary),
        sa.PrimaryKeyConstraint("day", "code", name=op.f("pk_daily_users")),
    )
    op.create_table(
        "minute_figures",
        sa.Column("slot", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("minute", MOMENT, nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("alerts", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_minute_figures")),
    )
    op.create_table(
        "figures_progress",
        sa.Column("progress_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("begun_at", MOMENT, nullable=False),
        sa.Column("as_of", MOMENT, nullable=False),
        sa.Column("rests_until", MOMENT, nullable=False),
        sa.Column("stretch_seconds", sa.Double, nullable=False),
        sa.Column("recount_day", sa.Date, nullable=False),
        sa.CheckConstraint("progress_id = 1", name=op.f("ck_figures_progress_one_row")),
        sa.PrimaryKeyConstraint("progress_id", name=op.f("pk_figures_progress")),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
