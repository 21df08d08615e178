"""what an alert is closed with is checked for all alerts"""

from collections.abc import Sequence

from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    for name in ("outcome_known", "closed_with_outcome"):
        op.execute(f"ALTER TABLE alerts VALIDATE CONSTRAINT ck_alerts_{name}")


def downgrade() -> None:
    pass  # the one before drops them
