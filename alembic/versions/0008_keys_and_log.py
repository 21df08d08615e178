"""keys, their uses, and the log of what people and programs have changed"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    now = sa.func.now()
    op.create_table(
        "keys",
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("rate", sa.Text),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.Column("created_at", MOMENT, server_default=now, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_keys")),
    )
    op.create_index(op.f("ix_keys_changed"), "keys", ["changed"], unique=True)
    op.create_index(op.f("ix_keys_number"), "keys", ["number"], unique=True)
    op.create_table(
        "key_uses",
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("requests", sa.BigInteger, server_default=sa.text("0"), nullable=False),
        sa.Column("last_used_at", MOMENT),
        sa.ForeignKeyConstraint(["key_id"], ["keys.key_id"], name=op.f("fk_key_uses_key_id_keys")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_key_uses")),
    )
    op.create_table(
        "log_entries",
        sa.Column("entry_id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("at", MOMENT, server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("before", postgresql.JSON),
        sa.Column("after", postgresql.JSON),
        sa.Column("note", sa.Text),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_log_entries")),
    )
    op.create_index(op.f("ix_log_entries_at_entry_id"), "log_entries", ["at", "entry_id"])
    op.create_index(op.f("ix_log_entries_who_at_entry_id"), "log_entries", ["who", "at", "entry_id"])
    op.create_index(op.f("ix_log_entries_kind_at_entry_id"), "log_entries", ["kind", "at", "entry_id"])
    op.create_index(op.f("ix_log_entries_who_kind_at_entry_id"), "log_entries", ["who", "kind", "at", "entry_id"])


def downgrade() -> None:
    for table in ("log_entries", "key_uses", "keys"):
        op.drop_table(table)
