"""Removing old actions while everything goes on, by the command, which is killed every other time."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic

from bench.soak.http import Caller
from bench.soak.loads import Soak, as_json

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 100  # seconds for one run
LATEST_KILL = 0.5  # seconds after its beginning was seen
STEADY = ("singles", "shared", "after")  # how the names of streams begin whose times go on slowly
BUSY, FAILED = 1, 2  # exit statuses


def prune(soak: Soak, name: str) -> None:
    """Removes all actions before half of the time that is reached: the first run is killed, the next one goes on."""
    random, caller = Random(f"{soak.seed} {name}"), soak.caller("pruning")
    pause = min(30.0, (soak.end - monotonic()) / 6)
    while soak.goes_on(pause) and monotonic() < soak.end - pause:  # a run that begins late would hold up the end
        soak.cut = max(soak.cut, _reached(soak) // 2)
        if soak.cut:
            _run(soak, caller, random.random() * LATEST_KILL)
        while soak.cut and soak.goes_on() and not _run(soak, caller, None):
            soak.goes_on(1.0)
    caller.close()


def _reached(soak: Soak) -> int:
    """The time that all streams have reached."""
    steady = [one for name, one in list(soak.record.answers.items()) if name.startswith(STEADY)]
    return min((one.stream.event(max(one.newest(), 0))["time"] for one in steady), default=0)


def _run(soak: Soak, caller: Caller, killed_after: float | None) -> bool:
    """Run the command; kill it so many seconds after it has begun, unless that is None. Returns whether it ended."""
    command = [sys.executable, "-m", "flask", "--app", "app", "prune", "--json", "--before", str(soak.cut)]
    begun = _begun(caller)
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"DATA_DIR": str(soak.data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    soak.pruned["runs"] += 1
    end = monotonic() + PATIENCE
    if killed_after is not None:
        while running.poll() is None and monotonic() < end and _begun(caller) in (begun, None):
            soak.over.wait(0.1)
        with suppress(subprocess.TimeoutExpired):
            running.wait(killed_after)
        if running.poll() is None:
            running.kill()
            running.communicate()
            soak.pruned["killed"] += 1
            return False
    try:
        printed, said = running.communicate(timeout=max(1.0, end - monotonic()))
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()
        soak.record.note(f"prune had not ended after {PATIENCE} s")
        return False
    has_ended = running.returncode == 0 or (running.returncode == BUSY and printed.startswith("{"))
    if has_ended:
        soak.pruned["ended"] += 1
        report = json.loads(printed)
        soak.pruned["actions"] += report["actions"]
        soak.pruned["users in use"] += report["busy_users"]
    elif running.returncode == FAILED and soak.tally.is_excused():
        soak.pruned["failed after a kill"] += 1
    else:
        soak.record.note(f"prune ended with status {running.returncode}: {printed[-500:]} {said[-500:]}")
    return has_ended


def _begun(caller: Caller) -> str | None:
    """What the log has of the newest run; None if it cannot be asked."""
    reply = caller.ask("GET", "/log?kind=prune&limit=1")
    return str(as_json(reply)["log"]) if reply.status == 200 else None
