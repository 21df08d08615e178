"""`flask --app app upgrade`: migrate the database, and say what that locks: planned before, measured after."""

from collections.abc import Iterator

import click
from flask.cli import with_appcontext
from sqlalchemy import Connection, Engine, NullPool

from commands.endings import Command, Stopped, service
from database import connecting, fitness, indexes, migrations, upgrade_plan
from database.lock_watch import BLOCK_READS, BLOCK_WRITES, LockWatch, MigrationTimes, TableLock
from database.migrations import MigrationState
from database.upgrade_plan import Plan, PlannedMigration, Size

WIDTH = 120  # characters of a statement that are shown


@click.command(cls=Command)
@click.option("--plan", is_flag=True, help="Only say what would be done.")
@with_appcontext
def upgrade(plan: bool) -> None:
    """Bring the database to this release's migrations, and say how long each held which locks.

    With --plan: which migrations are to come, their statements, and which tables they lock, without doing anything.
    Indexes that are missing or invalid are made again. The release before keeps serving meanwhile. Ctrl+C undoes the
    statement under way; what was done before it stays, and the next run goes on there. Exit status: 0 if the database
    is (or can be) brought up to date, 2 if not, 130 after Ctrl+C.
    """
    url = service().url
    engine = connecting.connect(url, "upgrade", poolclass=NullPool, isolation_level="AUTOCOMMIT", one_by_one=True)
    with engine.connect() as connection:
        if migrations.loses_schema(connection):
            raise Stopped(f"The database cannot be upgraded: {migrations.SCHEMA_BEHIND_POOLER}.")
        standing = _standing(connection)
        if standing is MigrationState.AHEAD:
            click.echo("A newer release has migrated the database; this one can serve it too. Nothing is to be done.")
            return
        if plan:
            click.echo("\n".join(_plan(connecting.place_of(url), connection)))
            return
    if standing is MigrationState.BEHIND:
        _upgrade(url)
    _mend(engine)
    click.echo(f"The database {connecting.place_of(url)} is at migration {migrations.head()}.")


def _standing(connection: Connection) -> MigrationState:
    """How the database fits. Raises Stopped if no upgrade to this release can help it."""
    try:
        fitness.check_server(connection)
    except fitness.Unfit as error:
        raise Stopped(f"The database cannot be used: {error}") from None
    found = migrations.standing_of(connection)
    if found in (MigrationState.TOO_NEW, MigrationState.FOREIGN):
        raise Stopped(migrations.explain(found))
    return found


# The plan


def _plan(place: str, connection: Connection) -> Iterator[str]:
    plan = upgrade_plan.make(connection)
    if not plan.steps:
        yield f"The database {place} is at migration {plan.to}: none is to come."
        for found in indexes.unusable(connection):
            yield f"{found}. {found.remedy}"
        return
    at = "empty" if plan.at is None else f"at migration {plan.at}"
    yield f"The database {place} is {at}. To come, up to {plan.to}: {len(plan.steps)}."
    for step in plan.steps:
        yield f"\n{step.revision}  {step.message}"
        yield from (f"  {line}" for line in _step(step, plan))


def _step(step: PlannedMigration, plan: Plan) -> Iterator[str]:
    if not step.is_written:
        yield "Its statements depend on what is stored, and cannot be told beforehand."
        return
    for statement in step.statements:
        sql = " ".join(statement.sql.split())
        yield sql if len(sql) <= WIDTH else f"{sql[: WIDTH - 1]}…"
        if not statement.is_known:
            yield "  What this locks cannot be told."
    # Nobody waits for tables that an earlier migration of the plan makes.
    locks = {lock: is_read for lock, is_read in step.locks().items() if lock.table in plan.sizes}
    for lock in sorted(locks):
        yield f"-> {lock.table} ({_size(plan.sizes[lock.table])}): {lock.mode} {_while(lock, locks[lock])}"
    if not locks and all(statement.is_known for statement in step.statements):
        yield "-> no table is locked that is there now"


def _while(lock: TableLock, is_read: bool) -> str:
    return f"{'while all of it is read' if is_read else 'for a moment'}: {_waiting(lock, 'wait')}"


def _size(size: Size) -> str:
    rows = "rows unknown" if size.rows is None else f"{size.rows:,} row{'' if size.rows == 1 else 's'}"
    return f"{rows}, {_bytes(size.size)}"


def _bytes(size: int) -> str:
    number, units = float(size), ["bytes", "kB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{number:.3g} {units[0]}" if number < 1000 else f"{number:,.0f} {units[0]}"


# What was done


def _upgrade(url: str) -> None:
    longest = {"reads": 0.0, "writes": 0.0}

    def tell(done: MigrationTimes) -> None:
        click.echo(f"{done.revision}  {done.message}  ({_seconds(done.seconds)})")
        for lock in upgrade_plan.strongest(done.held):
            click.echo(
                f"  {lock.table}: {lock.mode} for {_seconds(done.held[lock])} at most: {_waiting(lock, 'waited')}"
            )
        for lock, seconds in sorted(done.waited.items()):
            click.echo(f"  {lock.table}: waited {_seconds(seconds)} for {lock.mode}, and others behind it")
        for kind, modes in (("reads", BLOCK_READS), ("writes", BLOCK_WRITES)):
            for lock in done.held.keys() | done.waited.keys():
                if lock.mode in modes:  # others waited behind its wait, and then for what it waited for
                    longest[kind] = max(longest[kind], done.waited.get(lock, 0.0) + done.held.get(lock, 0.0))

    try:
        migrations.upgrade(url, LockWatch(url, tell))
    except migrations.MigrationError as error:
        raise Stopped(str(error)) from None
    click.echo(
        f"Nobody waited longer than {_seconds(longest['reads'])} to read, {_seconds(longest['writes'])} to write."
    )


def _mend(engine: Engine) -> None:
    with engine.connect() as connection:
        for found in indexes.unusable(connection):
            if indexes.can_mend(found):
                click.echo(f"{found}: making it again.")
                indexes.mend(connection, found)
            else:
                click.echo(f"{found}. {found.remedy}")


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


# Both


def _waiting(lock: TableLock, wait: str) -> str:
    who = "reads and writes" if lock.mode in BLOCK_READS else "writes" if lock.mode in BLOCK_WRITES else "nobody"
    return f"{who} {wait + 's' if who == 'nobody' and wait == 'wait' else wait}"
