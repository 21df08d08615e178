"""How migrations run: on the configured database, one runner at a time, each in a transaction of its own."""

import sys
import time
from contextlib import ExitStack

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine, event, text

from config_loader import SettingsError, load_settings
from database import embedded
from database.models import Base

# Any number will do as long as every runner takes the same: two services that start at once must not both migrate.
ADVISORY_LOCK = 7_310_042
# Seconds. Another runner may have much to do first, but one that hangs must not hold up a start for ever.
TURN_TIMEOUT = 60.0
TURN_INTERVAL = 0.1
# A migration that waits for a lock stops everyone who comes after it: give up instead.
TIMEOUTS = ("SET lock_timeout = '4s'", "SET statement_timeout = '10min'")
# A statement whose runner was killed would go on, and hold the lock.
END_WITH_RUNNER = "SET client_connection_check_interval = '1s'"


def migrate(connection: Connection) -> None:
    """Run the migrations on `connection`; those before one that fails stay.

    `at` in the configuration's attributes says how far an upgrade came: the last revision that was applied. Raises
    DBAPIError where PostgreSQL refuses something, CommandError where another runner goes on for longer than
    TURN_TIMEOUT (`turn_timeout` in the attributes, in seconds).
    """
    # At every beginning, so that no migration runs with what the one before it has set for itself.
    event.listen(connection, "begin", _limit)
    _take_turn(connection)
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        transaction_per_migration=True,
        on_version_apply=lambda step, **_: _remember(step.up_revision_id),
    )
    _remember(context.get_context().get_current_revision())
    with context.begin_transaction():
        context.run_migrations()
    # What ran outside any migration: the table of versions, where nothing else was to be done.
    connection.commit()
    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
    connection.commit()


def _limit(connection: Connection) -> None:
    # Below SQLAlchemy, for which the transaction has not begun yet.
    cursor = connection.connection.cursor()
    cursor.execute("; ".join((*TIMEOUTS, END_WITH_RUNNER)))
    cursor.close()


def _take_turn(connection: Connection) -> None:
    """Take the lock that the session holds over all its transactions; it goes with the connection, however that ends.

    It is asked for again and again: a statement that waits for it would keep its snapshot, CREATE INDEX CONCURRENTLY
    waits for all older snapshots, and so whoever migrates and whoever waits would wait for each other.
    """
    seconds = float(context.config.attributes.get("turn_timeout", TURN_TIMEOUT))
    until = time.monotonic() + seconds
    while True:
        taken = connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
        connection.commit()
        if taken:
            return
        if time.monotonic() >= until:
            raise CommandError(f"another process has been migrating it for more than {seconds:g} s")
        time.sleep(TURN_INTERVAL)


def _remember(revision: str | None) -> None:
    context.config.attributes["at"] = revision


def render() -> None:
    """Print the migrations as SQL, a transaction each; no database is asked."""
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


def online() -> None:
    """Run the migrations on the database of the configuration, else of the settings, else the embedded one."""
    with ExitStack() as stack:
        url = context.config.attributes.get("url")
        if url is None:
            try:
                settings = load_settings()
                url = settings.database or stack.enter_context(embedded.use(settings.data_dir))
            except (SettingsError, embedded.EmbeddedError) as error:
                sys.exit(str(error))
        # Without a pool the connection ends where its block does, and the lock with it.
        engine = create_engine(url, poolclass=NullPool)
        migrate(stack.enter_context(engine.connect()))


if context.is_offline_mode():
    render()
else:
    online()
