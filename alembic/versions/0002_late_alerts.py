"""late and superseded alerts; what judged an action"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Take earlier actions as judged by what was in force then: the user's rating and the default rules.
    op.add_column("user_actions", sa.Column("risk", sa.Text))
    op.add_column("user_actions", sa.Column("rules", postgresql.ARRAY(sa.Integer)))
    op.execute("UPDATE user_actions AS a SET risk = u.risk FROM users AS u WHERE u.user_id = a.user_id")
    op.execute("UPDATE user_actions SET rules = '{1100,30,300,123}'")
    op.alter_column("user_actions", "risk", nullable=False)
    op.alter_column("user_actions", "rules", nullable=False)

    op.add_column("alerts", sa.Column("time", sa.BigInteger))
    op.execute(
        "UPDATE alerts AS l SET time = a.time FROM user_actions AS a WHERE (a.user_id, a.seq) = (l.user_id, l.seq)"
    )
    op.alter_column("alerts", "time", nullable=False)
    op.add_column("alerts", sa.Column("status", sa.Text, server_default=sa.text("'open'"), nullable=False))
    op.add_column("alerts", sa.Column("late", sa.Boolean, server_default=sa.false(), nullable=False))
    op.add_column("alerts", sa.Column("superseded", sa.Boolean, server_default=sa.false(), nullable=False))
    op.create_check_constraint(op.f("ck_alerts_status_known"), "alerts", "status IN ('open', 'acknowledged', 'closed')")
    op.create_index(op.f("ix_alerts_time_user_id_seq_code"), "alerts", ["time", "user_id", "seq", "code"])
    op.create_index(op.f("ix_alerts_user_id_time_seq_code"), "alerts", ["user_id", "time", "seq", "code"])


def downgrade() -> None:
    op.drop_index(op.f("ix_alerts_user_id_time_seq_code"), "alerts")
    op.drop_index(op.f("ix_alerts_time_user_id_seq_code"), "alerts")
    op.drop_constraint(op.f("ck_alerts_status_known"), "alerts")
    for column in ("superseded", "late", "status", "time"):
        op.drop_column("alerts", column)
    for column in ("rules", "risk"):
        op.drop_column("user_actions", column)
