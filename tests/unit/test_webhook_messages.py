"""What webhooks are sent: bodies, ids, and signatures that the specification's own library verifies."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from work.webhook_messages import CHANGED, CREATED, ToldAlert, alert_message, message_of_test, new_message_id, sign
from work.webhook_secrets import WebhookSecrets

AT = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)
ALERT = ToldAlert(
    user_id=7,
    seq=3,
    code=123,
    time=25,
    type="deposit",
    amount=Decimal("120.00"),
    late=False,
    evidence={
        "rule_version": 1,
        "measured": "1220.00",
        "parameters": {"threshold": "200.00", "window": 30},
        "origin": {"threshold": "default", "window": "default"},
        "actions": [2, 3],
        "sentence": "Deposits of 1220.00 between 10 and 25 are over 200.00 in 30 s.",
    },
)
SECRET = WebhookSecrets("k" * 32).new()[0]


def written(event: str = CREATED, **options: Any) -> dict[str, Any]:
    """The message about the alert."""
    given: dict[str, Any] = {"previous_id": None, "amounts": False, "time_is_epoch": False} | options
    return dict(json.loads(alert_message(event, AT, ALERT, **given)))


def test_a_message_is_thin() -> None:
    """Ids, code, time and a sentence: the title of the rule, and no amount of the user's."""
    assert written(previous_id="msg_1") == {
        "type": "alert.created",
        "timestamp": "2026-01-31T12:00:00.250000Z",
        "data": {
            "alert_id": "7-3-123",
            "user_id": 7,
            "seq": 3,
            "code": 123,
            "time": 25,
            "title": "Deposits over 200.00 in 30 s",
            "sentence": "Deposits over 200.00 in 30 s.",
            "late": False,
            "previous_id": "msg_1",
        },
    }


def test_amounts_if_asked() -> None:
    """Then the sentence is the alert's own, as people read it, and what was measured stands there too."""
    data = written(amounts=True)["data"]
    assert data["sentence"] == "Deposits of 1,220.00 between 10 and 25 are over 200.00 in 30 s."
    assert (data["type"], data["amount"], data["measured"]) == ("deposit", "120.00", "1220.00")
    assert "1970-01-01 00:00:25 UTC" in written(amounts=True, time_is_epoch=True)["data"]["sentence"]


def test_work_on_an_alert() -> None:
    """What it is now, which of that changed, and by whom."""
    change = {
        "status": "acknowledged",
        "outcome": None,
        "assignee": "bob",
        "snoozed_until": "2026-02-01T12:00:00+00:00",
        "fields": ["assignee", "snoozed_until"],
        "who": "ada",
    }
    data = written(CHANGED, change=change)["data"]
    assert "fields" not in data
    assert {name: data[name] for name in ("status", "outcome", "assignee", "snoozed_until", "changed", "who")} == {
        "status": "acknowledged",
        "outcome": None,
        "assignee": "bob",
        "snoozed_until": "2026-02-01T12:00:00.000000Z",
        "changed": ["assignee", "snoozed_until"],
        "who": "ada",
    }


def test_the_title_of_a_rule_that_is_gone() -> None:
    """An alert of a rule that this release does not have is told of all the same."""
    data = json.loads(
        alert_message(CREATED, AT, ALERT._replace(code=9), previous_id=None, amounts=False, time_is_epoch=False)
    )["data"]
    assert (data["alert_id"], data["sentence"]) == ("7-3-9", "Rule 9.")


def test_ids_are_random() -> None:
    """They name nothing, and no two are the same."""
    ids = {new_message_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"msg_[A-Za-z0-9_-]{24}", one) for one in ids)


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=9))])
def test_the_specifications_library_verifies_a_signature(zone: timezone) -> None:
    """Whatever zone the moment is in. With another secret, id or body it does not."""
    now, body = datetime.now(zone), message_of_test(AT, 1)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": sign([SECRET], "msg_1", now, body),
    }
    assert Webhook(SECRET).verify(body, headers) == json.loads(body)
    for receiver, data, more in (
        (WebhookSecrets("k" * 32).new()[0], body, {}),
        (SECRET, body.replace("1", "2"), {}),
        (SECRET, body, {"webhook-id": "msg_2"}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(receiver).verify(data, headers | more)


def test_while_a_secret_is_rotated_both_sign() -> None:
    """Whoever has either secret can verify the message."""
    new, now, body = WebhookSecrets("k" * 32).new()[0], datetime.now(UTC), message_of_test(AT, 1)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": sign([new, SECRET], "msg_1", now, body),
    }
    for receiver in (new, SECRET):
        assert Webhook(receiver).verify(body, headers) == json.loads(body)


def test_a_moment_without_a_zone_is_not_signed() -> None:
    """It would be taken for UTC, whatever it is."""
    with pytest.raises(ValueError, match="zone"):
        sign([SECRET], "msg_1", AT.replace(tzinfo=None), "{}")
