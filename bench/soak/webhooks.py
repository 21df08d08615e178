"""Two webhooks of the soak: one whose receiver is healthy, one whose receiver fails now and then."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from json import loads
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg2

from bench.soak import database, messages, receiver
from bench.soak.http import JSON
from bench.soak.loads import Soak, as_json
from bench.soak.plan import encoded
from bench.soak.report import SoakReport
from database.embedded_access import ROLE
from database.embedded_supervisor import PORT
from tests.service import ROOT, free_port, with_constants

# As in production, but for times: a message is sent again soon, an attempt is not waited for as long, a lease lapses
# soon, and all of it is over soon after the load.
HURRY = with_constants(
    "work.webhook_schedule.SCHEDULE = (0.0,) + (0.5,) * 1000",
    "work.webhook_schedule.LONGEST_REST = 1.0",
    "work.webhook_sender.ATTEMPT_SECONDS = 5.0",
    "work.webhook_deliverer.LEASE = 8.0",
    "work.webhook_deliverer.RENEWED = 2.0",
    "commands.deliver.LONGEST_PAUSE = 2.0",
)
ENVIRONMENT = {"WEBHOOK_ALLOW": "127.0.0.1"}
MOST_WAITING = 1_000  # while more deliveries wait, those who make many alerts pause
LOOKS = 1.0  # seconds between two looks at that
DRAINED = 120.0  # seconds after the load until nothing may wait any more


@contextmanager
def receiving(folder: Path) -> Iterator[int]:
    """A receiver in a process of its own, which keeps below `folder` what it gets. Yields its port."""
    folder.mkdir()
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.soak.receiver", str(port), str(folder)], cwd=ROOT)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def subscribe(soak: Soak, port: int, folder: Path) -> None:
    """Make a webhook for each endpoint of the receiver, and tell that the secrets."""
    caller = soak.caller("webhooks")
    for name in receiver.ENDPOINTS:
        body = encoded({"url": f"http://127.0.0.1:{port}/{name}", "events": messages.EVENTS})
        reply = caller.ask("POST", "/webhooks", body, JSON)
        assert reply.status == 201, reply
        (folder / f"{name}.new").write_text(as_json(reply)["secret"])
        (folder / f"{name}.new").rename(folder / f"{name}.secret")
    caller.close()


def crowding(soak: Soak, _: str) -> None:
    """Looks whether many deliveries wait, so that others pause."""
    while soak.goes_on(LOOKS):
        with suppress(OSError, psycopg2.Error, IndexError):
            is_crowded = _waiting(soak.data) > MOST_WAITING
            (soak.crowded.set if is_crowded else soak.crowded.clear)()


def _waiting(data: Path) -> int:
    """How many events and deliveries wait in the embedded database, if it can be asked just now."""
    socket = (data / "postgres.supervisor").read_text().splitlines()[0]
    connection = psycopg2.connect(host=socket, port=PORT, user=ROLE, dbname="postgres", application_name="soak")
    try:
        return database.waiting(connection)
    finally:
        connection.close()


def drain(report: SoakReport, url: str) -> None:
    """Wait until nothing waits to be delivered any more."""
    begin = monotonic()
    while True:
        with database.connected(url) as connection:
            left, given_up = database.waiting(connection), database.given_up(connection)
        if not left or monotonic() > begin + DRAINED:
            break
        sleep(0.5)
    report.say(f"nothing waits to be delivered {monotonic() - begin:.1f} s after that")
    if left:
        report.wrong.append(f"{left:,} deliveries wait {DRAINED:.0f} s after the load")
    if given_up:
        report.wrong.append(f"{given_up:,} deliveries were given up")


def look(report: SoakReport, soak: Soak, folder: Path, connection: Any) -> None:
    """Hold what each endpoint has accepted against what is stored."""
    alerts, removed = database.told(connection), database.removed(connection)
    for name in receiver.ENDPOINTS:
        found = messages.look(_lines(folder / f"{name}.accepted"), alerts, removed, soak.untold)
        failed = Counter((folder / f"{name}.failed").read_text().splitlines())
        report.say(
            f"{name} webhook: {found.accepted - found.again:,} messages, and {found.again:,} repeats; "
            f"{found.alerts:,} alerts are stored; {found.wrong:,} things wrong"
        )
        report.say(f"  {', '.join(f'{count:,} {event}' for event, count in sorted(found.events.items()))}")
        if failed:
            report.say(f"  not accepted: {', '.join(f'{n:,} {why}' for why, n in failed.items())}")
        report.wrong += [f"{name} webhook: {one}" for one in found.listed]
        known = (*(receiver.FAULTS if name == receiver.FLAKY else ()), receiver.TOO_EARLY, receiver.CUT_OFF)
        report.wrong += [f"{name} webhook: {count:,} {why}" for why, count in failed.items() if why not in known]
        if not found.accepted:
            report.wrong.append(f"{name} webhook: no message has arrived")


def _lines(file: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    with file.open() as lines:
        for line in lines:
            message_id, event, data = loads(line)
            yield message_id, event, data
