"""Databases for tests, each of which starts empty, and transactions on them."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from time import monotonic, sleep
from typing import Any

import psycopg2
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from database import citus
from database.models import Base
from database.session import begin, make_engine
from tests.waiting import PATIENCE

# Everything in a database that a test can change, except the rows of its tables, as one text. `xmin` is the transaction
# that wrote a catalogue row, and nearly everything that is made or dropped leaves a trace in pg_depend. The columns of
# pg_class are listed because emptying a table writes there too; `reltuples` shows whether autovacuum has seen a full
# table, which would change plans. Then the pages (8 kB) of the largest table, and the sequences that have been used.
_STATE = """
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
    ARRAY(SELECT seqrelid::regclass::text FROM pg_sequence WHERE pg_sequence_last_value(seqrelid) IS NOT NULL
        AND seqrelid::regclass::text !~ '^pg_dist_') AS used
FROM pg_database AS d WHERE datname = current_database()
"""

_TABLES = [table.name for table in reversed(Base.metadata.sorted_tables)]
_DELETE = "; ".join(f"DELETE FROM {name}" for name in _TABLES)
_TRUNCATE = f"TRUNCATE {', '.join(_TABLES)}"
# Deleting a few rows is a hundred times faster than truncating. PostgreSQL plans for a table of fewer than ten pages as
# if it had ten, so such growth makes no difference to the next test.
FEW_PAGES = 8

Sessions = sessionmaker[Session]

# Citus itself keeps connections to each of its databases.
_CONNECTED = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = :name AND backend_type = 'client backend' AND application_name NOT LIKE 'citus%'
""")

CONNECTIONS = 16
CLOSING = 0.5  # seconds that PostgreSQL may take to notice that a client has gone


class Databases:
    """Databases on one server, for one test process.

    Copying the template for every test would take several times as long as most tests do. So after its test a database
    is emptied and gets a new name, so that nothing left over from the test can find it. If the test changed more than
    rows or left a connection open, the database is dropped instead.
    """

    def __init__(self, server_url: str) -> None:
        self._server = make_url(server_url)
        # Autocommit, since databases cannot be created or dropped inside a transaction.
        self._admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
        self._free: list[str] = []
        self._shapes: dict[str, str] = {}

    def url(self, name: str) -> str:
        """The URL of the database `name`."""
        return self._server.set(database=name).render_as_string(hide_password=False)

    @contextmanager
    def new(self, template: str | None = None) -> Iterator[str]:
        """The name of a new database, a copy of `template` or without any tables; it is dropped at the end."""
        name = self._create(template)
        try:
            yield name
        finally:
            self._drop(name)

    @contextmanager
    def copy(self, template: str) -> Iterator[str]:
        """The name of a database like `template`, without rows. The template must always be the same."""
        if self._free:
            name = self._free.pop()
        else:
            name = self._create(template)
            with self._cursor(name) as cursor:
                cursor.execute(_STATE)
                self._shapes[name], _, _ = cursor.fetchone()
        try:
            yield name
        finally:
            if not self._is_left(name) or not self._recycle(name):
                self._drop(name)

    def close(self) -> None:
        """Drop all databases that are left."""
        for name in self._free:
            self._drop(name)
        self._admin.dispose()

    def _is_left(self, name: str) -> bool:
        """Whether the last client has disconnected from the database, or does so within CLOSING seconds."""
        end = monotonic() + CLOSING
        with self._admin.connect() as connection:
            while connection.execute(_CONNECTED, {"name": name}).scalar_one():
                if monotonic() > end:
                    return False
                sleep(0.002)
        return True

    def _recycle(self, name: str) -> bool:
        """Empty the database for another test; returns False if the test changed more than rows."""
        shape = self._shapes.pop(name)
        with ExitStack() as stack:
            try:
                cursor = stack.enter_context(self._cursor(name))
                cursor.execute(_STATE)
            except psycopg2.Error:  # the test changed it: a table is gone, or it accepts no connections
                return False
            present, pages, used = cursor.fetchone()
            if present != shape:
                return False
            statements = [_DELETE if pages <= FEW_PAGES else _TRUNCATE]
            statements += [f"ALTER SEQUENCE {sequence} RESTART" for sequence in used]
            cursor.execute("; ".join(statements))
        try:
            fresh = self._rename(name)
        except DBAPIError:  # a thread that the test left behind has connected again
            return False
        self._shapes[fresh] = shape
        self._free.append(fresh)
        return True

    def _rename(self, name: str) -> str:
        fresh = new_name()
        self._do(f"ALTER DATABASE {name} RENAME TO {fresh}")
        return fresh

    def _create(self, template: str | None) -> str:
        name = new_name()
        self._do(f"CREATE DATABASE {name}" + (f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""))
        return name

    def _drop(self, name: str) -> None:
        self._shapes.pop(name, None)
        self._do(f"DROP DATABASE {name} WITH (FORCE)")

    def _do(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))

    @contextmanager
    def _cursor(self, name: str) -> Iterator[Any]:
        """A cursor of the driver on a new connection: to make an engine first takes longer than all that follows."""
        arguments, options = self._admin.dialect.create_connect_args(self._server.set(database=name))
        with closing(psycopg2.connect(*arguments, **options)) as connection:
            connection.autocommit = True
            yield connection.cursor()


def new_name() -> str:
    """A name for a database that no other has."""
    return f"alerts_test_{uuid.uuid4().hex}"


@contextmanager
def engine_on(
    url: str, *, timeout: float = PATIENCE, connections: int = CONNECTIONS, lock: float | None = None
) -> Iterator[Engine]:
    """An engine on the database at `url`, made as the service makes its own. `timeout` and `lock` are in seconds."""
    engine = make_engine(url, timeout=timeout, connections=connections, lock=lock)
    try:
        yield engine
    finally:
        engine.dispose()


def waiting(sessions: Sessions) -> int:
    """How many statements wait for a lock in the database of these sessions: others share the server."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with sessions() as session:
        if citus.is_distributed(session.connection()):  # the workers' locks too
            query = f"SELECT (SELECT count(DISTINCT waiting_gpid) FROM citus_lock_waits) + ({query})"
        return int(session.execute(text(query)).scalar_one())


@contextmanager
def transaction(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """A session whose statements are one transaction, committed at the end of the block.

    `sessions.begin()` alone would not begin one: in production's engines each statement is its own transaction.
    """
    with sessions.begin() as session:
        begin(session)
        yield session
