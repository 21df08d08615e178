"""What leads to one endpoint: the messages that were claimed for it, the threads that send them, and how that goes."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from database.deliveries import Claimed, Head
from database.webhook_states import Endpoint
from work import webhook_schedule as schedule
from work.webhook_messages import sign
from work.webhook_secrets import SecretUnreadable, WebhookSecrets
from work.webhook_sender import Attempted, Sender

CONNECTIONS = 4  # to one endpoint, each with a thread
MOST_CLAIMED = 64  # messages of one endpoint that wait for these or are being sent

log = structlog.get_logger()


class AttemptResult(NamedTuple):
    """What came of an attempt; None: it was not made."""

    claimed: Claimed
    attempted: Attempted | None


class EndpointLine:
    """Sends messages to one endpoint, and puts what came of each into `results`. One thread calls it."""

    def __init__(
        self, make_sender: Callable[[], Sender], secrets: WebhookSecrets, results: "queue.SimpleQueue[AttemptResult]"
    ) -> None:
        self._make_sender, self._secrets, self._results = make_sender, secrets, results
        self._claimed: queue.SimpleQueue[Claimed | None] = queue.SimpleQueue()
        self._threads = 0
        self.users: set[int] = set()  # of the messages in hand
        self.tests: set[int] = set()
        self.again: set[int] = set()  # those messages in hand that had been sent before
        # Users are looked at some at a time, from this one on; whether anything was due since the first one; and the
        # moment (monotonic) of the next look.
        self.first_user, self.has_found, self.looks_at = 0, False, 0.0
        self.most = CONNECTIONS  # that may be in hand
        # Failed attempts in a row, of any message and of messages that had not been sent before.
        self.failures = self.fresh_failures = 0
        # Moments (monotonic) until which no message is sent again, and none at all.
        self.rests_until = self.asked_until = 0.0
        self.leased_until = 0.0

    @property
    def in_hand(self) -> int:
        """How many messages are being sent or wait for a thread."""
        return len(self.users) + len(self.tests)

    def add(self, claimed: Claimed) -> None:
        """Have a message sent."""
        if claimed.attempts > 1:
            self.again.add(claimed.delivery_id)
        if claimed.user_id is None:
            self.tests.add(claimed.delivery_id)
        else:
            self.users.add(claimed.user_id)
        self._claimed.put(claimed)
        if self._threads < min(CONNECTIONS, self.in_hand):
            self._threads += 1
            threading.Thread(target=self._run, name="webhook", daemon=True).start()

    def learn(self, results: Sequence[AttemptResult]) -> None:
        """These messages are no longer in hand, and that is what came of them."""
        now, arrived = time.monotonic(), 0
        for claimed, attempted in results:
            self.again.discard(claimed.delivery_id)
            if claimed.user_id is None:
                self.tests.discard(claimed.delivery_id)
            else:
                self.users.discard(claimed.user_id)
            if attempted is None:
                continue
            if schedule.is_success(attempted.status):
                arrived, self.failures, self.fresh_failures = arrived + 1, 0, 0
            else:
                self.failures += 1
                self.fresh_failures += claimed.attempts == 1
            self.asked_until = max(self.asked_until, now + (attempted.asked or 0.0))
        self.most = max(CONNECTIONS, min(MOST_CLAIMED, 2 * arrived))

    def heed(self, endpoint: Endpoint, now: float) -> None:
        """Go by how the endpoint stands in the database: others may have changed that."""
        if not self.in_hand:  # what is in hand has the last word
            self.failures = endpoint.failures
            self.fresh_failures = min(self.fresh_failures, endpoint.failures)
            if endpoint.rests is None:  # somebody has changed the webhook
                self.asked_until = 0.0
        self.rests_until = now + (endpoint.rests or 0.0)

    def has(self, head: Head) -> bool:
        """Whether this message, or another one about its user, is in hand."""
        return head.delivery_id in self.tests if head.user_id is None else head.user_id in self.users

    def may_send(self, now: float) -> bool:
        """Whether there is room for any message, and one may be sent now.

        Messages that fail again and again are no reason to keep others waiting, but those that fail the first time are.
        """
        if self.in_hand >= self.most or now < self.asked_until or now < self.looks_at:
            return False
        return now >= self.rests_until or self.fresh_failures < schedule.FAILURES

    def choose(self, due: Sequence[Head], now: float) -> list[Head]:
        """Those of the messages that are due that may be sent now, as many as there is room for.

        After failures in a row a single one shows whether the endpoint is back.
        """
        most = self.most if self.fresh_failures < schedule.FAILURES else 1
        most_again = most if self.failures < schedule.FAILURES else 1
        left, left_again = most - self.in_hand, most_again - len(self.again)
        chosen: list[Head] = []
        for one in due:
            is_again = one.attempts > 0
            if left <= 0 or (is_again and (left_again <= 0 or now < self.rests_until)):
                continue
            chosen.append(one)
            left, left_again = left - 1, left_again - is_again
        return chosen

    def take_back(self) -> list[Claimed]:
        """The messages that no thread has begun to send."""
        found: list[Claimed] = []
        while True:
            try:
                one = self._claimed.get_nowait()
            except queue.Empty:
                return found
            if one is not None:
                found.append(one)

    def end(self) -> None:
        """Let the threads end once they have sent what they are sending."""
        for _ in range(self._threads):
            self._claimed.put(None)
        self._threads = 0

    def _run(self) -> None:
        sender = self._make_sender()
        while (claimed := self._claimed.get()) is not None:
            # Another process may be sending to it by now.
            if time.monotonic() > self.leased_until:
                self._results.put(AttemptResult(claimed, None))
                continue
            try:
                attempted = self._send(sender, claimed)
            except Exception as error:
                log.exception("webhook_attempt_failed", webhook=claimed.webhook_id)
                attempted = Attempted(0.0, None, type(error).__name__)
            self._results.put(AttemptResult(claimed, attempted))
        sender.close()

    def _send(self, sender: Sender, claimed: Claimed) -> Attempted:
        at = datetime.now(UTC)
        try:
            signing = [self._secrets.read(claimed.secret)]
        except SecretUnreadable as error:
            return Attempted(0.0, None, str(error))
        if claimed.previous_secret is not None:
            with suppress(SecretUnreadable):  # it may be why there is a new one
                signing.append(self._secrets.read(claimed.previous_secret))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": claimed.message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": sign(signing, claimed.message_id, at, claimed.body),
        }
        return sender.send(claimed.url, claimed.body, headers)
