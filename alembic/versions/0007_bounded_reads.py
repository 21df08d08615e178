"""an index for each filter of the list of alerts; whether a backtest has processes"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

PLACE = ["time", "user_id", "seq", "code"]
Indexes = dict[str, tuple[list[str], str | None]]
NEW: Indexes = {
    "ix_alerts_user_id_shadow_time_seq_code": (["user_id", "shadow", "time", "seq", "code"], None),
    "ix_alerts_code_shadow_time_user_id_seq": (["code", "shadow", "time", "user_id", "seq"], None),
    "ix_alerts_worked": (["status", *PLACE], "status <> 'open' AND NOT shadow"),
    "ix_alerts_late": (PLACE, "late AND NOT shadow"),
    "ix_alerts_superseded": (PLACE, "superseded AND NOT shadow"),
}
# The first of them serves in its place.
OLD: Indexes = {
    "ix_alerts_user_id_time_seq_code": (["user_id", "time", "seq", "code"], "NOT shadow"),
}
ONE_BACKTEST = "ix_backtests_has_processes"


def upgrade() -> None:
    _replace(OLD, NEW)
    # In case that an earlier attempt has done it.
    op.add_column(
        "backtests",
        sa.Column("has_processes", sa.Boolean, server_default=sa.false(), nullable=False),
        if_not_exists=True,
    )
    with op.get_context().autocommit_block():
        op.drop_index(ONE_BACKTEST, "backtests", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            ONE_BACKTEST,
            "backtests",
            ["has_processes"],
            unique=True,
            postgresql_where=sa.text("has_processes"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    _replace(NEW, OLD)
    op.drop_column("backtests", "has_processes")


def _replace(old: Indexes, new: Indexes) -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("SET client_min_messages = warning")  # that there is none to drop is no news
        for name, (columns, where) in new.items():
            # A failed attempt leaves an invalid index behind.
            op.drop_index(name, "alerts", postgresql_concurrently=True, if_exists=True)
            condition = None if where is None else sa.text(where)
            op.create_index(
                name, "alerts", columns, postgresql_where=condition, postgresql_concurrently=True, if_not_exists=True
            )
        for name in old:
            op.drop_index(name, "alerts", postgresql_concurrently=True, if_exists=True)
