"""How often Python looks for garbage while a command judges many events."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def rare_collections() -> Iterator[None]:
    """Within the block, look for cycles more rarely.

    A batch makes many objects but no cycles: the collector would search them in vain, for a fifth of the time.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
