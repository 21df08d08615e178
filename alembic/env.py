"""How migrations run: on the configured database, one runner at a time, each in a transaction of its own."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Literal

from alembic import context
from alembic.runtime.migration import MigrationInfo
from alembic.script import Script
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, event, text
from sqlalchemy.exc import DBAPIError

from config_loader import SettingsError, load_settings
from database import connecting, embedded, fitness, migrations, pooler
from database.interruptible import interruptible
from database.models import Base
from database.session import LOCK_NOT_AVAILABLE, sqlstate

# Any number will do if every runner uses the same one: two services that start at once must not both migrate.
ADVISORY_LOCK = 7_310_042
# Seconds. Another runner may have much to do first, but one that hangs must not hold up a start forever.
TURN_TIMEOUT = 60.0
TURN_INTERVAL = 0.1
# A migration that waits for a lock keeps everything waiting that comes after it. So it soon gives up its place, lets
# those go first, and tries again: half a second is less than any request may wait (READ_TIMEOUT, DB_TIMEOUT).
TIMEOUTS = ("SET lock_timeout = '500ms'", "SET statement_timeout = '10min'")
LOCK_REST = 1.0  # seconds, for those who waited meanwhile
# Seconds in which a migration must have got its locks: less than another runner waits for its turn.
LOCK_PATIENCE = 45.0
# Without this, a statement whose runner was killed would keep running and hold the lock.
END_WITH_RUNNER = "SET client_connection_check_interval = '1s'"
# For the transaction that has the lock while others of the runner migrate.
STAYS = "SET LOCAL idle_in_transaction_session_timeout = 0"


def migrate(connection: Connection) -> None:
    """Run the migrations on `connection`. If one fails, those before it stay applied.

    Sets `at` in the configuration's attributes to the last revision that was applied, and `applied` to how many were
    applied now; neither if a newer release has migrated it. `lock_watch` in the attributes follows the locks. Raises
    DBAPIError if PostgreSQL refuses something, and CommandError if another runner takes longer than TURN_TIMEOUT (or
    `turn_timeout` in the attributes, in seconds) or a lock cannot be had within LOCK_PATIENCE (or `lock_patience`).
    """
    # At the start of every transaction, so that no migration runs with what the one before it set for itself.
    event.listen(connection, "begin", _limit)
    with interruptible() as check_interrupted:
        event.listen(connection, "begin", lambda _: check_interrupted())
        if _is_ahead(connection):
            return
        with _turn(connection):
            if not _is_ahead(connection):  # by now
                _migrate(connection)


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        transaction_per_migration=True,
        on_version_apply=lambda step, **_: _applied(step),
    )
    _remember(context.get_context().get_current_revision())
    if migrations.loses_schema(connection) and _has_work():
        raise CommandError(migrations.SCHEMA_BEHIND_POOLER)
    migrations.note(connection)  # first, so that older releases know what is coming
    connection.commit()
    watch = context.config.attributes.get("lock_watch")
    with watch.following(connection) if watch else nullcontext():
        _run(connection)
    migrations.note(connection)  # of a table that was not there before
    # Commits what ran outside any migration: creating the version table, if there was nothing else to do.
    connection.commit()


def _run(connection: Connection) -> None:
    """Run what is pending; a migration that does not get its locks is undone, and tried again for a while."""
    attributes = context.config.attributes
    patience = float(attributes.get("lock_patience", LOCK_PATIENCE))
    waits_at, until = None, 0.0
    while True:
        try:
            with context.begin_transaction():
                context.run_migrations()
            return
        except DBAPIError as error:
            if sqlstate(error) != LOCK_NOT_AVAILABLE:
                raise
        connection.rollback()
        waiting = migrations.begun(context.config)
        if waiting != waits_at:
            waits_at, until = waiting, time.monotonic() + patience
            print(f"Migration {waiting} waits until its tables are free.", file=sys.stderr, flush=True)
        if time.monotonic() >= until:
            holders = migrations.holders(connection)
            connection.commit()
            raise CommandError(
                f"migration {waiting}: its tables were not free for {patience:g} s{holders}. What came before it stays;"
                " the next attempt goes on there."
            )
        time.sleep(LOCK_REST)


def _is_ahead(connection: Connection) -> bool:
    """Whether a newer release has migrated it, and nothing is to be done. Raises CommandError if it cannot serve."""
    try:
        fitness.check_server(connection)
    except fitness.Unfit as error:
        raise CommandError(str(error)) from None
    found = migrations.standing_of(connection, context.script.get_current_head())
    connection.commit()
    if found in (migrations.MigrationState.TOO_NEW, migrations.MigrationState.FOREIGN):
        raise CommandError(migrations.explain(found))
    if found is migrations.MigrationState.AHEAD:
        print("A newer release has migrated the database; this one can serve it too.", file=sys.stderr, flush=True)
    return found is migrations.MigrationState.AHEAD


def _limit(connection: Connection) -> None:
    # Through the driver: to SQLAlchemy the transaction has not begun yet.
    cursor = connection.connection.cursor()
    limits = "; ".join((*TIMEOUTS, END_WITH_RUNNER))
    if not pooler.is_shared(connection):
        cursor.execute(limits)
    elif not connection.connection.autocommit:  # those that are alone have no limits anyway
        cursor.execute(limits.replace("SET ", "SET LOCAL "))
    cursor.close()


@contextmanager
def _turn(connection: Connection) -> Iterator[None]:
    """Have the lock, which the session holds across its transactions until the connection ends, however it ends.

    Behind a pooler sessions do not last: there a transaction on a connection of its own holds it, which has read
    nothing, so that nobody waits for what it sees.
    """
    if not pooler.is_shared(connection):
        _take_turn(connection, "session")
        yield
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
        connection.commit()
        return
    with connection.engine.connect() as other:
        _take_turn(other, "transaction")
        yield


def _take_turn(connection: Connection, holder: Literal["session", "transaction"]) -> None:
    """Take the lock.

    It is polled, since a statement that waited for it would keep its snapshot. CREATE INDEX CONCURRENTLY waits for
    all older snapshots, so the runner that migrates and the runner that waits would wait for each other.
    """
    seconds = float(context.config.attributes.get("turn_timeout", TURN_TIMEOUT))
    until = time.monotonic() + seconds
    in_session = holder == "session"
    ask = text(f"SELECT pg_try_advisory_{'' if in_session else 'xact_'}lock(:key)")
    while True:
        if not in_session:
            connection.exec_driver_sql(STAYS)
        taken = connection.scalar(ask, {"key": ADVISORY_LOCK})
        if in_session or not taken:
            connection.commit()
        if taken:
            return
        if time.monotonic() >= until:
            raise CommandError(f"another process has been migrating it for more than {seconds:g} s")
        time.sleep(TURN_INTERVAL)


def _has_work() -> bool:
    return bool(context.config.attributes["at"] != context.script.get_current_head())


def _remember(revision: str | None) -> None:
    context.config.attributes["at"] = revision


def _applied(step: MigrationInfo) -> None:
    attributes = context.config.attributes
    _remember(step.up_revision_id)
    attributes["applied"] = attributes.get("applied", 0) + 1
    if (watch := attributes.get("lock_watch")) and isinstance(step.up_revision, Script):
        watch.applied(step.up_revision.revision, step.up_revision.doc)


def render() -> None:
    """Print the migrations as SQL, one transaction each, without a database."""
    context.configure(
        dialect_name="postgresql+psycopg2",
        # psycopg2's own style would double every percent sign.
        dialect_opts={"paramstyle": "named"},
        target_metadata=Base.metadata,
        literal_binds=True,
        transaction_per_migration=True,
    )
    for statement in TIMEOUTS:
        context.execute(statement)
    with context.begin_transaction():
        context.run_migrations()


def from_shell() -> None:
    """`online` for who runs alembic: what prevents it is a line or two, and the status is 2, or 130 after Ctrl+C."""
    try:
        online()
    except DBAPIError as error:
        print(f"The database cannot be migrated: {str(error.orig or error).strip()}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def online() -> None:
    """Run the migrations on the configuration's database, else the one in the settings, else the embedded one."""
    with ExitStack() as stack:
        url = context.config.attributes.get("url")
        if url is None:
            try:
                settings = load_settings()
                url = settings.database or stack.enter_context(embedded.use(settings.data_dir))
            except (SettingsError, embedded.EmbeddedError) as error:
                print(error, file=sys.stderr)
                sys.exit(2 if isinstance(error, SettingsError) else 1)
        # Without a pool the connection closes at the end of its block, and frees the lock.
        engine = connecting.connect(url, "migrations", poolclass=NullPool, one_by_one=True)
        migrate(stack.enter_context(engine.connect()))


if context.is_offline_mode():
    render()
elif "url" in context.config.attributes:
    online()
else:
    from_shell()
