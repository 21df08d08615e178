"""The process that delivers messages to webhooks: one thread for the database, and a few for each endpoint.

Several may run on one database. Each endpoint is leased to one of them, and the others stand by.
"""

import os
import queue
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import cache
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import webhook_relay, webhook_states
from database.errors import cause
from database.session import CommitUncertain, Transaction, make_engine, make_sessions
from database.webhook_hold import notice_restore
from database.webhook_states import Endpoint
from work import webhook_schedule as schedule
from work.webhook_addresses import AddressPolicy
from work.webhook_claims import claim_due
from work.webhook_connections import Deadlines, NameLookups, Resolve, resolve
from work.webhook_line import AttemptResult, EndpointLine
from work.webhook_outcomes import store_outcomes
from work.webhook_relay import Relay
from work.webhook_secrets import WebhookSecrets
from work.webhook_sender import Sender
from work.webhook_upkeep import disable_endpoint, remove_endpoint, remove_old

MOST_STORED = 1_000  # attempts whose end one transaction stores
LEASE, RENEWED = 30.0, 10.0  # seconds that an endpoint is leased, and after which the lease is renewed
SHORTEST_POLL, LONGEST_POLL = 0.02, 1.0  # seconds between two looks at the database: fewer while nothing happens
POLL_WITHOUT = 5.0  # the same while there is no webhook at all
# A pause is at least so many times as long as the work in the database before it: events come first.
RESTS = 1.0
RETRY = 2.0  # seconds until a database is asked again that has failed
STOP_SECONDS = 3.0  # for attempts under way, when the process is to stop
PRUNED = 3_600.0  # seconds from one look for older ones to the next

_KEY = "transaction-alerts deliverer"

log = structlog.get_logger()

T = TypeVar("T")


class Deliverer:
    """Delivers what waits in the database at `url` until it is told to stop.

    `policy` says where messages may be sent, `secrets` reads what signs them; `time_is_epoch`: times in events are
    seconds since 1970; `timeout`: seconds that a statement may take. `look_up` finds the addresses of a host.
    """

    def __init__(
        self,
        url: str,
        *,
        policy: AddressPolicy,
        secrets: WebhookSecrets,
        time_is_epoch: bool,
        timeout: float,
        look_up: Resolve = resolve,
    ) -> None:
        self._url, self._timeout = url, timeout
        self._policy, self._secrets, self._look_up = policy, secrets, look_up
        self._relay = Relay(time_is_epoch=time_is_epoch)
        self._me = f"{socket.gethostname()} {os.getpid()} {_random()}"
        self._results: queue.SimpleQueue[AttemptResult] = queue.SimpleQueue()
        self._lines: dict[int, EndpointLine] = {}
        self._context = cache(ssl.create_default_context)
        self._held: str | None = None
        self._knows_database = False  # whether it is the one that was delivered from last
        self._pruned = -PRUNED
        self._trouble: str | None = None

    def store_in(self, extensions: MutableMapping[str, Any]) -> None:
        """Put it where `of` finds it among the extensions of an application."""
        extensions[_KEY] = self

    @classmethod
    def of(cls, extensions: MutableMapping[str, Any]) -> "Deliverer":
        """The deliverer of the application with these extensions."""
        found = extensions[_KEY]
        assert isinstance(found, cls)
        return found

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set, and then end within some seconds. A database that is away is waited for."""
        self._me = f"{socket.gethostname()} {os.getpid()} {_random()}"  # it may have been forked since it was made
        self._deadlines = Deadlines()
        engine = make_engine(self._url, timeout=self._timeout, connections=1)
        self._sessions = make_sessions(engine)
        pause = SHORTEST_POLL
        while not stop.is_set():
            began = time.monotonic()
            try:
                pause = self._turn(pause)
                self._say(None)
            except (SQLAlchemyError, CommitUncertain) as error:
                self._say(cause(error))
                self._knows_database = False  # another one may come in its place
                pause = RETRY
            now = time.monotonic()
            self._wait(now + pause, now + RESTS * (now - began), stop)
        self._stop()
        engine.dispose()

    def _say(self, trouble: str | None) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("webhooks_not_delivered", cause=trouble) if trouble else log.info("webhooks_delivered_again")

    def _wait(self, end: float, rest: float, stop: threading.Event) -> None:
        """Wait until the moment `end`, or once there are results until `rest`: then the database had its rest."""
        while (left := max(end, rest) - time.monotonic()) > 0 and not stop.is_set():
            stop.wait(min(left, SHORTEST_POLL) if self._is_sending() else left)
            if not self._results.empty() and time.monotonic() >= rest:
                return

    def _is_sending(self) -> bool:
        return any(line.in_hand for line in self._lines.values())

    # One turn

    def _turn(self, pause: float) -> float:
        """Do all that is to be done in the database now. Returns in how many seconds to look again."""
        has_results = self._store_results()
        held = self._read_held()
        endpoints = self._ask(webhook_states.read_endpoints)
        self._prune(endpoints)
        if held is not None:
            return LONGEST_POLL
        # Most of the time there is nothing, and nothing is locked to find that out.
        has_moved = self._ask(webhook_relay.has_outbox) and self._do(self._relay.move)
        mine = self._lease([one for one in endpoints if one.is_enabled])
        has_claimed = claim_due(self._ask, self._me, mine)
        if has_moved or has_claimed or has_results:
            return SHORTEST_POLL
        return min(2 * pause, LONGEST_POLL if endpoints else POLL_WITHOUT)

    def _read_held(self) -> str | None:
        if not self._knows_database:
            self._do(_notice_restore)
            self._knows_database = True
        held = self._ask(webhook_relay.read_held)
        if held != self._held:
            self._held = held
            log.warning("webhooks_held", cause=held) if held else log.info("webhooks_held_no_more")
        return held

    def _lease(self, endpoints: Sequence[Endpoint]) -> dict[int, EndpointLine]:
        now = time.monotonic()
        if unknown := [one.webhook_id for one in endpoints if not one.has_state]:
            self._ask(lambda connection: webhook_states.make_states(connection, unknown))
        wanted = []
        for one in endpoints:
            left = one.leased or 0.0
            if one.leased_by == self._me:
                if left < LEASE - RENEWED:
                    wanted.append(one.webhook_id)
            elif one.leased_by is None or left <= 0:
                wanted.append(one.webhook_id)
        got = (
            self._ask(lambda connection: webhook_states.lease(connection, wanted, self._me, LEASE)) if wanted else set()
        )
        mine = got | {one.webhook_id for one in endpoints if one.leased_by == self._me and (one.leased or 0.0) > 0}
        for webhook_id in [webhook_id for webhook_id in self._lines if webhook_id not in mine]:
            if not self._lines[webhook_id].in_hand:
                self._lines.pop(webhook_id).end()
        for one in endpoints:
            if one.webhook_id not in mine:
                continue
            if one.webhook_id not in self._lines:
                # Why it was left alone, only who sent to it knew.
                new = self._lines[one.webhook_id] = self._new_line()
                new.fresh_failures, new.asked_until = one.failures, now + (one.rests or 0.0)
            line = self._lines[one.webhook_id]
            line.leased_until = now + (LEASE if one.webhook_id in got else one.leased or 0.0)
            line.heed(one, now)
        return {webhook_id: line for webhook_id, line in self._lines.items() if webhook_id in mine}

    def _new_line(self) -> EndpointLine:
        lookups = NameLookups(self._look_up)
        return EndpointLine(
            lambda: Sender(self._policy, lookups, self._deadlines, self._context), self._secrets, self._results
        )

    # What came of attempts

    def _store_results(self, results: list[AttemptResult] | None = None) -> bool:
        """Store what came of attempts. Returns whether there were any."""
        results = self._drained() if results is None else results
        if not results:
            return False
        try:
            failures = {webhook_id: line.failures for webhook_id, line in self._lines.items()}
            found = self._do(lambda session: store_outcomes(session, results, failures))
        except (SQLAlchemyError, CommitUncertain):
            for one in results:  # for the next turn
                self._results.put(one)
            raise
        for webhook_id, line in self._lines.items():
            line.learn([one for one in results if one.claimed.webhook_id == webhook_id])
        self._disable(results, found)
        return True

    def _drained(self) -> list[AttemptResult]:
        found: list[AttemptResult] = []
        while len(found) < MOST_STORED:
            try:
                found.append(self._results.get_nowait())
            except queue.Empty:
                break
        return found

    def _disable(self, results: Sequence[AttemptResult], failing: Mapping[int, float]) -> None:
        reasons = {
            webhook_id: f"nothing but failures for {schedule.DISABLED_AFTER / 86_400:g} days"
            for webhook_id, seconds in failing.items()
            if seconds >= schedule.DISABLED_AFTER
        }
        for claimed, attempted in results:
            if attempted is not None and schedule.disables(attempted.status):
                reasons[claimed.webhook_id] = "the receiver answered 410 Gone"
        for webhook_id, reason in reasons.items():
            if self._do(lambda session: disable_endpoint(session, webhook_id, reason)):  # noqa: B023 (it is called here)
                log.warning("webhook_disabled", webhook=webhook_id, cause=reason)

    # What is to be removed

    def _prune(self, endpoints: Sequence[Endpoint]) -> None:
        for one in endpoints:
            if one.is_deleted:
                self._do(lambda session: remove_endpoint(session, one.webhook_id))  # noqa: B023 (it is called here)
        now = time.monotonic()
        if now - self._pruned > PRUNED and self._do(remove_old):
            self._pruned = now

    # The end

    def _stop(self) -> None:
        """Let attempts under way come to their end for a while, then cut them off; leave the endpoints to others."""
        for line in self._lines.values():
            for claimed in line.take_back():
                self._results.put(AttemptResult(claimed, None))
            line.end()
        self._wait_for_results(STOP_SECONDS)
        self._deadlines.cut_all()
        self._wait_for_results(0.5)
        try:
            while self._store_results():
                pass
            self._ask(lambda connection: webhook_states.release(connection, self._me))
        except (SQLAlchemyError, CommitUncertain) as error:
            self._say(cause(error))

    def _wait_for_results(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        kept: list[AttemptResult] = []
        in_hand = sum(line.in_hand for line in self._lines.values())
        while len(kept) < in_hand and (left := end - time.monotonic()) > 0:
            try:
                kept.append(self._results.get(timeout=left))
            except queue.Empty:
                break
        for one in kept:
            self._results.put(one)

    # The database

    def _ask(self, work: Callable[[Connection], T]) -> T:
        """Run one statement, a transaction of its own."""
        with self._sessions() as session:
            return work(session.connection())

    def _do(self, work: Callable[[Session], T]) -> T:
        """Run work that commits by itself."""
        with self._sessions() as session:
            return work(session)


def _notice_restore(session: Session) -> None:
    with Transaction(session) as transaction:
        notice_restore(session)
        transaction.commit()


def _random() -> str:
    return secrets.token_hex(4)
