"""The thread that looks for changes of keys goes on whatever becomes of the database, and nothing old is believed."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import sessionmaker

from access import keyring
from access.key_changes import KeyChanges
from access.key_terms import KeyTerms
from access.keyring import Flushed, Keyring, KeysUnknown
from database import embedded, migrations
from database.session import make_sessions, run
from tests.integration.test_watchdog import stopped
from tests.postgres import Sessions, engine_on, transaction
from tests.waiting import wait_until

READER = KeyTerms("a program", ("read",))
Watch = Callable[[str], Keyring]
END_CONNECTIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name LIKE '%keys' AND datname = current_database()
"""


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Makes a keyring of a process that looks often: `watch(url)`."""
    monkeypatch.setattr(keyring, "INTERVAL", 0.02)
    rings = []

    def make(url: str) -> Keyring:
        ring = Keyring(url)
        rings.append(ring)
        ring.watch()
        return ring

    yield make
    for ring in rings:
        ring.close()


def changes_on(sessions: sessionmaker[Any], url: str) -> KeyChanges:
    """Changes of keys by another process."""
    return KeyChanges(lambda work: run(sessions, work), Keyring(url))


def knows(ring: Keyring, key: str) -> bool | None:
    """Whether a process accepts the key; None if it knows nothing."""
    try:
        return ring.find(key) is not None
    except KeysUnknown:
        return None


def looks_again(ring: Keyring) -> None:
    """Wait until a look that begins from now on has succeeded."""
    now = keyring.seconds()
    wait_until(lambda: ring._look.began > now)


def test_changes_by_others_arrive(watch: Watch, sessions: Sessions, database_url: str) -> None:
    """The first key closes what was open, new ones are let in, and what ended is refused."""
    ring, others = watch(database_url), changes_on(sessions, database_url)
    assert not ring.has_keys
    first = others.make(READER, who="me")
    wait_until(lambda: ring.has_keys)
    wait_until(lambda: knows(ring, first.key))
    second = others.rotate(first.row.key_id, overlap=timedelta(hours=1), who="me")
    wait_until(lambda: knows(ring, second.key))
    assert knows(ring, first.key)
    others.revoke(first.row.key_id, who="me", spare_last_admin=False)
    wait_until(lambda: knows(ring, first.key) is False)
    assert knows(ring, second.key)


def test_a_lost_connection_is_made_anew(watch: Watch, sessions: Sessions, database_url: str) -> None:
    """Without a word to anybody who asks: what was seen a moment ago still counts."""
    ring, others = watch(database_url), changes_on(sessions, database_url)
    made = others.make(READER, who="me")
    wait_until(lambda: knows(ring, made.key))
    with transaction(sessions) as session:
        assert session.execute(text(END_CONNECTIONS)).all() != []
    assert knows(ring, made.key)
    looks_again(ring)
    assert knows(ring, made.key)


def test_a_database_that_hangs_closes_it_until_it_goes_on(
    watch: Watch, ready_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections and gives no answer. Then nothing is known, neither of a key nor whether there are any."""
    monkeypatch.setattr(keyring, "STALE", 1.0)
    monkeypatch.setattr(keyring, "TIMEOUT", 1.0)
    with embedded.use(ready_folder, fsync="off") as url, engine_on(url) as engine:
        migrations.upgrade(url)
        empty = watch(url)
        wait_until(lambda: known(empty) is False)
        with stopped(ready_folder / "postgres"):
            wait_until(lambda: known(empty) is None)
        others = changes_on(make_sessions(engine), url)
        made = others.make(READER, who="me")
        ring = watch(url)
        wait_until(lambda: knows(ring, made.key))
        with stopped(ready_folder / "postgres"):
            wait_until(lambda: knows(ring, made.key) is None)
            assert knows(ring, made.key) is None
        wait_until(lambda: knows(ring, made.key))
        others.revoke(made.row.key_id, who="me", spare_last_admin=False)
        wait_until(lambda: knows(ring, made.key) is False)
        for one in (empty, ring):
            one.close()


def known(ring: Keyring) -> bool | None:
    """Whether there are keys; None if it knows nothing."""
    try:
        return ring.has_keys
    except KeysUnknown:
        return None


def test_a_process_that_starts_without_a_database_is_closed_until_there_is_one(
    watch: Watch, empty_database_url: str
) -> None:
    """It does not wait for it for ever: whatever else it does can begin."""
    ring = watch(empty_database_url)
    assert known(ring) is None
    migrations.upgrade(empty_database_url)
    wait_until(lambda: known(ring) is False)


# Uses


def requests_of(sessions: Sessions, key_id: str) -> int:
    """How often the key was used, as stored."""
    with sessions() as session:
        statement = text("SELECT coalesce(sum(requests), 0) FROM key_uses WHERE key_id = :id")
        return int(session.execute(statement, {"id": key_id}).scalar_one())


def test_uses_that_cannot_be_stored_hold_up_nothing(
    watch: Watch, sessions: Sessions, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they wait for a lock the looks go on, and none is lost; each is told to who shares the rates."""
    monkeypatch.setattr(keyring, "TIMEOUT", 0.1)
    made = changes_on(sessions, database_url).make(READER, who="me")
    key_id, flushed = made.row.key_id, list[Flushed]()
    ring = Keyring(database_url)
    ring.when_flushed(flushed.extend)
    with transaction(sessions) as session:
        session.execute(text("LOCK TABLE key_uses IN ACCESS EXCLUSIVE MODE"))
        ring.watch()
        for _ in range(3):
            ring.count_use(key_id)
            looks_again(ring)
    wait_until(lambda: requests_of(sessions, key_id) == 3)
    ring.close()
    assert sum(one.ours for one in flushed) == flushed[-1].requests == 3


def test_uses_are_stored_at_the_end(
    watch: Watch, sessions: Sessions, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those since the last flush, when a worker is stopped."""
    made = changes_on(sessions, database_url).make(READER, who="me")
    ring = watch(database_url)
    looks_again(ring)
    monkeypatch.setattr(keyring, "INTERVAL", 3600)
    ring.count_use(made.row.key_id)
    ring.close()
    assert requests_of(sessions, made.row.key_id) == 1


def test_two_processes_add_up(watch: Watch, sessions: Sessions, database_url: str) -> None:
    """Both flush the same keys at the same time, over and over; none is lost, and neither waits for ever."""
    others = changes_on(sessions, database_url)
    ids = [others.make(KeyTerms(f"key {number}", ("read",)), who="me").row.key_id for number in range(5)]
    rings = [watch(database_url) for _ in range(2)]
    for number in range(200):
        for ring in rings:
            ring.count_use(ids[number % 5])
        if number % 20 == 0:
            looks_again(rings[0])
    for ring in rings:
        ring.close()
    assert [requests_of(sessions, key_id) for key_id in ids] == [80] * 5
