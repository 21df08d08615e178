"""Whether a database can serve: what is wrong with it is found out at the start, and said along with the remedy."""

from sqlalchemy import Connection, NullPool, text
from sqlalchemy.exc import SQLAlchemyError

from database.connecting import connect, place_of
from database.models import (
    USER_IDS,
    Base,
    Delivery,
    DeliveryAttempt,
    Mute,
    OutboxEvent,
    SavedView,
    User,
    Webhook,
    WebhookState,
)
from database.pooler import is_shared

OLDEST_VERSION = 150000  # of PostgreSQL, as it writes it

_SERVER = text("""
    SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
           pg_is_in_recovery() AS is_standby, current_setting('transaction_read_only') = 'on' AS is_read_only
""")


class Unfit(Exception):
    """The database cannot serve as it is; the message says why, and what to do."""


def check_server(connection: Connection) -> None:
    """Raise Unfit if the database can never hold what the service stores, or takes no writes."""
    found = connection.execute(_SERVER).one()
    if found.version < OLDEST_VERSION:
        raise Unfit(f"it is PostgreSQL {found.version // 10000}: the service needs {OLDEST_VERSION // 10000} or newer")
    if found.encoding != "UTF8":
        raise Unfit(
            f"its encoding is {found.encoding}, which cannot hold every text: make another with "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )
    if found.is_standby:
        raise Unfit("it is a standby, which takes no writes: name the primary, or target_session_attrs=read-write")
    if found.is_read_only:
        raise Unfit("it is read-only: default_transaction_read_only is on for the database, the role or the server")


_OF_WEBHOOKS = (Webhook, WebhookState, OutboxEvent, Delivery, DeliveryAttempt)
_REMOVED_FROM = {table.__tablename__ for table in (User, Mute, SavedView, *_OF_WEBHOOKS)}


def _tables() -> str:
    """Each table with the rights that the service needs there, and its columns, as rows of SQL."""
    rows = []
    for table in Base.metadata.sorted_tables:
        rights = ["SELECT", "INSERT", "UPDATE", *(["DELETE"] if table.name in _REMOVED_FROM else [])]
        columns = ", ".join(f"'{column.name}'" for column in table.columns)
        rows.append(f"('{table.name}', ARRAY{rights}, ARRAY[{columns}])")
    return ",\n".join([*rows, "('alembic_version', ARRAY['SELECT'], ARRAY['version_num'])"])


# Tables by the names that statements use, so wherever the search path finds them.
_FAULTS = text(f"""
    SELECT name, to_regclass(name) IS NULL AS is_missing, current_user AS role,
           ARRAY(SELECT r FROM unnest(rights) AS r WHERE NOT has_table_privilege(to_regclass(name), r)) AS rights,
           ARRAY(SELECT c FROM unnest(columns) AS c WHERE NOT EXISTS (
               SELECT FROM pg_attribute
               WHERE attrelid = to_regclass(name) AND attname = c AND NOT attisdropped
           )) AS columns
    FROM (VALUES {_tables()}) AS needed (name, rights, columns)
""")  # noqa: S608 (the names of our own models)


_MAY_COUNT = text("SELECT has_sequence_privilege(to_regclass(:name), 'UPDATE')")


def faults(connection: Connection, *, rights: bool = True) -> list[str]:
    """What the role of `connection` lacks to serve, a phrase for each table; nothing if all is well.

    Without `rights`, only what is missing: commands that read need fewer rights than the service.
    """
    found = []
    for row in connection.execute(_FAULTS):
        if row.is_missing:
            found.append(f"the table {row.name} is missing, or in a schema that the role {row.role} may not use")
        elif row.columns:
            found.append(f"the table {row.name} lacks {', '.join(row.columns)}")
        elif rights and row.rights:
            wanted = ", ".join(row.rights)
            found.append(f"the role {row.role} may not {wanted} (GRANT {wanted} ON {row.name} TO {row.role})")
    if rights and not connection.scalar(_MAY_COUNT, {"name": USER_IDS.name}):
        found.append(f"the sequence {USER_IDS.name} is missing, or the role may not use it (GRANT UPDATE ON SEQUENCE)")
    return found


BEHIND_POOLER = (
    "A pooler keeps the service's settings from PostgreSQL, its time limits too: each transaction sets them for itself"
)


def check(url: str) -> str:
    """Raise Unfit unless the role of `url` has all the tables and rights there that the service needs.

    Returns what people should know of the connection, or nothing. To be called when the migrations are current: then
    what is missing was lost in another way.
    """
    try:
        with connect(url, "start", poolclass=NullPool).connect() as connection:
            found = faults(connection)
            note = BEHIND_POOLER if is_shared(connection) else ""
    except SQLAlchemyError as error:
        raise Unfit(f"The database {place_of(url)} cannot be used: {getattr(error, 'orig', None) or error}") from None
    if found:
        missing = any("missing" in fault or "lacks" in fault for fault in found)
        advice = " Restore it from a backup: its migrations count as done." if missing else ""
        raise Unfit(f"The database {place_of(url)} cannot serve: {'; '.join(found)}.{advice}")
    return note
