"""A history that takes a while to judge, and the processes that judge it."""

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.postgres import transaction
from tests.waiting import PATIENCE

# Everything is judged once more for each value.
LONG_SWEEP: dict[str, Any] = {"rule": 123, "parameter": "threshold", "from": "1.00", "to": "200.00", "step": "1.00"}

_MAKE = """
INSERT INTO users (user_id, last_seq, net)
SELECT 1000 + u, :each, 0 FROM generate_series(1, :users) AS u;
INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version, ordinal,
    running_total)
SELECT 1000 + u, s, 'deposit', a, s * 5, '{}', 1, 0, s, s * a
FROM generate_series(1, :users) AS u CROSS JOIN generate_series(1, :each) AS s
    CROSS JOIN LATERAL (SELECT CASE WHEN u > :small THEN 10000000000 ELSE 10 END AS a) AS amounts
"""


def make(sessions: sessionmaker[Session], users: int = 800, each: int = 100, *, small: int = 500) -> None:
    """Store `users` users with `each` deposits each, and no alerts. The service must have run before.

    The deposits of the first `small` are of 10.00. The others are too large for columns if there are some, so that it
    takes a backtest long to judge them.
    """
    with transaction(sessions) as session:
        for statement in _MAKE.split(";"):
            session.execute(text(statement), {"users": users, "each": each, "small": small})


@contextmanager
def lasting(folder: Path) -> Iterator[tuple[str, ...]]:
    """A command, instead of that of a backtest, which runs until this is left: a test's end waits for it."""
    sign = folder / "lasting"
    sign.touch()
    try:
        yield "sh", "-c", 'while test -e "$0"; do sleep 0.02; done', str(sign)
    finally:
        sign.unlink()


def wait_for(what: Callable[[], Any]) -> Any:
    """Call `what` until it returns something truthy, and return that."""
    end = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.05)
    return found


def descendants(pid: int) -> dict[int, str]:
    """The commands of a process's children, their children and so on, by pid."""
    ps = ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="]
    table = subprocess.run(ps, capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in table.splitlines()]
    found: dict[int, str] = {}
    parents = {pid}
    while parents:
        some = {int(row[0]): row[2] for row in rows if int(row[1]) in parents and not row[2].startswith("ps ")}
        parents = some.keys() - found.keys()
        found |= some
    return found


def judges(pid: int) -> set[int]:
    """The processes by which a process judges all of history: forked from one of its own, or else begun anew."""
    below = descendants(pid)
    servers = [one for one, command in below.items() if "multiprocessing.forkserver" in command]
    forked = {one for server in servers for one in descendants(server)}
    return forked | {one for one, command in below.items() if "spawn_main" in command}


def alive(pids: Iterable[int]) -> set[int]:
    """Which of the processes have not ended, whatever their parent is by now."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    states = {int(pid): state for pid, state in map(str.split, table.splitlines())}
    return {pid for pid in pids if not states.get(pid, "Z").startswith("Z")}
