"""A client of the transaction alert service: one file to copy, which needs Python 3.11 and urllib3 alone.

    from transaction_alerts_client import AlertsClient

    client = AlertsClient("http://127.0.0.1:5000", key="tak_...")
    result = client.post_event({"type": "withdraw", "amount": "150.00", "user_id": 1, "time": 10})
    print(result.alert_codes)

Every event has an `event_id` before it is first sent, its own or a new one: so it is safe to send it again. Threads may
share a client: what they send of one user arrives in the order of their calls.
"""

import gzip
import json
import random
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ssl import SSLCertVerificationError
from time import monotonic, sleep
from typing import Any, Self
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError

VERSION = "1.0.0"
Event = Mapping[str, Any]  # "type", "amount", "user_id", "time"; perhaps "event_id"

TRY_AGAIN = {408, 429, 502, 503, 504}  # statuses after which the same request can succeed
# What one request may hold: far below the service's own bounds, 10,000 events and 16 MiB.
BATCH_EVENTS, BATCH_BYTES = 1_000, 1 << 20
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds between attempts: twice as long from one to the next


class RequestRefused(Exception):
    """The service will not take it, now or later; `problem` (RFC 9457) says why."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{problem.get('status')} {problem.get('detail') or problem.get('title')}")
        self.problem = problem


class Unavailable(Exception):
    """Every attempt has failed in a way that passes; `problem` is the last answer, if there was one.

    What was sent may be stored: send the events in `event_ids` again later, with these ids.
    """

    def __init__(self, why: object, event_ids: Iterable[str] = (), problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(str(why))
        self.event_ids, self.problem = tuple(event_ids), problem


@dataclass(frozen=True, slots=True)
class EventResult:
    """What became of one event. With a `problem` it was refused and is not stored.

    `replayed`: it had been stored before, and this is what it was answered then.
    """

    event_id: str
    user_id: int
    alert: bool = False
    alert_codes: tuple[int, ...] = ()
    replayed: bool = False
    problem: Mapping[str, Any] | None = None


class AlertsClient:
    """Calls the service at `url`, with `key` if it needs one.

    What can succeed is tried up to `attempts` times, as long as `patience` (seconds) allows; then it raises
    Unavailable. `timeout` is how many seconds an answer may keep it waiting. It keeps up to `connections` open.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:5000",
        *,
        key: str | None = None,
        attempts: int = 8,
        timeout: float = 30.0,
        patience: float = 300.0,
        connections: int = 8,
    ) -> None:
        self._url, self._attempts, self._patience = url.rstrip("/"), attempts, patience
        self._headers = {"User-Agent": f"transaction-alerts-client/{VERSION}"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._connections = urllib3.PoolManager(
            maxsize=connections,
            block=True,
            retries=False,  # of urllib3's own; an answer that leads elsewhere is not followed either
            timeout=urllib3.Timeout(connect=min(5.0, timeout), read=timeout),
        )
        self._turns = _Turns()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.clear()

    def post_event(self, event: Event) -> EventResult:
        """Have one event stored and judged. Raises RequestRefused or Unavailable."""
        event = with_id(event)
        headers = {"Content-Type": "application/json"}
        with self._turns.take([event.get("user_id")]):
            answer = self._send("POST", "/event", json.dumps(event).encode(), headers, [event["event_id"]])
        replayed = answer.headers.get("Idempotent-Replayed") == "true"
        return _result(event, _read(answer, "alert_codes") | {"replayed": replayed})

    def post_events(self, events: Iterable[Event]) -> list[EventResult]:
        """Have many stored and judged, in the order given: a result for each. Raises RequestRefused or Unavailable."""
        return list(self.stream(events))

    def stream(self, events: Iterable[Event]) -> Iterator[EventResult]:
        """The same for any number of events: they are taken and sent as the results are taken.

        Raises RequestRefused if a request as a whole is refused, for the key say, and Unavailable. Then the results so
        far hold, and `event_ids` has all of the batch that failed: send these again, whatever became of them.
        """
        for batch in _batches(map(with_id, events)):
            yield from self._post_batch(batch)

    def _post_batch(self, events: list[dict[str, Any]]) -> list[EventResult]:
        results: dict[int, EventResult] = {}
        left, attempt, until = list(range(len(events))), 0, monotonic() + self._patience
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        ids = [event["event_id"] for event in events]
        # All of a user's events that are to be sent again come before those of the next batch.
        with self._turns.take({event.get("user_id") for event in events}):
            while left:
                lines = b"\n".join(json.dumps(events[n]).encode() for n in left)
                answer = _read(self._send("POST", "/events", gzip.compress(lines, 5), headers, ids), "results")
                results |= {n: _result(events[n], one) for n, one in zip(left, answer["results"], strict=True)}
                problems = {n: results[n].problem or {} for n in left}
                left = [n for n in left if problems[n].get("status") in TRY_AGAIN]
                attempt += 1
                if left:
                    self._pause(attempt, until, 0.0, ids, problems[left[0]])
        return [results[n] for n in range(len(events))]

    def dry_run(self, event: Event) -> dict[str, Any]:
        """What `post_event` would be answered now, with the evidence for each code; nothing is stored."""
        found: dict[str, Any] = self.call("POST", "/event", event, dry_run="true")
        return found

    def alerts(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """All alerts that match the filters of `GET /alerts` (`user_id=7, code=123, status="open"`), newest first."""
        cursor: dict[str, Any] = {}
        while True:
            page = self.call("GET", "/alerts", **({"limit": 500} | filters | cursor))
            yield from page["alerts"]
            if page["next"] is None:
                return
            cursor = {"cursor": page["next"]}

    def call(self, method: str, path: str, body: Any = None, /, **query: Any) -> Any:
        """Any other call: what it answers, or None if that is nothing. Raises RequestRefused or Unavailable.

        `body` is sent as JSON. It is tried again as events are, so it should not matter if it is done twice.
        """
        sent = None if body is None else json.dumps(body).encode()
        path = f"{path}?{urlencode(query)}" if query else path
        answer = self._send(method, path, sent, {"Content-Type": "application/json"} if sent else {}, [])
        return _read(answer) if answer.data else None

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], event_ids: list[str]
    ) -> urllib3.BaseHTTPResponse:
        """The answer with a status of success. Raises RequestRefused or Unavailable."""
        attempt, until = 0, monotonic() + self._patience
        while True:
            attempt += 1
            wait, problem, why = 0.0, None, "no answer"
            try:
                answer = self._connections.request(
                    method, self._url + path, body=body, headers=self._headers | dict(headers), redirect=False
                )
            except HTTPError as error:  # no connection, none in time, or it broke
                if SSLCertVerificationError in map(type, error.args):  # it stays wrong
                    raise
                why = f"{type(error).__name__}: {error}"
            else:
                if 200 <= answer.status < 300:
                    return answer
                problem = _problem(answer)
                if answer.status not in TRY_AGAIN:
                    raise RequestRefused(problem)
                wait, why = _seconds(answer.headers.get("Retry-After")), f"{answer.status} {answer.reason}"
            self._pause(attempt, until, wait, event_ids, problem, why)

    def _pause(
        self,
        attempt: int,
        until: float,
        wait: float,
        event_ids: list[str],
        problem: Mapping[str, Any] | None,
        why: str = "not stored yet",
    ) -> None:
        """Wait after the n-th failure, as long as was asked for and some more: clients must not come back at once."""
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
        pause = wait + jitter * min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1))
        if attempt >= self._attempts or monotonic() + pause > until:
            raise Unavailable(f"{why}, after {attempt} attempts", event_ids, problem)
        sleep(pause)


class _Turns:
    """Lets those who send events of the same users go one after the other, in the order in which they came."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[Any, deque[object]] = {}

    @contextmanager
    def take(self, users: Iterable[Any]) -> Iterator[None]:
        """Wait for all who came before with one of these users, and go; the next ones wait until the end of this."""
        mine, queues = object(), {repr(user) for user in users}
        try:
            with self._changed:
                # In all queues at once: so nobody waits for somebody who waits for him.
                for user in queues:
                    self._waiting.setdefault(user, deque()).append(mine)
                self._changed.wait_for(lambda: all(self._waiting[user][0] is mine for user in queues))
            yield
        finally:
            with self._changed:
                for user in queues:
                    self._waiting[user].remove(mine)
                    if not self._waiting[user]:
                        del self._waiting[user]
                self._changed.notify_all()


def with_id(event: Event) -> dict[str, Any]:
    """A copy of the event that has an `event_id`: its own, or a new one."""
    return {"event_id": uuid.uuid4().hex} | dict(event)


def _batches(events: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for event in events:
        length = len(json.dumps(event)) + 1
        if batch and (len(batch) == BATCH_EVENTS or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += length
    if batch:
        yield batch


def _result(event: Event, found: Mapping[str, Any]) -> EventResult:
    return EventResult(
        event_id=event["event_id"],
        user_id=event.get("user_id", 0),
        alert=found.get("alert", False),
        alert_codes=tuple(found.get("alert_codes", ())),
        replayed=found.get("replayed", False),
        problem=found.get("problem"),
    )


def _read(answer: urllib3.BaseHTTPResponse, wanted: str | None = None) -> Any:
    """What it says in JSON: an object with the member `wanted`, if there has to be one."""
    with suppress(ValueError):
        found = json.loads(answer.data)
        if wanted is None or (isinstance(found, dict) and wanted in found):
            return found
    raise RequestRefused({"status": answer.status, "title": "The answer cannot be read: is this the service?"})


def _problem(answer: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    found = None
    with suppress(ValueError):  # a proxy's page, say
        found = json.loads(answer.data)
    return found if isinstance(found, dict) else {"status": answer.status, "title": answer.reason}


def _seconds(retry_after: str | None) -> float:
    """What `Retry-After` asks for: a number of seconds, or a moment."""
    if retry_after is None:
        return 0.0
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
