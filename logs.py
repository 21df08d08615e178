"""Structured logs on standard output: readable text for people, or one JSON object per line for machines."""

import asyncio
import logging
import sys
import threading
from typing import Any, TextIO, cast

import orjson
import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(readable: bool) -> None:
    """Set up logging for this process: text if `readable` or on a terminal, else JSON lines."""
    structlog.configure(
        processors=[*_SHARED, *_render(readable)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Lines(sys.stdout))),
        cache_logger_on_first_use=True,
    )


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

    def flush(self) -> None:
        """Does nothing: no line waits longer than until the end of its turn."""

    def _end_of_turn(self) -> None:
        lines, self._of_this_turn = self._of_this_turn, []
        self._out("".join(lines))

    def _out(self, text: str) -> None:
        with self._lock:
            self._file.write(text)
            self._file.flush()


def _json(line: Any, default: Any) -> str:
    return orjson.dumps(line, default).decode()


class _Wanted(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        # More threads than cores is intended: they wait for the database, not for Python.
        return "quite high compared to the number of CPU cores" not in record.getMessage()


def _render(readable: bool) -> list[Processor]:
    # Tracebacks leave out the values of variables, since amounts and names are among them.
    if readable or sys.stdout.isatty():
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=plain)]
    traceback = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return [traceback, structlog.processors.JSONRenderer(_json)]
