"""`flask --app app export`: the stored history as Parquet files, for other programs and for `spark-backtest`."""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from access.caller import COMMAND_LINE
from commands.endings import Command, Stopped, check_database, service
from commands.optional import check_packages
from commands.terminal import json_option, over_all, processes_option
from database.exporting import TABLES
from database.log_entries import add_log_entry
from database.session import CommitUncertain, commit
from rules.hindsight.manifest import NAME, Manifest, write_whole
from version import VERSION

_PART = f".{NAME}.part"  # the manifest while it is written


@click.command(cls=Command)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@processes_option
@json_option
@with_appcontext
def export(folder: Path, processes: int, as_json: bool) -> None:
    """Write all stored actions, alerts, ratings and overrides to DIR, as Parquet.

    DIR is made, or must be empty; only its owner can read what is in it. All files show the database at one moment. The
    manifest, manifest.json, is written last: without it the export is not whole. The service keeps running. Exit
    status: 0 if done, 2 if it could not be done, 130 after Ctrl+C; then what was written is removed.
    """
    check_packages("pyarrow")
    check_database()
    service().run(service().rules)  # in a new database they are stored only now
    is_new = _make(folder)
    try:
        manifest, seconds = _export(folder, processes)
        with suppress(SQLAlchemyError, CommitUncertain):  # it is away; the entry of the beginning stays
            _note("ended", folder, {table: manifest.rows(table) for table in TABLES})
    except BaseException:
        _remove(folder, and_itself=is_new)
        raise
    data = _data(folder, manifest)
    click.echo(json.dumps(data, indent=2) if as_json else _text(data, seconds))


def _make(folder: Path) -> bool:
    """Make the folder for its owner alone, with one for each table. Returns whether it was not there before."""
    is_new = not folder.exists()
    if is_new:
        folder.mkdir(mode=0o700)
    elif not folder.is_dir():
        raise Stopped(f"{folder} is no folder.")
    elif found := sorted(one.name for one in folder.iterdir()):
        ended = "" if NAME in found or set(found) - {*TABLES, _PART} else " It looks like an export that did not end."
        raise Stopped(f"{folder} is not empty: an export needs a folder of its own.{ended}")
    else:
        folder.chmod(0o700)
    for table in TABLES:
        (folder / table).mkdir(mode=0o700)
    return is_new


def _export(folder: Path, processes: int) -> tuple[Manifest, float]:
    # Loads pyarrow.
    from rules.hindsight.export import ExportResult, ExportWork

    _note("began", folder)
    result, seconds = over_all("Exporting", ExportWork(folder.resolve()), ExportResult(), processes)
    manifest = result.manifest(release=VERSION, time_is_epoch=service().policy.time_is_epoch)
    write_whole(folder / NAME, manifest.written(TABLES))
    return manifest, seconds


def _remove(folder: Path, *, and_itself: bool) -> None:
    """Remove what was written: all processes have ended."""
    for table in TABLES:
        shutil.rmtree(folder / table, ignore_errors=True)
    for name in (NAME, _PART):
        (folder / name).unlink(missing_ok=True)
    if and_itself:
        with suppress(OSError):
            folder.rmdir()


def _note(what: str, folder: Path, rows: dict[str, int] | None = None) -> None:
    after: dict[str, Any] = {"folder": str(folder), **({"rows": rows} if rows else {})}

    def note(session: Any) -> None:
        add_log_entry(session, who=COMMAND_LINE, kind="export", subject="history", what=what, after=after)
        commit(session)

    service().run(note)


def _data(folder: Path, manifest: Manifest) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "snapshot_at": manifest.snapshot_at.isoformat(),
        "files": len(manifest.files),
        "bytes": sum(file.bytes for file in manifest.files),
        **{table: manifest.rows(table) for table in TABLES},
    }


def _text(data: dict[str, Any], seconds: float) -> str:
    size = data["bytes"] / max(1, data["actions"])
    return "\n".join(
        [
            f"folder             {data['folder']}",
            f"shows              {data['snapshot_at']}",
            *(f"{table:<18} {data[table]:>14,}" for table in TABLES),
            f"files              {data['files']:>14,}",
            f"bytes              {data['bytes']:>14,}  {size:,.1f} for each action",
            f"actions per second {data['actions'] / seconds:>14,.0f}",
        ]
    )
