"""Waiting in tests: for the condition itself, never for a time that should be long enough."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# Seconds, for whatever is certain to happen. It is only ever waited in full by a test that fails: so much longer than
# anything takes on a busy machine, of which a test may get a twentieth.
PATIENCE = 300


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until `condition` holds; fails after `seconds`."""
    end, pause = time.monotonic() + seconds, 0.001
    while not condition():
        assert time.monotonic() < end, "this takes too long"
        time.sleep(pause)
        pause = min(2 * pause, 0.05)  # looking often would hold up what is waited for


def states(pid: int) -> set[str]:
    """The states of all threads of a process, as one letter each; empty if it is gone."""
    found = set()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            found.add(stat.read_text().rpartition(")")[2].split()[0])
        except (FileNotFoundError, ProcessLookupError):  # this thread has just ended
            continue
    return found


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie (which only waits for its parent, no concern of a test)."""
    return bool(states(pid) - {"Z", "X"})


def freeze(pid: int) -> None:
    """Stop a process, and wait until none of its threads runs: a signal is not in force when `os.kill` returns.

    One that ends just then does not run either.
    """
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: states(pid) <= {"T", "Z", "X"})


def kill(pid: int) -> None:
    """kill -9 a process unless it is gone, and wait until the kernel has taken all that it had (locks, sockets)."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid))
