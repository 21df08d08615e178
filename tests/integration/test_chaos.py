"""Killing workers and PostgreSQL under load: clients that retry lose nothing and store nothing twice."""

import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import requests

from rules.model import ACTION_TYPES
from tests.integration.oracle import Oracle, Posted
from tests.service import Service
from tests.waiting import PATIENCE, wait_until

CONNECTIONS = 12
STREAMS = 48  # one user each
EVENTS = 40  # per stream
KILLS = 6


@dataclass
class Stream:
    """One user's events in order, and the codes that each was answered with."""

    user: int
    events: list[Posted]
    answers: list[list[int]] = field(default_factory=list)


def make_stream(user: int) -> Stream:
    """Random events in the order of time, around the edges of the rules."""
    chance = random.Random(user)
    time_, events = 0, []
    for number in range(EVENTS):
        time_ += chance.choice([0, 1, 10, 31])
        kind = chance.choice(ACTION_TYPES)
        events.append(Posted(user, kind, chance.choice([1_00, 99_99, 100_01, 200_01]), time_, f"event {number}"))
    return Stream(user, events)


class Client(threading.Thread):
    """One connection that posts the events of its streams in turn, retrying each until it is answered."""

    def __init__(self, url: str, streams: list[Stream], done: "list[int]") -> None:
        super().__init__()
        self.url, self.streams, self.done = url, streams, done
        self.failure: str | None = None

    def run(self) -> None:
        with requests.Session() as connection:
            for number in range(EVENTS):
                for stream in self.streams:
                    if not self.post(connection, stream, stream.events[number]):
                        return
                    self.done.append(1)

    def post(self, connection: requests.Session, stream: Stream, posted: Posted) -> bool:
        body: dict[str, Any] = {
            "type": posted.type,
            "amount": f"{posted.cents // 100}.{posted.cents % 100:02}",
            "user_id": posted.user,
            "time": posted.time,
            "event_id": posted.key,
        }
        tries, end = 0, time.monotonic() + PATIENCE
        while time.monotonic() < end:
            tries += 1
            try:
                answer = connection.post(f"{self.url}/event", json=body, timeout=PATIENCE)
            except requests.RequestException:
                time.sleep(0.05)
                continue
            if answer.status_code == 503:
                time.sleep(0.05)
                continue
            if answer.status_code != 200:
                break
            replayed = answer.headers.get("Idempotent-Replayed") == "true"
            if replayed and tries == 1:
                self.failure = f"{body} was answered as a replay the first time"
                return False
            stream.answers.append(answer.json()["alert_codes"])
            return True
        self.failure = f"{body} was never answered"
        return False


def test_kills_lose_nothing_and_store_nothing_twice(ready_folder: Path) -> None:
    """48 streams over 12 connections, workers and PostgreSQL killed in turn: each event once, each answer right."""
    streams = [make_stream(user) for user in range(1, STREAMS + 1)]
    done: list[int] = []
    with Service({"DATA_DIR": str(ready_folder)}) as service:
        clients = [Client(service.url, streams[number::CONNECTIONS], done) for number in range(CONNECTIONS)]
        for client in clients:
            client.start()
        for kill in range(KILLS):
            while len(done) < (kill + 1) * STREAMS * EVENTS // (KILLS + 2) and any(c.is_alive() for c in clients):
                time.sleep(0.01)
            if kill % 2:
                victim = int((ready_folder / "postgres/postmaster.pid").read_text().splitlines()[0])
            else:
                victim = service.workers()[0]
            os.kill(victim, signal.SIGKILL)
        for client in clients:
            client.join(PATIENCE)
        assert [client.failure for client in clients if client.failure or client.is_alive()] == []

        again: dict[str, Any] = {"user_id": 1, "time": streams[0].events[0].time, "event_id": "event 0"}
        first = streams[0].events[0]
        body = again | {"type": first.type, "amount": f"{first.cents / 100:.2f}"}
        # The last kill may have been a moment ago.
        wait_until(lambda: requests.get(f"{service.url}/readyz", timeout=PATIENCE).status_code == 200)
        repeated = requests.post(f"{service.url}/event", json=body, timeout=PATIENCE)
        while repeated.status_code == 503:
            repeated = requests.post(f"{service.url}/event", json=body, timeout=PATIENCE)
        assert repeated.headers["Idempotent-Replayed"] == "true"

        stored = read_actions(ready_folder)
    oracle = Oracle(frozenset({1100, 30, 300, 123}))
    for stream in streams:
        assert stream.answers == [oracle.post(event) for event in stream.events]
    assert stored == [(stream.user, seq, e.key) for stream in streams for seq, e in enumerate(stream.events, start=1)]


def read_actions(folder: Path) -> list[tuple[int, int, str]]:
    """(user_id, seq, event_id) of all that is stored, from the database itself."""
    socket = (folder / "postgres/postmaster.pid").read_text().splitlines()[4]
    connection = psycopg2.connect(host=socket, user="app", dbname="postgres")
    with connection.cursor() as cursor:
        cursor.execute("SELECT user_id, seq, event_id FROM user_actions ORDER BY user_id, seq")
        rows = cursor.fetchall()
    connection.close()
    return list(rows)
