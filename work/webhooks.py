"""Webhooks as people manage them: made, changed, deleted, given another secret, tested, and sent to again."""

from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from database import delivery_lists, webhooks
from database.delivery_lists import WaitingDeliveries
from database.log_entries import add_log_entry
from database.session import Transaction
from database.webhooks import WebhookRow
from work.webhook_addresses import AddressPolicy, check_url
from work.webhook_messages import EVENTS, TEST, message_of_test, new_message_id
from work.webhook_secrets import SecretUnreadable, WebhookSecrets

T = TypeVar("T")
Run = Callable[[Callable[[Session], Any]], Any]

MOST = 50  # webhooks: each wants a message of its own about every event
MOST_RESENT = 10_000  # deliveries that one request lets wait again
LONGEST_OVERLAP = timedelta(days=30)

_KEY = "transaction-alerts webhooks"
_SUBJECTS = ("url", "events", "codes", "risk", "amounts", "enabled")


class TooManyWebhooks(Exception):
    """There are MOST webhooks."""


class MadeAlready(Exception):
    """Since the form was opened, a webhook with the same URL was made: the one with this id."""

    def __init__(self, webhook_id: int) -> None:
        super().__init__(webhook_id)
        self.webhook_id = webhook_id


class UnknownWebhook(Exception):
    """There is no such webhook."""


class UnknownDelivery(Exception):
    """The webhook has no such delivery."""


class WebhookDisabled(Exception):
    """It is not enabled, so nothing would be sent."""


class MadeSecret(NamedTuple):
    """A webhook, and the new secret with which its messages are signed, which nobody can read again."""

    row: WebhookRow
    secret: str


class SentAgain(NamedTuple):
    """How many deliveries wait again, and from which one on there are more to come (None: there are no more)."""

    number: int
    next_id: int | None


class Webhooks:
    """Changes webhooks in a database on which `run` runs work; each change is in the log, without any secret."""

    def __init__(self, secrets: WebhookSecrets, policy: AddressPolicy) -> None:
        self._secrets, self._policy = secrets, policy

    def store_in(self, extensions: MutableMapping[str, Any]) -> None:
        """Put it where `of` finds it among the extensions of an application."""
        extensions[_KEY] = self

    @classmethod
    def of(cls, extensions: MutableMapping[str, Any]) -> "Webhooks":
        """The webhooks of the application with these extensions."""
        found = extensions[_KEY]
        assert isinstance(found, cls)
        return found

    def make(self, run: Run, wanted: dict[str, Any], *, who: str, newest: int | None = None) -> MadeSecret:
        """Make a webhook with these columns.

        `newest`: the id of the newest webhook that `who` knows of, 0 for none; a form that is sent twice then makes one
        webhook. Raises UrlRefused, NoSecretKey, TooManyWebhooks, and with `newest` MadeAlready.
        """
        check_url(wanted["url"], self._policy)
        secret, encrypted = self._secrets.new()

        def work(session: Session) -> MadeSecret:
            with Transaction(session) as transaction:
                webhooks.hold_webhooks(session)
                if newest is not None:
                    _must_be_new(session, wanted["url"], newest)
                if webhooks.count_webhooks(session) >= MOST:
                    raise TooManyWebhooks
                webhook_id = webhooks.add_webhook(session, secret=encrypted, created_by=who, **_stored(wanted))
                row = _existing(session, webhook_id)
                _log(session, who, row, "made", after=_shown(row))
                transaction.commit()
            return MadeSecret(row, secret)

        made: MadeSecret = run(work)
        return made

    def change(
        self, run: Run, webhook_id: int, wanted: dict[str, Any], *, who: str, must_match: Callable[[int], None]
    ) -> WebhookRow:
        """Change these columns of a webhook, if `must_match` lets its version pass.

        Raises UrlRefused, UnknownWebhook, and what `must_match` raises.
        """
        if "url" in wanted:
            check_url(wanted["url"], self._policy)

        def work(session: Session) -> WebhookRow:
            with Transaction(session) as transaction:
                before = _existing(session, webhook_id, to_change=True)
                must_match(before.version)
                new = {name: value for name, value in _stored(wanted).items() if value != getattr(before, name)}
                if not new:
                    return before
                webhooks.change_webhook(session, webhook_id, **new)
                after = _existing(session, webhook_id)
                _log(session, who, after, "changed", before=_shown(before), after=_shown(after))
                transaction.commit()
            return after

        changed: WebhookRow = run(work)
        return changed

    def rotate(
        self,
        run: Run,
        webhook_id: int,
        overlap: timedelta,
        *,
        who: str,
        must_match: Callable[[int], None] = lambda _: None,
    ) -> MadeSecret:
        """Give a webhook a new secret, if `must_match` lets its version pass.

        For `overlap` the one before signs as well. Raises NoSecretKey, UnknownWebhook, and what `must_match` raises.
        """
        secret, encrypted = self._secrets.new()

        def work(session: Session) -> MadeSecret:
            with Transaction(session) as transaction:
                must_match(_existing(session, webhook_id, to_change=True).version)
                webhooks.replace_secret(session, webhook_id, encrypted, overlap)
                row = _existing(session, webhook_id)
                _log(session, who, row, "rotated", after={"overlap_seconds": int(overlap.total_seconds())})
                transaction.commit()
            return MadeSecret(row, secret)

        made: MadeSecret = run(work)
        return made


def delete_webhook(session: Session, webhook_id: int, *, who: str) -> None:
    """Delete a webhook; what it was still to be sent is not sent. Raises UnknownWebhook."""
    with Transaction(session) as transaction:
        row = _existing(session, webhook_id, to_change=True)
        webhooks.mark_deleted(session, webhook_id)
        _log(session, who, row, "deleted", before=_shown(row))
        transaction.commit()


def send_test(session: Session, webhook_id: int, *, who: str) -> int:
    """Queue a message that only shows whether messages arrive. Returns the id of its delivery.

    Raises UnknownWebhook or WebhookDisabled.
    """
    with Transaction(session) as transaction:
        row = _existing(session, webhook_id, to_change=True)
        if not row.enabled:
            raise WebhookDisabled
        body = message_of_test(datetime.now(UTC), webhook_id)
        delivery = delivery_lists.add_delivery(session, webhook_id, message_id=new_message_id(), event=TEST, body=body)
        _log(session, who, row, "tested", after={"delivery": delivery})
        transaction.commit()
    return delivery


def resend_one(session: Session, webhook_id: int, delivery: int, *, who: str) -> SentAgain:
    """Let one delivery wait again. Raises UnknownWebhook or UnknownDelivery."""
    with Transaction(session) as transaction:
        row = _existing(session, webhook_id)
        if not delivery_lists.resend_one(session, webhook_id, delivery):
            raise UnknownDelivery
        _log(session, who, row, "resent", after={"delivery": delivery})
        transaction.commit()
    return SentAgain(1, None)


def resend_since(
    run: Run, webhook_id: int, since: datetime, *, after: int | None, who: str, most: int = MOST_RESENT
) -> SentAgain:
    """Let the deliveries made since a moment wait again, the oldest first: `most` of them, in several transactions.

    `after`: those from this id on, which an earlier call had no room for. Raises UnknownWebhook.
    """

    def find(session: Session) -> int | None:
        _existing(session, webhook_id)
        first = delivery_lists.first_since(session, webhook_id, since)
        return first if first is None or after is None else max(first, after)

    first, number = run(find), 0
    while first is not None and number < most:

        def stretch(session: Session) -> delivery_lists.Resent:
            with Transaction(session) as transaction:
                row = _existing(session, webhook_id)
                found = delivery_lists.resend_from(session, webhook_id, first)  # noqa: B023 (it is called here)
                if found.number:
                    said = {"since": since.isoformat(), "deliveries": found.number, "from": first}  # noqa: B023
                    _log(session, who, row, "resent", after=said)
                transaction.commit()
            return found

        found = run(stretch)
        number += found.number
        first = None if found.last_id is None else found.last_id + 1
    return SentAgain(number, first)


def renew_secrets(session: Session, secrets: WebhookSecrets) -> list[int]:
    """Encrypt all stored secrets with the present SECRET_KEY. Returns the webhooks whose present one cannot be read."""
    unreadable = []
    with Transaction(session) as transaction:
        for one in webhooks.stored_secrets(session):
            try:
                secret = secrets.renewed(one.secret) or one.secret
            except SecretUnreadable:
                unreadable.append(one.webhook_id)
                secret = one.secret
            previous = one.previous_secret
            with suppress(SecretUnreadable):
                previous = previous and (secrets.renewed(previous) or previous)
            if (secret, previous) != (one.secret, one.previous_secret):
                webhooks.store_secrets(session, one.webhook_id, secret, previous)
        transaction.commit()
    return unreadable


def waiting_of(session: Session, row: WebhookRow) -> WaitingDeliveries:
    """How many deliveries of a webhook wait."""
    return delivery_lists.waiting_of(session, [row.webhook_id])[row.webhook_id]


def shown_url(url: str) -> str:
    """What the log, which more people read, says of a URL: the host; and a digest, by which others can be told from it.

    Path and query may hold what lets anybody post to the receiver.
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc} ({sha256(url.encode()).hexdigest()[:8]})"


def _existing(session: Session, webhook_id: int, *, to_change: bool = False) -> WebhookRow:
    row = webhooks.get_webhook(session, webhook_id, to_change=to_change)
    if row is None:
        raise UnknownWebhook
    return row


def _must_be_new(session: Session, url: str, newest: int) -> None:
    for row in webhooks.all_webhooks(session):
        if row.webhook_id > newest and row.url == url:
            raise MadeAlready(row.webhook_id)


def _stored(wanted: dict[str, Any]) -> dict[str, Any]:
    """The columns, with lists in one order, so that the same ones are no change."""
    order: dict[str, Callable[[Any], Any]] = {"events": EVENTS.index, "risk": ("low", "normal", "high").index}
    return {
        name: sorted(value, key=order.get(name)) if isinstance(value, list | tuple) else value
        for name, value in wanted.items()
    }


def _shown(row: WebhookRow) -> dict[str, Any]:
    """What the log says of a webhook."""
    return {name: getattr(row, name) for name in _SUBJECTS} | {"url": shown_url(row.url)}


def _log(session: Session, who: str, row: WebhookRow, what: str, **more: Any) -> None:
    add_log_entry(session, who=who, kind="webhook", subject=str(row.webhook_id), what=what, **more)
