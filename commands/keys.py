"""`flask --app app keys`: make, list, revoke and rotate keys, without having one."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy.orm import Session

from access.caller import COMMAND_LINE, SCOPES
from access.key_changes import KeyChanges, KeyRefused, MadeKey
from access.key_terms import LONGEST_DAYS, LONGEST_OVERLAP, KeyTerms, read_duration, read_name, read_scopes
from access.keyring import Keyring
from access.rates import read_as_written
from commands.endings import Command, Stopped, check_database, service
from commands.terminal import json_option
from database import keys as stored
from database.keys import KeyRow
from database.session import CommitUncertain

T = TypeVar("T")

PAGE = 500  # keys that are read at once
_HEADINGS = ("id", "name", "scopes", "made", "last used", "expires", "requests")


class _Read(click.ParamType[Any]):
    """An option whose text is read by a function that raises ValueError with the end of a sentence."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name, self._read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What the text says."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _until(longest: timedelta) -> Callable[[str], timedelta]:
    def read(text: str) -> timedelta:
        duration = read_duration(text)
        if duration > longest:
            raise ValueError(f"must be at most {longest.days:,}d")
        return duration

    return read


def _lifetime(text: str) -> timedelta:
    duration = _until(timedelta(days=LONGEST_DAYS))(text)
    if not duration:
        raise ValueError("must be more than nothing")
    return duration


@click.group()
def keys() -> None:
    """Make, list, revoke and rotate the keys with which programs and people call the service."""


@keys.command(cls=Command)
@click.argument("name", type=_Read("name", read_name))
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="SCOPE",
    help=f"What it is for: {', '.join(SCOPES)}. May be given several times, or with commas.",
)
@click.option("--expires", type=_Read("time", _lifetime), metavar="TIME", help="When it ends: after 12h, 90d.")
@click.option(
    "--rate", type=_Read("rate", read_as_written), metavar="RATE", help="How many requests it may make: 100/second."
)
@with_appcontext
def create(name: str, scopes: Sequence[str], expires: timedelta | None, rate: str | None) -> None:
    """Make a key called NAME, and write it to standard output: nobody can read it again.

    It works once the command has ended. With the first key of all, the service no longer answers anybody without one.
    Exit status: 0 if it was made, 2 if not.
    """
    try:
        wanted = read_scopes(scope for text in scopes for scope in text.split(","))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--scope") from None
    expires_at = None if expires is None else datetime.now(UTC) + expires
    check_database()
    _change(lambda changes: changes.make(KeyTerms(name, wanted, rate, expires_at), who=COMMAND_LINE), _say_made)


@keys.command("list", cls=Command)
@click.option("--all", "every", is_flag=True, help="Also those that were revoked.")
@json_option
@with_appcontext
def list_keys(every: bool, as_json: bool) -> None:
    """List the keys, newest first, with times in UTC. Uses show after a second or two."""
    check_database()
    rows = [row for row in _all_keys() if every or row.revoked_at is None]
    if as_json:
        click.echo(json.dumps([_data(row) for row in rows], indent=2))
    elif rows:
        click.echo(_table([_HEADINGS, *map(_cells, rows)]))
    else:
        click.echo("There are no keys.", err=True)


@keys.command(cls=Command)
@click.argument("key", metavar="ID_OR_NAME")
@with_appcontext
def revoke(key: str) -> None:
    """End a key, or all living ones of a name. When the command has ended, no request with it is answered any more.

    Exit status: 0 if it is revoked, 2 if not.
    """
    check_database()
    for row in _named(key):
        _change(partial(KeyChanges.revoke, key_id=row.key_id, who=COMMAND_LINE, spare_last_admin=False), _say_revoked)


@keys.command(cls=Command)
@click.argument("key", metavar="ID_OR_NAME")
@click.option(
    "--overlap",
    type=_Read("time", _until(LONGEST_OVERLAP)),
    default="24h",
    show_default=True,
    metavar="TIME",
    help="For how long the old key still works: 0s, 15m, 24h, 30d.",
)
@with_appcontext
def rotate(key: str, overlap: timedelta) -> None:
    """Make a key like another one, and write it to standard output. The old one ends after the overlap.

    Exit status: 0 if it was made, 2 if not.
    """
    check_database()
    found = _named(key)
    if len(found) > 1:
        ids = ", ".join(row.key_id for row in found)
        raise Stopped(f"Several living keys have the name {key!r}: name one by its id ({ids}).")
    _change(lambda changes: changes.rotate(found[0].key_id, overlap=overlap, who=COMMAND_LINE), _say_made)


def _change(change: Callable[[KeyChanges], T], when_stored: Callable[[Any], None]) -> None:
    try:
        change(KeyChanges(service().run, Keyring.of(current_app.extensions), when_stored))
    except KeyRefused as refused:
        raise Stopped(str(refused)) from None
    except CommitUncertain:
        raise Stopped("The connection to the database broke; `keys list` shows what was stored.") from None


def _say_made(made: MadeKey) -> None:
    # At once: whoever interrupts the wait has it.
    click.echo(made.key)
    row = made.row
    ends = f"it ends {_moment(row.expires_at)} UTC" if row.expires_at else "it has no end"
    click.echo(
        f"The key {row.key_id} ({row.name}) is made for {', '.join(row.scopes)}; {ends}. It is shown only here.\n"
        "Waiting until every service knows it ...",
        err=True,
    )


def _say_revoked(row: KeyRow) -> None:
    click.echo(f"The key {row.key_id} ({row.name}) is revoked. Waiting until nothing accepts it ...", err=True)


def _named(text: str) -> list[KeyRow]:
    def find(session: Session) -> list[KeyRow]:
        by_id = stored.get_key(session, text)
        return [by_id] if by_id is not None else stored.living_keys_named(session, text)

    found: list[KeyRow] = service().run(find)
    if not found:
        raise Stopped(f"No living key has the id or name {text!r}.")
    return found


def _all_keys() -> list[KeyRow]:
    rows: list[KeyRow] = []
    while True:
        before = rows[-1].number if rows else None
        page = service().run(partial(stored.page_of_keys, limit=PAGE, before=before))
        rows += page
        if len(page) < PAGE:
            return rows


def _data(row: KeyRow) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row._asdict().items()}


def _cells(row: KeyRow) -> tuple[str, ...]:
    if row.revoked_at is not None:
        end = f"revoked {_moment(row.revoked_at)}"
    elif row.expires_at is not None:
        end = f"{'' if row.is_living else 'expired '}{_moment(row.expires_at)}"
    else:
        end = "never"
    used = "never" if row.last_used_at is None else _moment(row.last_used_at)
    return row.key_id, row.name, ",".join(row.scopes), _moment(row.created_at), used, end, f"{row.requests:,}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
