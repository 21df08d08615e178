"""What the server does from time to time: several things one after the other, or patiently."""

import sys
from collections.abc import Callable

from database import embedded


def both(one: Callable[[], None], other: Callable[[], None]) -> Callable[[], None]:
    """Does one thing after the other."""

    def both() -> None:
        one()
        other()

    return both


def nothing() -> None:
    """There is no database of ours to look after."""


def patiently(look_after: Callable[[], None]) -> Callable[[], None]:
    """The same, but what it raises is printed, each thing once in a row: the next call may succeed."""
    last = ""

    def without_raising() -> None:
        nonlocal last
        try:
            look_after()
            last = ""
        except (embedded.EmbeddedError, OSError) as error:
            if str(error) != last:
                print(last := str(error), file=sys.stderr, flush=True)

    return without_raising
