"""`flask --app app prune`: remove actions before a time, and leave checkpoints."""

import json
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from access.caller import COMMAND_LINE
from commands.endings import Command, Interrupted, Stopped, check_database, service
from commands.terminal import json_option
from database.errors import cause
from database.session import CommitUncertain
from rules.values import LAST_TIME
from work.erasure import erase_due
from work.pruning import Pruning
from work.retention import Retention, years_after

_LEFT = 1  # exit status


@click.command(cls=Command)
@click.option(
    "--before",
    type=click.IntRange(0, LAST_TIME),
    metavar="SECONDS",
    help="Remove actions with an earlier time. With TIME_IS_EPOCH=true it may be left out: RETENTION_YEARS ago.",
)
@click.option("--dry-run", is_flag=True, help="Only say how much would be removed.")
@click.option("--yes", is_flag=True, help="Remove even if nothing would be left.")
@json_option
@with_appcontext
def prune(before: int | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove all actions before a time, with their alerts, and leave what is needed to go on counting.

    Users under a legal hold are left as they are. Also erases those whose erasure is due. The service keeps running:
    it takes a few actions at a time, rests in between, and can be stopped and started again at any moment. Exit status:
    0 if all is done, 1 if some users were in use all the time, 2 if it could not be done, 130 after Ctrl+C.
    """
    before = _before(before)
    check_database()
    pruning = Pruning(service().url, before, is_dry=dry_run)
    try:
        _check(pruning, dry_run=dry_run, yes=yes)
        _run(pruning, dry_run=dry_run)
    except (SQLAlchemyError, CommitUncertain) as error:
        raise Stopped(f"The database failed: {cause(error)} Start it again: it goes on where it was.") from None
    finally:
        pruning.close()
    report = pruning.report
    data: dict[str, Any] = {"before": before, "dry_run": dry_run, **report.data()}
    if not dry_run:
        data["erased_users"], _ = erase_due(service().run, Retention.of(current_app.extensions))
    click.echo(json.dumps(data, indent=2) if as_json else _text(data))
    if report.busy:
        raise click.exceptions.Exit(_LEFT)


def _before(before: int | None) -> int:
    now, is_epoch = datetime.now(UTC), service().policy.time_is_epoch
    if before is None:
        if not is_epoch:
            raise click.UsageError("--before is needed, unless TIME_IS_EPOCH=true says that times are dates.")
        return max(0, int(years_after(now, -Retention.of(current_app.extensions).years).timestamp()))
    if is_epoch and before > now.timestamp():
        raise click.BadParameter("must not be in the future", param_hint="--before")
    return before


def _check(pruning: Pruning, *, dry_run: bool, yes: bool) -> None:
    if lacking := pruning.rights_lacking():
        raise Stopped(f"The role of the database may not {lacking}: use the owner's, as for migrations.")
    if not (dry_run or yes or pruning.would_keep_something()):
        raise Stopped("Nothing would be left: all actions are older. With --yes they are removed.")


def _run(pruning: Pruning, *, dry_run: bool) -> None:
    if not dry_run:
        pruning.note(COMMAND_LINE, "began")
    try:
        with ExitStack() as stack:
            pruning.run(_Progress(stack).show)
    except KeyboardInterrupt:
        if not dry_run:
            pruning.note(COMMAND_LINE, "stopped", pruning.report.data())
        done = "Nothing was removed." if dry_run else f"{pruning.report.actions:,} actions were removed."
        raise Interrupted(f"Stopped before the end. {done} Start it again: it goes on where it was.") from None
    if not dry_run:
        pruning.note(COMMAND_LINE, "ended", pruning.report.data())


class _Progress:
    """A bar on standard error, if that is a terminal."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._bar, self._begun = stack, None, time.monotonic()

    def show(self, done: int, total: int) -> None:
        """Draw it at `done` of `total` users."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            bar: Any = click.progressbar(length=total, label="Pruning", file=sys.stderr)
            self._bar = self._stack.enter_context(bar)
        bar = self._bar
        bar.update(done - bar.pos)


def _text(data: dict[str, Any]) -> str:
    verb = "would be removed" if data["dry_run"] else "removed"
    lines = [
        f"before          {data['before']:>14}",
        f"users           {data['users']:>14,}",
        f"actions         {data['actions']:>14,}  {verb}",
        f"alerts          {data['alerts']:>14,}  {verb}, {data['open_alerts']:,} of them open",
        f"users on hold   {data['held_users']:>14,}  left as they are",
        f"users in use    {data['busy_users']:>14,}" + ("  run it again for these" if data["busy_users"] else ""),
    ]
    if "erased_users" in data:
        lines.append(f"users erased    {data['erased_users']:>14,}")
    return "\n".join(lines)
