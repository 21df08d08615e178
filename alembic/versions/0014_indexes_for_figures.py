"""indexes for what arrived in a stretch of time"""

from collections.abc import Sequence

from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ARRIVALS = {"ix_user_actions_arrivals": "user_actions", "ix_alerts_arrivals": "alerts"}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        op.execute("SET client_min_messages = warning")  # that there is none to drop is no news
        for name, table in ARRIVALS.items():
            # A failed attempt leaves an invalid index behind.
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
            op.create_index(
                name,
                table,
                ["created_at"],
                postgresql_using="brin",
                postgresql_with={"pages_per_range": 32, "autosummarize": True},
                postgresql_concurrently=True,
                if_not_exists=True,
            )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        for name, table in ARRIVALS.items():
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
