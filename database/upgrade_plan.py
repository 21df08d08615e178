"""What an upgrade would do: the statements of each pending migration, and which tables they lock.

Nothing is run. The locks are those that PostgreSQL's documentation gives for each kind of statement; a test compares
them with those that the migrations take.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text

from database import migrations
from database.lock_watch import BLOCK_WRITES, TableLock

# What statements that block nobody take.
ROW, SHARED_UPDATE = "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"
SHARE, SHARED_ROW, ACCESS = "SHARE", "SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement, the locks that it takes, and the tables that it reads from one end to the other.

    `is_known` is false for one of which this cannot be told: it may lock anything. What those of one `transaction` lock
    is held until its end.
    """

    sql: str
    transaction: int = 0
    locks: tuple[TableLock, ...] = ()
    reads: tuple[str, ...] = ()
    is_known: bool = True


class Size(NamedTuple):
    """How large a table is: its rows, as PostgreSQL estimates them (None: never counted), and its bytes on disk."""

    rows: int | None
    size: int


@dataclass(kw_only=True)
class PlannedMigration:
    """One pending migration. Without `is_written` its SQL depends on what is stored, and cannot be told."""

    revision: str
    message: str
    statements: list[Statement] = field(default_factory=list)
    is_written: bool = True

    def locks(self) -> dict[TableLock, bool]:
        """Of each table the strongest lock of each transaction, and whether all of it is read meanwhile."""
        found: dict[TableLock, bool] = {}
        for number in {one.transaction for one in self.statements}:
            together = [one for one in self.statements if one.transaction == number]
            read = {table for one in together for table in one.reads}
            for lock in strongest(lock for one in together for lock in one.locks):
                found[lock] = found.get(lock, False) or lock.table in read
        return found


_BY_STRENGTH = (ROW, SHARED_UPDATE, *BLOCK_WRITES)


def strongest(locks: Iterable[TableLock]) -> list[TableLock]:
    """Of each table the lock for which most others wait, by table."""
    by_table: dict[str, TableLock] = {}
    for lock in sorted(locks, key=lambda lock: _BY_STRENGTH.index(lock.mode)):
        by_table[lock.table] = lock
    return [by_table[table] for table in sorted(by_table)]


@dataclass(kw_only=True)
class Plan:
    """What brings a database from revision `at` (None: it is empty) to `to`; `sizes` has its tables by name."""

    at: str | None
    to: str
    steps: list[PlannedMigration]
    sizes: Mapping[str, Size]


class Catalogue(NamedTuple):
    """The tables of indexes, by their names, and the tables that foreign keys refer to, by names of keys and tables."""

    indexes: dict[str, str]
    references: dict[str, set[str]]


_SIZES = text("""
    SELECT c.relname AS name, CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS rows,
           pg_total_relation_size(c.oid) AS size
    FROM pg_class AS c
    WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid) AND c.oid >= 16384
""")
_INDEXES = text("""
    SELECT i.relname AS name, t.relname AS on_table
    FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid
    WHERE pg_table_is_visible(t.oid) AND t.oid >= 16384
""")


_REFERENCES = text("""
    SELECT f.conname AS name, t.relname AS on_table, r.relname AS referred
    FROM pg_constraint AS f JOIN pg_class AS t ON t.oid = f.conrelid JOIN pg_class AS r ON r.oid = f.confrelid
    WHERE f.contype = 'f' AND pg_table_is_visible(t.oid)
""")


def make(connection: Connection) -> Plan:
    """What an upgrade of the database of `connection` would do. Its tables must be this release's, or an older one's.

    Raises DBAPIError if the database refuses to say.
    """
    at = None
    if connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")):
        at = connection.scalar(text("SELECT version_num FROM alembic_version"))
    sizes = {row.name: Size(row.rows, row.size) for row in connection.execute(_SIZES)}
    known = catalogue(connection)
    configuration = migrations.config()
    scripts = ScriptDirectory.from_config(configuration)
    steps = []
    for script in reversed(list(scripts.iterate_revisions("head", at or "base"))):
        assert isinstance(script, Script)
        steps.append(step_of(script, known))
    return Plan(at=at, to=migrations.head(), steps=steps, sizes=sizes)


def catalogue(connection: Connection) -> Catalogue:
    """What the database of `connection` has that statements do not name."""
    indexes = {row.name: row.on_table for row in connection.execute(_INDEXES)}
    references: dict[str, set[str]] = {}
    for row in connection.execute(_REFERENCES):
        references.setdefault(row.on_table, set()).add(row.referred)
        references.setdefault(row.name, set()).add(row.referred)
    return Catalogue(indexes, references)


class _Statements:
    """A file that alembic writes to: it writes one statement at a time."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, sql: str) -> None:
        self.written.append(sql.strip())

    def flush(self) -> None:
        """Nothing is kept back."""


def step_of(script: Script, known: Catalogue) -> PlannedMigration:
    """What one migration would do. Its own indexes are added to the catalogue."""
    step = PlannedMigration(revision=script.revision, message=script.doc)
    into = _Statements()
    try:
        migrations.render(migrations.config(), script, into)
    except Exception:  # it reads the database, which is not there for it: it may raise anything
        step.is_written = False
        return step
    step.statements = list(_statements(into.written, known))
    return step


_ASIDE = re.compile(r"(--|BEGIN;|COMMIT;|SET )", re.IGNORECASE)
_OF_VERSIONS = re.compile(r"(CREATE TABLE|INSERT INTO|UPDATE|DELETE FROM) alembic_version\b")


def _statements(written: list[str], known: Catalogue) -> Iterator[Statement]:
    made: set[str] = set()
    transaction, is_open = 0, False
    for sql in written:
        if sql in ("BEGIN;", "COMMIT;"):
            is_open = sql == "BEGIN;"
        if not is_open or sql == "BEGIN;":
            transaction += 1
        if _ASIDE.match(sql) or _OF_VERSIONS.match(sql):
            continue
        statement = locks_of(sql.removesuffix(";"), known)
        if table := _MAKES_TABLE.match(sql):
            made.add(_plain(table[1]))
        if index := _MAKES_INDEX.match(sql):
            known.indexes[_plain(index[2])] = _plain(index[3])
        # Nobody else has tables that the migration makes.
        yield Statement(
            sql=statement.sql,
            transaction=transaction,
            locks=tuple(lock for lock in statement.locks if lock.table not in made),
            reads=tuple(table for table in statement.reads if table not in made),
            is_known=statement.is_known,
        )


_NAME = r'("[^"]+"|[\w.]+)'
_MAKES_TABLE = re.compile(rf"CREATE TABLE (?:IF NOT EXISTS )?{_NAME}", re.IGNORECASE)
_MAKES_INDEX = re.compile(
    rf"CREATE (?:UNIQUE )?INDEX (CONCURRENTLY )?(?:IF NOT EXISTS )?{_NAME} ON {_NAME}", re.IGNORECASE
)
_DROPS_INDEX = re.compile(rf"DROP INDEX (CONCURRENTLY )?(?:IF EXISTS )?{_NAME}", re.IGNORECASE)
_DROPS_TABLE = re.compile(rf"DROP TABLE (?:IF EXISTS )?{_NAME}", re.IGNORECASE)
_ALTERS = re.compile(rf"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?{_NAME} (.*)", re.IGNORECASE | re.DOTALL)
_REFERS = re.compile(rf"\bREFERENCES {_NAME}", re.IGNORECASE)
_CHANGES_ROWS = re.compile(rf"\b(?:INSERT INTO|DELETE FROM|UPDATE(?! SKIP)(?: ONLY)?) {_NAME}", re.IGNORECASE)
_ON_NO_TABLE = re.compile(r"(CREATE|ALTER|DROP) (SEQUENCE|SCHEMA|TYPE|(OR REPLACE )?FUNCTION)|SELECT\b", re.IGNORECASE)
_COMMENTS = re.compile(rf"COMMENT ON (?:TABLE {_NAME}|COLUMN ([\w\"]+)\.)", re.IGNORECASE)
_ROWS = re.compile(r"(INSERT|UPDATE|DELETE|WITH|DO)\b", re.IGNORECASE)


def locks_of(sql: str, known: Catalogue) -> Statement:
    """What the statement `sql` locks and reads of the tables that are there."""
    if _MAKES_TABLE.match(sql):
        return _known(sql, (SHARED_ROW, [_plain(name) for name in _REFERS.findall(sql)]))
    if index := _MAKES_INDEX.match(sql):
        table = _plain(index[3])
        return _known(sql, (SHARED_UPDATE if index[1] else SHARE, [table]), reads=[table])
    if index := _DROPS_INDEX.match(sql):
        table = known.indexes.get(_plain(index[2]), "")
        return _known(sql, (SHARED_UPDATE if index[1] else ACCESS, [table] if table else []))
    if altered := _ALTERS.match(sql):
        return _altered(sql, _plain(altered[1]), altered[2], known)
    if comment := _COMMENTS.match(sql):
        return _known(sql, (SHARED_UPDATE, [_plain(comment[1] or comment[2])]))
    if dropped := _DROPS_TABLE.match(sql):
        table = _plain(dropped[1])
        return _known(sql, (ACCESS, [table, *sorted(known.references.get(table, ()))]))
    if _ROWS.match(sql):
        changed = sorted({_plain(name) for name in _CHANGES_ROWS.findall(sql)})
        return _known(sql, (ROW, changed), reads=changed)
    return Statement(sql=sql, is_known=bool(_ON_NO_TABLE.match(sql)))


def _altered(sql: str, table: str, what: str, known: Catalogue) -> Statement:
    if dropped := re.match(rf"DROP CONSTRAINT (?:IF EXISTS )?{_NAME}", what, re.IGNORECASE):
        return _known(sql, (ACCESS, [table, *sorted(known.references.get(_plain(dropped[1]), ()))]))
    what = " ".join(what.upper().split())
    if what.startswith("VALIDATE CONSTRAINT"):
        return _known(sql, (SHARED_UPDATE, [table]), reads=[table])
    if re.match(r"(ALTER COLUMN \S+ SET STATISTICS|SET \(|RESET \()", what):
        return _known(sql, (SHARED_UPDATE, [table]))
    if re.match(r"ADD (CONSTRAINT \S+ )?FOREIGN KEY", what):
        both = [table, *(_plain(name) for name in _REFERS.findall(sql))]
        return _known(sql, (SHARED_ROW, both), reads=[] if "NOT VALID" in what else [table])
    if re.match(r"ADD (CONSTRAINT|CHECK|UNIQUE|PRIMARY)", what):
        return _known(sql, (ACCESS, [table]), reads=[] if re.search("NOT VALID|USING INDEX", what) else [table])
    if re.match(r"ALTER COLUMN \S+ (TYPE|SET DATA TYPE|SET NOT NULL)", what):
        return _known(sql, (ACCESS, [table]), reads=[table])
    return _known(sql, (ACCESS, [table]))


def _known(sql: str, *locked: tuple[str, list[str]], reads: list[str] | None = None) -> Statement:
    locks = tuple(TableLock(table, mode) for mode, tables in locked for table in tables)
    return Statement(sql=sql, locks=locks, reads=tuple(reads or ()))


def _plain(name: str) -> str:
    return name.replace('"', "").rpartition(".")[2]
