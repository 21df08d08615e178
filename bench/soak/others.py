"""The rest of the load: those who read, who change rules and ratings, who ask for backtests, and who stall."""

import socket
from contextlib import suppress
from random import Random

from bench.soak.http import JSON
from bench.soak.loads import LATE, RULED, SHARED, Soak, as_json, post_single
from bench.soak.plan import encoded, in_order

# The parameters that are changed, with values on both sides of what is posted.
VALUES: dict[int, dict[str, list[object]]] = {
    1100: {"threshold": ["50.00", "99.99", "100.00", "150.00"]},
    30: {"count": [2, 3, 4]},
    300: {"count": [2, 3, 5]},
    123: {"threshold": ["100.00", "200.00", "300.01"], "window": [7, 30, 600]},
    500: {"count": [2, 5, 20], "window": [7, 60]},
}
# Looking at all of a user's history makes late events dear, so this one is asked for by name.
REACHING: dict[int, dict[str, list[object]]] = {630: {"times": ["2.00", "5.00"], "count": [2, 10]}}


def readers(soak: Soak, name: str) -> None:
    """Reads every route that the service describes, with and without filters."""
    random, caller = Random(f"{soak.seed} {name}"), soak.caller("readers")
    reply = soak.until_answered(lambda: caller.ask("GET", "/openapi.json"))
    if reply is None:
        return
    routes = [path for path, item in as_json(reply)["paths"].items() if "get" in item]
    filters = ["", "", "?limit=500", "?limit=1", "?limit=0"]
    found: list[str] = ["1-1-1100"]
    while soak.goes_on(0.05):
        path = random.choice(routes)
        names = {
            "{user_id}": str(random.choice((SHARED, LATE)) + random.randrange(20)),
            "{code}": str(random.choice(list(VALUES))),
            "{backtest_id}": str(random.randint(1, 9)),
            "{alert_id}": random.choice(found),
        }
        for parameter, value in names.items():
            path = path.replace(parameter, value)
        if "{" in path:
            continue
        if path == "/alerts":
            path += random.choice(["", "?limit=500", "?status=acknowledged", "?late=true", "?code=123", "?risk=high"])
        elif path.endswith(("actions", "versions", "backtests")):
            path += random.choice(filters)
        reply = caller.ask("GET", path)
        if path == "/alerts" and reply.status == 200:
            found = [alert["id"] for alert in as_json(reply)["alerts"]] or found
        if reply.status not in (0, 200, 304, 400, 404, 503):
            soak.record.note(f"GET {path} was answered {reply.status}: {reply.body[:200]!r}")
    caller.close()


def rules(soak: Soak, name: str) -> None:
    """Changes rules: on, off, in shadow, with other values, for all or for a rating."""
    random, caller = Random(f"{soak.seed} {name}"), soak.caller("rule changes")
    known = REACHING if name == "reaching" else VALUES
    answers, number = soak.record.open(soak.stream(f"after {name}", RULED + (name == "reaching"), in_order(1))), 0
    while soak.goes_on(2.0):
        code = random.choice(list(known))
        parameters = {one: random.choice(values) for one, values in known[code].items()}
        body = {
            "status": random.choice(["active", "active", "active", "shadow", "off"]),
            "parameters": parameters,
            "by_risk": {"high": {one: values[0] for one, values in known[code].items()}}
            if random.random() < 0.3
            else {},
            "note": "soak",
        }
        reply = caller.ask("PUT", f"/rules/{code}", encoded(body), JSON)
        if reply.status not in (0, 200, 503):
            soak.record.note(f"a rule change was answered {reply.status}: {reply.body[:200]!r}")
        if reply.status == 200:  # the next event is judged by it, in whichever worker
            soak.ruled.append((code, as_json(reply)["version"], f"{answers.stream.name}-{number}"))
            post_single(soak, caller, answers, number)
            number += 1
    caller.close()


def ratings(soak: Soak, name: str) -> None:
    """Changes ratings and overrides of users who are busy."""
    random, caller = Random(f"{soak.seed} {name}"), soak.caller("rating changes")
    while soak.goes_on(1.0):
        user = random.choice((SHARED, LATE)) + random.randrange(20)
        overrides = {"1100": {"threshold": random.choice(VALUES[1100]["threshold"])}} if random.random() < 0.5 else {}
        body = encoded({"risk": random.choice(["low", "normal", "high"]), "overrides": overrides})
        reply = caller.ask("PATCH", f"/users/{user}", body, JSON)
        if reply.status not in (0, 200, 404, 503):
            soak.record.note(f"a rating change was answered {reply.status}: {reply.body[:200]!r}")
    caller.close()


def backtests(soak: Soak, name: str) -> None:
    """Asks for backtests, and cancels every other one."""
    random, caller = Random(f"{soak.seed} {name}"), soak.caller("backtests")
    while soak.goes_on(5.0):
        body = {"sweep": {"rule": 123, "parameter": "threshold", "values": ["100.00", "200.00"]}}
        reply = caller.ask("POST", "/backtests", encoded(body), JSON)
        if reply.status not in (0, 202, 409, 503):
            soak.record.note(f"a backtest was answered {reply.status}: {reply.body[:200]!r}")
        if reply.status == 202:
            place = f"/backtests/{as_json(reply)['id']}"
            soak.goes_on(random.random() * 2)
            caller.ask("DELETE" if random.random() < 0.5 else "GET", place)
    caller.close()


def stalled(soak: Soak, name: str) -> None:
    """Connections that say nothing, or send half of a body; they are kept for a while, and then dropped or cut."""
    random = Random(f"{soak.seed} {name}")
    head = (
        f"POST {{}} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {soak.key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    )
    while soak.goes_on(0.2):
        held: list[socket.socket] = []
        for _ in range(soak.stalled):
            with suppress(OSError):
                one = socket.create_connection(("127.0.0.1", soak.port), timeout=5)
                held.append(one)
                kind = random.randrange(4)
                if kind:
                    one.sendall(head.format(("/event", "/events", "/users")[kind - 1]).encode())
        soak.goes_on(8.0)
        for one in held:
            one.close()
