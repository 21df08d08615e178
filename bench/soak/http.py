"""Callers: HTTP connections that count every answer, and notice the ones that no caller should ever get."""

import http.client
import threading
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from typing import NamedTuple

from bench.soak.record import Record

PATIENCE = 60  # seconds for one answer: more than any bound of the service
JSON = {"Content-Type": "application/json"}
NO_ANSWER = 0
SINGLE = "single events"  # those of users whom nobody else has
EXCUSE = 20  # seconds: PostgreSQL recovers, and connections that hung are given up


class Reply(NamedTuple):
    """An answer: the status is NO_ANSWER if the connection broke, `replayed` says that it is a repeat.

    `again`: the request had been sent before, and nobody knows what came of that.
    """

    status: int
    body: bytes
    seconds: float
    replayed: bool = False
    again: bool = False


@dataclass
class Tally:
    """Answers by who asked and status. A 500 is wrong, and a 503 without Retry-After. Threads may share it."""

    record: Record
    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    unexcused: Counter[str] = field(default_factory=Counter)  # 503s long after the last kill
    _excused_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def kill(self, kind: str) -> None:
        """Something is killed now: for a while, whoever cannot be served has an excuse."""
        self.killed[kind] += 1
        self._excused_until = monotonic() + EXCUSE

    def is_excused(self) -> bool:
        """Whether something was killed a short while ago."""
        return monotonic() < self._excused_until

    def add(self, who: str, status: int, retry_after: str | None, body: bytes) -> None:
        """Count an answer, and note it if it is wrong."""
        with self._lock:
            self.counts[who, status] += 1
            self.unexcused[who] += status == 503 and not self.is_excused()
        if status == 503 and retry_after is None:
            self.record.note(f"{who}: a 503 without Retry-After: {body[:200]!r}")
        elif status >= 500 and status != 503:
            self.record.note(f"{who}: a {status}: {body[:200]!r}")


class Caller:
    """One HTTP connection, opened anew when it was lost. Each request has the `key`, unless that is empty."""

    def __init__(self, port: int, who: str, tally: Tally, key: str) -> None:
        self._who, self._tally = who, tally
        self._always = {"Authorization": f"Bearer {key}"} if key else {}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        """Send a request and read its answer."""
        begun, retry_after, replayed = perf_counter(), None, False
        try:
            self._connection.request(method, path, body, self._always | (headers or {}))
            answer = self._connection.getresponse()
            status, content = answer.status, answer.read()
            retry_after = answer.getheader("Retry-After")
            replayed = answer.getheader("Idempotent-Replayed") == "true"
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            status, content = NO_ANSWER, repr(error).encode()
        self._tally.add(self._who, status, retry_after, content)
        return Reply(status, content, perf_counter() - begun, replayed)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
