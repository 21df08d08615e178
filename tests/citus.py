"""Databases for tests on Citus, whose users are spread over the workers of the coordinator that CITUS_URL names."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from database import connecting, distribution, migrations
from tests.postgres import Databases, new_name

SHARDS = 4


class CitusDatabases(Databases):
    """The same on Citus: each is made on all servers, migrated and distributed, and used again after it was emptied.

    Copies of a template would not do, since Citus keeps a connection to each database, so none is copied or renamed.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        with self._admin.connect() as connection:
            rows = connection.exec_driver_sql("SELECT nodename, nodeport FROM pg_dist_node ORDER BY groupid")
            self._nodes = [(host, port) for host, port in rows]

    @contextmanager
    def new(self, template: str | None = None) -> Iterator[str]:
        """The name of a new database: a migrated and distributed one if there is a `template`, else an empty one."""
        name = self._create(template)
        try:
            yield name
        finally:
            self._drop(name)

    def _create(self, template: str | None) -> str:
        name = new_name()
        for host, port in self._nodes:
            self._do_at(host, port, f"CREATE DATABASE {name}")
            with self._at(host, port, name) as cursor:
                cursor.execute("CREATE EXTENSION citus")
        (host, port), *workers = self._nodes
        with self._cursor(name) as cursor:
            cursor.execute("SELECT citus_set_coordinator_host(%s, %s)", (host, port))
            for worker in workers:
                cursor.execute("SELECT citus_add_node(%s, %s)", worker)
        if template is not None:
            migrations.upgrade(self.url(name))
            with connecting.connect(self.url(name), "tests").begin() as connection:
                for table in distribution.TABLES:
                    distribution.distribute(connection, table, SHARDS)
        return name

    def _rename(self, name: str) -> str:
        return name

    def _drop(self, name: str) -> None:
        self._shapes.pop(name, None)
        for host, port in self._nodes:
            self._do_at(host, port, f"DROP DATABASE {name} WITH (FORCE)")

    def _do_at(self, host: str, port: int, statement: str) -> None:
        with self._at(host, port, self._server.database or "postgres") as cursor:
            cursor.execute(statement)

    @contextmanager
    def _at(self, host: str, port: int, database: str) -> Iterator[Any]:
        url = self._server.set(host=host, port=port, database=database)
        arguments, options = self._admin.dialect.create_connect_args(url)
        with closing(psycopg2.connect(*arguments, **options)) as connection:
            connection.autocommit = True
            yield connection.cursor()
