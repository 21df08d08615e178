"""Running work over all users from a terminal: progress, Ctrl+C, and what each error means."""

import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from typing import Any, TypeVar

import click
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from commands.endings import Interrupted, Stopped, service
from database.errors import cause
from database.replica import LOOK, MOST_BEHIND, Replica
from rules.hindsight.all_users import Busy, Result, Work, cores, over_all_users

ResultT = TypeVar("ResultT", bound=Result)
CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def processes_option(command: CommandT) -> CommandT:
    """Adds --processes, the number of processes to use, to `command`."""
    described = "How many processes to use, all at low priority.  [default: one per core]"
    return click.option("--processes", type=click.IntRange(1, 256), metavar="N", default=cores, help=described)(command)


def json_option(command: CommandT) -> CommandT:
    """Adds --json, which writes the result as JSON, to `command`."""
    return click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")(command)


def over_all(label: str, work: Work[ResultT], result: ResultT, processes: int) -> tuple[ResultT, float]:
    """Do `work` for all users in the service's database, with a progress bar if standard error is a terminal.

    Returns the filled `result` and the seconds it took. Raises Stopped on failure and Interrupted after Ctrl+C, when
    all processes have ended.
    """
    url = _history_url()
    begun = time.monotonic()
    try:
        with ExitStack() as stack:
            over_all_users(url, work, result, processes, progress(label, stack, begun))
    except KeyboardInterrupt:
        raise Interrupted("Stopped before the end: all processes have ended, and nothing was changed.") from None
    except Busy as error:
        raise Stopped(f"{error} Wait for it, or cancel it.") from None
    except SQLAlchemyError as error:
        raise Stopped(f"The database failed: {cause(error)}") from None
    except BrokenProcessPool:
        raise Stopped("One of the processes was killed, perhaps because memory ran out.") from None
    return result, max(time.monotonic() - begun, 1e-9)


def _history_url() -> str:
    """Where history is read: from the replica, once that has all that was stored until now; else from the primary."""
    replica = Replica.of(current_app.extensions)
    if replica is None:
        return service().url
    began = time.monotonic()
    replica.watch()
    try:
        while not replica.has(began):
            if time.monotonic() > began + MOST_BEHIND:
                click.echo("The replica (DATABASE_READ_URL) does not keep up: reading from the primary.", err=True)
                return replica.primary
            time.sleep(LOOK)
    finally:
        replica.close()
    return replica.url


def progress(label: str, stack: ExitStack, begun: float) -> Callable[[int, int], None]:
    """A function that draws a bar on standard error, if that is a terminal, from the actions done and their total.

    `begun` is the moment, of the clock that only runs on, from which actions per second count; `stack` ends the bar.
    """
    bars: list[Any] = []

    def rate(_: object) -> str:
        return f"{bars[0].pos / max(time.monotonic() - begun, 1e-9):,.0f} actions/s"

    def show(done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        if not bars:
            bars.append(click.progressbar(length=total, label=label, item_show_func=rate, file=sys.stderr))
            stack.enter_context(bars[0])
        bars[0].update(done - bars[0].pos)

    return show
