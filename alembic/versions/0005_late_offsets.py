"""what late events add to the running counts and sums behind them, by stretch"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "late_offsets",
        sa.Column("user_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("time", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("added_count", sa.BigInteger, nullable=False),
        sa.Column("added_total", sa.Numeric(38, 2), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "seq"],
            ["user_actions.user_id", "user_actions.seq"],
            name=op.f("fk_late_offsets_user_id_seq_user_actions"),
        ),
        sa.PrimaryKeyConstraint("user_id", "type", "time", "seq", name=op.f("pk_late_offsets")),
    )
    op.add_column("users", sa.Column("has_late_offsets", sa.Boolean, server_default=sa.false(), nullable=False))


def downgrade() -> None:
    # The release before knows stored numbers alone, so they take in what is to be added to them.
    op.execute("""
        UPDATE user_actions AS a
        SET ordinal = a.ordinal + o.added_count, running_total = a.running_total + o.added_total
        FROM users AS u, LATERAL (
            SELECT s.type, s.time, s.seq, s.added_count, s.added_total,
                lead(s.time) OVER stretches AS end_time, lead(s.seq) OVER stretches AS end_seq
            FROM late_offsets AS s WHERE s.user_id = u.user_id
            WINDOW stretches AS (PARTITION BY s.type ORDER BY s.time, s.seq)
        ) AS o
        WHERE u.has_late_offsets AND a.user_id = u.user_id AND a.type = o.type AND (a.time, a.seq) >= (o.time, o.seq)
            AND (o.end_time IS NULL OR (a.time, a.seq) < (o.end_time, o.end_seq))
    """)
    op.drop_column("users", "has_late_offsets")
    op.drop_table("late_offsets")
