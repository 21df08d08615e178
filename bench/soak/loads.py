"""The load: who posts, reads and changes what. Each function is one caller, which goes on until it is over."""

import gzip
import json
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

from bench.soak.http import JSON, NO_ANSWER, SINGLE, Caller, Reply, Tally
from bench.soak.plan import Body, Make, Stream, crowded, encoded, in_order, often_early
from bench.soak.record import PRUNED, REFUSED, Answers, Record, written
from bench.soak.watch import Watch

# The first users of each kind of load.
SHARED, LONELY, LATE, CROWD = 1, 1_000, 10_000, 20_000
DEEP, NAMELESS, RULED = 30_000, 40_000, 50_000
PAUSE = 0.3  # seconds before another try


@dataclass
class Soak:
    """What all callers share: where the service is, what was answered, and whether it is over."""

    port: int
    seed: int
    end: float
    deep: int
    stalled: int
    record: Record
    tally: Tally
    watch: Watch
    key: str  # may do everything
    data: Path  # the data folder of the service
    over: threading.Event = field(default_factory=threading.Event)
    nameless: dict[int, tuple[int, int]] = field(default_factory=dict)  # by user: acknowledged, and posted
    # A change of a rule that was answered (code and version), and an event that was posted after that.
    ruled: "deque[tuple[int, int, str]]" = field(default_factory=lambda: deque(maxlen=10_000))

    # Notes on alerts that were acknowledged, each another text; and the user and time of the alert.
    noted: "deque[tuple[str, int, int]]" = field(default_factory=lambda: deque(maxlen=100_000))
    # Actions before this may be removed, or may have been; and what pruning came to.
    cut: int = 0
    pruned: Counter[str] = field(default_factory=Counter)
    # By user: the newest action that was stored before there were webhooks.
    untold: dict[int, int] = field(default_factory=dict)
    crowded: threading.Event = field(default_factory=threading.Event)  # many deliveries wait

    def goes_on(self, pause: float = 0.0) -> bool:
        """Whether it is not over yet, after a pause."""
        return not self.over.wait(min(pause, max(0.0, self.end - monotonic()))) and monotonic() < self.end

    def has_room(self, pause: float) -> bool:
        """The same, for callers that make many alerts: they also pause while many deliveries wait."""
        while self.goes_on(pause) and self.crowded.is_set():
            pause = PAUSE
        return self.goes_on()

    def stream(self, name: str, first_user: int, make: Make) -> Stream:
        """A stream of this soak."""
        return Stream(self.seed, name, first_user, make)

    def caller(self, who: str, key: str | None = None) -> Caller:
        """A connection of its own; with the key that may do everything, unless another (or "", none) is given."""
        return Caller(self.port, who, self.tally, self.key if key is None else key)

    def until_answered(self, ask: Callable[[], Reply], pause: float = PAUSE) -> Reply | None:
        """The answer to a request that may be repeated: it is, after a 503 or a lost connection. None: it is over."""
        again = False
        while self.goes_on():
            reply = ask()
            if reply.status not in (NO_ANSWER, 503, 429):
                return reply._replace(again=again)
            again = True
            self.over.wait(pause)
        return None

    def is_pruned(self, problem: Body, event: Body) -> bool:
        """Whether an answer says, as it may, that actions as old as the event have been removed."""
        return bool(problem.get("type") == "urn:problem:pruned" and event["time"] < self.cut)


def post_single(soak: Soak, caller: Caller, answers: Answers, number: int) -> None:
    """Post one event of a stream until it is answered, and now and then once more."""
    event = answers.stream.event(number)
    body = encoded(event)
    answers.begin(number)
    reply = soak.until_answered(lambda: caller.ask("POST", "/event", body, JSON))
    if reply is None:
        return
    if reply.status == 200:
        answers.note(number, written(json.loads(reply.body)["alert_codes"]))
        soak.watch.took(reply.seconds)
    elif reply.status == 409 and soak.is_pruned(as_json(reply), event):
        if not reply.again:  # else it may have been stored, and removed since
            answers.note(number, PRUNED)
    elif reply.status == 409:
        answers.note(number, REFUSED)
    else:
        soak.record.note(f"{answers.stream.name}-{number} was answered {reply.status}: {reply.body[:200]!r}")
    if number % 29 == 0 and reply.status == 200:  # a repeat is answered the same, byte for byte
        again = soak.until_answered(lambda: caller.ask("POST", "/event", body, JSON))
        if again is None or (again.status == 409 and soak.is_pruned(as_json(again), event)):
            return
        if again.body != reply.body or not again.replayed:
            soak.record.note(f"{answers.stream.name}-{number} was answered otherwise the second time: {again.body!r}")


def _many(soak: Soak, caller: Caller, answers: Answers, first: int, count: int, packed: bool = False) -> None:
    events = answers.stream.events(first, count)
    body, headers = encoded(events), JSON
    answers.begin(first + count - 1)
    if packed:
        body, headers = gzip.compress(body, 1), JSON | {"Content-Encoding": "gzip"}
    reply = soak.until_answered(lambda: caller.ask("POST", "/events", body, headers))
    if reply is None:
        return
    if reply.status != 200:
        soak.record.note(f"{answers.stream.name}-{first}...: answered {reply.status}: {reply.body[:200]!r}")
        return
    for result in json.loads(reply.body)["results"]:
        index, codes = result["index"], result.get("alert_codes")
        if codes is not None:
            answers.note(first + index, written(codes))
        elif not soak.is_pruned(result["problem"], events[index]):
            answers.note(first + index, REFUSED)
        elif not reply.again:
            answers.note(first + index, PRUNED)


# Those who post


def singles(soak: Soak, name: str) -> None:
    """Single events of users of its own, in order, some 40 a second."""
    answers = soak.record.open(soak.stream(name, LONELY + 50 * int(name.rpartition("-")[2] or 0), in_order(50)))
    caller, number = soak.caller(SINGLE), 0
    while soak.goes_on(0.02):
        post_single(soak, caller, answers, number)
        number += 1
    caller.close()


def shared_singles(soak: Soak, name: str) -> None:
    """Single events of users whom batches have too: they come late, or wait for a lock."""
    answers = soak.record.open(soak.stream(name, SHARED, in_order(40)))
    caller, number = soak.caller("single events of busy users"), 0
    while soak.goes_on(0.05):
        post_single(soak, caller, answers, number)
        number += 1
    caller.close()


def batches(soak: Soak, name: str) -> None:
    """Batches of the same 40 users as others', from two connections in opposite orders, some packed."""
    backwards = name.endswith("1")
    forwards = in_order(40)

    def make(random: Random, number: int) -> tuple[int, int]:
        user, time = forwards(random, number)
        return (39 - user if backwards else user), time

    answers = soak.record.open(soak.stream(name, SHARED, make))
    caller, number = soak.caller("batches"), 0
    while soak.has_room(1.0):
        _many(soak, caller, answers, number, 200, packed=number % 400 == 0)
        number += 200
    caller.close()


def late(soak: Soak, name: str) -> None:
    """Single events of any time up to a day, of few users: nearly all of them late."""
    answers = soak.record.open(soak.stream(name, LATE, often_early(20, 86_400)))
    caller, number = soak.caller("late events"), 0
    while soak.goes_on(0.1):
        post_single(soak, caller, answers, number)
        number += 1
    caller.close()


def late_batches(soak: Soak, name: str) -> None:
    """Batches of late events of the same users."""
    answers = soak.record.open(soak.stream(name, LATE, often_early(20, 86_400)))
    caller, number = soak.caller("late batches"), 0
    while soak.has_room(2.0):
        _many(soak, caller, answers, number, 100)
        number += 100
    caller.close()


def deep_history(soak: Soak) -> None:
    """Store a long history of one user, on whom a legal hold lies: nothing of it is removed."""
    history, caller = soak.record.open(soak.stream("deep-history", DEEP, in_order(1))), soak.caller("a long history")
    for first in range(0, soak.deep, 5_000):
        _many(soak, caller, history, first, min(5_000, soak.deep - first))
    hold = encoded({"legal_hold": True})
    reply = soak.until_answered(lambda: caller.ask("PATCH", f"/users/{DEEP}", hold, JSON))
    if reply is None or reply.status != 200:
        soak.record.note(f"a legal hold was answered {reply}")
    soak.untold[DEEP] = soak.deep
    caller.close()


def deep_late(soak: Soak, name: str) -> None:
    """Of the user with a long history, now and then an event that comes before all or much of it."""
    answers = soak.record.open(
        soak.stream(name, DEEP, lambda random, _: (0, random.choice((0, 1, 7 * soak.deep // 2))))
    )
    caller, number = soak.caller("late events of a deep user"), 0
    while soak.goes_on(3.0):
        post_single(soak, caller, answers, number)
        number += 1
    caller.close()


def crowd(soak: Soak, name: str) -> None:
    """Two users with two thousand events at each moment; what webhooks get of one user, they get one by one."""
    answers = soak.record.open(soak.stream(name, CROWD, crowded(2, 2_000)))
    caller, number = soak.caller("crowded moments"), 0
    while soak.has_room(5.0):
        _many(soak, caller, answers, number, 250)
        post_single(soak, caller, answers, number + 250)
        number += 251
    caller.close()


def nameless(soak: Soak, name: str) -> None:
    """Events without an id: whoever gets no answer cannot know, and does not try again."""
    stream, caller = soak.stream(name, NAMELESS, in_order(1)), soak.caller("events without an id")
    posted = acknowledged = 0
    while soak.goes_on(0.1):
        event = stream.event(posted)
        del event["event_id"]
        posted += 1
        acknowledged += caller.ask("POST", "/event", encoded(event), JSON).status == 200
        soak.nameless[NAMELESS] = (acknowledged, posted)
    caller.close()


# Those who make mistakes


def bad(soak: Soak, name: str) -> None:
    """Bodies that are refused: thousands of bad events at once, bombs, too large ones, and what is no JSON."""
    random, caller = Random(f"{soak.seed} {name}"), soak.caller("bad bodies")
    many = encoded([{"type": "deposit", "amount": -1, "user_id": "x"}] * 5_000)
    packed = JSON | {"Content-Encoding": "gzip"}
    cases: list[tuple[str, bytes, dict[str, str], int]] = [
        ("/events", many, JSON, 200),
        ("/events", gzip.compress(b"[" + b"1.5," * 5_000_000 + b"1]", 1), packed, 413),  # a bomb
        ("/events", encoded([0] * 10_001), JSON, 413),
        ("/event", b"x" * 70_000, JSON, 413),
        ("/event", b'{"type": "deposit"', JSON, 400),
        ("/event", encoded({"type": "deposit", "amount": "0", "user_id": 1, "time": 1}), JSON, 400),
        ("/events", many[:-1], JSON, 400),
        ("/events", many, packed, 400),
        ("/event", b"[]", {"Content-Type": "text/plain"}, 415),
    ]
    while soak.goes_on(0.5):
        path, body, headers, expected = random.choice(cases)
        reply = caller.ask("POST", path, body, headers)
        if reply.status not in (expected, NO_ANSWER, 503, 413 if headers is packed else expected):
            soak.record.note(f"a bad body was answered {reply.status}, not {expected}: {reply.body[:200]!r}")
    caller.close()


def as_json(reply: Reply) -> Any:
    """The JSON in an answer."""
    return json.loads(reply.body)
