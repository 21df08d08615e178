"""when accounts are closed, what keeps people's data, and who was erased"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sa.DateTime(timezone=True)
COLUMNS = ("closed_at", "legal_hold", "erasure_requested_at", "erasure_requested_by", "erased_at")


def upgrade() -> None:
    op.add_column("users", sa.Column("closed_at", MOMENT))
    op.add_column("users", sa.Column("legal_hold", sa.Boolean, server_default=sa.false(), nullable=False))
    op.add_column("users", sa.Column("erasure_requested_at", MOMENT))
    op.add_column("users", sa.Column("erasure_requested_by", sa.Text))
    op.add_column("users", sa.Column("erased_at", MOMENT))
    op.create_table(
        "erasures",
        sa.Column("user_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("erased_at", MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("override", sa.Text),
        sa.PrimaryKeyConstraint("user_id", "erased_at", name=op.f("pk_erasures")),
    )


def downgrade() -> None:
    op.drop_table("erasures")
    for column in reversed(COLUMNS):
        op.drop_column("users", column)
