"""Those who work alerts by the list, and what they keep for that: claims, bulk changes, mutes, views and exports."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from bench.soak.http import JSON, NO_ANSWER, Caller, Reply
from bench.soak.loads import Soak, as_json
from bench.soak.plan import encoded

FILTERS: tuple[dict[str, Any], ...] = ({}, {"code": 1100}, {"late": True}, {"risk": "high"}, {"status": "acknowledged"})
EXPORTS = ("/alerts.csv?code=1100", "/alerts.csv?status=closed", "/log.csv")
CLAIMS = {"query": {"code": 30}}
NOBODY = "999999999-1-1100"


def queue(soak: Soak, name: str) -> None:
    """Claims the next alert, and changes many, those it names or those that fit: each one has an answer of its own."""
    random, caller = Random(f"{soak.seed} {name}"), soak.caller("work by the list")
    while soak.has_room(0.2):
        _expected(soak, caller.ask("POST", "/alerts/next", encoded(random.choice(({}, CLAIMS))), JSON), 200, 204)
        reply = caller.ask("GET", "/alerts?limit=50")
        listed = as_json(reply)["alerts"] if reply.status == 200 else []
        ids = [*(one["id"] for one in random.sample(listed, min(20, len(listed)))), NOBODY]
        change = encoded({"ids": ids, "set": {"assignee": random.choice(("Ada", None))}})
        reply = caller.ask("POST", "/alerts/bulk", change, JSON)
        _expected(soak, reply, 200)
        if reply.status == 200 and [one["id"] for one in as_json(reply)["results"]] != ids:
            soak.record.note(f"of a change of many, not each was answered: {reply.body[:200]!r}")
        change = encoded({"query": random.choice(FILTERS), "set": {"status": "open"}})
        _expected(soak, caller.ask("POST", "/alerts/bulk", change, JSON), 200)
    caller.close()


def keeping(soak: Soak, name: str) -> None:
    """Mutes and unmutes rules for users, saves and deletes views, exports alerts and the log."""
    random, caller, number = Random(f"{soak.seed} {name}"), soak.caller("mutes, views, exports"), 0
    while soak.goes_on(0.5):
        number += 1
        mute = f"/users/{random.randint(1, 20)}/mutes/{random.choice((1100, 30, 123))}"
        until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        _expected(soak, caller.ask("PUT", mute, encoded({"until": until, "note": "soak"}), JSON), 200, 201, 404)
        if random.random() < 0.5:
            _expected(soak, caller.ask("DELETE", mute), 200, 404)
        _view(soak, caller, {"name": f"{name} {number}", "query": random.choice(FILTERS[1:]), "shared": True})
        if number % 5 == 0:
            _expected(soak, caller.ask("GET", random.choice(EXPORTS)), 200)
    caller.close()


def _view(soak: Soak, caller: Caller, view: dict[str, Any]) -> None:
    reply = caller.ask("POST", "/views", encoded(view), JSON)
    _expected(soak, reply, 201)
    if reply.status == 201:
        _expected(soak, caller.ask("DELETE", f"/views/{as_json(reply)['id']}"), 200, 204)


def _expected(soak: Soak, reply: Reply, *statuses: int) -> None:
    """Note the answer unless it is one of these, or says that the service cannot just now."""
    if reply.status not in (NO_ANSWER, 503, *statuses):
        soak.record.note(f"work by the list was answered {reply.status}: {reply.body[:300]!r}")
