"""Which revision the tables have, whether this release can serve them, and bringing them up to date.

Revisions are numbers in a row, so a database that a newer release has migrated shows as one that is ahead.
"""

import re
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from database.connecting import chooses_schema, connect, place_of
from database.lock_watch import LockWatch
from database.pooler import is_shared
from database.session import sqlstate

# The oldest revision whose release can serve the tables as the newest migration leaves them. A migration that takes
# away what releases up to some revision still use raises it; see docs/decisions/newer-database.md.
SERVES_FROM = "0007"

ROOT = Path(__file__).resolve().parent.parent


def config(url: str | None = None) -> Config:
    """alembic's configuration of this project; `url` names the database for migrations run from Python."""
    configuration = Config(ROOT / "alembic.ini")
    # A % would begin a reference to another option.
    configuration.set_main_option("script_location", str(ROOT / "alembic").replace("%", "%%"))
    configuration.set_main_option("prepend_sys_path", str(ROOT).replace("%", "%%"))
    configuration.attributes["url"] = url
    return configuration


@cache
def head() -> str:
    """The newest revision that the code knows."""
    revision = ScriptDirectory.from_config(config()).get_current_head()
    if revision is None:
        raise AssertionError("there are no migrations")
    return revision


class MigrationError(Exception):
    """The database refuses us, or its tables cannot be brought up to date; the message says where and why."""


_ADVICE = {
    # insufficient privilege
    "42501": "\nTo migrate the tables the role must own them and may CREATE in their schema: let it own the database,"
    " or migrate as the owner first (make migrate).",
    # invalid schema name: there is none to create tables in
    "3F000": "\nThe schema in the search path has to be made first: CREATE SCHEMA.",
    # duplicate table
    "42P07": "\nTables are there, but no record of their migrations (the table alembic_version): restore that too, or"
    " give the service an empty database.",
}


class Upgraded(NamedTuple):
    """What an upgrade ended with: the revision (None: one that only newer releases know), and how many it applied."""

    revision: str | None
    applied: int


def upgrade(url: str, watch: LockWatch | None = None) -> Upgraded:
    """Bring the database at `url` to the newest revision; nothing happens if it has that already.

    `watch` then has what each migration locked, and for how long. Raises MigrationError; the migrations before the one
    that failed stay applied.
    """
    configuration = config(url)
    configuration.attributes["lock_watch"] = watch
    try:
        command.upgrade(configuration, "head")
    except (DBAPIError, CommandError) as error:
        reason = getattr(error, "orig", None) or error
        name = begun(configuration) if isinstance(error, DBAPIError) else ""
        failed = f"migration {name}: " if name else ""
        advice = _ADVICE.get(sqlstate(error) or "", "") if isinstance(error, DBAPIError) else ""
        advice += _advice_on_pooler(url, str(reason))
        said = f"{failed}{str(reason).strip()}{advice}"
        raise MigrationError(f"The database {place_of(url)} cannot be used: {said}") from None
    return Upgraded(configuration.attributes.get("at"), configuration.attributes.get("applied", 0))


# What has to run outside transactions would find its tables elsewhere.
SCHEMA_BEHIND_POOLER = (
    "a pooler does not pass on the search_path in the URL's options: migrate over a connection to PostgreSQL itself, or"
    " set it for the role (ALTER ROLE ... SET search_path)"
)


def loses_schema(connection: Connection) -> bool:
    """Whether statements outside transactions do not go to the schema that the URL of `connection` names."""
    return is_shared(connection) and chooses_schema(connection.engine.url)


def _advice_on_pooler(url: str, reason: str) -> str:
    if "unsupported startup parameter" in reason:
        return "\nPgBouncer has to let the service in: ignore_startup_parameters = options."
    if "closed the connection" in reason and _passes_single_statements(url):
        return "\nPgBouncer has to keep transactions together: pool_mode = transaction, or session."
    return ""


def _passes_single_statements(url: str) -> bool:
    """Whether a pooler is in between, and statements outside transactions reach the database."""
    try:
        with connect(url, "start", poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
            return is_shared(connection)
    except DBAPIError:
        return False


def begun(configuration: Config) -> str:
    """The migration of an upgrade that comes after what was applied; empty if the upgrade has not come to that."""
    if "at" not in configuration.attributes:
        return ""
    at = configuration.attributes["at"]
    script = ScriptDirectory.from_config(configuration)
    revision = script.get_revision(at) if at else None
    return ", ".join(revision.nextrev if revision else script.get_bases())


# How old a transaction is, and what it does, PostgreSQL tells only of one's own role, or to pg_read_all_stats.
_HOLDERS = text("""
    SELECT a.pid, a.application_name AS program, date_trunc('second', clock_timestamp() - a.xact_start) AS age
    FROM pg_stat_activity AS a
    WHERE a.pid <> pg_backend_pid() AND EXISTS (
        SELECT FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
        WHERE l.pid = a.pid AND l.granted AND c.relkind IN ('r', 'p') AND c.oid >= 16384
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AND coalesce(clock_timestamp() - a.xact_start >= interval '1 second', true)
    ORDER BY a.xact_start NULLS LAST LIMIT 3
""")


def holders(connection: Connection) -> str:
    """Who has held locks on tables of this database for a while, the longest first, to follow a clause; or nothing."""
    found = [
        f"{row.program or 'a program without a name'} (process {row.pid}{f', for {row.age}' if row.age else ''})"
        for row in connection.execute(_HOLDERS)
    ]
    return f"; tables are held by {', '.join(found)}" if found else ""


class MigrationState(Enum):
    """How the tables of a database and this release fit together."""

    CURRENT = "current"
    BEHIND = "behind"  # migrations are to be run
    AHEAD = "ahead"  # a newer release has migrated it, and this one can serve all the same
    TOO_NEW = "too new"  # ... and this one cannot
    FOREIGN = "foreign"  # the table of versions is another program's


# Together with the comment that `note` leaves on the table of versions.
_AT = "version_num, obj_description('alembic_version'::regclass, 'pg_class') AS note"
_NOTE = "Releases from migration {} on can serve these tables."


def standing(found: str | None, note: str | None, known: str) -> MigrationState:
    """How a database fits whose table of versions has `found` (None: nothing) and the comment `note`.

    `known` is the newest revision that this release knows.
    """
    if found == known:
        return MigrationState.CURRENT
    if found is None:
        return MigrationState.BEHIND
    if not re.fullmatch("[0-9]{4}", found):
        return MigrationState.FOREIGN
    if found < known:
        return MigrationState.BEHIND
    served = re.fullmatch(_NOTE.format("([0-9]{4})"), note or "")
    return MigrationState.AHEAD if served and served[1] <= known else MigrationState.TOO_NEW


def standing_of(connection: Connection, known: str | None = None) -> MigrationState:
    """The same for the database of `connection`; `known` is this release's newest migration unless it is named."""
    if not connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")):
        return MigrationState.BEHIND
    row = connection.execute(text(f"SELECT {_AT} FROM alembic_version")).first()  # noqa: S608 (a constant)
    return standing(row.version_num, row.note, known or head()) if row else MigrationState.BEHIND


def render(configuration: Config, script: Script, into: Any) -> None:
    """Write the SQL that the migration runs to `into`, a file: each statement at once, its COMMIT among them.

    Raises whatever the migration raises: one that reads the database, which is not there, may raise anything.
    """
    configuration.output_buffer = into
    command.upgrade(configuration, f"{script.down_revision or 'base'}:{script.revision}", sql=True)


def explain(found: MigrationState) -> str:
    """What is wrong, and what to do, for people; empty if this release can serve."""
    return {
        MigrationState.BEHIND: "The migrations of the database are not current: run alembic upgrade head.",
        MigrationState.TOO_NEW: "A newer release has migrated the database, beyond what this one can serve: upgrade the"
        " service.",
        MigrationState.FOREIGN: "The table alembic_version is another program's: the service needs its own database.",
    }.get(found, "")


def note(connection: Connection) -> None:
    """Write down for older releases whether they can serve the tables, if that is not there and may be written."""
    wanted = _NOTE.format(SERVES_FROM)
    is_wanted = text("""
        SELECT obj_description(oid, 'pg_class') IS DISTINCT FROM :wanted AND pg_has_role(relowner, 'USAGE')
        FROM pg_class WHERE oid = to_regclass('alembic_version')
    """)
    if connection.scalar(is_wanted, {"wanted": wanted}):
        connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{wanted}'"))


def problem(session: Session) -> str:
    """Why this release cannot serve the database of `session`, and what to do; empty if it can."""
    return explain(standing_of(session.connection()))
