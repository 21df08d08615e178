"""Writing an export: Parquet by stretches of users, each file there as a whole or not at all. Needs pyarrow."""

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from sqlalchemy import BigInteger, Boolean, Connection, Integer, Numeric, Text
from sqlalchemy.types import TypeEngine

from database import exporting
from database.exporting import TABLES, ExportedTable
from database.records import Users
from database.rule_versions import rule_versions
from rules.hindsight.manifest import ExportedFile, ExportedRule, Manifest, sync

# Actions of one file: some ten megabytes. A user is never split, so one with more has a file alone.
ACTIONS_A_FILE = 1_000_000
# Bytes of CSV that become a row group: some hundred thousand actions. That is what a process has in memory at a time.
PIECE = 8 << 20


def _arrow(type_: TypeEngine[Any]) -> pa.DataType:
    match type_:
        case BigInteger():
            return pa.int64()
        case Integer():
            return pa.int32()
        case Numeric():
            return pa.decimal128(type_.precision, type_.scale)
        case Boolean():
            return pa.bool_()
        case Text():
            return pa.string()
    raise TypeError(f"an export has no {type_}")


def schema_of(table: ExportedTable) -> pa.Schema:
    """The columns of a table's files. Decimals are as wide as in the database."""
    return pa.schema([(name, _arrow(column.type)) for name, column in table.columns.items()])


@dataclass
class ExportResult:
    """What was exported of some users; of all, also what an export says besides."""

    files: list[ExportedFile] = field(default_factory=list)
    snapshot_at: datetime | None = None
    schema: str = ""
    rules: tuple[ExportedRule, ...] = ()

    def add(self, other: "ExportResult") -> None:
        """Add the files of other users."""
        self.files += other.files

    def manifest(self, *, release: str, time_is_epoch: bool) -> Manifest:
        """The manifest of an export of all users."""
        assert self.snapshot_at is not None
        return Manifest(
            snapshot_at=self.snapshot_at,
            schema=self.schema,
            release=release,
            time_is_epoch=time_is_epoch,
            rules=self.rules,
            files=tuple(sorted(self.files, key=lambda one: (list(TABLES).index(one.table), one.first_user))),
        )


@dataclass(frozen=True)
class ExportWork:
    """An export into a folder that has one for each table."""

    folder: Path

    @property
    def modules(self) -> Sequence[str]:
        """What exports."""
        return (__name__,)

    @property
    def size(self) -> int:
        """So many actions are a file."""
        return ACTIONS_A_FILE

    def prepared(self, connection: Connection) -> "ExportWork":  # noqa: ARG002
        """Unchanged: the folder says everything."""
        return self

    def part(self, connection: Connection, users: Users) -> ExportResult:
        """Write the files of `users`, one for each table that has rows of theirs."""
        files = (_write(connection, self.folder, table, users) for table in TABLES)
        return ExportResult([file for file in files if file is not None])

    def complete(self, connection: Connection, result: ExportResult) -> None:
        """Add what the same state says besides users."""
        result.snapshot_at = exporting.moment(connection)
        result.schema = exporting.schema_version(connection)
        result.rules = tuple(map(ExportedRule.of, rule_versions(connection)))
        for table in TABLES:
            sync(self.folder / table)


def _write(connection: Connection, folder: Path, name: str, users: Users) -> ExportedFile | None:
    """Write one file, under another name until it is whole; None if there are no rows."""
    table = TABLES[name]
    path = folder / name / f"{users.first:019}.parquet"
    part = path.with_name(f".{path.name}.part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        target = _Target(file)
        rows = _write_rows(connection, table, users, target)
        if not rows:
            part.unlink()
            return None
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return ExportedFile(
        table=name,
        name=f"{name}/{path.name}",
        rows=rows,
        first_user=users.first,
        last_user=users.last,
        bytes=target.bytes,
        sha256=target.digest.hexdigest(),
    )


def _write_rows(connection: Connection, table: ExportedTable, users: Users, target: "_Target") -> int:
    schema = schema_of(table)
    reading = pa.csv.ReadOptions(column_names=schema.names, use_threads=False)
    converting = pa.csv.ConvertOptions(
        column_types=schema,
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
        true_values=["t"],
        false_values=["f"],
    )
    sorting = pa.parquet.SortingColumn.from_ordering(schema, [(one.key, "ascending") for one in table.order])
    rows = 0
    with pa.parquet.ParquetWriter(target, schema, compression="zstd", sorting_columns=sorting) as writer:

        def take(lines: bytes) -> None:
            nonlocal rows
            read = pa.csv.read_csv(io.BytesIO(lines), read_options=reading, convert_options=converting)
            writer.write_table(read)
            rows += len(read)

        exporting.copy_table(connection, table, users, PIECE, take)
    return rows


class _Target(io.RawIOBase):
    """A file that is written once from its beginning, and what was written: how much, and its digest."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self._file = file
        self.bytes = 0
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.bytes
