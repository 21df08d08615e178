"""indexes for working alerts"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

PLACE = ["time", "user_id", "seq", "code"]
IN_QUEUE = "status = 'open' AND assignee IS NULL AND NOT superseded AND NOT shadow"
INDEXES: dict[str, tuple[list[str], str]] = {
    "ix_alerts_by_code": (["status", "code", "time", "user_id", "seq"], "NOT shadow"),
    "ix_alerts_shadow_by_code": (["code", "time", "user_id", "seq"], "shadow"),
    "ix_alerts_touched": (["touched_at"], "NOT shadow"),
    "ix_alerts_unassigned": (PLACE, IN_QUEUE),
    "ix_alerts_taken": (PLACE, "status = 'open' AND assignee IS NOT NULL AND NOT shadow"),
    "ix_alerts_open_superseded": (PLACE, "status = 'open' AND assignee IS NULL AND superseded AND NOT shadow"),
    "ix_alerts_urgent": (PLACE, f"{IN_QUEUE} AND high_risk"),
    "ix_alerts_assigned": (["assignee", "status", *PLACE], "assignee IS NOT NULL AND NOT shadow"),
    "ix_alerts_claimed": (["claim_lapses_at"], "claim_lapses_at IS NOT NULL"),
    "ix_alerts_outcome": (["outcome", *PLACE], "outcome IS NOT NULL AND NOT shadow"),
    "ix_alerts_snoozed": (PLACE, "snoozed_until IS NOT NULL AND NOT shadow"),
}
# Its place is taken by those by code.
BY_CODE_ALONE = "ix_alerts_code_shadow_time_user_id_seq"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        op.execute("SET client_min_messages = warning")  # that there is none to drop is no news
        for name, (columns, where) in INDEXES.items():
            # A failed attempt leaves an invalid index behind.
            op.drop_index(name, "alerts", postgresql_concurrently=True, if_exists=True)
            op.create_index(
                name,
                "alerts",
                columns,
                postgresql_where=sa.text(where),
                postgresql_concurrently=True,
                if_not_exists=True,
            )
        op.drop_index(BY_CODE_ALONE, "alerts", postgresql_concurrently=True, if_exists=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.create_index(
            BY_CODE_ALONE,
            "alerts",
            ["code", "shadow", "time", "user_id", "seq"],
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        for name in INDEXES:
            op.drop_index(name, "alerts", postgresql_concurrently=True, if_exists=True)
