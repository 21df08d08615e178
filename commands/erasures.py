"""`flask --app app erasures`: who was erased, and erasing them again after a restore."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TextIO

import click
from flask.cli import with_appcontext

from commands.endings import Command, Stopped, check_database, service
from database.erasures import Erased, page_of_erasures
from rules.values import MAX_ID, read_moment, written_moment
from work.erasure import BY_ITSELF, Applied, erase_again

PAGE = 1_000  # lines that are read at once
CLOCKS_DIFFER = timedelta(hours=1)  # at most, those of the machines that wrote and that read a ledger
LONGEST = 16_384  # characters of a line: a reason has 500 at most


@click.group(invoke_without_command=True)
@click.pass_context
def erasures(ctx: click.Context) -> None:
    """Print who was erased, one JSON object a line, by number: the ledger. Save it beside your backups.

    Exit status: 0, or 2 if it could not be done.
    """
    if ctx.invoked_subcommand is None:
        with _print.make_context("erasures", [], parent=ctx) as own:
            _print.invoke(own)


@click.command(cls=Command)
@with_appcontext
def _print() -> None:
    check_database()
    after: tuple[int, datetime] | None = None
    while True:
        page = service().read(partial(page_of_erasures, limit=PAGE, after=after))
        for one in page:
            click.echo(json.dumps(one._asdict() | {"erased_at": written_moment(one.erased_at)}))
        if len(page) < PAGE:
            return
        after = page[-1].user_id, page[-1].erased_at


@erasures.command(cls=Command)
@click.argument("file", type=click.File(encoding="utf-8"))
@with_appcontext
def apply(file: TextIO) -> None:
    """Erase everybody in a ledger again, after a backup from before was restored. FILE may be - for standard input.

    It takes lines as `erasures` prints them, and those of the log about `user_erased`. Who is erased already stays so,
    and a hold or the law's time keeps nobody: it has happened. Exit status: 0, or 2 if a line cannot be read (nothing
    is erased then) or it could not be done; run it again in that case.
    """
    lines = list(_read(file))
    check_database()
    total = Applied()
    for line in sorted(lines, key=lambda one: one.erased_at):
        total = Applied(*(map(sum, zip(total, erase_again(service().run, line), strict=True))))
    click.echo(
        f"{len(lines):,} lines: {total.again:,} erased again, {total.already:,} erased already, "
        f"{total.unknown:,} of no user in this database."
    )


def _read(file: TextIO) -> Iterator[Erased]:
    number = 0
    while text := file.readline(LONGEST + 1):
        number += 1
        if text.strip():
            try:
                if len(text) > LONGEST:
                    raise ValueError
                yield _line(json.loads(text))
            except (ValueError, KeyError, TypeError):
                raise Stopped(f"{file.name}, line {number}: no line of a ledger. Nothing was erased.") from None


def _line(data: dict[str, Any]) -> Erased:
    """The line of a ledger. Raises ValueError, KeyError or TypeError if it is none."""
    user_id, override, who = data["user_id"], data.get("override"), data.get("who", BY_ITSELF)
    if isinstance(user_id, bool) or not isinstance(user_id, int) or not 1 <= user_id <= MAX_ID:
        raise ValueError
    if not isinstance(who, str) or not isinstance(override, str | None):
        raise TypeError
    erased_at = read_moment(data["erased_at"]).astimezone(UTC)
    if erased_at > datetime.now(UTC) + CLOCKS_DIFFER:  # it would count for all that is asked for until then
        raise ValueError
    return Erased(user_id, erased_at, who, override)
