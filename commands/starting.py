"""Ctrl+C while a command is loading: app.py imports this first, since the rest takes a second or two.

Click would end such a command with status 1, which for some means that they have found something.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

INTERRUPTED = 128 + signal.SIGINT

_SERVER = Path(__file__).resolve().parent.parent / "app.py"
_is_ours = False  # whether this process is a command or the server


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # An exception may be raised where Python can only print it and go on. The embedded PostgreSQL notices by itself.
    os._exit(INTERRUPTED)


def begin() -> None:
    """From here on Ctrl+C ends the process at once with status 130, if it was started as a command or the server."""
    global _is_ours
    click, main = sys.modules.get("click"), sys.modules["__main__"]
    is_server = main.__name__ == "__main__" and Path(getattr(main, "__file__", None) or "").resolve() == _SERVER
    _is_ours = is_server or (click is not None and click.get_current_context(silent=True) is not None)
    # Not if the shell had it ignored.
    if _is_ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def loaded() -> None:
    """From here on Ctrl+C raises KeyboardInterrupt: what runs now knows what to do about it."""
    if _is_ours and signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def ended() -> None:
    """From here on Ctrl+C is ignored: what is left to do tidies up, and takes a moment at most."""
    if _is_ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


begin()
