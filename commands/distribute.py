"""`flask --app app distribute`: spread the users of a database over the workers of Citus."""

import click
from flask.cli import with_appcontext
from sqlalchemy import Connection, NullPool

from commands.endings import Command, Stopped, check_database, service
from database import citus, connecting, distribution, presence

SHARDS = 32  # enough for as many workers; each is a table for each of ours, on one of them


@click.command(cls=Command)
@click.option("--shards", type=click.IntRange(1, 1024), default=SHARDS, show_default=True, help="How many parts.")
@click.option("--plan", is_flag=True, help="Only say what would be done.")
@with_appcontext
def distribute(shards: int, plan: bool) -> None:
    """Spread all that belongs to users over the workers of Citus, by user; the rest stays on the coordinator.

    The database must have the extension citus, and know its workers (citus_add_node). No service may run meanwhile:
    nothing can be stored, and one that runs would go on with statements for a single server. It is all done or nothing,
    and doing it again does nothing. There is no way back but by a backup. Exit status: 0 if it is (or can be) spread,
    2 if not, 130 after Ctrl+C.
    """
    check_database()
    url = service().url
    with connecting.connect(url, "distribute", poolclass=NullPool).connect() as connection:
        place = connecting.place_of(url)
        left = _left(connection, place)
        if not left:
            said = f"by user: {distribution.shards(connection)} shards on {_workers(connection)}"
            click.echo(f"The database {place} is spread already, {said}.")
        elif plan:
            click.echo(f"The database {place} would be spread over {shards} shards on {_workers(connection)}:")
            click.echo(f"  by user_id     {', '.join(left)}")
            click.echo("  left as it is  every other table, on the coordinator")
        else:
            _refuse_beside_services(url)
            for table in left:
                click.echo(f"Spreading {table} ...")
                distribution.distribute(connection, table, shards)
            distribution.drop_local_rows(connection)
            connection.commit()
            click.echo(f"The database {place} is spread over {shards} shards on {_workers(connection)}.")
        _settings()
        for warning in distribution.warnings(connection):
            click.echo(f"Note: {warning}")


def _left(connection: Connection, place: str) -> list[str]:
    """The tables that are to be distributed. Raises Stopped if they cannot be."""
    if not distribution.has_extension(connection):
        raise Stopped(
            f"The database {place} has no Citus, so that it is on one server and stays there. Where the extension is"
            " installed, CREATE EXTENSION citus makes it part of a database: see docs/scaling.md."
        )
    left = distribution.to_distribute(connection)
    if left and not distribution.workers(connection):
        raise Stopped("Citus knows no worker that may hold shards: SELECT citus_add_node('host', 5432) for each.")
    if left and not distribution.may_distribute(connection):
        raise Stopped("The role of the database does not own the tables: use the owner's, as for migrations.")
    return left


def _workers(connection: Connection) -> str:
    return ", ".join(distribution.workers(connection))


def _refuse_beside_services(url: str) -> None:
    if presence.is_anybody_serving(url):
        raise Stopped("A service runs on this database: stop it first, and start it again afterwards.")


def _settings() -> None:
    click.echo("Each connection of the service sets for itself:")
    for name, value in citus.SETTINGS.items():
        click.echo(f"  {name} = {value}")
