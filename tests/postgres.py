"""Databases for tests, each of which begins empty, and transactions on them."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic, sleep

from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from database.models import Base
from database.session import begin, make_engine

# Everything that a test can change of a database but the rows of its tables, as one text. `xmin` is the transaction
# that wrote a row of the catalogue, and nearly all that is made or dropped leaves a trace in pg_depend. pg_class is
# named column by column because emptying a table writes there; `reltuples` says whether autovacuum has looked at a
# table that was full, which would change plans. Then how many pages of 8 kB the tables have, and the sequences in use.
_STATE = text("""
SELECT concat_ws('; ', (SELECT string_agg(version_num, ',') FROM alembic_version),
    (SELECT string_agg(concat_ws(' ', oid, relname, relkind, relnatts, relchecks, relhastriggers, relrowsecurity,
        reloptions, relacl, relkind = 'r' AND reltuples >= 0), ',' ORDER BY oid) FROM pg_class WHERE oid >= 16384),
    (SELECT count(*) || ' ' || sum(xmin::text::bigint) FROM pg_attribute WHERE attrelid >= 16384),
    (SELECT count(*) || ' ' || sum(xmin::text::bigint) FROM pg_depend),
    (SELECT count(*) || ' ' || sum(xmin::text::bigint) FROM pg_constraint WHERE conrelid >= 16384),
    (SELECT count(*) || ' ' || sum(xmin::text::bigint) FROM pg_trigger),
    (SELECT string_agg(concat_ws(' ', setrole, setconfig), ',') FROM pg_db_role_setting WHERE setdatabase = d.oid),
    concat_ws(' ', datallowconn, datconnlimit, datistemplate, datacl)) AS shape,
    (SELECT max(pg_relation_size(oid)) / 8192 FROM pg_class WHERE oid >= 16384 AND relkind = 'r') AS pages,
    ARRAY(SELECT seqrelid::regclass::text FROM pg_sequence WHERE pg_sequence_last_value(seqrelid) IS NOT NULL) AS used
FROM pg_database AS d WHERE datname = current_database()
""")

_TABLES = [table.name for table in reversed(Base.metadata.sorted_tables)]
_DELETE = "; ".join(f"DELETE FROM {name}" for name in _TABLES)
_TRUNCATE = f"TRUNCATE {', '.join(_TABLES)}"
# To delete a few rows is a hundred times as fast as to truncate. PostgreSQL plans for a table of fewer than ten pages
# as if it had ten, so what they have grown by makes no difference to the next test.
FEW_PAGES = 8

Sessions = sessionmaker[Session]

_CONNECTED = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND backend_type = 'client backend'")

PATIENCE = 30.0  # seconds: longer than anything takes on a slow machine
CONNECTIONS = 16
CLOSING = 0.5  # seconds that PostgreSQL may take to notice that a client has gone


class Databases:
    """Databases on one server, for one process of tests.

    To copy the template for every test takes several times as long as most tests do. So a database is emptied after
    its test and gets a new name, by which nobody who is left over from that test finds it; and a test that changed
    more of it than rows, or left a connection open, costs it its life.
    """

    def __init__(self, server_url: str) -> None:
        self._server = make_url(server_url)
        # Each statement has a connection of its own: it must not matter what else a test does to the server.
        self._admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
        self._free: list[str] = []
        self._shapes: dict[str, str] = {}

    def url(self, name: str) -> str:
        """The URL of the database `name`."""
        return self._server.set(database=name).render_as_string(hide_password=False)

    @contextmanager
    def new(self, template: str | None = None) -> Iterator[str]:
        """The name of a new database, a copy of `template` or without any tables, that is dropped at the end."""
        name = self._create(template)
        try:
            yield name
        finally:
            self._drop(name)

    @contextmanager
    def copy(self, template: str) -> Iterator[str]:
        """The name of a database that is as `template` is, without rows; always the same template."""
        if self._free:
            name = self._free.pop()
        else:
            name = self._create(template)
            with self._connected(name) as connection:
                self._shapes[name] = connection.execute(_STATE).one().shape
        try:
            yield name
        finally:
            if not self._is_left(name) or not self._recycle(name):
                self._drop(name)

    def close(self) -> None:
        """Drop all that is left."""
        for name in self._free:
            self._drop(name)
        self._admin.dispose()

    def _is_left(self, name: str) -> bool:
        """Whether nobody is connected to the database any more."""
        end = monotonic() + CLOSING
        with self._admin.connect() as connection:
            while connection.execute(_CONNECTED, {"name": name}).scalar_one():
                if monotonic() > end:
                    return False
                sleep(0.002)
        return True

    def _recycle(self, name: str) -> bool:
        """Make the database as it was, for another test, unless the test changed more than rows."""
        shape = self._shapes.pop(name)
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(self._connected(name))
                state = connection.execute(_STATE).one()
            except DBAPIError:  # it is not what it was: a table is gone, or it takes no connections
                return False
            if state.shape != shape:
                return False
            statements = [_DELETE if state.pages <= FEW_PAGES else _TRUNCATE]
            statements += [f"ALTER SEQUENCE {sequence} RESTART" for sequence in state.used]
            connection.exec_driver_sql("; ".join(statements))
        fresh = _new_name()
        self._do(f"ALTER DATABASE {name} RENAME TO {fresh}")
        self._shapes[fresh] = shape
        self._free.append(fresh)
        return True

    def _create(self, template: str | None) -> str:
        name = _new_name()
        self._do(f"CREATE DATABASE {name}" + (f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""))
        return name

    def _drop(self, name: str) -> None:
        self._shapes.pop(name, None)
        self._do(f"DROP DATABASE {name} WITH (FORCE)")

    def _do(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))

    @contextmanager
    def _connected(self, name: str) -> Iterator[Connection]:
        engine = create_engine(self.url(name), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            yield connection


def _new_name() -> str:
    return f"alerts_test_{uuid.uuid4().hex}"


@contextmanager
def engine_on(url: str, *, timeout: float = PATIENCE, connections: int = CONNECTIONS) -> Iterator[Engine]:
    """An engine on the database at `url`, made as the service makes its own."""
    engine = make_engine(url, timeout=timeout, connections=connections)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def transaction(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """A session whose statements are one transaction, committed at the end of the block.

    `sessions.begin()` would not make one: to production's engines a statement is its own transaction.
    """
    with sessions.begin() as session:
        begin(session)
        yield session
