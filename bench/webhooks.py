"""What webhooks cost: events while two of them are told of all alerts and while none is there, in turn."""

import json
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import URL

from bench import load
from bench.events import Clock
from bench.load import Poster
from bench.measurement import Measurement, failures
from bench.ratios import Row, Spread, quotient
from bench.receiver import receiver
from bench.servers import Database, database, service
from database import webhook_hold

Say = Callable[[str], None]

# How often events with webhooks and without are measured in turn, in each round.
PAIRS = 2
TOLD, UNTOLD, OFF = "two webhooks", "no webhook", "no webhook, DELIVER=false"
EVENTS = ("alert.created", "alert.superseded", "alert.reinstated", "alert.changed")
WEBHOOKS = 2
HELD = "something else is being measured"
DRAIN = 30  # seconds for which the backlog is watched after the last round
LOOK = 0.1  # seconds between two looks at what has been delivered
PATIENCE = 60  # seconds until sending begins or ends

Round = dict[str, Measurement]


@dataclass(frozen=True)
class Drain:
    """The backlog after the last round, in messages, and what of it was sent in so many seconds; `left` is the rest."""

    waiting: int
    seconds: float
    left: int

    @property
    def rate(self) -> float:
        """Messages a second."""
        return (self.waiting - self.left) / self.seconds


@dataclass(frozen=True)
class Told:
    """All pairs, what was measured once a round, rows for the table of ratios, and what makes the run invalid.

    `under_load` are the messages a second that were delivered during each measurement with webhooks.
    """

    pairs: list[Round]
    rounds: list[Round]
    under_load: list[float]
    drain: Drain
    alert_share: float  # of all events of the service with webhooks, 0 to 1
    rows: list[Row]
    problems: list[str]


def measure(server: URL, rounds: int, seconds: int, say: Say) -> Told:
    """Measure everything `rounds` times, each for `seconds`. Each service has a database of its own.

    While a service without webhooks is measured, those of the other are held: its backlog would slow both down.
    """
    with ExitStack() as stack:
        made = {
            title: stack.enter_context(database(server, name))
            for title, name in ((TOLD, "told"), (UNTOLD, "untold"), (OFF, "off"))
        }
        settings = {"SECRET_KEY": secrets.token_hex(32), "WEBHOOK_ALLOW": "127.0.0.1"}
        running = {
            title: stack.enter_context(service(of, **settings, DELIVER=str(title != OFF).lower()))
            for title, of in made.items()
        }
        told, clock = made[TOLD], Clock()
        url = stack.enter_context(receiver())
        for number in range(WEBHOOKS):
            _subscribe(running[TOLD].port, f"{url}/{number}")

        under_load: list[float] = []

        def events(title: str, duration: int = seconds) -> Measurement:
            if title != TOLD:
                return load.wrk(running[title].port, 64, duration, clock())
            _begin_to_send(told)
            before, began = _delivered(told), time.monotonic()
            measured = load.wrk(running[title].port, 64, duration, clock())
            under_load.append((_delivered(told) - before) / (time.monotonic() - began))
            _end_sending(told)
            return measured

        for title in made:  # warm up
            events(title, 1)
        under_load.clear()
        found: list[Round] = []
        pairs: list[Round] = []
        for number in range(1, rounds + 1):
            for pair in range(1, PAIRS + 1):
                order = (UNTOLD, TOLD) if pair % 2 else (TOLD, UNTOLD)
                pairs.append({title: events(title) for title in order})
                rates = ", ".join(f"{title}: {pairs[-1][title].rate:,.0f}/s" for title in (UNTOLD, TOLD))
                say(f"round {number}/{rounds}  pair {pair}/{PAIRS}: {rates}, {under_load[-1]:,.0f} messages/s")
            found.append({OFF: events(OFF)})
            say(f"round {number}/{rounds}  {OFF}: {found[-1][OFF].rate:,.0f}/s")
        drain = _drain(told)
        share = float(told.ask("SELECT coalesce(avg((alert_codes <> '{}')::int), 0) FROM user_actions"))
        problems = _failures(pairs) + _failures(found) + _lost(told)
    return Told(pairs, found, under_load, drain, share, rows(pairs, found), problems)


def rows(pairs: list[Round], rounds: list[Round]) -> list[Row]:
    """The ratios, each computed within a pair or a round, with the target from docs/performance.md."""
    within = [_last_pair(number, pairs) | one for number, one in enumerate(rounds)]
    return [
        Row(
            f"rate, {TOLD} / {UNTOLD}",
            Spread.of([quotient(one[TOLD].rate, one[UNTOLD].rate) for one in pairs]),
            at_least=0.9,
        ),
        Row(
            f"rate, {UNTOLD} / {OFF}",
            Spread.of([quotient(one[UNTOLD].rate, one[OFF].rate) for one in within]),
        ),
    ]


def _last_pair(number: int, pairs: list[Round]) -> Round:
    """The last pair of a round: what is measured once a round comes after it."""
    return pairs[(number + 1) * PAIRS - 1]


def _subscribe(port: int, url: str) -> None:
    poster = Poster(port)
    _, status, answer = poster.post("/webhooks", json.dumps({"url": url, "events": EVENTS}).encode())
    poster.close()
    assert status == 201, f"the webhook was not made: {status} {answer.decode(errors='replace')}"


def _begin_to_send(told: Database) -> None:
    """Let messages be sent, and wait until that shows if any wait."""
    before = _delivered(told)
    with told.engine.connect() as connection:
        webhook_hold.release(connection)
    end = time.monotonic() + PATIENCE
    while _waiting(told) and _delivered(told) == before:
        assert time.monotonic() < end, "nothing is delivered"
        time.sleep(LOOK)


def _end_sending(told: Database) -> None:
    """Hold messages, and wait until none is under way."""
    with told.engine.connect() as connection:
        webhook_hold.hold(connection, HELD)
    end = time.monotonic() + PATIENCE
    before = -1
    while (now := _delivered(told)) != before:
        assert time.monotonic() < end, "messages are still delivered"
        before = now
        time.sleep(5 * LOOK)


def _drain(told: Database) -> Drain:
    _begin_to_send(told)
    began, first = time.monotonic(), _waiting(told)
    left, took = first, 0.0
    while left and took < DRAIN:
        time.sleep(5 * LOOK)
        left, took = _waiting(told), time.monotonic() - began
    return Drain(first, max(took, LOOK), left)


def _delivered(told: Database) -> int:
    return int(told.ask("SELECT coalesce(sum(delivered_count), 0) FROM webhook_states"))


def _waiting(told: Database) -> int:
    """The messages that wait, those that are still to be made of events among them."""
    with told.engine.connect() as connection:
        waiting = webhook_hold.waiting(connection)
    return WEBHOOKS * waiting.events + waiting.messages


def _lost(told: Database) -> list[str]:
    """Alerts of which the webhooks are not told."""
    stored = int(told.ask(f"SELECT {WEBHOOKS} * count(*) FROM alerts"))
    messages = int(
        told.ask(
            f"SELECT (SELECT {WEBHOOKS} * count(*) FROM outbox WHERE event = 'alert.created') + "
            "(SELECT count(*) FROM deliveries WHERE event = 'alert.created')"
        )
    )
    failed = int(told.ask("SELECT coalesce(sum(failed_count), 0) FROM webhook_states"))
    problems = [] if messages == stored else [f"{stored} messages should be there about new alerts, {messages} are"]
    return problems + ([f"{failed} attempts to deliver failed"] if failed else [])


def _failures(rounds: list[Round]) -> list[str]:
    return [problem for number, each in enumerate(rounds, 1) for problem in failures(number, each)]
