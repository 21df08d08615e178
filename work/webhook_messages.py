"""The messages that webhooks get, by the specification Standard Webhooks: their bodies, ids and signatures. Pure.

Messages are thin: they say which alert it is and what happened; whoever needs more asks for the alert. Amounts of money
are left out unless the webhook is to have them. They are part of an alert's sentence, so that is then the rule's title,
which names only what the rule is set to.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from standardwebhooks import Webhook as Signer

from rules.registry import title_of
from rules.values import alert_id, read_moment, written_moment
from rules.wording import shown_evidence

CREATED, SUPERSEDED, REINSTATED, CHANGED = "alert.created", "alert.superseded", "alert.reinstated", "alert.changed"
TEST = "webhook.test"
EVENTS = (CREATED, SUPERSEDED, REINSTATED, CHANGED, TEST)

_ID_BYTES = 18  # random: 24 characters


class ToldAlert(NamedTuple):
    """What is stored of an alert that a message is about; `amount` and `time` are its action's."""

    user_id: int
    seq: int
    code: int
    time: int
    type: str
    amount: Decimal
    late: bool
    evidence: Mapping[str, Any]


def new_message_id() -> str:
    """The id of a new message: random, so that it never names another one, whatever was restored in between."""
    return f"msg_{secrets.token_urlsafe(_ID_BYTES)}"


def alert_message(
    event: str,
    at: datetime,
    alert: ToldAlert,
    *,
    change: Mapping[str, Any] | None = None,
    previous_id: str | None,
    amounts: bool,
    time_is_epoch: bool,
) -> str:
    """The body of a message about an alert, as JSON text.

    `at`: when it happened. `change`: what work has made of the alert, as the outbox has it, for `alert.changed` alone.
    `previous_id`: the id of the message before it to the same webhook about the same user, if one is on record.
    `amounts`: whether it may contain amounts of money. `time_is_epoch`: times are seconds since 1970, and dates in
    sentences.
    """
    title = title_of(alert.code, alert.evidence)
    data: dict[str, Any] = {
        "alert_id": alert_id(alert.user_id, alert.seq, alert.code),
        "user_id": alert.user_id,
        "seq": alert.seq,
        "code": alert.code,
        "time": alert.time,
        "title": title,
        "sentence": f"{title}.",
        "late": alert.late,
    }
    if amounts:
        evidence = shown_evidence(alert.evidence, time_is_epoch)
        data |= {
            "sentence": evidence["sentence"],
            "type": alert.type,
            "amount": str(alert.amount),
            "measured": evidence["measured"],
        }
    if change is not None:
        until = change["snoozed_until"]
        data |= {name: change[name] for name in ("status", "outcome", "assignee")}
        data |= {"snoozed_until": until and written_moment(read_moment(until))}
        data |= {"changed": change["fields"], "who": change["who"]}
    return _written(event, at, data | {"previous_id": previous_id})


def message_of_test(at: datetime, webhook_id: int) -> str:
    """The body of a message that only shows whether messages arrive, as JSON text."""
    return _written(TEST, at, {"webhook_id": webhook_id, "sentence": "This is a test: nothing happened."})


def sign(signing: Sequence[str], message_id: str, at: datetime, body: str) -> str:
    """The value of the header `webhook-signature`: a signature with each of these secrets.

    `at` is the moment in the header `webhook-timestamp`, which has a zone.
    """
    if at.tzinfo is None:
        raise ValueError("a moment without a zone")
    # The library takes the time of any zone for UTC.
    moment = at.astimezone(UTC)
    return " ".join(Signer(secret).sign(message_id, moment, body) for secret in signing)


def _written(event: str, at: datetime, data: Mapping[str, Any]) -> str:
    return json.dumps({"type": event, "timestamp": written_moment(at), "data": data}, separators=(",", ":"))
