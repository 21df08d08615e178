"""The soak's judge of messages notices whatever a webhook was told wrongly, or not told."""

import socket
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from bench.soak.judge import Removed
from bench.soak.messages import CHANGED, CREATED, REINSTATED, SUPERSEDED, AlertKey, ToldAlert, look
from bench.soak.receiver import CLOSED, CUT_OFF, DOWN, ERROR, HUNG, fault, serve
from tests.waiting import PATIENCE, wait_until

Lines = list[tuple[str, str, dict[str, Any]]]

# By user, seq and code. Of user 2, what is older than 50 was removed; action 1 of user 3 is older than the webhook.
ALERTS = {
    (1, 1, 30): ToldAlert(superseded=False, shadow=False, changes=2),
    (1, 2, 30): ToldAlert(superseded=True, shadow=False, changes=0),
    (1, 3, 30): ToldAlert(superseded=False, shadow=True, changes=1),
    (2, 9, 123): ToldAlert(superseded=False, shadow=False, changes=0),
    (3, 1, 30): ToldAlert(superseded=True, shadow=False, changes=0),
}
TOLD = [
    ("a", CREATED, 1, 1, 30, 10, None),
    ("b", CREATED, 1, 2, 30, 20, "a"),
    ("p", CREATED, 2, 8, 30, 49, None),
    ("c", SUPERSEDED, 1, 1, 30, 10, "b"),
    ("d", CHANGED, 1, 1, 30, 10, "c"),
    ("e", REINSTATED, 1, 1, 30, 10, "d"),
    ("f", SUPERSEDED, 1, 2, 30, 20, "e"),
    ("q", CREATED, 2, 9, 123, 50, "p"),
    ("g", CHANGED, 1, 1, 30, 10, "f"),
    ("x", SUPERSEDED, 3, 1, 30, 5, None),
    ("g", CHANGED, 1, 1, 30, 10, "f"),
]
NAMES = ("user_id", "seq", "code", "time", "previous_id")


def lines() -> Lines:
    """The messages as they were accepted."""
    return [(one, event, {"late": False} | dict(zip(NAMES, values, strict=True))) for one, event, *values in TOLD]


def wrong(messages: Lines, alerts: dict[AlertKey, ToldAlert] = ALERTS) -> int:
    """How much the judge finds wrong."""
    return look(messages, alerts, {2: Removed(before=50)}, {3: 1}).wrong


def test_what_is_right_is_right() -> None:
    """Messages that come again, alerts older than the webhook and alerts that were removed are as they should be."""
    found = look(lines(), ALERTS, {2: Removed(before=50)}, {3: 1})
    assert (found.wrong, found.accepted, found.again, found.alerts) == (0, 11, 1, 4)


@pytest.mark.parametrize("gone", range(10))
def test_a_message_that_is_lost(gone: int) -> None:
    """Whichever message has not arrived is missed, but the last of an alert that was removed."""
    left = [one for one in lines() if one[0] != TOLD[gone][0]]
    assert wrong(left) > 0


ALTERED: dict[str, Callable[[Lines], Any]] = {
    "two of a user in another order": lambda told: told.insert(0, told.pop(1)),
    "a message that does not follow": lambda told: told[4][2].update(previous_id="b"),
    "one thing told twice": lambda told: told.append(("h", CREATED, {**told[0][2], "previous_id": "g"})),
    "an alert that never was": lambda told: told.append(("h", CREATED, {**told[0][2], "seq": 7, "previous_id": "g"})),
    "an alert in shadow": lambda told: told.append(("h", CREATED, {**told[0][2], "seq": 3, "previous_id": "g"})),
    "nothing that was asked for": lambda told: told.append(("h", "webhook.test", {**told[0][2], "previous_id": "g"})),
    "superseded twice": lambda told: told.append(("h", SUPERSEDED, {**told[1][2], "previous_id": "g"})),
    "an older action after a newer one": lambda told: told.append(
        ("h", CREATED, {**told[7][2], "seq": 3, "time": 49, "previous_id": "q"})
    ),
}


@pytest.mark.parametrize("how", ALTERED)
def test_a_message_that_is_wrong(how: str) -> None:
    """Whatever is told in a wrong order, twice, or of what never happened is noticed."""
    told = lines()
    ALTERED[how](told)
    assert wrong(told) > 0


def test_an_alert_that_was_not_told_of() -> None:
    """A stored alert without a message is noticed, and so is one that was worked once more."""
    assert wrong(lines(), {**ALERTS, (4, 1, 30): ToldAlert(superseded=False, shadow=False, changes=0)}) == 1
    assert wrong(lines(), {**ALERTS, (1, 1, 30): ToldAlert(superseded=False, shadow=False, changes=3)}) == 1


def test_what_a_receiver_accepts(tmp_path: Path) -> None:
    """What has a good signature is accepted, and nothing else; a message that broke off is no bad signature."""
    secret = f"whsec_{b64encode(bytes(24)).decode()}"
    (tmp_path / "healthy.secret").write_text(secret)
    port, at, body = serve(0, tmp_path), datetime.now(UTC), '{"type": "alert.created", "data": {"seq": 1}}'
    headers = {"webhook-id": "a", "webhook-timestamp": str(int(at.timestamp()))}
    for signature, status in ((Webhook(secret).sign("a", at, body), 204), ("v1,AAAA", 500)):
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("POST", "/healthy", body, headers | {"webhook-signature": signature})
        assert connection.getresponse().status == status
        connection.close()
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as killed:
        killed.sendall(b"POST /healthy HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
    failed = tmp_path / "healthy.failed"
    wait_until(lambda: len(failed.read_text().splitlines()) == 2)
    assert failed.read_text().splitlines() == ["not verified: No matching signature found", CUT_OFF]
    assert (tmp_path / "healthy.accepted").read_text() == '["a", "alert.created", {"seq": 1}]\n'


def test_how_an_endpoint_fails() -> None:
    """It fails for a while, and at other times now and then, in each of three ways."""
    assert {fault(at, 0.5) for at in (0.0, DOWN - 0.1, 20.0)} == {ERROR}
    assert [fault(DOWN, chance) for chance in (0.0, 0.005, 0.02, 0.5)] == [HUNG, CLOSED, ERROR, None]
