"""The file that KEYS_FILE names: keys that were made elsewhere, and are taken in when the service starts.

One key a line, `KEY NAME SCOPE,SCOPE [RATE]`; empty lines and those that begin with `#` say nothing.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from sqlalchemy.orm import Session

from access.key_changes import MOST_LIVING
from access.key_format import hash_key, read_key_id
from access.key_terms import SERVICE, KeyTerms, read_name, read_scopes
from access.rates import read_as_written
from database import keys
from database.log_entries import add_log_entry
from database.session import Transaction

T = TypeVar("T")
V = TypeVar("V")

MOST_KEYS = 1_000  # in a file
MOST_BYTES = 1024 * 1024  # of a file


class KeysFileError(Exception):
    """The file cannot be used: `problems` has one line for each reason, with the number of its line, never a key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Bad KEYS_FILE:\n" + "\n".join(f"  {problem}" for problem in problems))
        self.problems = problems


class KeyInFile(NamedTuple):
    """A key of the file: its id, what is stored of it, and what it is to be."""

    key_id: str
    secret_hash: bytes
    terms: KeyTerms


def read_keys_file(path: Path) -> list[KeyInFile]:
    """The keys in the file at `path`. Raises KeysFileError."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise KeysFileError([f"{path} is larger than 1 MiB"])
        text = content.decode()
    except UnicodeDecodeError:
        raise KeysFileError([f"{path} is not UTF-8"]) from None
    except OSError as error:
        raise KeysFileError([f"{path}: {error.strerror}"]) from None
    found: list[KeyInFile] = []
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            key = _read(words)
            if key.key_id in {one.key_id for one in found}:
                raise ValueError("this key stands above already")
            found.append(key)
        except ValueError as error:
            problems.append(f"{path}, line {number}: {error}")
    if len(found) > MOST_KEYS:
        problems.append(f"{path} has more than {MOST_KEYS:,} keys")
    if problems:
        raise KeysFileError(problems)
    return found


def _read(words: Sequence[str]) -> KeyInFile:
    """The key of one line. What its ValueError says must not repeat the line: it may be a key in the wrong place."""
    if len(words) < 3:
        raise ValueError("a line is KEY NAME SCOPE,SCOPE, and a rate if the key is to have one")
    key, name, scopes, *rate = words
    key_id = read_key_id(key)
    if key_id is None:
        raise ValueError("it does not begin with a key, or a part of the key is missing or mistyped")
    return KeyInFile(
        key_id,
        hash_key(key),
        KeyTerms(
            _said("the name", read_name, name),
            _said("the scopes", read_scopes, scopes.split(",")),
            _said("the rate", read_as_written, " ".join(rate)) if rate else None,
        ),
    )


def _said(what: str, read: Callable[[V], T], value: V) -> T:
    """What `read` makes of `value`; its ValueError then says of what."""
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{what} {error}") from None


def take_in(session: Session, found: Sequence[KeyInFile]) -> list[KeyInFile]:
    """Store those keys of a file that were never known, and log each. Returns them.

    One that was revoked stays so, and one that is known stays as it is, whatever the file says of it now. Raises
    KeysFileError if there would be too many keys.
    """
    with Transaction(session) as transaction:
        keys.lock_keys(session)
        new = [one for one in found if keys.get_key(session, one.key_id) is None]
        if new and keys.count_living(session) + len(new) > MOST_LIVING:
            raise KeysFileError([f"With these keys, more than {MOST_LIVING:,} would live: revoke some"])
        for key_id, secret_hash, terms in new:
            keys.add_key(
                session,
                key_id,
                secret_hash=secret_hash,
                name=terms.name,
                scopes=terms.scopes,
                rate=terms.rate,
                expires_at=None,
                created_by=SERVICE,
            )
            after = {"name": terms.name, "scopes": terms.scopes, "rate": terms.rate, "expires_at": None}
            add_log_entry(session, who=SERVICE, kind="key", subject=key_id, what="made", after=after)
        transaction.commit()
    return new
