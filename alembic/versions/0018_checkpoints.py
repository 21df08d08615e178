"""what is left of actions that were removed"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("users", sa.Column("pruned_before", sa.BigInteger))
    op.create_table(
        "checkpoints",
        sa.Column("user_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("actions", sa.BigInteger, nullable=False),
        sa.Column("total", sa.Numeric(38, 2), nullable=False),
        sa.Column("first_time", sa.BigInteger, nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("first_amount", sa.Numeric(14, 2), nullable=False),
        sa.Column("newest_seq", sa.BigInteger, nullable=False),
        sa.Column("until_seq", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint("type IN ('deposit', 'withdraw')", name=op.f("ck_checkpoints_type_known")),
        sa.PrimaryKeyConstraint("user_id", "type", name=op.f("pk_checkpoints")),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_checkpoints_user_id_users")),
    )


def downgrade() -> None:
    op.drop_table("checkpoints")
    op.drop_column("users", "pruned_before")
