"""Structured logs on standard output: readable for a person, one JSON object a line for a machine."""

import logging
import sys
from typing import Any

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
    """Set up logging for this process: `readable` (or a terminal) gives text, else JSON lines."""
    structlog.configure(
        processors=[*_SHARED, *_render(readable)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )


def server_config(readable: bool) -> dict[str, Any]:
    """A configuration (of `logging.config.dictConfig`) that gives the HTTP server's own lines the same form."""
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


class _Wanted(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        # More threads than cores are meant: they wait for the database, not for Python.
        return "quite high compared to the number of CPU cores" not in record.getMessage()


def _render(readable: bool) -> list[Processor]:
    # Tracebacks without the values of variables: amounts and names are among them.
    if readable or sys.stdout.isatty():
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=plain)]
    traceback = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return [traceback, structlog.processors.JSONRenderer()]
