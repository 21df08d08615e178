"""The server of `python app.py`: its workers share one listening socket, and are replaced however often they die."""

import mmap
import os
import queue
import socket
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.mp import MPServer

TICK, START_TICK = 1.0, 0.05  # seconds; the second until all workers serve
QUICK = 10  # seconds; a worker that lives shorter counts as one that failed
PAUSE, LONGEST_PAUSE = 0.25, 5.0  # seconds before a worker is replaced that failed again: each is twice the one before
FIRST_STARTS = 3  # before any worker has served: what cannot start then never will
FAILURES = 60  # of one worker in a row, which takes about five minutes

# One byte per worker, shared with them: whether it is ready to serve.
_ready: mmap.mmap | None = None


class WorkersFailed(Exception):
    """The workers do not keep running; the message says what happened."""


class Wake:
    """What `set` wakes up: like `threading.Event`, but `set` may also come as a signal in the middle of a `wait`.

    An Event takes a lock for both, so a handler of signals would wait for the very code that it has interrupted, for
    ever.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()  # its `put` is made for handlers of signals

    def set(self) -> None:
        """End the wait, or the next one."""
        if self._calls.empty():
            self._calls.put(None)

    def clear(self) -> None:
        """Forget who has called so far."""
        while self.wait(0):
            pass

    def wait(self, seconds: float) -> bool:
        """Wait for a call, for so long at most; returns whether there was one."""
        try:
            self._calls.get(timeout=seconds)
        except queue.Empty:
            return False
        return True


class Workers(MPServer):
    """Granian, but for three things: what happens when a worker dies, who holds the port, and how signals wake it.

    Granian ends the service when a worker dies twice within 5.5 seconds. Here it is replaced after a pause that grows,
    a bounded number of times. `listener` stays open meanwhile: connections wait in its queue, and a worker that is
    gone, or hangs, takes none of them from the others. (By default each worker listens for itself, and the system deals
    out connections without asking who is still there.) `on_ready` is called when all workers serve for the first time,
    `on_tick` about once a second, `on_death` with the number of a worker that has died, and `on_stop` when the others
    are about to be stopped.
    """

    def __init__(
        self,
        *args: Any,
        listener: socket.socket,
        on_ready: Callable[[], None],
        on_tick: Callable[[], None],
        on_death: Callable[[int], None],
        on_stop: Callable[[], None],
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.main_loop_interrupt: Any = Wake()
        self._listener = listener
        self._on_tick, self._on_death, self._on_stop = on_tick, on_death, on_stop
        self._on_ready: Callable[[], None] | None = on_ready  # until it was called
        self._failures: Counter[int] = Counter()
        self._due: dict[int, float] = {}  # when to replace the workers that are gone
        self._has_served = False
        self._given_up: str | None = None

    def serve(self, *args: Any, **options: Any) -> None:
        """Serve until a signal says to stop. Raises WorkersFailed."""
        global _ready
        _ready = mmap.mmap(-1, self.workers)
        super().serve(*args, **options)
        if self._given_up:
            raise WorkersFailed(self._given_up)

    def shutdown(self, exit_code: int = 0) -> None:
        """Stop the workers."""
        self._on_stop()
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]

    def _init_shared_socket(self) -> None:
        self._listener.setblocking(False)
        self._listener.listen(self.backlog)
        self._ssp, self._sso = None, None
        self._shd: Any = SocketHolder(self._listener.fileno(), False, self.backlog)  # type: ignore[call-arg]

    def _spawn_worker(self, idx: int, *args: Any, **options: Any) -> Any:
        assert _ready is not None
        _ready[idx] = 0
        os.environ["WORKER_SLOT"] = str(idx)  # for the worker, which is forked next
        worker: Any = super()._spawn_worker(idx, *args, **options)
        worker.is_alive = lambda: is_alive(worker.inner)
        return worker

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        while not self.interrupt_signal:
            self.main_loop_interrupt.wait(self._seconds_to_wait())
            self.main_loop_interrupt.clear()
            if self.interrupt_signal:
                return
            while self.interrupt_children:
                self._note_death(self.interrupt_children.pop())
            if self._given_up:
                return
            for idx in [idx for idx, due in self._due.items() if due <= time.monotonic()]:
                del self._due[idx]
                self._respawn_workers([idx], spawn_target, target_loader)
            self._say_ready()
            self._on_tick()

    def _say_ready(self) -> None:
        assert _ready is not None
        if self._on_ready is not None and all(_ready[:]):
            self._on_ready()
            self._on_ready = None

    def _seconds_to_wait(self) -> float:
        tick = TICK if self._on_ready is None else START_TICK
        return max(0.0, min([tick, *(due - time.monotonic() for due in self._due.values())]))

    def _note_death(self, idx: int) -> None:
        assert _ready is not None
        self._on_death(idx)
        self._has_served = self._has_served or any(_ready[:])
        has_worked = _ready[idx] and time.monotonic() > self.wrks[idx].birth + QUICK
        self._failures[idx] = failures = 1 if has_worked else self._failures[idx] + 1
        if not self._has_served and failures >= FIRST_STARTS:
            self._given_up = f"No worker could start in {failures} attempts; the log above says why."
        elif failures > FAILURES:
            self._given_up = f"A worker died {failures} times in a row, each time before it had served for {QUICK} s."
        pause = min(PAUSE * 2 ** min(failures - 2, 10), LONGEST_PAUSE) if failures > 1 else 0.0
        self._due[idx] = time.monotonic() + pause


def is_alive(process: BaseProcess) -> bool:
    """Whether it still runs.

    Granian waits for each worker in two threads, and the system tells only one of them that it has ended. On a busy
    machine the other one would take it for one that refuses to stop. The pipe that ends with it tells both.
    """
    return not wait([process.sentinel], 0) and process.is_alive()


def say_ready() -> None:
    """In a worker: it has started."""
    if _ready is not None:
        _ready[int(os.environ["WORKER_SLOT"])] = 1
