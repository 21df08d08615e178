"""Structured logs on standard output: readable text for people, or one JSON object per line for machines."""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import orjson
import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor

import log_output

log = structlog.get_logger()

_more: Callable[[], Mapping[str, str]] = dict  # what each line says besides
_plain_json: "_Lines | None" = None  # where lines go, if they are JSON


def _add_more(_logger: object, _method: str, line: EventDict) -> EventDict:
    line.update(_more())
    return line


_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    _add_more,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(readable: bool) -> None:
    """Set up logging for this process: text if `readable` or on a terminal, else JSON lines.

    No caller waits for a line, and none fails because of one: what cannot be written is dropped and counted.
    """
    global _plain_json
    lines = _Lines(log_output.without_waiting(sys.stdout))
    _plain_json = None if _is_readable(readable) else lines
    structlog.configure(
        processors=[*_SHARED, *_render(readable)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, lines)),
        cache_logger_on_first_use=True,
    )


def info_all(event: str, lines: Sequence[dict[str, Any]]) -> None:
    """Log each of `lines` as `log.info(event, **line)` would, but all in one write and of one moment.

    Nothing is added to them but the event, the level and the time: they must belong to no trace.

    The library takes twenty microseconds for a line, several percent of an event.
    """
    if _plain_json is None:
        for line in lines:
            log.info(event, **line)
        return
    common = {"event": event, "level": "info", "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z")}
    _plain_json.write_now("".join([_json(line | common, str) + "\n" for line in lines]))


def say_with_each_line(more: Callable[[], Mapping[str, str]]) -> None:
    """Have each line say also what `more` returns when it is logged."""
    global _more
    _more = more


def server_config(readable: bool) -> dict[str, Any]:
    """A configuration for `logging.config.dictConfig` that gives the HTTP server's own lines the same form."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structlog": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *_render(readable),
                ],
            }
        },
        "filters": {"wanted": {"()": _Wanted}},
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "formatter": "structlog",
                "filters": ["wanted"],
                "stream": "ext://sys.stdout",
            }
        },
        "loggers": {"_granian": {"handlers": ["stdout"], "level": "INFO", "propagate": False}},
    }


class _Lines:
    """Writes each line to a file at once, except that the lines of one turn of an event loop go together at its end.

    A write gives the interpreter to another thread, and the loop would have to wait for it once per line.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._of_this_turn: list[str] = []

    def write(self, line: str) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._out(line)
            return
        if not self._of_this_turn:
            loop.call_soon(self._end_of_turn)
        self._of_this_turn.append(line)

    def write_now(self, lines: str) -> None:
        """Write lines of an event loop without waiting for the end of its turn, after those that do."""
        self._of_this_turn.append(lines)
        self._end_of_turn()

    def flush(self) -> None:
        """Does nothing: no line waits longer than until the end of its turn."""

    def _end_of_turn(self) -> None:
        lines, self._of_this_turn = self._of_this_turn, []
        self._out("".join(lines))

    def _out(self, text: str) -> None:
        with self._lock, suppress(OSError, ValueError):  # the disk is full, the file closed
            self._file.write(text)
            self._file.flush()


def _json(line: Any, default: Any) -> str:
    return orjson.dumps(line, default).decode()


class _Wanted(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if record.levelno < logging.WARNING:
            # How it starts and stops, commands/start_messages.py says; what it does in between is of interest.
            return message.startswith(("Respawning", "Changes detected", "Modified", "Added", "Deleted"))
        # More threads than cores is intended: they wait for the database, not for Python.
        return "quite high compared to the number of CPU cores" not in message


def _is_readable(wanted: bool) -> bool:
    # None: it was closed when the process began.
    return wanted or (sys.stdout is not None and sys.stdout.isatty())


def _render(readable: bool) -> list[Processor]:
    # Tracebacks leave out the values of variables, since amounts and names are among them.
    if _is_readable(readable):
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=_is_readable(False), exception_formatter=plain)]
    traceback = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return [traceback, structlog.processors.JSONRenderer(_json)]
