"""How migrations run: on the configured database, one runner at a time, never waiting long for a lock."""

import sys
from contextlib import ExitStack

from alembic import context
from sqlalchemy import Connection, create_engine, text

from config_loader import SettingsError, load_settings
from database import embedded
from database.models import Base

# Any number will do as long as every runner takes the same: two services that start at once must not both migrate.
ADVISORY_LOCK = 7_310_042
# A migration that waits for a lock stops everyone who comes after it: give up instead.
LOCK_TIMEOUT = "4s"
# Another runner may have much to do first, but one that hangs must not hold up a start for ever.
TURN_TIMEOUT = "60s"
STATEMENT_TIMEOUT = "10min"


def migrate(connection: Connection) -> None:
    """Run the migrations on `connection`, all in one transaction."""
    context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
    with context.begin_transaction():
        connection.execute(text(f"SET LOCAL lock_timeout = '{TURN_TIMEOUT}'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'"))
        context.run_migrations()


with ExitStack() as stack:
    url = context.config.attributes.get("url")
    if url is None:
        try:
            settings = load_settings()
            url = settings.database or stack.enter_context(embedded.use(settings.data_dir))
        except (SettingsError, embedded.EmbeddedError) as error:
            sys.exit(str(error))
    engine = create_engine(url)
    stack.callback(engine.dispose)
    if context.is_offline_mode():
        context.configure(url=url, target_metadata=Base.metadata, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
    else:
        migrate(stack.enter_context(engine.connect()))
