"""Delivering messages to webhooks: `flask --app app deliver`, and the process that `python app.py` runs beside it."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import click
import log_output
import structlog
from flask import current_app
from flask.cli import with_appcontext

from commands.endings import Command, check_database
from commands.workers import is_alive
from work.webhook_deliverer import Deliverer

NAME = "deliver"  # of the process, as `ps -o comm` shows it
NICE = 10  # events come first
STOP_SECONDS = 5.0  # until a process that does not stop is killed
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before one that has died is replaced: each time twice as long
SETTLED = 60.0  # seconds after which it counts as one that runs
PARENT = 0.2  # seconds between two looks at whether the server still lives

log = structlog.get_logger()


@click.command(cls=Command)
@with_appcontext
def deliver() -> None:
    """Deliver messages to webhooks until told to stop (Ctrl+C, SIGTERM).

    `python app.py` does so by itself, unless it is started with DELIVER=false. Several may run at once: each endpoint
    is served by one of them. While the database is away it waits. Exit status: 0 when stopped, 2 if it could not begin.
    """
    check_database()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup has SIGHUP ignored
            signal.signal(number, lambda *_: stop.set())
    log.info("delivering")
    _begin()
    Deliverer.of(current_app.extensions).run(stop)
    log.info("delivering_ended")


def _begin() -> None:
    with suppress(OSError):
        os.nice(NICE)
    with suppress(OSError):  # Linux alone has it
        Path("/proc/self/comm").write_text(NAME)


class DeliveryProcess:
    """The process beside a server, forked from it; a new one if it dies, after a pause that grows.

    `make` makes what delivers, in that process.
    """

    def __init__(self, make: Callable[[], Deliverer]) -> None:
        self._make = make
        self._process: ForkProcess | None = None
        self._due, self._pause, self._begun = float("inf"), PAUSE, 0.0

    def begin(self) -> None:
        """Start it."""
        self._due = 0.0
        self.look_after()

    def look_after(self) -> None:
        """Start another one if it has died. Does nothing before `begin` and after `end`."""
        now = time.monotonic()
        if self._process is not None and self._due < float("inf") and not is_alive(self._process):
            status = self._process.exitcode
            self._pause = PAUSE if now - self._begun > SETTLED else min(2 * self._pause, LONGEST_PAUSE)
            self._due = now + self._pause
            log.warning("delivery_process_died", status=status, pause=self._pause)
            self._process = None
        if self._process is None and now >= self._due:
            # It would lose a signal that came before it can handle it.
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            try:
                self._process = get_context("fork").Process(target=_run_beside, args=(self._make, os.getpid(), blocked))
                self._process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            self._begun = now

    def end(self) -> None:
        """Tell it to stop."""
        self._due = float("inf")
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """The same, and wait until it is gone."""
        self.end()
        if self._process is not None:
            self._process.join(STOP_SECONDS)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()


def _run_beside(make: Callable[[], Deliverer], parent: int, mask: set[int]) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Only the server reacts to what a terminal sends to all processes there.
    signal.pthread_sigmask(signal.SIG_SETMASK, {*mask, signal.SIGINT, signal.SIGHUP})
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _begin()
    try:
        make().run(stop)
    except Exception:
        log.exception("delivery_process_failed")
        log_output.flush()
        os._exit(1)
    log_output.flush()
    os._exit(0)  # what was forked along is the server's to tidy up


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT)
    os._exit(1)
