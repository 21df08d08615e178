"""Statements for sending deliveries: what is due, and what came of each attempt."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Double,
    Integer,
    Text,
    bindparam,
    case,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.orm import aliased

from database.models import Delivery, DeliveryAttempt, Webhook, WebhookRelay, WebhookState
from database.recordsets import recordset, written

_MOMENT = DateTime(timezone=True)
_now = func.clock_timestamp(type_=_MOMENT)
_SECOND: ColumnElement[Any] = literal_column("interval '1 second'")
_WAITS = Delivery.status == "waiting"
_ME = bindparam("me", type_=Text)
_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("webhook_id", "delivery_id", "first_user"), BigInteger()),
    **dict.fromkeys(("n", "attempts", "status"), Integer()),
    **dict.fromkeys(("pause", "seconds"), Double()),
    **dict.fromkeys(("error", "becomes"), Text()),
}


def _from_now(seconds: Any) -> Any:
    return _now + seconds * _SECOND


# What is due


class LookFrom(NamedTuple):
    """For which endpoint to look for what is due, and from which user on."""

    webhook_id: int
    first_user: int


class Head(NamedTuple):
    """The first message that waits for an endpoint and user (None: a test), and whether it is due."""

    webhook_id: int
    delivery_id: int
    user_id: int | None
    attempts: int
    is_due: bool


def _first(after: ColumnElement[bool], of: Any) -> Any:
    return (
        select(Delivery.delivery_id, Delivery.user_id, Delivery.attempts, Delivery.next_at)
        .where(Delivery.webhook_id == of.c.webhook_id, _WAITS, after)
        .order_by(Delivery.webhook_id, Delivery.user_id, Delivery.delivery_id)
        .limit(1)
        .lateral("first")
    )


def _heads() -> Any:
    """From user to user in the index, however many messages of a user wait."""
    asked = recordset(LookFrom, "asked", _TYPES)
    first = _first(Delivery.user_id >= asked.c.first_user, asked)
    found = (
        select(asked.c.webhook_id, *first.c, literal_column("1").label("place"))
        .select_from(asked.join(first, true()))
        .cte("found", recursive=True)
    )
    following = _first(Delivery.user_id > found.c.user_id, found)
    found = found.union_all(
        select(found.c.webhook_id, *following.c, found.c.place + literal_column("1"))
        .select_from(found.join(following, true()))
        .where(found.c.place < bindparam("most", type_=Integer))
    )
    of_tests = (
        select(Delivery.delivery_id, Delivery.user_id, Delivery.attempts, Delivery.next_at)
        .where(Delivery.webhook_id == asked.c.webhook_id, _WAITS, Delivery.user_id.is_(None))
        .order_by(Delivery.webhook_id, Delivery.user_id, Delivery.delivery_id)
        .limit(bindparam("most_tests", type_=Integer))
        .lateral("of_tests")
    )
    tests = select(asked.c.webhook_id, *of_tests.c).select_from(asked.join(of_tests, true()))
    both = union_all(
        select(*(found.c[name] for name in ("webhook_id", *first.c.keys()))),
        tests,
    ).subquery("both")
    return select(
        both.c.webhook_id, both.c.delivery_id, both.c.user_id, both.c.attempts, both.c.next_at <= _now
    ).order_by(both.c.webhook_id, both.c.user_id, both.c.delivery_id)


_HEADS = _heads()


def read_heads(connection: Connection, asked: Sequence[LookFrom], most: int, most_tests: int) -> list[Head]:
    """The first message of each of up to `most` users that wait for each endpoint, by user; and up to `most_tests`
    tests, which do not wait for one another."""
    parameters = {"asked": written(asked), "most": most, "most_tests": most_tests}
    return [Head._make(row) for row in connection.execute(_HEADS, parameters)]


# An attempt


class Claim(NamedTuple):
    """A message to be sent now, and in how many seconds again if nobody hears of what came of it."""

    delivery_id: int
    attempts: int
    pause: float


class Claimed(NamedTuple):
    """A message whose attempt is on record: the `n`-th of all, and of those since it began to wait the last of
    `attempts`.

    `previous_secret` is None once its time is over.
    """

    delivery_id: int
    webhook_id: int
    user_id: int | None
    message_id: str
    body: str
    attempts: int
    n: int
    url: str
    secret: bytes
    previous_secret: bytes | None


_claims = recordset(Claim, "claims", _TYPES)
_claimed = (
    update(Delivery)
    .where(
        Delivery.delivery_id == _claims.c.delivery_id,
        _WAITS,
        Delivery.attempts == _claims.c.attempts,
        Webhook.webhook_id == Delivery.webhook_id,
        Webhook.enabled,
        Webhook.deleted_at.is_(None),
        WebhookState.webhook_id == Delivery.webhook_id,
        WebhookState.leased_by == _ME,
        WebhookState.leased_until > _now,
        ~select(literal(1)).where(WebhookRelay.held.is_not(None)).exists(),
    )
    .values({Delivery.attempts: Delivery.attempts + literal_column("1"), Delivery.next_at: _from_now(_claims.c.pause)})
    .returning(
        Delivery.delivery_id,
        Delivery.webhook_id,
        Delivery.user_id,
        Delivery.message_id,
        Delivery.body,
        Delivery.attempts,
        Webhook.url,
        Webhook.secret,
        case((Webhook.previous_secret_until > _now, Webhook.previous_secret), else_=null()).label("previous_secret"),
    )
    .execution_options(synchronize_session=False)
    .cte("claimed")
)
_made = (
    select(func.max(DeliveryAttempt.n))
    .where(DeliveryAttempt.delivery_id == _claimed.c.delivery_id)
    .correlate(_claimed)
    .scalar_subquery()
)
_begun = (
    insert(DeliveryAttempt)
    .from_select(
        [DeliveryAttempt.delivery_id, DeliveryAttempt.n],
        select(_claimed.c.delivery_id, func.coalesce(_made, literal_column("0")) + literal_column("1")),
    )
    .returning(DeliveryAttempt.delivery_id, DeliveryAttempt.n)
    .cte("begun")
)
_CLAIM = select(
    *(_begun.c.n if name == "n" else _claimed.c[name] for name in Claimed._fields),
).join_from(_claimed, _begun, _begun.c.delivery_id == _claimed.c.delivery_id)


def claim(connection: Connection, me: str, claims: Sequence[Claim]) -> list[Claimed]:
    """Put on record that these messages are sent now. Returns those that the process `me` is to send.

    Not those whose endpoint has another sender, or is not enabled, nor any while all is held.
    """
    rows = connection.execute(_CLAIM, {"me": me, "claims": written(claims)})
    return [Claimed._make(row) for row in rows]


class Ended(NamedTuple):
    """What came of an attempt. `becomes`: delivered, given_up, waiting (again after `pause` seconds), or unsent.

    `attempts` as it was claimed; `seconds` is how long it took, `status` that of the answer, or `error` says why there
    was none.
    """

    delivery_id: int
    n: int
    attempts: int
    seconds: float
    status: int | None
    error: str | None
    becomes: str
    pause: float | None


_ended = recordset(Ended, "ended", _TYPES)
_END_ATTEMPTS = (
    update(DeliveryAttempt)
    .where(DeliveryAttempt.delivery_id == _ended.c.delivery_id, DeliveryAttempt.n == _ended.c.n)
    .values(
        {
            DeliveryAttempt.seconds: _ended.c.seconds,
            DeliveryAttempt.status: _ended.c.status,
            DeliveryAttempt.error: _ended.c.error,
        }
    )
    .execution_options(synchronize_session=False)
)
_later = aliased(DeliveryAttempt)
_waits_again = _ended.c.becomes.in_(("waiting", "unsent"))
_END = (
    update(Delivery)
    # Somebody may have asked meanwhile to have it sent again, and another process may have begun with that.
    .where(
        Delivery.delivery_id == _ended.c.delivery_id,
        _WAITS,
        Delivery.attempts == _ended.c.attempts,
        ~select(_later.n).where(_later.delivery_id == _ended.c.delivery_id, _later.n > _ended.c.n).exists(),
    )
    .values(
        {
            Delivery.status: case((_waits_again, "waiting"), else_=_ended.c.becomes),
            Delivery.next_at: case((_waits_again, _from_now(_ended.c.pause)), else_=null()),
            Delivery.finished_at: case((_waits_again, null()), else_=_now),
            Delivery.attempts: case(
                (_ended.c.becomes == "unsent", Delivery.attempts - literal_column("1")), else_=Delivery.attempts
            ),
        }
    )
    .execution_options(synchronize_session=False)
)


def end_attempts(connection: Connection, ended: Sequence[Ended]) -> None:
    """Put on record what came of attempts, and what becomes of their messages."""
    parameters = {"ended": written(ended)}
    connection.execute(_END_ATTEMPTS, parameters)
    connection.execute(_END, parameters)
