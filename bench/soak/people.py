"""Those who work alerts, who hold keys for a while, and who have none."""

from random import Random
from typing import Any

import requests

from access.caller import SCOPES
from access.key_format import make_key
from bench.soak.http import JSON, NO_ANSWER, Caller
from bench.soak.loads import Soak, as_json
from bench.soak.plan import encoded
from tests.waiting import PATIENCE

NOTE = "soak: "  # begins every note
REFUSED = (401, 429)  # who has no living key
AFTER = 20  # requests with a key after its end
OUTCOMES = ("true_positive", "false_positive", "inconclusive")
EVENT = {"type": "deposit", "amount": "1.00", "user_id": 60_000, "time": 1}


def first_key(url: str) -> str:
    """Make the first key of the service at `url`, for everything: from then on nobody is answered without one."""
    answer = requests.post(f"{url}/keys", json={"name": "soak", "scopes": SCOPES}, timeout=PATIENCE)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


def work(soak: Soak, name: str) -> None:
    """Works alerts, others being about the same ones. Each change has a note that no other has."""
    random, caller, number = Random(f"{soak.seed} {name}"), soak.caller("work on alerts"), 0
    while soak.has_room(0.1):
        reply = caller.ask("GET", "/alerts?limit=50")
        alerts = as_json(reply)["alerts"] if reply.status == 200 else []
        for alert in random.sample(alerts, min(10, len(alerts))):
            number += 1
            note = f"{NOTE}{name} {number}"
            path, body, headers = f"/alerts/{alert['id']}", _change(random), dict(JSON)
            if random.random() < 0.2:
                path, body = f"{path}/notes", {}
            elif random.random() < 0.5:
                headers["If-Match"] = alert["etag"]
            method = "POST" if path.endswith("notes") else "PATCH"
            reply = caller.ask(method, path, encoded(body | {"note": note}), headers)
            if reply.status == 200:
                soak.noted.append((note, alert["user_id"], alert["time"]))
            elif reply.status == 404 and alert["time"] < soak.cut:
                continue  # it was removed meanwhile
            elif reply.status not in (NO_ANSWER, 400 if "snoozed_until" in body else 0, 412, 503):
                soak.record.note(f"{method} {path} {body} was answered {reply.status}: {reply.body[:200]!r}")
        if alerts:
            _prove(soak, caller, random.choice(alerts))
    caller.close()


def _change(random: Random) -> dict[str, Any]:
    status = random.choice(("open", "acknowledged", "closed"))
    return {
        "status": status,
        "assignee": random.choice(("Ada", "Bob", None)),
        **({"outcome": random.choice(OUTCOMES)} if status == "closed" else {}),
    }


def _prove(soak: Soak, caller: Caller, alert: dict[str, Any]) -> None:
    alert_id = alert["id"]
    reply = caller.ask("POST", f"/alerts/{alert_id}/verify", b"", JSON)
    if reply.status == 200 and not as_json(reply)["same"]:
        soak.record.note(f"the proof of {alert_id} finds differences: {reply.body[:500]!r}")
    elif reply.status not in (NO_ANSWER, 200, 404 if alert["time"] < soak.cut else 0, 422, 503):
        soak.record.note(f"the proof of {alert_id} was answered {reply.status}: {reply.body[:200]!r}")


def keys(soak: Soak, name: str) -> None:
    """Makes a key, and every other time one that takes its place; uses and revokes each: then nothing is served."""
    chief, number = soak.caller("makers of keys"), 0
    while soak.goes_on(1.0):
        number += 1
        terms = {"name": f"{name} {number}", "scopes": ["ingest", "read"], "rate": "1000/second"}
        made = _made(soak, chief, "/keys", terms)
        for key in made + [new for one in made if number % 2 for new in _made(soak, chief, *_rotation(one["id"]))]:
            _use_and_revoke(soak, chief, key)
    chief.close()


def _rotation(key_id: str) -> tuple[str, dict[str, Any]]:
    return f"/keys/{key_id}/rotate", {"overlap_hours": 1}


def _made(soak: Soak, chief: Caller, path: str, terms: dict[str, Any]) -> list[dict[str, Any]]:
    reply = chief.ask("POST", path, encoded(terms), JSON)
    if reply.status == 201:
        return [as_json(reply)]
    if reply.status not in (NO_ANSWER, 503):
        soak.record.note(f"POST {path} was answered {reply.status}: {reply.body[:200]!r}")
    return []


def _use_and_revoke(soak: Soak, chief: Caller, key: dict[str, Any]) -> None:
    revoked = False
    while not revoked and soak.goes_on(0.2):
        holder = soak.caller("holders of keys", key["key"])
        reply = holder.ask("POST", "/event?dry_run=true", encoded(EVENT), JSON)
        # Right after a kill a process may not have seen it yet, and what was not answered may be revoked.
        if reply.status not in (NO_ANSWER, 200, 503, *REFUSED):
            soak.record.note(f"the holder of a key was answered {reply.status}: {reply.body[:200]!r}")
        revoked = chief.ask("DELETE", f"/keys/{key['id']}").status == 200
        for _ in range(AFTER if revoked else 0):
            reply = holder.ask("GET", "/alerts?limit=1")
            holder.close()  # another connection may lead to another worker
            if reply.status not in (NO_ANSWER, 503, *REFUSED):
                soak.record.note(f"a key that had been revoked was answered {reply.status}")


def strangers(soak: Soak, name: str) -> None:
    """Ask without a key, or with one of nobody's making: nothing is answered and nothing stored."""
    random = Random(f"{soak.seed} {name}")
    while soak.goes_on(0.05):
        caller = soak.caller("strangers", random.choice(("", make_key().key)))
        method, path = random.choice((("POST", "/event"), ("GET", "/alerts"), ("DELETE", "/keys/0000000")))
        reply = caller.ask(method, path, encoded(EVENT) if method == "POST" else None, JSON)
        if reply.status not in (NO_ANSWER, 503, *REFUSED):
            soak.record.note(f"{method} {path} of a stranger was answered {reply.status}")
        caller.close()
