"""The living keys in memory: what one process knows of them, since when, and for how long that says anything."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from access import key_changes, keyring
from access.caller import Caller
from access.key_changes import KeyChanges, KeyEnded, LastAdmin, MadeKey, NameTaken, TooManyKeys, UnknownKey
from access.key_format import make_key
from access.key_terms import KeyTerms
from access.keyring import Flushed, Keyring, KeysUnknown
from database import keys
from database.session import make_asking_engine, run
from tests.postgres import transaction

Sessions = sessionmaker[Session]
NOWHERE = "postgresql+psycopg2://nobody@127.0.0.1:1/none"


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the keyrings of this test."""
    clock = Clock()
    monkeypatch.setattr(keyring, "seconds", clock)
    monkeypatch.setattr(keyring, "STALE", 5.0)
    return clock


@pytest.fixture
def ring(database_url: str) -> Keyring:
    """A keyring that looks by itself when it is asked."""
    return Keyring(database_url)


@pytest.fixture
def changes(sessions: Sessions, ring: Keyring) -> KeyChanges:
    """Changes of keys, after which `ring` looks anew."""
    return KeyChanges(lambda work: run(sessions, work), ring)


def terms(name: str = "a program", *scopes: Any, **more: Any) -> KeyTerms:
    """What a key is to be."""
    return KeyTerms(name, scopes or ("read",), **more)


def make(changes: KeyChanges, *words: Any, **more: Any) -> MadeKey:
    """Make such a key."""
    return changes.make(terms(*words, **more), who="me")


def log_entries(sessions: Sessions) -> list[Any]:
    """Who did what to which key, oldest first."""
    with sessions() as session:
        rows = session.execute(
            text("SELECT who, kind, subject, what, before, after FROM log_entries ORDER BY entry_id")
        )
        return list(rows)


def expire(sessions: Sessions, key_id: str, moment: datetime) -> None:
    """Let a key expire then, without saying so: as time does."""
    with sessions() as session:
        session.execute(text("UPDATE keys SET expires_at = :at WHERE key_id = :id"), {"at": moment, "id": key_id})
        session.commit()


# What lives


def test_a_key_is_found_until_it_is_revoked(ring: Keyring, changes: KeyChanges) -> None:
    """By its text and by its id, with all that it was made with."""
    made = make(changes, "a program", "ingest", "work", rate="9/second")
    found = ring.find(made.key)
    assert found is not None
    assert found == ring.with_id(made.row.key_id)
    key_id, scopes = made.row.key_id, frozenset({"ingest", "work"})
    assert found[:6] == (key_id, "a program", scopes, made.row.changed, "9/second", None)
    assert found.caller == Caller("a program", scopes, key_id)
    changes.revoke(made.row.key_id, who="me", spare_last_admin=True)
    assert (ring.find(made.key), ring.with_id(made.row.key_id)) == (None, None)


def test_what_was_never_a_key_is_not_found(ring: Keyring, changes: KeyChanges) -> None:
    """Even if it reads as one, or has the id of one."""
    made, other = make(changes), make_key()
    wrong = [other.key, "", "junk", made.row.key_id, made.key[:-1], made.key + " ", made.key.lower(), "\u0661" * 61]
    assert [ring.find(one) for one in wrong] == [None] * len(wrong)
    assert ring.with_id(other.key_id) is None


def test_what_was_closed_never_opens_by_itself(ring: Keyring, changes: KeyChanges) -> None:
    """There are keys from the first one on, though none lives."""
    assert not ring.has_keys
    made = make(changes)
    assert ring.has_keys
    changes.revoke(made.row.key_id, who="me", spare_last_admin=True)
    ring.forget()
    assert ring.has_keys


def test_a_key_expires_by_the_clock_of_the_database(
    ring: Keyring, changes: KeyChanges, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's own may be set anyhow. A key expires a moment too early rather than too late."""
    monkeypatch.setattr(keyring, "STALE", 10_000.0)
    monkeypatch.setattr(keyring, "INTERVAL", 10_000.0)
    made = make(changes, expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert ring.find(made.key) is not None
    clock.now += 3_500
    assert ring.find(made.key) is not None
    clock.now += 101
    assert (ring.find(made.key), ring.with_id(made.row.key_id)) == (None, None)


def test_a_key_that_had_expired_is_not_among_the_living(ring: Keyring, changes: KeyChanges, sessions: Sessions) -> None:
    """A look after its end does not read it."""
    made = make(changes)
    expire(sessions, made.row.key_id, datetime(2020, 1, 1, tzinfo=UTC))
    ring.forget()
    assert ring.find(made.key) is None


# How long a look says anything


def test_a_look_that_is_too_old_says_nothing(clock: Clock, changes: KeyChanges, ring: Keyring) -> None:
    """Its age counts from when it began. Then it is not even known whether there are keys."""
    made = make(changes)
    assert ring.find(made.key) is not None
    ring._engine = make_asking_engine(NOWHERE, "keys", timeout=2)
    clock.now += 5.0
    assert ring.find(made.key) is not None
    clock.now += 0.01
    with pytest.raises(KeysUnknown):
        ring.find(made.key)
    with pytest.raises(KeysUnknown):
        ring.with_id(made.row.key_id)


def test_nothing_is_known_without_a_look() -> None:
    """A service that has never reached its database is closed."""
    ring = Keyring(NOWHERE)
    with pytest.raises(KeysUnknown):
        ring.find(make_key().key)
    with pytest.raises(KeysUnknown):
        ring.has_keys  # noqa: B018 (it raises)
    assert ring.find("junk") is None  # it can be no key, whatever keys there are


def test_without_the_tables_nothing_is_known(empty_database_url: str) -> None:
    """Nor if the role may not read them."""
    ring = Keyring(empty_database_url)
    with pytest.raises(KeysUnknown):
        ring.has_keys  # noqa: B018 (it raises)


def test_the_time_of_a_look_is_when_it_began(
    clock: Clock, changes: KeyChanges, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the database answers may be as old as the question."""
    made = make(changes)

    real = keys.newest_change

    def late(connection: Any) -> Any:
        found = real(connection)
        clock.now += 5.01
        return found

    monkeypatch.setattr(keys, "newest_change", late)
    ring.forget()
    with pytest.raises(KeysUnknown):
        ring.find(made.key)


def test_a_change_does_not_interrupt_those_who_call(ring: Keyring, changes: KeyChanges) -> None:
    """While somebody changes keys in a process that looks once a second, it answers all others as before."""
    first = make(changes, "first")
    ring.look()
    ring._is_watched = True  # but there is no thread that would look in between
    make(changes, "second")
    assert ring.find(first.key) is not None


# What is read of a change


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that all keys were read."""
    read, all_keys = list[str](), keys.living_keys

    def counted(connection: Any) -> Any:
        read.append("all")
        return all_keys(connection)

    monkeypatch.setattr(keys, "living_keys", counted)
    return read


def test_only_what_has_changed_is_read(
    database_url: str, changes: KeyChanges, sessions: Sessions, whole: list[str]
) -> None:
    """With ten thousand keys it would take long each time. What has expired meanwhile is forgotten."""
    ring = Keyring(database_url)
    first, second, third = (make(changes, name) for name in ("first", "second", "third"))
    expire(sessions, third.row.key_id, datetime.now(UTC) + timedelta(hours=1))
    ring.look()
    changes.revoke(first.row.key_id, who="me", spare_last_admin=False)
    fourth = make(changes, "fourth")
    ring.look()
    assert set(ring._look.by_id) == {one.row.key_id for one in (second, third, fourth)}
    new = changes.rotate(second.row.key_id, overlap=timedelta(hours=2), who="me")
    ring.look()
    assert {key.key_id for key in ring._look.by_hash.values()} == {
        one.row.key_id for one in (second, third, fourth, new)
    }
    found = ring.with_id(second.row.key_id)
    assert found is not None
    assert found.expires_at is not None
    assert whole == ["all"]


def test_after_a_look_that_failed_all_keys_are_read(
    ring: Keyring, changes: KeyChanges, sessions: Sessions, whole: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server may have taken over, without the last changes of the one before."""
    made = make(changes)
    ring.look()
    with transaction(sessions) as session:
        session.execute(text("DELETE FROM keys"))
    ring.look()
    assert ring.with_id(made.row.key_id) is None  # there was a change, and there is none: all were read
    again = make(changes)
    ring.look()
    before = len(whole)
    engine = ring._engine
    ring._engine = make_asking_engine(NOWHERE, "keys", timeout=2)
    with pytest.raises(SQLAlchemyError):
        ring.look()
    ring._engine = engine
    ring.look()
    assert len(whole) == before + 1
    assert ring.find(again.key) is not None


# Uses


def test_uses_are_stored_together(ring: Keyring, changes: KeyChanges, sessions: Sessions, database_url: str) -> None:
    """One row a key, added up over processes; who flushes learns how many all have had."""
    first, second = make(changes, "first"), make(changes, "second")
    flushed: list[Flushed] = []
    ring.when_flushed(flushed.extend)
    ring.flush()
    for key_id in (first.row.key_id, second.row.key_id, first.row.key_id):
        ring.count_use(key_id)
    ring.flush()
    assert sorted(flushed) == sorted([(first.row.key_id, 2, 2), (second.row.key_id, 1, 1)])
    other = Keyring(database_url)
    other.count_use(first.row.key_id)
    other.flush()
    ring.count_use(first.row.key_id)
    ring.flush()
    assert flushed[2:] == [(first.row.key_id, 1, 4)]
    with sessions() as session:
        rows = session.execute(text("SELECT requests, last_used_at IS NULL FROM key_uses ORDER BY requests"))
        assert [tuple(row) for row in rows] == [(1, False), (4, False)]


def test_uses_that_could_not_be_stored_are_added_to_the_next(ring: Keyring, changes: KeyChanges) -> None:
    """Nothing is lost while the database is away."""
    key_id = make(changes).row.key_id
    engine, flushed = ring._engine, list[Flushed]()
    ring.when_flushed(flushed.extend)
    ring.count_use(key_id)
    ring._engine = make_asking_engine(NOWHERE, "keys", timeout=2)
    with pytest.raises(SQLAlchemyError):
        ring.flush()
    ring.count_use(key_id)
    ring._engine = engine
    ring.flush()
    assert flushed == [(key_id, 2, 2)]


# Changes


def test_the_name_of_a_living_key_is_taken(changes: KeyChanges, sessions: Sessions) -> None:
    """That of a revoked or expired one is free again."""
    first = make(changes)
    with pytest.raises(NameTaken):
        make(changes)
    changes.revoke(first.row.key_id, who="me", spare_last_admin=True)
    second = make(changes)
    expire(sessions, second.row.key_id, datetime(2020, 1, 1, tzinfo=UTC))
    assert make(changes).row.number == 3


def test_a_rotated_key_lives_on_for_the_overlap(ring: Keyring, changes: KeyChanges) -> None:
    """The new one is like it, and ends when the old one would have ended."""
    end = datetime.now(UTC) + timedelta(days=9)
    old = make(changes, "a program", "read", "admin", rate="9/second", expires_at=end)
    new = changes.rotate(old.row.key_id, overlap=timedelta(hours=2), who="me")
    assert new.row[2:5] == old.row[2:5]
    assert new.row.expires_at == end
    found = ring.find(old.key)
    assert found is not None
    assert found.expires_at is not None
    assert timedelta(hours=1) < found.expires_at - datetime.now(UTC) <= timedelta(hours=2)
    assert ring.find(new.key) is not None
    # A longer overlap does not let it live longer than it would have.
    changes.rotate(old.row.key_id, overlap=timedelta(days=3), who="me")
    again = ring.find(old.key)
    assert again is not None
    assert again == found._replace(changed=again.changed)


def test_rotating_without_an_overlap_revokes(ring: Keyring, changes: KeyChanges) -> None:
    """The old key is refused at once, and cannot be rotated again."""
    old = make(changes)
    new = changes.rotate(old.row.key_id, overlap=timedelta(0), who="me")
    assert ring.find(old.key) is None
    assert ring.find(new.key) is not None
    with pytest.raises(KeyEnded):
        changes.rotate(old.row.key_id, overlap=timedelta(0), who="me")


def test_the_last_key_that_can_manage_keys_can_be_spared(changes: KeyChanges, sessions: Sessions) -> None:
    """Unless it does not live any more, or another one does."""
    first = make(changes, "first", "admin")
    with pytest.raises(LastAdmin):
        changes.revoke(first.row.key_id, who="me", spare_last_admin=True)
    second = make(changes, "second", "admin", "read")
    assert changes.revoke(first.row.key_id, who="me", spare_last_admin=True).revoked_at is not None
    changes.revoke(second.row.key_id, who="me", spare_last_admin=False)


def test_a_key_that_is_not_there_cannot_be_changed(changes: KeyChanges) -> None:
    """It is named."""
    for change in (
        lambda: changes.revoke("0000000", who="me", spare_last_admin=True),
        lambda: changes.rotate("0000000", overlap=timedelta(0), who="me"),
    ):
        with pytest.raises(UnknownKey, match="0000000"):
            change()


def test_revoking_twice_changes_nothing(changes: KeyChanges, sessions: Sessions) -> None:
    """The first time stays, and the log has it once."""
    made = make(changes)
    first = changes.revoke(made.row.key_id, who="me", spare_last_admin=True)
    assert changes.revoke(made.row.key_id, who="me", spare_last_admin=True) == first
    assert [entry.what for entry in log_entries(sessions)] == ["made", "revoked"]


def test_no_more_keys_than_may(changes: KeyChanges, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has all of them in memory. Rotating without an overlap needs no room."""
    monkeypatch.setattr(key_changes, "MOST_LIVING", 2)
    first, _ = make(changes, "first"), make(changes, "second")
    with pytest.raises(TooManyKeys):
        make(changes, "third")
    with pytest.raises(TooManyKeys):
        changes.rotate(first.row.key_id, overlap=timedelta(hours=1), who="me")
    changes.rotate(first.row.key_id, overlap=timedelta(0), who="me")


def test_the_log_says_who_changed_which_key(changes: KeyChanges, sessions: Sessions) -> None:
    """And has neither secrets nor hashes. What was refused leaves nothing there."""
    made = make(changes)
    with pytest.raises(NameTaken):
        make(changes)
    rotated = changes.rotate(made.row.key_id, overlap=timedelta(hours=1), who="she")
    changes.revoke(made.row.key_id, who="he", spare_last_admin=True)
    entries = log_entries(sessions)
    old, shown = made.row.key_id, {"name": "a program", "scopes": ["read"], "rate": None, "expires_at": None}
    assert [tuple(entry)[:4] for entry in entries] == [
        ("me", "key", old, "made"),
        ("she", "key", old, "rotated"),
        ("he", "key", old, "revoked"),
    ]
    assert entries[0].after == shown
    assert entries[1].before == shown
    assert entries[1].after == shown | {"key_id": rotated.row.key_id, "overlap_seconds": 3600}
    assert entries[2].before["name"] == "a program"
    for secret in (made.key[12:], rotated.key[12:]):
        assert secret not in str(entries)


def test_changes_at_once_have_numbers_one_after_the_other(changes: KeyChanges, ring: Keyring) -> None:
    """Each waits for the one before to commit, so whoever has seen a number has seen all below it."""
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda number: make(changes, f"key {number}"), range(12)))
    made.sort(key=lambda one: one.row.changed)
    assert [one.row.number for one in made] == list(range(1, 13))
    assert len({one.row.changed for one in made}) == 12
    assert all(ring.find(one.key) for one in made)
