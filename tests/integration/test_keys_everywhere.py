"""Keys over two services with two workers each, on one database: what was revoked is served by none of them."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import pytest
import requests
from sqlalchemy import text

from access import key_changes
from access.key_changes import KeyChanges
from access.keyring import Keyring
from database import embedded, migrations
from database.session import make_sessions, run
from tests.contract.helpers import an_event
from tests.keys import add_key, bearer
from tests.postgres import Sessions, engine_on
from tests.service import PATIENT_ENVIRONMENT, Service, with_constants
from tests.waiting import PATIENCE, freeze, wait_until

# As in production, but for the lengths. A look that hangs is cut off only long after it has become too old.
STALE = 2.0
QUICKER = with_constants(
    f"access.keyring.STALE = {STALE}",
    "access.keyring.INTERVAL = 0.2",
    "access.keyring.TIMEOUT = 30.0",
    "access.bad_keys.MOST = 1_000_000",
    f"access.key_changes.REVOKED = {STALE + 0.1}",
    "access.key_changes.MADE = 0.5",
)


class Answered(NamedTuple):
    """A request: when it began, and the status of its answer."""

    began: float
    status: int


@contextmanager
def load(services: list[Service], key: str) -> Iterator[list[Answered]]:
    """While this lasts, several callers of each service post events with the key, one after the other."""
    answers: list[Answered] = []
    end = Event()

    def call(service: Service, user_id: int) -> None:
        with requests.Session() as session:
            while not end.is_set():
                began = time.monotonic()
                answer = session.post(
                    f"{service.url}/event", json=an_event(user_id=user_id), headers=bearer(key), timeout=PATIENCE
                )
                answers.append(Answered(began, answer.status_code))
                end.wait(0.01)

    with ThreadPoolExecutor(2 * len(services)) as threads:
        calls = [threads.submit(call, one, number + 1) for number, one in enumerate(2 * services)]
        try:
            yield answers
        finally:
            end.set()
        for one in calls:
            one.result()


def served_after(answers: list[Answered], moment: float, fewest: int) -> set[int]:
    """Wait for so many requests that began after `moment`, and return the statuses of their answers."""

    def found() -> list[int]:
        return [one.status for one in list(answers) if one.began > moment]

    wait_until(lambda: len(found()) >= fewest)
    return set(found())


def serves(services: list[Service], key: str) -> set[int]:
    """How a read with the key is answered by each service, in more requests than either has workers."""
    return {
        requests.get(f"{one.url}/alerts", headers=bearer(key), timeout=PATIENCE).status_code
        for one in services
        for _ in range(4)
    }


@contextmanager
def looks_hang(sessions: Sessions) -> Iterator[None]:
    """The database does not answer any process that asks for changes of keys; all else goes on."""
    query = text("SELECT pid, state FROM pg_stat_activity WHERE application_name LIKE '%keys'")
    with sessions() as session:
        frozen: list[int] = []
        for pid, _ in session.execute(query).all():
            freeze(pid)
            frozen.append(pid)
        try:
            # One that was stopped in the middle of something could hold up the whole database.
            while busy := [pid for pid, state in session.execute(query).all() if state != "idle"]:
                for pid in busy:
                    os.kill(pid, signal.SIGCONT)
                    freeze(pid)
            yield
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)


def test_a_key_that_has_ended_is_served_nowhere(ready_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the answer to its revocation on, or its end: by no worker of either service, whatever else goes on."""
    monkeypatch.setattr(key_changes, "REVOKED", STALE + 0.1)
    with ExitStack() as stack:
        url = stack.enter_context(embedded.use(ready_folder, superuser=True, fsync="off"))
        migrations.upgrade(url)
        sessions = make_sessions(stack.enter_context(engine_on(url)))
        chief = add_key(sessions, "chief", ["admin"])
        environment = PATIENT_ENVIRONMENT | {"DATABASE_URL": url, "WORKERS": "2"}
        services = [stack.enter_context(Service(environment, QUICKER)) for _ in range(2)]
        first, second = services

        def make(name: str, **more: Any) -> Any:
            body = {"name": name, "scopes": ["ingest", "read"]} | more
            answer = requests.post(f"{first.url}/keys", json=body, headers=bearer(chief), timeout=PATIENCE)
            assert answer.status_code == 201, answer.text
            return answer.json()

        # Revoked over HTTP, under load
        first_made = make("first")
        with load(services, first_made["key"]) as answers:
            assert served_after(answers, 0, 50) <= {200, 503}
            revoked = requests.delete(f"{second.url}/keys/{first_made['id']}", headers=bearer(chief), timeout=PATIENCE)
            answered = time.monotonic()
            assert revoked.status_code == 200
            assert served_after(answers, answered, 50) <= {401, 503}
            served = [one.status for one in answers].count(200)
        wait_until(lambda: serves(services, first_made["key"]) == {401})

        # While no process learns of it
        made = make("second")
        changes = KeyChanges(lambda work: run(sessions, work), Keyring(url))
        wait_until(lambda: serves(services, made["key"]) == {200})
        with load(services, made["key"]) as answers, looks_hang(sessions):
            changes.revoke(made["id"], who="me", spare_last_admin=False)
            assert served_after(answers, time.monotonic(), 50) <= {401, 503}
        wait_until(lambda: serves(services, made["key"]) == {401})  # by themselves

        # Rotated, and then at its end, without any change
        old = make("third")
        path = f"{second.url}/keys/{old['id']}/rotate"
        new = requests.post(path, json={"overlap_hours": 1}, headers=bearer(chief), timeout=PATIENCE).json()
        wait_until(lambda: serves(services, old["key"]) == serves(services, new["key"]) == {200})
        end = datetime.now(UTC) + timedelta(seconds=2)
        ending = add_key(sessions, "fourth", ["read"], expires_at=end)
        with suppress(AssertionError):  # a machine that is too slow for this sees less
            wait_until(lambda: serves(services, ending) == {200}, 1)
        wait_until(lambda: datetime.now(UTC) > end)
        assert serves(services, ending) <= {401, 503}
        assert serves(services, new["key"]) <= {200, 503}

        # What each worker has counted is stored when it is stopped, if not before
        for service in services:
            service.stop()
        with sessions() as session:
            uses = text("SELECT requests FROM key_uses WHERE key_id = :id")
            assert session.execute(uses, {"id": first_made["id"]}).scalar_one() == served
