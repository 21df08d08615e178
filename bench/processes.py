"""The memory of processes, read from Linux's /proc; without that, the lists are empty."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench.servers import ROLL_CALL, Database

MB = 1_000_000
DELIVERER = "deliver"  # the name of that process


class Process(NamedTuple):
    """One process; memory in bytes. `private` leaves out shared memory, such as PostgreSQL's buffers."""

    pid: int
    role: str
    rss: int
    private: int


def of_service(pid: int) -> list[Process]:
    """The server process of a service, and its workers."""
    children = {child: role for child in _children(pid) if (role := _service_role(child))}
    return _read({pid: "service, main"} | children)


def workers(pid: int) -> list[Process]:
    """The workers of the service whose server process is `pid`, by pid."""
    return [process for process in of_service(pid) if process.role == "service, worker"]


def of_postgres(made: Database) -> list[Process]:
    """PostgreSQL's main process and its children; none if it runs on another machine."""
    backend = int(made.ask(ROLL_CALL))
    if not title(backend).startswith("postgres:"):
        return []
    main = int(_status(backend)["PPid"])
    roles = {child: _postgres_role(title(child)) for child in _children(main)}
    return _read({main: "postgres, main"} | roles)


def _service_role(pid: int) -> str:
    # Python's resource tracker is a child too, but not a worker.
    words = title(pid)
    return "" if not words else "service, tracker" if "resource_tracker" in words else "service, worker"


def _postgres_role(title: str) -> str:
    # "postgres: checkpointer", but "postgres: app alerts_bench [local] idle" for a client's backend.
    words = title.removeprefix("postgres:").split()
    own = len(words) <= 2 or words[0] in ("io", "autovacuum", "logical")
    return f"postgres, {' '.join(words[:2]) if own else 'backend'}"


def _read(roles: dict[int, str]) -> list[Process]:
    found = []
    for pid, role in sorted(roles.items()):
        status = _status(pid)
        if "VmRSS" in status:
            found.append(Process(pid, role, _bytes(status["VmRSS"]), _bytes(status["RssAnon"])))
    return found


def _children(pid: int) -> list[int]:
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [number for number in numbers if _status(number).get("PPid") == str(pid)]


def descendants(pid: int) -> list[int]:
    """All processes below a process, those nearest to it first."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and (parent := _status(int(path.name)).get("PPid")):
            below.setdefault(int(parent), []).append(int(path.name))
    found = [pid]
    for one in found:  # grows meanwhile
        found += sorted(below.get(one, ()))
    return found[1:]


def serving(pid: int) -> list[int]:
    """The workers of a service, however many processes stand between them and its first one, `pid`."""
    below = [one for one in descendants(pid) if "app.py" in title(one) and "resource_tracker" not in title(one)]
    parents = {_status(one).get("PPid") for one in below}
    return [one for one in below if str(one) not in parents and _status(one).get("Name") != DELIVERER]


def delivering(pid: int) -> list[int]:
    """The process that delivers to webhooks beside the service whose first process is `pid`, if it runs."""
    return [one for one in descendants(pid) if _status(one).get("Name") == DELIVERER]


def private_memory(pid: int) -> int:
    """The memory that a process has for itself, in bytes; 0 if it is gone."""
    return _bytes(_status(pid).get("RssAnon", "0kB"))


def processor_seconds(pid: int) -> float:
    """The processor time that a process and its children have used so far; 0 where /proc does not say."""
    used = 0
    for one in (pid, *_children(pid)):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            used += int(fields[11]) + int(fields[12])  # in the kernel and outside
    return used / os.sysconf("SC_CLK_TCK")


def _status(pid: int) -> dict[str, str]:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {}


def title(pid: int) -> str:
    """The command line of a process; "" if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    return ""


def _bytes(field: str) -> int:
    return int(field.removesuffix("kB")) * 1024
