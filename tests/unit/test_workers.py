"""What wakes the server: signals may come whatever it is in the middle of."""

import subprocess
import sys

from commands.workers import Wake
from tests.service import ROOT
from tests.waiting import PATIENCE

# With a `threading.Event` this stops within a moment, for ever.
PROGRAM = """
import signal
from commands.workers import Wake

wake, calls = Wake(), 0

def called(*_):
    global calls
    calls += 1
    wake.set()
    if calls < 2_000:
        signal.setitimer(signal.ITIMER_REAL, 0.0001)

signal.signal(signal.SIGALRM, called)
signal.setitimer(signal.ITIMER_REAL, 0.0001)
while calls < 2_000:
    wake.wait(0)
    wake.clear()
"""


def test_a_signal_in_the_middle_of_a_wait() -> None:
    """Its handler does not wait for the code that it has interrupted."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, timeout=PATIENCE, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_calls() -> None:
    """Calls before a wait end it at once, however many there were, and are forgotten when they are cleared."""
    wake = Wake()
    assert not wake.wait(0)
    for _ in range(3):
        wake.set()
    assert wake.wait(PATIENCE)
    wake.set()
    wake.clear()
    assert not wake.wait(0)
