"""`python -m bench.soak`, run by `make soak`: bad weather for some minutes, then everything is looked at.

Exit status: 0 if all is well, 1 if something is wrong, 2 for bad options, 130 after Ctrl+C.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep

from bench.processes import descendants, title
from bench.servers import forget_settings
from bench.soak import database, loads, others, people, pruning, queue, webhooks
from bench.soak.http import Tally
from bench.soak.kills import KILLS, Victims, kills
from bench.soak.loads import Soak
from bench.soak.record import Record
from bench.soak.report import DESCRIPTORS, SoakReport
from bench.soak.watch import Reading, Watch
from database import embedded
from tests.service import Service

ROOT = Path(__file__).resolve().parents[2]
CHECKING = 600  # seconds that all that comes after the load may take; then the soak ends itself
SETTLE = 60  # seconds at most until the service is ready again after the last kill
LET_GO = 30  # seconds at most until what the load has opened is closed
LEFT = 20  # seconds at most until the last process has ended

Load = Callable[[Soak, str], None]
# By name: what does it, and how many at once.
LOADS: dict[str, tuple[Load, int]] = {
    "singles": (loads.singles, 4),
    "shared": (loads.shared_singles, 2),
    "batches": (loads.batches, 2),
    "late": (loads.late, 2),
    "late-batches": (loads.late_batches, 1),
    "deep": (loads.deep_late, 1),
    "crowd": (loads.crowd, 1),
    "nameless": (loads.nameless, 1),
    "bad": (loads.bad, 1),
    "readers": (others.readers, 2),
    "rules": (others.rules, 1),
    "reaching": (others.rules, 1),
    "ratings": (others.ratings, 1),
    "backtests": (others.backtests, 1),
    "stalled": (others.stalled, 1),
    "work": (people.work, 2),
    "queue": (queue.queue, 2),
    "keeping": (queue.keeping, 1),
    "keys": (people.keys, 1),
    "strangers": (people.strangers, 1),
    "prune": (pruning.prune, 1),
    "webhooks": (webhooks.crowding, 1),
}


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the load lasts (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="which plan (default: 1)")
    parser.add_argument(
        "--kill-every",
        type=float,
        metavar="SECONDS",
        help="on average (default: 15, or less in a short soak, so that everything is killed once)",
    )
    parser.add_argument("--deep", type=int, default=20_000, metavar="ACTIONS", help="of the user with a long history")
    parser.add_argument("--stalled", type=int, default=200, metavar="CONNECTIONS", help="held at once (default: 200)")
    parser.add_argument("--without", default="", metavar="NAMES", help=f"leave out {', '.join((*LOADS, *KILLS))}")
    parser.add_argument("--only", default="", metavar="NAMES", help="nothing but these of them")
    parser.add_argument("--parent", type=Path, default=Path("/tmp"), metavar="FOLDER", help="where the data goes")
    asked = parser.parse_args()
    asked.without, asked.only = _names(parser, asked.without), _names(parser, asked.only)
    if not 0 < asked.minutes <= 24 * 60:
        parser.error("--minutes must be more than 0 and at most 1440")
    if asked.kill_every is None:
        asked.kill_every = min(15.0, asked.minutes * 60 / (len(KILLS) + 1))
    return asked


def _names(parser: argparse.ArgumentParser, listed: str) -> set[str]:
    names = {name for name in listed.split(",") if name}
    if unknown := names - {*LOADS, *KILLS}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return names


def main() -> int:
    """Run it; returns the exit status."""
    asked = options()
    forget_settings()
    seconds = asked.minutes * 60
    over = threading.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: _end(over))
    # Whatever hangs, it ends.
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("the soak took too long"))
    signal.alarm(int(seconds) + CHECKING)
    try:
        place = tempfile.TemporaryDirectory(prefix="alerts-soak-", dir=asked.parent, ignore_cleanup_errors=True)
    except OSError as error:
        print(f"The soak cannot begin: {error}", file=sys.stderr)
        return 2
    with place as folder:
        Path(folder).chmod(0o755)  # started by root, PostgreSQL runs as another user
        report = soak_in(Path(folder), asked, seconds, over)
    print(report.text())
    return 130 if over.is_set() and not report.wrong else bool(report.wrong)


def _end(over: threading.Event) -> None:
    if over.is_set():  # asked for a second time
        raise KeyboardInterrupt
    over.set()


def soak_in(folder: Path, asked: argparse.Namespace, seconds: float, over: threading.Event) -> SoakReport:
    """A whole soak with its data below `folder`."""
    report, record, data, messages = SoakReport(), Record(), folder / "data", folder / "messages"
    wanted = {name for name in (*LOADS, *KILLS) if name not in asked.without and (not asked.only or name in asked.only)}
    report.say(f"soak of {seconds:.0f} s, seed {asked.seed}: {', '.join(sorted(wanted))}")
    service = Service({"DATA_DIR": str(data), "WORKERS": "2"} | webhooks.ENVIRONMENT, webhooks.HURRY)
    left: list[Path] = []
    ending = ExitStack()
    try:
        service.start()
        victims = Victims(service.group, data)
        watch = Watch(victims.main, victims.postmaster)
        tally, key = Tally(record), people.first_key(service.url)
        soak = Soak(service.port, asked.seed, 0.0, asked.deep, asked.stalled, record, tally, watch, key, data, over)
        left = _folders(victims, data)
        before = watch.read()
        soak.end = monotonic() + seconds
        if "deep" in wanted:
            loads.deep_history(soak)
        if "webhooks" in wanted:
            webhooks.subscribe(soak, ending.enter_context(webhooks.receiving(messages)), messages)
        _load(soak, wanted, victims, asked.kill_every)
        took = monotonic() - watch.begun
        report.answers(soak.tally)
        report.over_time(watch, took)
        _settle(report, service)
        report.use(before, watch.between(0, took), _at_rest(watch, before), took)
        _look(report, soak, wanted, messages)
    except AssertionError as error:
        report.wrong.append(str(error))
    finally:
        ending.close()
        _stop(report, service, data, left)
    report.wrong += record.listed
    if record.wrong > len(record.listed):
        report.wrong.append(f"and {record.wrong - len(record.listed):,} more")
    return report


def _load(soak: Soak, wanted: set[str], victims: Victims, kill_every: float) -> None:
    threads = [threading.Thread(target=soak.watch.run, daemon=True)]
    for name, (load, count) in LOADS.items():
        if name in wanted:
            names = [f"{name}-{number}" for number in range(count)] if count > 1 else [name]
            threads += [threading.Thread(target=_safely, args=(soak, load, one), daemon=True) for one in names]
    chosen = tuple(kind for kind in KILLS if kind in wanted)
    if chosen:
        killer: Load = lambda one, name: kills(one, name, victims, chosen, kill_every)  # noqa: E731
        threads.append(threading.Thread(target=_safely, args=(soak, killer, "kills"), daemon=True))
    for thread in threads:
        thread.start()
    while soak.goes_on(1.0):
        if victims.main() is None:
            soak.record.note("the service has ended")
            soak.over.set()
    for thread in threads[1:]:
        thread.join(CHECKING / 4)
    if any(thread.is_alive() for thread in threads[1:]):
        soak.record.note("a caller has not come back")
    soak.watch.end()


def _safely(soak: Soak, load: Load, name: str) -> None:
    try:
        load(soak, name)
    except Exception as error:  # a caller that breaks would leave the rest untested
        soak.record.note(f"the caller {name} broke: {error!r}")


def _settle(report: SoakReport, service: Service) -> None:
    begin = monotonic()
    while not service._is_ready():
        if monotonic() > begin + SETTLE:
            report.wrong.append(f"{SETTLE} s after the load the service is not ready")
            return
        sleep(0.2)
    report.say("", f"ready {monotonic() - begin:.1f} s after the load")


def _at_rest(watch: Watch, before: Reading | None) -> Reading | None:
    """What is used once what is over is let go of: requests that are under way may last for a while."""
    end = monotonic() + LET_GO
    sleep(2)
    while (now := watch.read()) and before and now.descriptors > before.descriptors + DESCRIPTORS:
        if monotonic() > end:
            break
        sleep(0.5)
    return now


def _look(report: SoakReport, soak: Soak, wanted: set[str], messages: Path) -> None:
    """Hold what is stored against what was answered and told, against `verify`, and against the judge."""
    with embedded.use(soak.data) as url:
        if "webhooks" in wanted:
            webhooks.drain(report, url)
        verified = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "app", "verify"],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": url},
            capture_output=True,
            text=True,
            timeout=CHECKING / 2,
        )
        if verified.returncode:
            report.wrong.append(f"verify ended with status {verified.returncode}: {verified.stdout[-2000:]}")
        with database.connected(url) as connection:
            removed = database.removed(connection)
            acknowledged = soak.record.compare(database.events(connection), removed, soak.nameless)
            found = database.judged(connection)
            if "webhooks" in wanted:
                webhooks.look(report, soak, messages, connection)
            for user_id, (least, most) in soak.nameless.items():
                stored = database.count_of(connection, user_id, user_id)
                if not least <= stored <= most:
                    report.wrong.append(f"{stored} events without an id are stored, of {least} to {most}")
            kept = database.notes_of(connection, people.NOTE)
            gone = {note for note, user_id, time in soak.noted if user_id in removed and time < removed[user_id].before}
            if lost := [note for note, *_ in soak.noted if kept.get(note) != 1 and note not in gone]:
                report.wrong.append(f"{len(lost):,} notes were acknowledged and are not stored once, as {lost[0]!r}")
            if older := database.judged_by_older_rules(connection, soak.ruled):
                report.wrong.append(f"{older} events were judged by older rules than had been answered before")
    report.say("", *verified.stdout.splitlines()[-6:], "")
    report.say(f"answered and stored: {acknowledged:,} events, {soak.record.wrong:,} things wrong")
    judged = f"{found.users:,} users, {found.actions:,} actions, {found.alerts:,} alerts"
    report.say(f"notes on alerts: {len(soak.noted):,} acknowledged, {sum(kept.values()):,} stored")
    report.say(f"judged: {judged}, {found.wrong:,} things wrong")
    if "prune" in wanted:
        report.say(f"prune: {', '.join(f'{count:,} {what}' for what, count in sorted(soak.pruned.items()))}")
        report.say(f"removed: {found.removed:,} actions; the judge passes over {found.unknown:,} alerts")
        if not (soak.pruned["ended"] and found.removed):
            report.wrong.append("pruning has not ended once, or has removed nothing")
    report.wrong += found.listed
    if found.wrong:
        report.wrong.append(f"the judge finds {found.wrong:,} things wrong")


def _folders(victims: Victims, data: Path) -> list[Path]:
    """The folders outside of `data` that must be gone in the end: of the socket and of the metrics."""
    found = [Path((data / "postgres.supervisor").read_text().splitlines()[0])]
    for worker in victims.workers()[:1]:
        environment = Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
        found += [Path(os.fsdecode(one[25:])) for one in environment if one.startswith(b"PROMETHEUS_MULTIPROC_DIR=")]
    found += [path for path in Path("/dev/shm").glob("transaction-alerts-*") if _belongs(path, victims)]
    return found


def _belongs(folder: Path, victims: Victims) -> bool:
    main = victims.main()
    below = {*descendants(main), main} if main else set()
    return any(int(path.stem.rpartition("_")[2]) in below for path in folder.glob("*_*.db"))


def _stop(report: SoakReport, service: Service, data: Path, left: list[Path]) -> None:
    """Stop the service, and see that nothing is left of it."""
    try:
        report.say(f"stopped after {service.stop():.1f} s")
    except (AssertionError, subprocess.TimeoutExpired) as error:
        report.wrong.append(f"the service did not stop: {error}")
        with suppress(ProcessLookupError):
            os.killpg(service.group, signal.SIGKILL)
    end = monotonic() + LEFT
    while (there := _processes(data)) and monotonic() < end:
        sleep(0.1)
    report.wrong += [f"process {pid} is left: {title(pid)}" for pid in there]
    report.wrong += [f"{path} is left" for path in left if path.exists()]
    log = service.output().splitlines()
    telling = [line for line in log if '"level":"error"' in line or "Traceback" in line][:5] + log[-5:]
    report.say(*(f"log: {line[:2000]}" for line in telling if report.wrong))


def _processes(data: Path) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if str(data) in title(pid) and "bench.soak" not in title(pid)]


if __name__ == "__main__":
    sys.exit(main())
