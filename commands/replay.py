"""`flask --app app replay FILE`: run a file of events through the engine in batches, as if posted one by one."""

import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir
from time import sleep
from typing import IO, Any, BinaryIO, TypeVar

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from commands.collecting import rare_collections
from commands.endings import Command, Interrupted, Stopped, check_database, service
from commands.replay_columns import Columns
from commands.replay_file import Entry, batches, entries, peekable
from commands.replay_options import column_options
from commands.replay_order import arrange
from commands.replay_tally import Tally
from database.errors import cause
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


# A time in seconds beyond the year 5000 is more likely to be one in milliseconds.
FAR = 100_000_000_000


class _Input(click.File):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "-" and sys.stdin is None:  # which click has no message for
            self.fail("standard input is closed", param, ctx)
        return super().convert(value, param, ctx)


@click.command(cls=Command)
@click.argument("file", type=_Input("rb"))
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
    "--order",
    type=click.Choice(["time", "file"]),
    default="time",
    show_default=True,
    help="time: oldest first, whatever the order of the lines. file: as if the lines were posted one by one.",
)
@click.option(
    "--source",
    default="replay",
    show_default=True,
    help="Prefix of the ids made for events that have none; files with different sources never share an id.",
)
@column_options
@with_appcontext
def replay(
    *,
    file: BinaryIO,
    form: str | None,
    batch: int,
    rejects: Path | None,
    order: str,
    source: str,
    columns: Columns,
    separator: str,
) -> None:
    """Store and judge the events in FILE (- for standard input), oldest first.

    FILE has one event per line, as JSON (NDJSON) or as CSV with a header of field names, plain or gzipped. However it
    is stopped, run it again: no event is stored twice. Refused lines are listed, with their numbers and reasons, in a
    file that each run overwrites.

    \b
    Examples:
      flask --app app replay events.ndjson
      flask --app app replay bank.csv --separator ';' --decimal , --signed \\
          --map amount=Betrag --map time=Datum --time-format %d.%m.%Y --set user_id=7
      flask --app app replay paysim.csv --map user_id=nameOrig --user-ids hashed \\
          --map time=step --time-format hours \\
          --type CASH_IN=deposit --type CASH_OUT=withdraw --type '*=skip'

    Exit status: 0 if no line was refused, 1 if some were, 2 if it could not continue, 130 after Ctrl+C.
    """
    if not re.fullmatch(r"[!-~]{1,40}", source):
        raise click.BadParameter("must be 1 to 40 printable ASCII characters", param_hint="--source")
    name = getattr(file, "name", "<stdin>").strip("<>")
    if form is None:
        form = "csv" if name.lower().removesuffix(".gz").endswith((".csv", ".tsv")) else "ndjson"
    rejects = rejects or Path(f"{name}.rejects")
    if rejects.exists() and Path(name).exists() and rejects.samefile(name):
        raise click.BadParameter("must not be FILE itself", param_hint="--rejects")
    check_database()
    tally = Tally()
    try:
        with peekable(file) as lines, _open_rejects(rejects) as refused, rare_collections():
            found = entries(lines, name=name, form=form, source=source, columns=columns, separator=separator)
            if order == "file":
                _store(found, tally, refused, batch, _Bar(f"Replaying {name}", _size(file), lines, tally.rate))
            else:
                with _arranged(found, _Bar(f"Reading {name}", _size(file), lines)) as (arranged, count):
                    _store(arranged, tally, refused, batch, _Bar("Storing", count, None, tally.rate))
    except KeyboardInterrupt:
        raise Interrupted(f"Stopped after {tally.read:,} lines. {AGAIN}") from None
    finally:
        if not tally.rejected and rejects.is_file():
            rejects.unlink()
        with suppress(SQLAlchemyError):
            tally.count(service())
        click.echo(tally.summary())
    if tally.latest > FAR and columns.time_format == "seconds":
        click.echo("Some times are beyond the year 5000: are they in milliseconds? See --time-format.", err=True)
    if tally.rejected:
        how_many = "1 line was" if tally.rejected == 1 else f"{tally.rejected:,} lines were"
        raise Refused(f"{how_many} refused; {rejects} says which and why.")


def _open_rejects(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise Stopped(f"{path} cannot be written: {error.strerror}") from None


def _size(file: BinaryIO) -> int | None:
    """How many bytes `file` has; None if that is unknown, as for a pipe."""
    try:
        found = os.fstat(file.fileno())
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


class _Bar:
    """A bar on standard error, `length` long: bytes that `reader` has read, or lines; without it, only the counts."""

    def __init__(
        self, label: str, length: int | None, reader: BinaryIO | None, rate: Callable[[], str] | None = None
    ) -> None:
        self._reader = reader if length is not None else None
        self._bar: Any = click.progressbar(
            (None for _ in ()),  # no items to count: the caller reports how much is done
            length=length,
            label=label,
            bar_template="%(label)s  %(info)s" if length is None else "%(label)s  [%(bar)s]  %(info)s",
            item_show_func=lambda _: rate() if rate else None,
            file=sys.stderr,
        )

    def advanced(self, some: Iterator[list[Entry]]) -> Iterator[list[Entry]]:
        """The same batches of lines; each counts as done when the next one is asked for."""
        with self._bar as bar:
            for batch in some:
                yield batch
                bar.update(len(batch) if self._reader is None else self._reader.tell() - bar.pos)


@contextmanager
def _arranged(found: Iterator[Entry], bar: _Bar) -> Iterator[tuple[Iterator[Entry], int]]:
    """All lines, oldest first, and how many they are; says so if that is not their order in the file."""
    with ExitStack() as stack:
        lines = (entry for some in bar.advanced(batches(found, 1000)) for entry in some)
        try:
            arranged = stack.enter_context(arrange(lines))
        except OSError as error:
            raise Stopped(
                f"Sorting needs room for a temporary file in {gettempdir()}: {error.strerror}. "
                "TMPDIR names another folder; --order=file needs none."
            ) from None
        if not arranged.direction.is_in_order:
            click.echo(str(arranged.direction), err=True)
        yield arranged.lines, arranged.count


# From events to the database


def _store(found: Iterator[Entry], tally: Tally, refused: IO[str], size: int, bar: _Bar) -> None:
    for some in bar.advanced(batches(found, size)):
        _take(some, tally, refused)


def _take(some: Sequence[Entry], tally: Tally, refused: IO[str]) -> None:
    """Store the events in `some` in one transaction, list the refused lines, and count."""
    events = [event for _, event in some if isinstance(event, Event)]
    outcomes = iter(_outcomes(events, tally.read) if events else [])
    stored = []
    for number, entry in some:
        outcome = next(outcomes) if isinstance(entry, Event) else entry
        if isinstance(outcome, Verdict):
            assert isinstance(entry, Event)
            assert entry.event_id is not None
            tally.stored += not outcome.replayed
            tally.replayed += outcome.replayed
            tally.latest = max(tally.latest, entry.time)
            stored.append((entry.user_id, entry.event_id))
        elif outcome is None:
            tally.skipped += 1
        else:
            tally.rejected += 1
            reasons = [outcome.detail] if isinstance(outcome, Refusal) else outcome.reasons
            _write(refused, json.dumps({"line": number, "reasons": reasons}) + "\n")
    _write(refused, "")
    if stored:
        _patiently(lambda: tally.find(service(), stored), tally.read)


def _write(refused: IO[str], text: str) -> None:
    try:
        refused.write(text)
        if not text:
            refused.flush()
    except OSError as error:
        raise Stopped(f"{refused.name} cannot be written: {error.strerror}. {AGAIN}") from None


def _outcomes(events: Sequence[Event], done: int) -> list[Outcome]:
    """The outcomes of `events`. What the database or the service cannot take now is tried again: all have an id."""
    outcomes: list[Outcome | None] = [None] * len(events)

    def judge() -> list[Outcome] | str:
        left = [at for at, outcome in enumerate(outcomes) if outcome is None]
        why = ""
        for at, outcome in zip(left, service().judge_many([events[at] for at in left]), strict=True):
            if isinstance(outcome, Refusal) and outcome.reason == "unavailable":
                why = outcome.detail
            else:
                outcomes[at] = outcome
        return why or [outcome for outcome in outcomes if outcome is not None]

    return _patiently(judge, done)


def _patiently(work: Callable[[], T | str], done: int) -> T:
    """What `work` returns, tried again while it returns a text that says why not, or the database is away."""
    for wait in (*WAITS, None):
        try:
            found = work()
        except (SQLAlchemyError, CommitUncertain, Overloaded) as error:
            why = cause(error)
            if isinstance(error, SQLAlchemyError) and not is_away(error):
                break
        else:
            if not isinstance(found, str):
                return found
            why = found
        if wait is not None:
            sleep(wait)
    raise Stopped(f"The database failed after {done:,} lines: {why}. {AGAIN}") from None
