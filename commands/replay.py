"""`flask --app app replay FILE`: run a file of events through the engine in batches, as if posted one by one."""

import gc
import itertools
import json
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, sleep
from typing import IO, Any, BinaryIO, TypeVar

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from commands.endings import Interrupted, Stopped, check_migrations, first_line, service
from commands.replay_file import Entry, entries, peekable
from database.session import CommitUncertain, is_away
from rules.model import Event, Outcome, Refusal, Verdict
from rules.overload import Overloaded

T = TypeVar("T")

# Seconds to wait between attempts while the database is away: together, long enough for it to restart.
WAITS = (0.5, 1, 2, 4, 8)

AGAIN = "Run it again to continue: nothing is stored twice."


class Refused(click.ClickException):
    """The whole file was read, but some of its lines were refused."""

    exit_code = 1


@dataclass
class Tally:
    """What has happened to the lines so far."""

    stored: int = 0
    replayed: int = 0
    rejected: int = 0
    last_line: int = 0
    alerts: Counter[int] = field(default_factory=Counter)
    started: float = field(default_factory=perf_counter)

    @property
    def read(self) -> int:
        """How many lines are done."""
        return self.stored + self.replayed + self.rejected

    def rate(self) -> str:
        """The number of lines so far, and lines per second."""
        return f"{self.read:,} events  {self.read / self._seconds():,.0f}/s"

    def summary(self) -> str:
        """All counts, one per line. Alerts of events that were already stored count too."""
        lines = [
            f"events read        {self.read:>12,}",
            f"  stored           {self.stored:>12,}",
            f"  stored before    {self.replayed:>12,}",
            f"  refused          {self.rejected:>12,}",
            f"alerts             {sum(self.alerts.values()):>12,}",
            *(f"  {code:<16} {self.alerts[code]:>12,}" for code in sorted(self.alerts)),
            f"seconds            {self._seconds():>12,.1f}",
            f"events per second  {self.read / self._seconds():>12,.0f}",
        ]
        return "\n".join(lines)

    def _seconds(self) -> float:
        return max(perf_counter() - self.started, 1e-9)


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv"]),
    help="Without it, a FILE named .csv or .csv.gz is CSV and anything else NDJSON.",
)
@click.option(
    "--batch", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Events per transaction."
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to list refused lines.  [default: FILE.rejects; for standard input, stdin.rejects]",
)
@click.option(
    "--source",
    default="replay",
    show_default=True,
    help="Prefix of the ids made for events that have none; files with different sources never share an id.",
)
@with_appcontext
def replay(file: BinaryIO, form: str | None, batch: int, rejects: Path | None, source: str) -> None:
    """Store and judge the events in FILE (- for standard input), in file order.

    FILE has one event per line, as JSON (NDJSON) or as CSV with a header of field names, plain or gzipped. However it
    is stopped, run it again: no event is stored twice. Refused lines are listed, with their numbers and reasons, in a
    file that each run overwrites. Exit status: 0 if none was refused, 1 if some were, 2 if it could not continue, 130
    after Ctrl+C.
    """
    if not re.fullmatch(r"[!-~]{1,40}", source):
        raise click.BadParameter("must be 1 to 40 printable ASCII characters", param_hint="--source")
    name = getattr(file, "name", "<stdin>").strip("<>")
    if form is None:
        form = "csv" if name.lower().removesuffix(".gz").endswith(".csv") else "ndjson"
    rejects = rejects or Path(f"{name}.rejects")
    if rejects.exists() and Path(name).exists() and rejects.samefile(name):
        raise click.BadParameter("must not be FILE itself", param_hint="--rejects")
    check_migrations()
    tally = Tally()
    try:
        with (
            peekable(file) as lines,
            _open_rejects(rejects) as refused,
            _progress(file, name, tally) as bar,
            _rare_collections(),
        ):
            for some in _batches(entries(lines, name=name, form=form, source=source), batch):
                _take(some, tally, refused)
                bar.update(len(some) if bar.length is None else lines.tell() - bar.pos)
    except KeyboardInterrupt:
        raise Interrupted(f"Stopped after line {tally.last_line}. {AGAIN}") from None
    finally:
        if not tally.rejected and rejects.is_file():
            rejects.unlink()
        click.echo(tally.summary())
    if tally.rejected:
        raise Refused(f"{tally.rejected:,} lines were refused; {rejects} says which and why.")


@contextmanager
def _rare_collections() -> Iterator[None]:
    # A batch makes many objects but no cycles: the collector would search them in vain, for a fifth of the time.
    thresholds = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def _open_rejects(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise Stopped(f"{path} cannot be written: {error.strerror}") from None


def _progress(file: BinaryIO, name: str, tally: Tally) -> Any:
    """A bar as long as `file` has bytes; if its size is unknown, as for a pipe, only the counts."""
    try:
        found = os.fstat(file.fileno())
        size = found.st_size if stat.S_ISREG(found.st_mode) else None
    except OSError:
        size = None
    return click.progressbar(
        (None for _ in ()),  # no items to count: the caller reports how many bytes are done
        length=size,
        label=f"Replaying {name}",
        bar_template="%(label)s  %(info)s" if size is None else "%(label)s  [%(bar)s]  %(info)s",
        item_show_func=lambda _: tally.rate(),
        file=sys.stderr,
    )


# From events to the database


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while some := list(itertools.islice(items, size)):
        yield some


def _take(entries: Sequence[Entry], tally: Tally, refused: IO[str]) -> None:
    """Store the events in `entries` in one transaction, list the refused lines, and count."""
    events = [event for _, event in entries if isinstance(event, Event)]
    outcomes = iter(_patiently(events, tally.last_line) if events else [])
    for number, entry in entries:
        outcome = next(outcomes) if isinstance(entry, Event) else entry
        if isinstance(outcome, Verdict):
            tally.stored += not outcome.replayed
            tally.replayed += outcome.replayed
            tally.alerts.update(outcome.codes)
        else:
            tally.rejected += 1
            reasons = [outcome.detail] if isinstance(outcome, Refusal) else outcome.reasons
            refused.write(json.dumps({"line": number, "reasons": reasons}) + "\n")
        tally.last_line = number
    refused.flush()


def _patiently(events: Sequence[Event], last_line: int) -> list[Outcome]:
    """The outcomes of `events`. What the database or the service cannot take now is tried again: all have an id."""
    outcomes: list[Outcome | None] = [None] * len(events)
    for wait in (*WAITS, None):
        left = [at for at, outcome in enumerate(outcomes) if outcome is None]
        try:
            for at, outcome in zip(left, service().judge_many([events[at] for at in left]), strict=True):
                if isinstance(outcome, Refusal) and outcome.reason == "unavailable":
                    why = outcome.detail
                else:
                    outcomes[at] = outcome
        except (SQLAlchemyError, CommitUncertain, Overloaded) as error:
            why = first_line(error)
            if isinstance(error, SQLAlchemyError) and not is_away(error):
                break
        found = [outcome for outcome in outcomes if outcome is not None]
        if len(found) == len(events):
            return found
        if wait is not None:
            sleep(wait)
    raise Stopped(f"The database failed after line {last_line}: {why}. {AGAIN}") from None
