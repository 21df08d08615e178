"""which transaction stored an action"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Without a default at first: it would fill the rows that are there with the number of this very transaction.
    op.add_column("user_actions", sa.Column("transaction_id", sa.BigInteger))
    op.alter_column(
        "user_actions", "transaction_id", server_default=sa.text("CAST(CAST(pg_current_xact_id() AS text) AS bigint)")
    )


def downgrade() -> None:
    op.drop_column("user_actions", "transaction_id")
