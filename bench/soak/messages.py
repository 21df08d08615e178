"""An independent judge of what webhooks were told: each alert, each thing once, in order, and nothing that never was.

It holds the messages that a receiver has accepted against the stored alerts, and shares no code with the service.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.soak.judge import Findings, Removed

CREATED, SUPERSEDED, REINSTATED, CHANGED = EVENTS = (
    "alert.created",
    "alert.superseded",
    "alert.reinstated",
    "alert.changed",
)
AlertKey = tuple[int, int, int]  # user, seq, code


class ToldAlert(NamedTuple):
    """A stored alert: whether it still holds, whether it is that of a rule in shadow, and how often it was worked."""

    superseded: bool
    shadow: bool
    changes: int


@dataclass
class Messages(Findings):
    """What an endpoint has accepted, and what is wrong with that."""

    accepted: int = 0
    again: int = 0  # of these, had been accepted before
    events: Counter[str] = field(default_factory=Counter)


class _Told(NamedTuple):
    events: Counter[str]
    time: int


def look(
    messages: Iterable[tuple[str, str, Mapping[str, Any]]],
    alerts: Mapping[AlertKey, ToldAlert],
    removed: Mapping[int, Removed],
    untold: Mapping[int, int],
) -> Messages:
    """Hold messages (id, type, data), in the order in which they were accepted, against the stored alerts.

    Of alerts whose actions were `removed`, nobody knows what should have been told, only that they may have been there.
    `untold`: by user, the newest action that was stored before the webhook was made.
    """
    findings, seen = Messages(), set[str]()
    last: dict[int, str] = {}  # by user, the message before
    newest: dict[int, int] = {}  # by user, the newest action of an alert that was raised at once
    told: dict[AlertKey, _Told] = {}
    for message_id, event, data in messages:
        findings.accepted += 1
        if message_id in seen:
            findings.again += 1
            continue
        seen.add(message_id)
        findings.events[event] += 1
        user_id, seq = data["user_id"], data["seq"]
        if data["previous_id"] != last.get(user_id):
            findings.note(f"{message_id} about user {user_id} does not follow the one before it")
        last[user_id] = message_id
        if event == CREATED and not data["late"]:
            if seq < newest.get(user_id, 0):
                findings.note(f"user {user_id}: action {seq} comes after action {newest[user_id]}")
            newest[user_id] = seq
        so_far = told.setdefault((user_id, seq, data["code"]), _Told(Counter(), data["time"])).events
        if wrong := _out_of_turn(event, so_far, is_known=seq <= untold.get(user_id, 0)):
            findings.note(f"user {user_id}, action {seq}, {data['code']}: {wrong}")
        so_far[event] += 1
    _compare(findings, told, alerts, removed, untold)
    return findings


def _out_of_turn(event: str, so_far: Counter[str], *, is_known: bool) -> str | None:
    """What is wrong with an event of an alert after those before it."""
    if event not in EVENTS:
        return f"nobody asked for {event}"
    if event == CREATED:
        return "raised, and told of before" if so_far.total() else None
    if not so_far[CREATED] and not is_known:
        return f"{event} before it was raised"
    holds = so_far[SUPERSEDED] == so_far[REINSTATED]
    if event in (SUPERSEDED, REINSTATED) and holds != (event == SUPERSEDED):
        return f"{event} twice"
    return None


def _compare(
    findings: Messages,
    told: Mapping[AlertKey, _Told],
    alerts: Mapping[AlertKey, ToldAlert],
    removed: Mapping[int, Removed],
    untold: Mapping[int, int],
) -> None:
    """Hold all that was told against all that is stored."""
    for key, (_, time) in told.items():
        cut = removed.get(key[0])
        if key not in alerts and (cut is None or time >= cut.before):
            findings.note(f"alert {key} was told of and is not there")
    for key, alert in alerts.items():
        events = told[key].events if key in told else Counter[str]()
        if alert.shadow:
            if events:
                findings.note(f"alert {key} in shadow was told of")
            continue
        findings.alerts += 1
        if not events[CREATED] and key[1] > untold.get(key[0], 0):
            findings.note(f"alert {key} was not told of")
        elif events[SUPERSEDED] - events[REINSTATED] != alert.superseded:
            findings.note(f"alert {key} was told of as it is not: {dict(events)}")
        if events[CHANGED] != alert.changes:
            findings.note(f"alert {key} was worked {alert.changes} times, and {events[CHANGED]} were told")
