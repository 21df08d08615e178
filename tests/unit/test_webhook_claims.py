"""Looking for what is due: some users at a time, and no more often than it is worth."""

import queue
import time
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import Mock

import pytest

from database import deliveries
from database.deliveries import Claim, Head, LookFrom
from work import webhook_claims
from work.webhook_claims import claim_due
from work.webhook_line import EndpointLine
from work.webhook_secrets import WebhookSecrets


def ask(work: Callable[[Any], Any]) -> Any:
    """Run what needs a connection without one."""
    return work(None)


def test_a_round_without_anything_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users are looked at in turn; if nothing is due for any of them, the next round begins some time later."""
    monkeypatch.setattr(webhook_claims, "MOST_HEADS", 2)
    monkeypatch.setattr(webhook_claims, "NOTHING_DUE", 3600.0)
    due: set[int] = {4}
    looks: list[int] = []

    def read_heads(_connection: None, asked: Sequence[LookFrom], most: int, _tests: int) -> list[Head]:
        [(webhook_id, first_user)] = asked
        looks.append(first_user)
        users = [user_id for user_id in range(1, 6) if user_id >= first_user][:most]
        return [Head(webhook_id, user_id, user_id, 1, user_id in due) for user_id in users]

    def claim(_connection: None, _me: str, claims: Sequence[Claim]) -> list[None]:
        due.difference_update(one.delivery_id for one in claims)
        return []

    monkeypatch.setattr(deliveries, "read_heads", read_heads)
    monkeypatch.setattr(deliveries, "claim", claim)
    lines = {7: EndpointLine(Mock(), WebhookSecrets("k" * 32), queue.SimpleQueue())}
    while claim_due(ask, "me", lines):
        pass
    assert looks == [0, 3, 5, 0, 3, 5]
    assert not lines[7].may_send(time.monotonic())
