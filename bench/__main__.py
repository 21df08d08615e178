"""Measure the service against its PostgreSQL: `python -m bench`, run by `make bench`. See docs/performance.md."""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from sqlalchemy.exc import SQLAlchemyError

from bench import access, desk, flatness, growth, hindsight, lists, rates, webhooks
from bench.load import wrk_is_missing
from bench.measurement import Unreadable
from bench.report import PARTS, Report
from bench.servers import Database, forget_settings, is_durable, postgres, settings_of
from database.embedded import EmbeddedError
from database.migrations import MigrationError

ROOT = Path(__file__).resolve().parent.parent

# The service does not start (AssertionError) or stop, a load generator fails, or the database is lost.
FAILURES = (AssertionError, EmbeddedError, MigrationError, SQLAlchemyError, Unreadable, subprocess.TimeoutExpired)
# Takes under a minute and shows that everything works; its figures mean nothing.
QUICK: dict[str, Any] = {"rounds": 2, "seconds": 1, "posts": 50, "events": 50_000, "history": 100_000}
QUICK_SIZE = growth.Size(10, 1_000, 5_000, 20_000)


def main() -> int:
    """Run what the options ask for. Returns 0 for a valid run, 1 for an invalid one, 2 if it cannot begin."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _leave)
    options = _options()
    if {"rates", "access", "webhooks", "desk"} & set(options.only) and wrk_is_missing():
        print(
            "wrk is missing: install the package wrk (apt-get install wrk, dnf install wrk, brew install wrk), "
            "or leave it out with --only growth memory",
            file=sys.stderr,
        )
        return 2
    forget_settings()
    try:
        options.results.mkdir(parents=True, exist_ok=True)
        report = _run(options)
    except (*FAILURES, OSError) as error:
        print(f"The run could not begin: {getattr(error, 'orig', None) or error}".rstrip(), file=sys.stderr)
        return 2
    print(f"\n{report.as_text()}")
    file = options.results / f"{time.strftime('%Y-%m-%d-%H%M%S')}.json"
    file.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    print(f"All figures: {os.path.relpath(file)}")
    return 1 if report.all_problems() else 0


def _leave(number: int, _: FrameType | None) -> NoReturn:
    # Raise an exception, so that everything started is stopped; and only once, so that nothing interrupts that.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    # Defaults are set below, so that --quick changes only what was not given.
    parser.add_argument("--rounds", type=int, help="rounds of alternating measurements (3)")
    parser.add_argument("--seconds", type=int, help="seconds per measurement (5)")
    parser.add_argument("--posts", type=int, help="posts of each kind per round of the growth part (300)")
    parser.add_argument("--events", type=int, help="events of the memory part, in posts of 1,000 (1,000,000)")
    parser.add_argument("--history", type=int, help="stored actions of the hindsight part (5,000,000)")
    parser.add_argument("--quick", action="store_true", help="a smoke test that takes under a minute")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="run only these parts")
    parser.add_argument("--event-ids", action="store_true", help="give each single event an event_id")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="for PostgreSQL's data, on a real disk")
    parser.add_argument("--results", type=Path, default=ROOT / ".local" / "bench", help="folder for the JSON results")
    options = parser.parse_args()
    usual = {"rounds": 3, "seconds": 5, "posts": 300, "events": 1_000_000, "history": 5_000_000}
    for name, value in (usual | (QUICK if options.quick else {})).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def _run(options: argparse.Namespace) -> Report:
    with postgres(os.environ.get("BENCH_DATABASE_URL"), options.folder) as server:
        own = Database(server)
        settings = settings_of(own)
        own.engine.dispose()
        report = Report(_about(options, settings), options.quick)
        if not is_durable(settings):
            report.problems.append(f"commits of this PostgreSQL are not durable: {settings}")
        parts: dict[str, Callable[[], object]] = {
            "rates": lambda: rates.measure(server, options.rounds, options.seconds, options.event_ids, _say),
            "access": lambda: access.measure(server, options.rounds, options.seconds, _say),
            "webhooks": lambda: webhooks.measure(server, options.rounds, options.seconds, _say),
            "lists": lambda: lists.measure(server, options.rounds, options.posts // 10, _many(options)),
            "desk": lambda: desk.measure(server, options.rounds, options.posts // 10, *_desk(options), _say),
            "growth": lambda: growth.measure(server, options.rounds, options.posts, _size(options)),
            "memory": lambda: flatness.measure(server, options.events),
            "hindsight": lambda: hindsight.measure(server, options.history, options.rounds, _say),
        }
        for name in (each for each in PARTS if each in options.only):
            _say(f"{name} ...")
            try:
                setattr(report, name, parts[name]())
            except FAILURES as error:  # the results of the other parts are still worth reading
                report.problems.append(f"{name} ended early: {error}")
    return report


def _many(options: argparse.Namespace) -> int:
    return lists.QUICK_LARGE if options.quick else lists.LARGE


def _desk(options: argparse.Namespace) -> tuple[int, int, int]:
    """How many alerts, how many pairs, and seconds of each."""
    if options.quick:
        return desk.QUICK_LARGE, desk.QUICK_PAIRS, options.seconds
    return desk.LARGE, desk.PAIRS, options.seconds


def _size(options: argparse.Namespace) -> growth.Size:
    return QUICK_SIZE if options.quick else growth.Size()


def _about(options: argparse.Namespace, settings: dict[str, str]) -> dict[str, Any]:
    """What the figures depend on."""
    chosen = {
        name: getattr(options, name)
        for name in ("rounds", "seconds", "posts", "events", "history", "quick", "event_ids")
    }
    revision = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return {
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "revision": revision.stdout.strip(),
        "options": chosen,
        "postgresql": settings,
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def _say(what: str) -> None:
    print(what, flush=True)


if __name__ == "__main__":
    sys.exit(main())
