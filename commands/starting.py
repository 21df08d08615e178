"""Ctrl+C and SIGTERM under commands. app.py imports this first, since the rest takes a second or two to load.

Click would end such a command with status 1, which for some means that they have found something.
"""

import gc
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

INTERRUPTED = 128 + signal.SIGINT
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)

_SERVER = Path(__file__).resolve().parent.parent / "app.py"
_is_ours = False  # whether this process is a command or the server
_received = signal.SIGINT


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # An exception may be raised where Python can only print it and go on. The embedded PostgreSQL notices by itself.
    os._exit(INTERRUPTED)


def begin() -> None:
    """From here on Ctrl+C ends the process at once with status 130, if it was started as a command or the server.

    And such a process does not look for garbage until `imported`: what it loads stays, and looking takes a fifth of
    the time.
    """
    global _is_ours
    click, main = sys.modules.get("click"), sys.modules["__main__"]
    is_server = main.__name__ == "__main__" and Path(getattr(main, "__file__", None) or "").resolve() == _SERVER
    _is_ours = is_server or (click is not None and click.get_current_context(silent=True) is not None)
    if _is_ours:
        gc.disable()
    # Not if the shell had it ignored.
    if _is_ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def imported() -> None:
    """From here on it looks for garbage, but never among what has been loaded."""
    if _is_ours:
        gc.freeze()
        gc.enable()


def loaded() -> None:
    """From here on Ctrl+C, SIGTERM and SIGHUP raise KeyboardInterrupt: what runs now knows what to do about it."""
    if not _is_ours:
        return
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, _interrupt)
    for number in _ENDINGS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def ended() -> None:
    """From here on these are ignored: what is left to do tidies up, and takes a moment at most."""
    for number in (signal.SIGINT, *_ENDINGS):
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_IGN)


def status() -> int:
    """The exit status of a command that a signal has ended."""
    return 128 + _received


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    global _received
    _received = signal.Signals(number)
    raise KeyboardInterrupt


begin()
