"""Making, revoking and rotating keys: each is one transaction, with its entry in the log.

Who is answered can rely on the change: a key that was made works in every process, and what was taken away is refused
by every request that begins from then on. The processes are not asked; it is enough to wait until each of them must
have seen the change, or knows nothing any more (see keyring.py). So these take some seconds, in one thread each.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.orm import Session

from access.key_format import hash_key, make_key
from access.key_terms import KeyTerms
from access.keyring import INTERVAL, STALE, Keyring
from database import keys
from database.keys import KeyRow
from database.log_entries import add_log_entry
from database.session import Transaction

T = TypeVar("T")
Run = Callable[[Callable[[Session], Any]], Any]

MOST_LIVING = 10_000  # keys: each process has them all in memory, less than a kilobyte each
MOST_WAITING = 4  # changes of a process: each holds a thread that other requests want
# Seconds from a commit until no process accepts what was revoked, and until each that can ask has seen what was made.
REVOKED, MADE = STALE + 0.25, INTERVAL + 0.5

_waiting = threading.BoundedSemaphore(MOST_WAITING)


class KeyRefused(Exception):
    """The keys stay as they are; the text is a sentence that says why."""


class NameTaken(KeyRefused):
    """Another key of this name lives."""

    def __init__(self, name: str) -> None:
        super().__init__(f'A living key has the name "{name}": revoke or rotate it, or take another name.')


class TooManyKeys(KeyRefused):
    """As many keys live as may."""

    def __init__(self) -> None:
        super().__init__(f"There are {MOST_LIVING:,} living keys, as many as there can be: revoke some.")


class KeyEnded(KeyRefused):
    """The key was revoked, or has expired."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"The key {key_id} was revoked or has expired: make a new one.")


class LastAdmin(KeyRefused):
    """No other living key could manage keys."""

    def __init__(self) -> None:
        super().__init__(
            "No other living key has the scope admin, so nobody could manage keys over HTTP: make another first, or "
            "revoke it by the command."
        )


class UnknownKey(KeyRefused):
    """There is no such key."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"There is no key {key_id}.")


class ChangesFull(Exception):
    """As many changes of keys are under way in this process as may; nothing was stored."""


@contextmanager
def turn() -> Iterator[None]:
    """One of the changes that may be under way at once. Raises ChangesFull."""
    if not _waiting.acquire(blocking=False):
        raise ChangesFull
    try:
        yield
    finally:
        _waiting.release()


class MadeKey(NamedTuple):
    """A new key: what is stored of it, and all of it, which nobody can read again."""

    row: KeyRow
    key: str


class KeyChanges:
    """Changes keys in the database on which `run` runs work in a session; `keyring` is this process's own.

    `when_stored` is called with what will be returned as soon as it is committed, before the wait.
    """

    def __init__(self, run: Run, keyring: Keyring, when_stored: Callable[[Any], None] = lambda _: None) -> None:
        self._run, self._keyring, self._when_stored = run, keyring, when_stored

    def make(self, terms: KeyTerms, *, who: str) -> MadeKey:
        """Make a key. Raises NameTaken, TooManyKeys and ChangesFull."""
        # With the first key ever, nobody may call without one any more.
        return self._change(lambda session: _make(session, terms, who), lambda made: _takes_away(made.row))

    def revoke(self, key_id: str, *, who: str, spare_last_admin: bool) -> KeyRow:
        """End a key; one that was revoked before stays so.

        Raises UnknownKey and ChangesFull, and LastAdmin if that one is to be spared.
        """
        return self._change(lambda session: _revoke(session, key_id, who, spare_last_admin), lambda _: REVOKED)

    def rotate(self, key_id: str, *, overlap: timedelta, who: str) -> MadeKey:
        """Make a key like another, which lives on for `overlap` at most: with none it is revoked.

        Raises UnknownKey, KeyEnded, TooManyKeys and ChangesFull.
        """
        return self._change(
            lambda session: _rotate(session, key_id, overlap, who),
            # Without an answer before the old key's end, nobody need know of that end in time.
            lambda _: MADE if overlap.total_seconds() >= REVOKED else REVOKED,
        )

    def _change(self, work: Callable[[Session], T], seconds: Callable[[T], float]) -> T:
        with turn():
            done: T = self._run(work)
            until = time.monotonic() + seconds(done)
            self._keyring.forget()
            self._when_stored(done)
            time.sleep(max(0.0, until - time.monotonic()))
            return done


def _takes_away(row: KeyRow) -> float:
    return REVOKED if row.number == 1 else MADE


def _make(session: Session, terms: KeyTerms, who: str) -> MadeKey:
    with Transaction(session) as transaction:
        keys.lock_keys(session)
        if keys.living_keys_named(session, terms.name):
            raise NameTaken(terms.name)
        made = _add(session, terms, who)
        add_log_entry(session, who=who, kind="key", subject=made.row.key_id, what="made", after=_shown(made.row))
        transaction.commit()
    return made


def _add(session: Session, terms: KeyTerms, who: str) -> MadeKey:
    if keys.count_living(session) >= MOST_LIVING:
        raise TooManyKeys
    new = make_key()
    while keys.get_key(session, new.key_id) is not None:
        new = make_key()
    keys.add_key(
        session,
        new.key_id,
        secret_hash=hash_key(new.key),
        name=terms.name,
        scopes=terms.scopes,
        rate=terms.rate,
        expires_at=terms.expires_at,
        created_by=who,
    )
    return MadeKey(_existing(session, new.key_id), new.key)


def _revoke(session: Session, key_id: str, who: str, spare_last_admin: bool) -> KeyRow:
    with Transaction(session) as transaction:
        keys.lock_keys(session)
        before = _existing(session, key_id)
        if before.revoked_at is not None:
            return before
        is_admin = before.is_living and "admin" in before.scopes
        if spare_last_admin and is_admin and not keys.has_other_living(session, key_id, "admin"):
            raise LastAdmin
        keys.revoke_key(session, key_id)
        add_log_entry(session, who=who, kind="key", subject=key_id, what="revoked", before=_shown(before))
        after = _existing(session, key_id)
        transaction.commit()
    return after


def _rotate(session: Session, key_id: str, overlap: timedelta, who: str) -> MadeKey:
    with Transaction(session) as transaction:
        keys.lock_keys(session)
        old = _existing(session, key_id)
        if not old.is_living:
            raise KeyEnded(key_id)
        terms = KeyTerms(old.name, tuple(old.scopes), old.rate, old.expires_at)  # type: ignore[arg-type]
        if overlap:
            keys.expire_key(session, key_id, overlap)
        else:
            keys.revoke_key(session, key_id)  # first, so that it is not counted as living
        made = _add(session, terms, who)
        after = _shown(made.row) | {"key_id": made.row.key_id, "overlap_seconds": int(overlap.total_seconds())}
        add_log_entry(session, who=who, kind="key", subject=key_id, what="rotated", before=_shown(old), after=after)
        transaction.commit()
    return made


def _existing(session: Session, key_id: str) -> KeyRow:
    row = keys.get_key(session, key_id)
    if row is None:
        raise UnknownKey(key_id)
    return row


def _shown(row: KeyRow) -> dict[str, Any]:
    """What the log says of a key."""
    expires_at = None if row.expires_at is None else row.expires_at.isoformat()
    return {"name": row.name, "scopes": row.scopes, "rate": row.rate, "expires_at": expires_at}
