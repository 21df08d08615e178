"""The manifest of an export: what it says is read again, and a file that is another than it was is found."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from database.records import RuleVersionRow
from rules.hindsight.manifest import (
    FORMAT,
    NAME,
    ExportedFile,
    ExportedRule,
    Manifest,
    NoExport,
    check_files,
    read_manifest,
    write_whole,
)
from rules.registry import REGISTRY
from rules.versions import RuleVersions

BYTES = b"not really Parquet"
AT = datetime(2026, 11, 27, 12, 0, 0, 123456, tzinfo=UTC)


def rule(number: int, code: int, status: str = "active", **parameters: Any) -> RuleVersionRow:
    """A change of a rule."""
    return RuleVersionRow(number, code, number, status, parameters, {}, "ada", "a note", AT)


RULES = tuple(
    ExportedRule.of(row)
    for row in (
        rule(1, 1100, threshold="70.00"),
        rule(2, 999_999, of_tomorrow="1"),
        rule(3, 123, threshold="80.00", of_tomorrow=7),
        rule(4, 999_998),
        rule(5, 999_998, "off"),
    )
)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export with one file."""
    file = ExportedFile(
        table="actions",
        name="actions/1.parquet",
        rows=3,
        first_user=1,
        last_user=9,
        bytes=len(BYTES),
        sha256=hashlib.sha256(BYTES).hexdigest(),
    )
    manifest = Manifest(snapshot_at=AT, schema="0018", release="1.0.0", time_is_epoch=True, rules=RULES, files=(file,))
    (tmp_path / "actions").mkdir()
    (tmp_path / file.name).write_bytes(BYTES)
    write_whole(tmp_path / NAME, manifest.written(["actions", "alerts"]))
    return tmp_path


def test_what_is_written_is_read(export: Path) -> None:
    """All of it, and the numbers of rows are there for people."""
    manifest = read_manifest(export)
    assert (manifest.snapshot_at, manifest.schema, manifest.time_is_epoch) == (AT, "0018", True)
    assert (manifest.rules, manifest.rows("actions"), manifest.rows("alerts")) == (RULES, 3, 0)
    assert json.loads((export / NAME).read_text())["rows"] == {"actions": 3, "alerts": 0}
    assert (export / NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in export.iterdir() if path.name.startswith(".")] == []
    assert "ada" not in (export / NAME).read_text()
    assert "a note" not in (export / NAME).read_text()
    check_files(export, manifest)


def test_rules_of_a_newer_release(export: Path) -> None:
    """They are as a backtest of the database has them: unknown ones are left out, and so are unknown parameters."""
    manifest = read_manifest(export)
    rows = [rule(1, 1100, threshold="70.00"), rule(2, 999_999, of_tomorrow="1")]
    rows += [rule(3, 123, threshold="80.00", of_tomorrow=7), rule(4, 999_998), rule(5, 999_998, "off")]
    assert manifest.settings() == RuleVersions.stored(rows).newest.settings
    assert set(manifest.settings()) == {1100, 123}
    assert set(manifest.settings()[123].parameters) == set(REGISTRY[123].defaults())
    assert manifest.unknown_rules() == [999_999]


def _changed(path: Path) -> None:
    path.write_bytes(BYTES.replace(b"not", b"now"))


def _cut(path: Path) -> None:
    path.write_bytes(BYTES[:-1])


@pytest.mark.parametrize(
    ("harm", "said", "by_size"),
    [(_changed, "sha256", False), (_cut, "17 bytes, and had 18", True), (Path.unlink, "missing", True)],
)
def test_a_file_that_is_another_is_named(harm: Callable[[Path], None], said: str, by_size: bool, export: Path) -> None:
    """A change of its bytes is found by its digest, any other without reading it."""
    manifest = read_manifest(export)
    harm(export / "actions/1.parquet")
    with pytest.raises(NoExport, match=said) as raised:
        check_files(export, manifest)
    assert "actions/1.parquet" in str(raised.value)
    if by_size:
        with pytest.raises(NoExport):
            check_files(export, manifest, digests=False)
    else:
        check_files(export, manifest, digests=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "has no manifest.json: it is no export, or one that did not end"),
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format": 1, "files": [{}]}', "cannot be read"),
        (json.dumps({"format": FORMAT + 1}), f"format {FORMAT + 1}, and this release knows {FORMAT}"),
    ],
)
def test_what_is_no_export_says_so(text: str | None, said: str, tmp_path: Path) -> None:
    """So does a folder that is not there."""
    if text is not None:
        (tmp_path / NAME).write_text(text)
    with pytest.raises(NoExport, match=said):
        read_manifest(tmp_path)
    with pytest.raises(NoExport, match="no such folder"):
        read_manifest(tmp_path / "elsewhere")


def test_a_manifest_is_there_as_a_whole_or_not_at_all(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens before its last byte is on the disk, no file has its name."""
    manifest = replace(read_manifest(export), release="2")
    (export / NAME).unlink()

    def fail(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(export / NAME, manifest.written([]))
    assert not (export / NAME).exists()
