"""KEYS_FILE: what its lines may be."""

from pathlib import Path

import pytest

from access import keys_file
from access.key_format import hash_key, make_key
from access.key_terms import KeyTerms
from access.keys_file import KeyInFile, KeysFileError, read_keys_file


def refused(path: Path) -> list[str]:
    """What is said of a file that cannot be used, without its path."""
    with pytest.raises(KeysFileError) as found:
        read_keys_file(path)
    return [problem.removeprefix(str(path)).removeprefix(", ") for problem in found.value.problems]


def test_keys_of_a_file(tmp_path: Path) -> None:
    """Keys, names, scopes and rates; comments, empty lines and the line ends of others say nothing."""
    one, other, third = make_key(), make_key(), make_key()
    path = tmp_path / "keys"
    path.write_text(
        f"# ours\n\n{one.key} shop ingest\n  {other.key}\tdesk  work,read,work 100/second\r\n"
        f"#{make_key().key} off ingest\n{third.key} batch ingest 50 per 10 seconds"
    )
    assert read_keys_file(path) == [
        KeyInFile(one.key_id, hash_key(one.key), KeyTerms("shop", ("ingest",))),
        KeyInFile(other.key_id, hash_key(other.key), KeyTerms("desk", ("read", "work"), "100/second")),
        KeyInFile(third.key_id, hash_key(third.key), KeyTerms("batch", ("ingest",), "50 per 10 seconds")),
    ]


def test_every_bad_line_is_named_and_no_key_is_shown(tmp_path: Path) -> None:
    """What is wrong, line by line. A line in the wrong order must not put its key into a log."""
    keys = [make_key().key for _ in range(9)]
    lines = [
        f"{keys[0]} shop",
        f"shop {keys[1]} ingest",
        f"{keys[2][:-1]} shop ingest",
        f"{keys[3]} shop {keys[4]}",
        f"{keys[5]} service ingest",
        f"{keys[6]} shop ingest {keys[7]}",
        f"{keys[8]} shop ingest",
        f"{keys[8]} desk read",
        "# fine",
    ]
    path = tmp_path / "keys"
    path.write_text("\n".join(lines))
    problems = refused(path)
    assert problems == [
        "line 1: a line is KEY NAME SCOPE,SCOPE, and a rate if the key is to have one",
        "line 2: it does not begin with a key, or a part of the key is missing or mistyped",
        "line 3: it does not begin with a key, or a part of the key is missing or mistyped",
        "line 4: the scopes must be one or more of ingest, read, work, tune, admin",
        "line 5: the name must not be 'service', which is the name of others",
        "line 6: the rate must be written like 100/second, 6000/minute or 50 per 10 seconds",
        "line 8: this key stands above already",
    ]
    assert [key for key in keys if key[12:40] in "".join(problems)] == []


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is missing, is a folder, is no text, or is too large."""
    path = tmp_path / "keys"
    assert refused(path) == [": No such file or directory"]
    assert refused(tmp_path) == [": Is a directory"]
    path.write_bytes(b"\xff\xfe")
    assert refused(path) == [" is not UTF-8"]
    path.write_text("#" * (keys_file.MOST_BYTES + 1))
    assert refused(path) == [" is larger than 1 MiB"]
    path.write_text("".join(f"{make_key().key} shop ingest\n" for _ in range(4)))
    monkeypatch.setattr(keys_file, "MOST_KEYS", 3)
    assert refused(path) == [" has more than 3 keys"]
    monkeypatch.setattr(keys_file, "MOST_KEYS", 4)
    assert len(read_keys_file(path)) == 4
