"""The memory of processes, read from Linux's /proc; without that, the lists are empty."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench.servers import ROLL_CALL, Database

MB = 1_000_000


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
    if not _title(backend).startswith("postgres:"):
        return []
    main = int(_status(backend)["PPid"])
    roles = {child: _postgres_role(_title(child)) for child in _children(main)}
    return _read({main: "postgres, main"} | roles)


def _service_role(pid: int) -> str:
    # Python's resource tracker is a child too, but not a worker.
    title = _title(pid)
    return "" if not title else "service, tracker" if "resource_tracker" in title else "service, worker"


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


def _status(pid: int) -> dict[str, str]:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {}


def _title(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    return ""


def _bytes(field: str) -> int:
    return int(field.removesuffix("kB")) * 1024
