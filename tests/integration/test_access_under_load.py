"""Two services of two workers each on one database, which are asked all the time while they are closed, and cut off.

What becomes of a key there is in test_keys_everywhere.py.
"""

import http.client
import threading
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Self

import requests

from database import embedded, migrations
from tests.integration.test_keys_everywhere import QUICKER, STALE
from tests.integration.test_watchdog import stopped
from tests.keys import bearer
from tests.service import Service
from tests.waiting import PATIENCE, wait_until

ENOUGH = 30  # answers, on so many connections that each worker gave some
READ = "/openapi.json"  # which needs no database


class Answered(NamedTuple):
    """An answer: when the request began, its status, and its Retry-After."""

    began: float
    status: int
    retry_after: str | None


class Client(threading.Thread):
    """Reads over and over, on a new connection now and then."""

    def __init__(self, service: Service, key: str | None = None) -> None:
        super().__init__(daemon=True)
        self._port, self._headers = service.port, {} if key is None else bearer(key)
        self._over = threading.Event()
        self.answers: list[Answered] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(PATIENCE)

    def run(self) -> None:
        """Ask until it is over."""
        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
            for _ in range(3):
                began = monotonic()
                connection.request("GET", READ, headers=self._headers)
                answer = connection.getresponse()
                answer.read()
                self.answers.append(Answered(began, answer.status, answer.getheader("Retry-After")))
                self._over.wait(0.005)
            connection.close()

    def since(self, moment: float) -> list[Answered]:
        """The answers to requests that began later than this, when there are enough."""
        found: list[Answered] = []

        def enough() -> bool:
            found[:] = [one for one in list(self.answers) if one.began > moment]
            return len(found) >= ENOUGH

        wait_until(enough)
        return found

    def wait_for(self, status: int) -> None:
        """Wait until a request that begins from now on is answered so."""
        now = monotonic()
        wait_until(lambda: any(one.began > now and one.status == status for one in list(self.answers)))


def test_closed_cut_off_and_back(ready_folder: Path) -> None:
    """With the first key nobody is let in without one, anywhere, from the moment it is answered that it is made.

    Without the database nobody is let in STALE seconds later, not even to what needs no database; then it heals.
    """
    with ExitStack() as stack:
        url = stack.enter_context(embedded.use(ready_folder, fsync="off"))
        migrations.upgrade(url)
        environment = {"DATABASE_URL": url, "WORKERS": "2"}
        services = [stack.enter_context(Service(environment, QUICKER)) for _ in range(2)]

        nobody = [stack.enter_context(Client(service)) for service in services]
        for client in nobody:
            client.wait_for(200)
        terms = {"name": "chief", "scopes": ["admin"]}
        made = requests.post(f"{services[0].url}/keys", json=terms, timeout=PATIENCE)
        moment = monotonic()
        assert made.status_code == 201, made.text
        for client in nobody:
            assert {one.status for one in client.since(moment)} <= {401, 503}

        holders = [stack.enter_context(Client(service, made.json()["key"])) for service in services]
        for client in holders:
            client.wait_for(200)
        with stopped(ready_folder / "postgres"):
            moment = monotonic() + STALE
            for client in holders:
                assert {(one.status, one.retry_after) for one in client.since(moment)} == {(503, "1")}
            for client in nobody:
                assert {one.status for one in client.since(moment)} == {401}
        for client in holders:
            client.wait_for(200)
