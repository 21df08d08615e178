"""Spreading the users of a database over several servers by Citus: which tables, and how."""

from sqlalchemy import Connection, text

from database.models import Base, Erasure, OutboxEvent

# The rows of a user, which are then all on one server: what judging and work on alerts read together.
# Two tables that begin with a user are left where they are. The outbox is read in one order over all users, along with
# webhooks; and the ledger of erasures is short, and kept for when all else is lost.
_STAY = {OutboxEvent.__tablename__, Erasure.__tablename__}
TABLES: tuple[str, ...] = tuple(
    table.name
    for table in Base.metadata.sorted_tables
    if table.primary_key.columns.keys()[0] == "user_id" and table.name not in _STAY
)

_HAS_EXTENSION = text("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')")
_DISTRIBUTED = text("SELECT logicalrelid::text FROM pg_dist_partition WHERE partmethod = 'h'")
_WORKERS = text("""
    SELECT nodename || ':' || nodeport FROM pg_dist_node
    WHERE isactive AND shouldhaveshards AND noderole = 'primary' ORDER BY 1
""")
_MAY = text("SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass(:table)")
_SHARDS = text("SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = 'users'::regclass")
_SPREAD = text("SELECT create_distributed_table(:table, 'user_id', shard_count => :shards, colocate_with => :like)")
_SPREAD_LIKE = text("SELECT create_distributed_table(:table, 'user_id', colocate_with => :like)")
# Else the rows would be on the coordinator twice: those that no statement sees any more would stay.
_TRUNCATE = text("SELECT truncate_local_data_after_distributing_table(CAST(:table AS regclass))")


def has_extension(connection: Connection) -> bool:
    """Whether the database has Citus."""
    return bool(connection.scalar(_HAS_EXTENSION))


def to_distribute(connection: Connection) -> list[str]:
    """Those of TABLES that are not distributed yet, in the order in which they have to be."""
    done = set(connection.scalars(_DISTRIBUTED))
    return [name for name in TABLES if name not in done]


def workers(connection: Connection) -> list[str]:
    """The servers that would hold the shards, as host:port."""
    return list(connection.scalars(_WORKERS))


def shards(connection: Connection) -> int:
    """How many shards users have; 0 while they are not distributed."""
    return int(connection.scalar(_SHARDS) or 0)


def may_distribute(connection: Connection) -> bool:
    """Whether the role owns the tables."""
    return all(connection.scalar(_MAY, {"table": name}) for name in TABLES)


def distribute(connection: Connection, table: str, shards: int) -> None:
    """Spread a table by user: that of users over so many shards, each other along with it.

    Others cannot write to it meanwhile.
    """
    if table == TABLES[0]:
        connection.execute(_SPREAD, {"table": table, "shards": shards, "like": "none"})
    else:
        connection.execute(_SPREAD_LIKE, {"table": table, "like": TABLES[0]})


_PREPARED = text("""
    SELECT coalesce(nodename || ':' || nodeport, 'the coordinator') AS node, result
    FROM run_command_on_all_nodes('SHOW max_prepared_transactions') LEFT JOIN pg_dist_node USING (nodeid)
    WHERE success
""")
# Two-phase commit needs one for each transaction that writes to several servers at once.
_FEWEST_PREPARED = 32


def warnings(connection: Connection) -> list[str]:
    """What to look after in the settings of the servers, a sentence each."""
    return [
        f"max_prepared_transactions is {row.result} on {row.node}: transactions on several servers need it. Set it to"
        " twice max_connections."
        for row in connection.execute(_PREPARED)
        if int(row.result) < _FEWEST_PREPARED
    ]


def drop_local_rows(connection: Connection) -> None:
    """Remove from the coordinator what is on the workers by now."""
    connection.execute(_TRUNCATE, {"table": TABLES[0]})
