"""What the service says of its start and end: on a terminal for people, elsewhere as log lines of the usual form."""

import sys
from dataclasses import asdict, dataclass

import structlog

from version import VERSION

_WIDTH = 12  # of the names in the block


@dataclass(frozen=True, kw_only=True)
class Started:
    """What runs now. `database` says where, without secrets; `applied` counts the migrations applied by this start.

    `access` says who may call.
    """

    address: str
    database: str
    migration: str
    applied: int
    active: list[int]
    shadow: list[int]
    workers: int
    access: str
    version: str = VERSION

    def block(self) -> str:
        """All of it in a few lines for people."""
        lines = {
            "Address": self.address,
            "Desk": f"{self.address}/desk/",
            "Docs": f"{self.address}/docs",
            "Access": self.access,
            "Database": self.database,
            "Migrations": f"at {self.migration}, {self.applied or 'none'} applied now",
            "Rules on": _codes(self.active) + (f"; in shadow: {_codes(self.shadow)}" if self.shadow else ""),
            "Workers": str(self.workers),
        }
        named = [f"  {name:{_WIDTH}}{text}" for name, text in lines.items()]
        return "\n".join(["", f"Transaction alerts {self.version}", "", *named, "", "Ctrl+C stops it.", ""])


def step(text: str) -> None:
    """Say what is being done now, which may take a while."""
    if _on_terminal():
        print(text, flush=True)
    else:
        _log().info("starting", step=text)


def started(what: Started) -> None:
    """Say what runs, now that it can be used."""
    if _on_terminal():
        print(what.block(), flush=True)
    else:
        _log().info("started", **asdict(what))


def stopping() -> None:
    """Say that the service stops, which takes until the requests under way are answered."""
    if _on_terminal():
        print("Stopping", flush=True)
    else:
        _log().info("stopping")


def stopped() -> None:
    """Say that nothing of the service is left running."""
    if _on_terminal():
        print("Stopped", flush=True)
    else:
        _log().info("stopped")


def address_for_people(host: str, port: int) -> str:
    """The URL under which a service that listens on `host` is reached from the same machine."""
    here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{here}:{port}"


def _codes(codes: list[int]) -> str:
    return ", ".join(map(str, codes)) or "none"


def _on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _log() -> structlog.typing.FilteringBoundLogger:
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return log
