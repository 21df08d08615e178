"""The indexes that the models declare: which of them PostgreSQL does not have, or does not use, and making them again.

A failed CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY leaves an index behind that is invalid: every write keeps it,
and no read uses it.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, Index, UniqueConstraint, text
from sqlalchemy.schema import CreateIndex

from database.models import Base


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """An index that is missing (`is_missing`) or invalid. `is_declared`: by the models, else it is a left-over.

    Without a declared one that `keeps_unique`, events are refused, or stored twice.
    """

    name: str
    table: str
    is_missing: bool
    is_declared: bool
    keeps_unique: bool

    def __str__(self) -> str:
        state = "missing" if self.is_missing else "invalid"
        return f"The index {self.name} of {self.table} is {state}"

    @property
    def remedy(self) -> str:
        """What to do about it, in a sentence."""
        if not self.is_declared:
            return f"Unless it is being made right now: DROP INDEX CONCURRENTLY {self.name}."
        if self.name not in _INDEXES:
            return "It belongs to a constraint: restore it from a backup."
        return "flask --app app upgrade makes it again."


_INDEXES: dict[str, Index] = {
    str(index.name): index for table in Base.metadata.sorted_tables for index in table.indexes
}


def _declared() -> str:
    """Each index, its table and whether it keeps rows unique, as rows of SQL."""
    rows = []
    for table in Base.metadata.sorted_tables:
        keys = [table.primary_key, *(one for one in table.constraints if isinstance(one, UniqueConstraint))]
        rows += [f"('{key.name}', '{table.name}', true)" for key in keys]
        rows += [f"('{index.name}', '{table.name}', {str(index.unique).lower()})" for index in table.indexes]
    return ",\n".join(rows)


# Tables by the names that statements use, so wherever the search path finds them.
_UNUSABLE = text(f"""
    WITH declared (name, on_table, keeps_unique) AS (VALUES {_declared()}),
    present AS (
        SELECT i.relname AS name, x.indrelid, x.indisvalid AND x.indisready AS is_valid
        FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
        WHERE x.indrelid IN (SELECT to_regclass(on_table) FROM declared)
    )
    SELECT d.name, d.on_table, p.name IS NULL AS is_missing, true AS is_declared, d.keeps_unique
    FROM declared AS d LEFT JOIN present AS p ON p.name = d.name AND p.indrelid = to_regclass(d.on_table)
    WHERE p.is_valid IS DISTINCT FROM true
    UNION ALL
    SELECT p.name, t.relname, false, false, false
    FROM present AS p JOIN pg_class AS t ON t.oid = p.indrelid
    WHERE NOT p.is_valid AND p.name NOT IN (SELECT name FROM declared)
    ORDER BY 2, 1
""")  # noqa: S608 (the names of our own models)


def unusable(connection: Connection) -> list[Unusable]:
    """The declared indexes that are missing or invalid, and other invalid ones on the same tables.

    To be asked of a database that has this release's migrations.
    """
    return [
        Unusable(
            name=row.name,
            table=row.on_table,
            is_missing=row.is_missing,
            is_declared=row.is_declared,
            keeps_unique=row.keeps_unique,
        )
        for row in connection.execute(_UNUSABLE)
    ]


def can_mend(found: Unusable) -> bool:
    """Whether `mend` can make the index again: it is declared, and belongs to no constraint."""
    return found.is_declared and found.name in _INDEXES


def mend(connection: Connection, found: Unusable) -> None:
    """Make a declared index again, CONCURRENTLY: nobody waits for it. `connection` commits each statement itself.

    It waits for all older transactions, however long they take. Raises DBAPIError: if rows are there twice, say.
    """
    sql = str(CreateIndex(_INDEXES[found.name]).compile(connection))
    for statement in (
        "SET lock_timeout = 0",
        "SET statement_timeout = 0",
        "SET client_min_messages = warning",  # that there is none to drop is no news
        f"DROP INDEX CONCURRENTLY IF EXISTS {found.name}",
        sql.replace("INDEX", "INDEX CONCURRENTLY", 1),
    ):
        connection.exec_driver_sql(statement)
