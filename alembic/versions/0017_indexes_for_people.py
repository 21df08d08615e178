"""indexes for who is to be erased, and for what the log says of a user"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        op.execute("SET client_min_messages = warning")  # that there is none to drop is no news
        # A failed attempt leaves an invalid index behind.
        op.drop_index("ix_users_to_erase", "users", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "ix_users_to_erase",
            "users",
            ["user_id"],
            postgresql_where=sa.text("erasure_requested_at IS NOT NULL"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.drop_index("ix_log_entries_subject", "log_entries", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "ix_log_entries_subject",
            "log_entries",
            ["kind", "subject", "entry_id"],
            postgresql_ops={"subject": "text_pattern_ops"},
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_index("ix_log_entries_subject", "log_entries")
    op.drop_index("ix_users_to_erase", "users")
