"""Claiming what is due: the first message of each user that waits, as many as an endpoint has room for."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from database import deliveries
from database.deliveries import Claim, Head, LookFrom
from work.webhook_line import EndpointLine
from work.webhook_outcomes import pause_if_lost

NOTHING_DUE = 1.0  # seconds until the next look, once several looks at all users have found nothing
MOST_HEADS, MOST_TESTS = 200, 10  # users, and tests, of one endpoint whose first message is looked at at once


def claim_due(ask: Callable[[Any], Any], me: str, lines: Mapping[int, EndpointLine]) -> bool:
    """Claim what is due for these endpoints, by id, and have it sent. Returns whether to look again soon.

    `ask` runs a statement, `me` is the process that has leased the endpoints.
    """
    now = time.monotonic()
    asked = [LookFrom(webhook_id, line.first_user) for webhook_id, line in lines.items() if line.may_send(now)]
    if not asked:
        return False
    found: list[Head] = ask(lambda connection: deliveries.read_heads(connection, asked, MOST_HEADS, MOST_TESTS))
    claims: list[Claim] = []
    is_cut = False
    for webhook_id, first_user in asked:
        line = lines[webhook_id]
        chosen = _chosen(line, [head for head in found if head.webhook_id == webhook_id], now)
        claims += [Claim(one.delivery_id, one.attempts, pause_if_lost(one.attempts + 1)) for one in chosen]
        is_cut = is_cut or (line.looks_at <= now and (first_user > 0 or line.first_user > 0))
    if not claims:
        return is_cut
    for one in ask(lambda connection: deliveries.claim(connection, me, claims)):
        lines[one.webhook_id].add(one)
    return True


def _chosen(line: EndpointLine, heads: list[Head], now: float) -> list[Head]:
    """Those to be claimed; the next look goes on from there."""
    due = [head for head in heads if head.is_due and not line.has(head)]
    chosen = line.choose(due, now)
    user_ids = [head.user_id for head in heads if head.user_id is not None]
    is_first, line.has_found = line.first_user == 0, line.has_found or bool(chosen)
    if chosen and len(due) > len(chosen):
        line.first_user = chosen[-1].user_id or 0
    else:
        line.first_user = user_ids[-1] + 1 if len(user_ids) == MOST_HEADS else 0
    if line.first_user == 0:
        if not is_first and not line.has_found:
            line.looks_at = now + NOTHING_DUE
        line.has_found = False
    return chosen
