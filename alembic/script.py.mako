"""${message}"""

# The previous release serves while this runs, and again after a rollback. docs/migrations.md has examples.
# - Expand, backfill, contract: add what is new (nullable, or with a constant default) and write both; fill old rows;
#   drop the old in a later release. Nothing is dropped or renamed in the release that stops using it.
# - This file is one transaction and holds its locks until the end: do little work, on one table if possible.
#   It waits half a second at a time for its locks, 45 s in all, and 10 min for a statement (alembic/env.py); then it
#   fails, and earlier migrations stay applied.
# - One subcommand per ALTER. No table is rewritten: no new type, no generated column, no volatile default (random()).
# - An index on a table that has rows is made CONCURRENTLY, in a migration of its own, in
#   `with op.get_context().autocommit_block():`. Such a block may fail half-way: it must be safe to run again.
# - A constraint is added NOT VALID; the next migration does VALIDATE CONSTRAINT. NOT NULL comes after such a CHECK.
# - A backfill runs in stretches, one transaction each, in a migration of its own, in SQL.
# `make lint` checks the SQL. If the check is wrong, say why on a line: `# squawk-ignore RULE: REASON`.

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op${"\n" + imports if imports else ""}

revision: str = ${repr(up_revision).replace("'", '"')}
down_revision: str | None = ${repr(down_revision).replace("'", '"')}
branch_labels: str | Sequence[str] | None = ${repr(branch_labels).replace("'", '"')}
depends_on: str | Sequence[str] | None = ${repr(depends_on).replace("'", '"')}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
