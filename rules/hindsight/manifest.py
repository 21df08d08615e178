"""What an export consists of: its manifest, and whether its files are as they were written.

Standard library only: it is read where there is no database.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from database.records import RuleVersionRow
from rules.base import RuleSetting
from rules.registry import REGISTRY
from rules.versions import RuleVersions

NAME = "manifest.json"
# Counts changes by which an older release would misunderstand an export.
FORMAT = 1


class NoExport(Exception):
    """The folder is no export, not a whole one, or one of a release that this one does not know. It says which."""


@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """A file of an export: its table, its path in the folder, how many rows it has, of which users, and its bytes."""

    table: str
    name: str
    rows: int
    first_user: int
    last_user: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ExportedRule:
    """A change of a rule, without who made it and why."""

    number: int
    code: int
    version: int
    status: str
    parameters: Mapping[str, Any]
    by_risk: Mapping[str, Any]
    created_at: datetime

    @classmethod
    def of(cls, row: RuleVersionRow) -> "ExportedRule":
        """What an export has of `row`."""
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})

    def row(self) -> RuleVersionRow:
        """The same as a row of the table."""
        return RuleVersionRow(**asdict(self), author=None, note=None)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an export consists of.

    It shows the database as it was at `snapshot_at`, after the migration `schema`, and was written by `release`. Read
    from a replica, it may lack what was committed in the ten seconds before.
    `rules` are all changes of rules, oldest first. `time_is_epoch`: times are seconds since 1970.
    """

    snapshot_at: datetime
    schema: str
    release: str
    time_is_epoch: bool
    rules: tuple[ExportedRule, ...]
    files: tuple[ExportedFile, ...]

    def files_of(self, table: str) -> list[ExportedFile]:
        """The files of a table, in order of users."""
        return [one for one in self.files if one.table == table]

    def rows(self, table: str) -> int:
        """How many rows of a table there are."""
        return sum(one.rows for one in self.files_of(table))

    def settings(self) -> dict[int, RuleSetting]:
        """What each rule was set to, by code in the registry's order; without rules that this release does not know."""
        return dict(RuleVersions.stored(one.row() for one in self.rules).newest.settings)

    def unknown_rules(self) -> list[int]:
        """The codes of rules that this release does not know, and that were on."""
        newest = {one.code: one.status for one in self.rules}
        return sorted(code for code, status in newest.items() if code not in REGISTRY and status != "off")

    def written(self, tables: Iterable[str]) -> str:
        """The text of the file, with the numbers of rows of `tables`."""
        data = {"format": FORMAT, **asdict(self), "rows": {table: self.rows(table) for table in tables}}
        return json.dumps(data, indent=1, default=datetime.isoformat) + "\n"

    @classmethod
    def read(cls, text: str) -> "Manifest":
        """The manifest from the text of its file. Raises NoExport."""
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise NoExport(f"has format {data['format']}, and this release knows {FORMAT}")
            return cls(
                snapshot_at=datetime.fromisoformat(data["snapshot_at"]),
                schema=data["schema"],
                release=data["release"],
                time_is_epoch=data["time_is_epoch"],
                rules=tuple(
                    ExportedRule(**one | {"created_at": datetime.fromisoformat(one["created_at"])})
                    for one in data["rules"]
                ),
                files=tuple(ExportedFile(**one) for one in data["files"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise NoExport("cannot be read") from error


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the export in `folder`. Raises NoExport, and OSError if there is one that cannot be opened."""
    path = folder / NAME
    if not folder.is_dir():
        raise NoExport(f"{folder}: there is no such folder.")
    if not path.exists():
        raise NoExport(f"{folder} has no {NAME}: it is no export, or one that did not end.")
    try:
        return Manifest.read(path.read_text(encoding="utf-8"))
    except NoExport as error:
        raise NoExport(f"{path} {error}.") from None


def check_files(folder: Path, manifest: Manifest, *, digests: bool = True) -> None:
    """Compare the files in `folder` with `manifest`: their sizes and, with `digests`, all that is in them.

    Raises NoExport if one is missing or another than it was, and OSError if one cannot be read.
    """
    for file in manifest.files:
        path = folder / file.name
        if not path.is_file():
            raise NoExport(f"{path} is missing.")
        if (found := path.stat().st_size) != file.bytes:
            raise NoExport(f"{path} has {found:,} bytes, and had {file.bytes:,} when it was written.")
    for file in manifest.files if digests else ():
        with (folder / file.name).open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                raise NoExport(f"{folder / file.name} is not as it was written: its sha256 is another.")


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all, whatever happens meanwhile, and only for its owner."""
    part = path.with_name(f".{path.name}.part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make sure that the names of the files in `folder` outlast a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
