"""Webhooks while everything is killed: each alert arrives, in order, signed, however often who dies."""

import json
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg2
import requests
from standardwebhooks import Webhook

from database import embedded
from tests.integration.test_embedded import execute, postmaster_of
from tests.integration.test_outbox import ALL_EVENTS
from tests.service import PATIENT_ENVIRONMENT, ROOT, Service, free_port, with_constants
from tests.waiting import PATIENCE, kill, wait_until
from work.webhook_secrets import WebhookSecrets

KEY = "k" * 32
USERS, EVENTS, THREADS = 16, 30, 4

# As in production, but for times: a message is sent again soon, and a lease soon lapses.
HURRY = with_constants(
    "work.webhook_schedule.SCHEDULE = (0.0,) + (0.2,) * 1000",
    "work.webhook_schedule.LONGEST_REST = 0.2",
    "work.webhook_deliverer.LEASE = 2.0",
    "work.webhook_deliverer.RENEWED = 0.5",
    "work.webhook_deliverer.RETRY = 0.2",
    "commands.deliver.PAUSE = 0.1",
    "commands.deliver.LONGEST_PAUSE = 0.1",
)


class Receiving:
    """A receiver in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.port, self.file = free_port(), folder / "received"
        self.file.touch()
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        """Start it."""
        program = [sys.executable, "-m", "tests.webhook_receiver", str(self.port), str(self.file)]
        self.process = subprocess.Popen(program, cwd=ROOT)
        return self.process

    def kill_and_start(self) -> None:
        """kill -9 it, and start another one."""
        self.process.kill()
        self.process.wait()
        self.start()

    def received(self) -> list[dict[str, Any]]:
        """What has arrived so far, in order; a line that is half written is left out."""
        return [json.loads(line) for line in self.file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def add_webhook(url: str, to: str, secrets: WebhookSecrets, codes: list[int] | None = None) -> str:
    """Store a webhook. Returns its secret."""
    secret, encrypted = secrets.new()
    with psycopg2.connect(url.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO webhooks (url, events, codes, secret, created_by) VALUES (%s, %s, %s, %s, 'test')",
            (to, ALL_EVENTS, codes, encrypted),
        )
    connection.close()
    return secret


def post_all(service: Service, thread: int) -> None:
    """Post the events of some users in order, each until it is answered."""
    for number in range(EVENTS):
        for user_id in range(thread + 1, USERS + 1, THREADS):
            event = {
                "type": "withdraw",
                "amount": "101.00",
                "user_id": user_id,
                "time": number,
                "event_id": str(number),
            }
            post_until_answered(service, event)


def post_until_answered(service: Service, event: dict[str, Any]) -> None:
    """Post an event again and again until it is answered."""
    for _ in range(10_000):
        with suppress(requests.RequestException):  # the worker was killed
            if requests.post(f"{service.url}/event", json=event, timeout=PATIENCE).status_code == 200:
                return
        threading.Event().wait(0.05)
    raise AssertionError("never answered")


def first_of_each(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages without those that had arrived before."""
    seen: dict[str, dict[str, Any]] = {}
    for one in messages:
        seen.setdefault(one["headers"]["webhook-id"], one)
    return list(seen.values())


def test_whatever_is_killed_every_alert_arrives(ready_folder: Path, tmp_path: Path) -> None:
    """kill -9 of what delivers, of the receiver, of the service's workers and of the database, all under load.

    Every alert arrives at least once; the first time that they do, those of a user arrive in order; every message bears
    a signature that the specification's own library takes.
    """
    secrets, receiving = WebhookSecrets(KEY), Receiving(tmp_path)
    environment = PATIENT_ENVIRONMENT | {
        "DATA_DIR": str(ready_folder),
        "SECRET_KEY": KEY,
        "WEBHOOK_ALLOW": "127.0.0.1",
        "DB_TIMEOUT": "5",
    }
    to = f"http://127.0.0.1:{receiving.port}"
    try:
        with Service(environment, HURRY) as service, embedded.use(ready_folder) as url:
            signing = {
                "/all": add_webhook(url, f"{to}/all", secrets),
                "/some": add_webhook(url, f"{to}/some", secrets, codes=[30]),
            }
            posting = [threading.Thread(target=post_all, args=(service, number)) for number in range(THREADS)]
            for thread in posting:
                thread.start()

            def more_arrive(number: int = 60) -> None:
                before = len(receiving.received())
                wait_until(lambda: len(receiving.received()) >= before + number or not any_left(posting))

            kills: list[Callable[[], None]] = [
                lambda: kill(service.deliverers()[0]),
                receiving.kill_and_start,
                lambda: kill(postmaster_of(ready_folder)),
                lambda: kill(service.workers()[0]),
                lambda: kill(service.deliverers()[0]),
            ]
            for kill_something in kills:
                more_arrive()
                wait_until(service.deliverers)
                kill_something()
            for thread in posting:
                thread.join(PATIENCE)
            wait_until(lambda: nothing_waits(url))
            stored = [(f"{user}-{seq}-{code}", code) for user, seq, code in execute(url, ALERTS)]
            received = receiving.received()
    finally:
        receiving.process.kill()
        receiving.process.wait()
    assert len(stored) == USERS * (2 * EVENTS - 2)
    for one in received:
        Webhook(signing[one["path"]]).verify(one["body"], one["headers"])
    for path, wanted in (("/all", (1100, 30)), ("/some", (30,))):
        first = [json.loads(one["body"])["data"] for one in first_of_each(received) if one["path"] == path]
        # As stored: by user, and each user's in order.
        arrived: dict[int, list[str]] = defaultdict(list)
        for data in first:
            arrived[data["user_id"]].append(data["alert_id"])
        in_order: dict[int, list[str]] = defaultdict(list)
        for alert_id, code in stored:
            if code in wanted:
                in_order[int(alert_id.split("-")[0])].append(alert_id)
        assert arrived == in_order
        assert follow_each_other(path, received)


def any_left(threads: list[threading.Thread]) -> bool:
    """Whether one of them still runs."""
    return any(thread.is_alive() for thread in threads)


def follow_each_other(path: str, received: list[dict[str, Any]]) -> bool:
    """Whether each message names the one before it, of those about a user."""
    last: dict[int, str] = {}
    for one in first_of_each([one for one in received if one["path"] == path]):
        data = json.loads(one["body"])["data"]
        if data["previous_id"] != last.get(data["user_id"]):
            return False
        last[data["user_id"]] = one["headers"]["webhook-id"]
    return True


ALERTS = "SELECT user_id, seq, code FROM alerts ORDER BY user_id, seq, code"
WAITING = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM deliveries WHERE status <> 'delivered')"


def nothing_waits(url: str) -> bool:
    """Whether the database is there, and everything is delivered."""
    try:
        return execute(url, WAITING) == [(0,)]
    except psycopg2.OperationalError:
        return False
